"""
Servers that answer in capitals, each written as is usual with its library.

C{python rivals.py NAME PORT [KIND]} runs one, the protocols for Twisted on a port of a
kind; see L{PORTS<benchmarks.servers.PORTS>}.  Each function has its own imports, so the
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


def shout(port: int, kind: str) -> None:
    from shout import Shout

    _run(port, kind, Shout())


def slow(port: int, kind: str) -> None:
    from time import sleep

    from twisted.internet.protocol import DatagramProtocol

    class Slow(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            sleep(0.005)
            assert self.transport is not None
            self.transport.write(datagram, addr)

    _run(port, kind, Slow())


def slowResponder(port: int, kind: str) -> None:
    from time import sleep

    from shout import Responder

    class Slow(Responder):
        def respond(self, datagram: bytes, addr: Any) -> bytes:
            sleep(0.005)
            return datagram.upper()

    _run(port, kind, Slow())


def dns(port: int, kind: str) -> None:
    from importlib import import_module

    from twisted.names.authority import FileAuthority
    from twisted.names.common import ResolverBase

    dns: Any = import_module("twisted.names.dns")
    server: Any = import_module("twisted.names.server")

    class Zone(FileAuthority):
        def __init__(self: Any) -> None:
            ResolverBase.__init__(self)  # type: ignore[no-untyped-call]
            self.soa = b"example.test", dns.Record_SOA()
            self.records = {
                b"host%d.example.test" % each: [dns.Record_A(f"192.0.2.{each}")]
                for each in range(100)
            }

    factory = server.DNSServerFactory(authorities=[Zone()])
    _run(port, kind, dns.DNSDatagramProtocol(factory))


def _run(port: int, kind: str, protocol: Any) -> None:
    """
    Run a protocol on Twisted's own port, or on one of L{shout.udp}.
    """
    from twisted.internet import reactor as installed

    from shout.udp import listenUDP

    reactor: Any = installed
    if kind == "twisted":
        reactor.listenUDP(port, protocol, maxPacketSize=65536)
    else:
        listenUDP(port, protocol)
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
    globals()[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
