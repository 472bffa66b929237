"""
Servers that answer in capitals, each written as is usual with its library.

C{python rivals.py NAME PORT} runs one.  Each function has its own imports, so the
resident memory of one server does not include the libraries of others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def loop(port: int) -> None:
    from socket import AF_INET, SOCK_DGRAM, socket

    sock = socket(AF_INET, SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    while True:
        datagram, peer = sock.recvfrom(65535)
        sock.sendto(datagram.upper(), peer)


def port(port: int) -> None:
    from twisted.internet import reactor as installed

    from shout import Shout
    from shout.udp import listenUDP

    reactor: Any = installed
    listenUDP(port, Shout())
    reactor.run()


def twisted(port: int) -> None:
    from twisted.internet import reactor as installed

    from shout import Shout

    reactor: Any = installed
    reactor.listenUDP(port, Shout(), maxPacketSize=65536)
    reactor.run()


def asyncio(port: int, run: Callable[[Any], None] | None = None) -> None:
    import asyncio

    class Capitals(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, datagram: bytes, peer: Any) -> None:
            self.transport.sendto(datagram.upper(), peer)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(Capitals, ("0.0.0.0", port))
        await asyncio.Event().wait()

    (run or asyncio.run)(serve())


def uvloop(port: int) -> None:
    import uvloop

    asyncio(port, uvloop.run)


def socketserver(port: int) -> None:
    from socketserver import BaseRequestHandler, UDPServer

    class Capitals(BaseRequestHandler):
        def handle(self) -> None:
            datagram, sock = self.request
            sock.sendto(datagram.upper(), self.client_address)

    class Server(UDPServer):
        max_packet_size = 65535

    Server(("0.0.0.0", port), Capitals).serve_forever()


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
