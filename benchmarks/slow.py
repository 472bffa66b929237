"""
C{python -m benchmarks.slow} measures the wait of 64 clients for a protocol that takes
5 ms per datagram, on Twisted's own port and on those of L{shout.udp}.

The datagrams are sent while the server is stopped, so all of them wait when it
continues.
"""

from __future__ import annotations

import os
import select
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from benchmarks.kill import stopped
from benchmarks.servers import PORTS, Missing, Running, onPort
from shout import Responder

CLIENTS = 64
WORK = 0.005


class Plain(DatagramProtocol):
    """
    A plain protocol.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        time.sleep(WORK)
        assert self.transport is not None
        self.transport.write(datagram, addr)


class Slow(Responder):
    """
    A L{Responder}.
    """

    def respond(self, datagram: bytes, addr: Any) -> bytes:
        time.sleep(WORK)
        return datagram.upper()


PROTOCOLS = {"plain": Plain, "Responder": Slow}


def serve(kind: str, protocol: str, number: int) -> None:
    """
    Run a server.

    @param kind: One of L{PORTS}.

    @param protocol: One of L{PROTOCOLS}.

    @param number: The port number.
    """
    from twisted.internet import reactor as installed

    from shout.udp import listenUDP

    reactor: Any = installed
    listen: Any = reactor.listenUDP if kind == "twisted" else listenUDP
    listen(number, PROTOCOLS[protocol](), "127.0.0.1")
    reactor.run()


def waits(server: Running) -> list[float]:
    """
    Return the milliseconds that each reply takes, in ascending order.
    """
    waits = []
    with ExitStack() as stack:
        with stopped(server.pid):
            clients = [
                stack.enter_context(socket(AF_INET, SOCK_DGRAM)) for _ in range(CLIENTS)
            ]
            for client in clients:
                client.connect(("127.0.0.1", server.port))
                client.send(b"slow")
        begin = time.monotonic()
        while clients:
            for client in select.select(clients, [], [], 5)[0]:
                waits.append((time.monotonic() - begin) * 1000)
                client.recv(100)
                clients.remove(client)
            if time.monotonic() > begin + 5:
                sys.exit(f"{server.name}: {len(clients)} replies are missing")
    return waits


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Print the time of the first, the median and the last reply.
    """
    parser = ArgumentParser(prog="python -m benchmarks.slow", description=main.__doc__)
    parser.add_argument("--serve", nargs=3, help="internal")
    options = parser.parse_args(arguments)
    if options.serve:
        kind, protocol, number = options.serve
        serve(kind, protocol, int(number))
        return 0
    core = min(os.sched_getaffinity(0))
    print(f"{'port':10}{'protocol':12}{'first ms':>10}{'median ms':>11}{'last ms':>9}")
    for kind, protocol in product(PORTS, PROTOCOLS):
        program = [sys.executable, "-m", "benchmarks.slow", "--serve", kind, protocol]
        try:
            command = onPort(kind, [*program, "{port}"])
        except Missing as e:
            print(f"skipping {kind}: {e}", file=sys.stderr)
            continue
        with (
            TemporaryDirectory() as directory,
            Running(kind, command, Path(directory), {core}) as server,
        ):
            server.waitUntilUp()
            times = waits(server)
        first, middle, last = times[0], times[CLIENTS // 2], times[-1]
        print(f"{kind:10}{protocol:12}{first:10.1f}{middle:11.1f}{last:9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
