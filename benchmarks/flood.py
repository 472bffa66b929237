"""
What a flood does to the rest of the program: how late a timer of 20 ms gets in
the reactor that is flooded, and how long stopping takes; see L{main}.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from shout import Shout
from shout.counters import Counters

INTERVAL = 0.02

# What one call sends, and how long the datagrams are that the kernel makes of it.
KINDS = {
    "empty": (b"", 0),
    "1 byte": (b"a", 0),
    "1,400 bytes": (b"a" * 1400, 0),
    "bursts of 1 byte": (b"a" * 64, 1),
    "bursts of 1,000": (b"a" * 64000, 1000),
}

# From linux/udp.h.
UDP_SEGMENT = 103

# A service, a batched port whose protocol is given each datagram, and Twisted's.
SERVERS = ("shout", "echo", "twisted")


class Echo(DatagramProtocol):
    """
    A protocol like those of others, which is given each datagram.
    """

    noisy = False

    def __init__(self) -> None:
        self.counters = Counters()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.counters.count("ipv4", 1, 1)
        assert self.transport is not None
        # Twisted's own port raises when its buffer is full.
        with suppress(OSError):
            self.transport.write(datagram, addr)


def serve(kind: str, seconds: float) -> None:
    """
    Be the server that is flooded: print the port, and after some time the
    figures.

    @param kind: one of L{SERVERS}.
    """
    from twisted.internet import reactor

    from shout import BatchedPort, ShoutService, bindUDP

    runtime: Any = reactor
    protocol: Any = Echo() if kind == "echo" else Shout()
    if kind == "twisted":
        port = runtime.listenUDP(0, protocol, "127.0.0.1", 65536)
        number, stop = port.getHost().port, port.stopListening
    else:
        sockets = bindUDP(0, ["127.0.0.1"])
        number = sockets[0].getsockname()[1]
        if kind == "shout":
            service = ShoutService(sockets, lambda: protocol, runtime)
            service.startService()
            stop = service.stopService
        else:
            port = BatchedPort(sockets[0], protocol, runtime)
            port.startListening()
            stop = port.stopListening
    late: list[float] = []
    begin = time.monotonic()

    def tick(due: float) -> None:
        now = time.monotonic()
        late.append(now - due)
        if now - begin < seconds:
            runtime.callLater(INTERVAL, tick, now + INTERVAL)
            return
        stopping = stop()
        stopping.addCallback(lambda _: finish(now))

    def finish(asked: float) -> None:
        stopped = time.monotonic() - asked
        figures = {
            "late": max(late),
            "stop": stopped,
            "received": protocol.counters.received,
        }
        print(json.dumps(figures), flush=True)
        runtime.stop()

    print(number, flush=True)
    runtime.callLater(INTERVAL, tick, begin + INTERVAL)
    runtime.run()


def flood(
    port: int, payload: bytes, segment: int, server: subprocess.Popen[str]
) -> None:
    """
    Send to a server as fast as one core can, until it has ended.

    @param segment: how many bytes the datagrams have that the kernel makes of a
        payload; 0 for all.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        if segment:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        while server.poll() is None:
            for _ in range(1000):
                # Its buffer may be full, and at the end nobody listens.
                with suppress(OSError):
                    sock.send(payload)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Flood shout, its port under another protocol, and Twisted's own port, on the
    loopback, and print how late a timer gets meanwhile.
    """
    parser = ArgumentParser(prog="python -m benchmarks.flood", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per flood [5]")
    parser.add_argument("--serve", choices=SERVERS, help="used by itself")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.seconds)
        return 0
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    print(
        f"{'port':10}{'flood':>18}{'received/s':>14}{'timer late':>14}{'stop took':>14}"
    )
    for kind in SERVERS:
        for name, (payload, segment) in KINDS.items():
            command = [sys.executable, "-m", "benchmarks.flood", "--serve", kind]
            command += ["--seconds", str(options.seconds)]
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
            ) as server:
                assert server.stdout is not None
                flood(int(server.stdout.readline()), payload, segment, server)
                figures = json.loads(server.stdout.readline())
            rate = figures["received"] / options.seconds
            late, stop = figures["late"] * 1000, figures["stop"] * 1000
            print(f"{kind:10}{name:>18}{rate:14,.0f}{late:11.1f} ms{stop:11.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
