"""
The effect of a flood on the rest of the program: the delay of a 20 ms timer in the
flooded reactor, and the time to stop; see L{main}.
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
from pathlib import Path
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from benchmarks.servers import PORTS, Command, onPort, prepare
from shout import Shout
from shout.counters import Counters

INTERVAL = 0.02

# The payload of one call, and the length of the datagrams into which the kernel splits
# it; 0 if it does not.
KINDS = {
    "empty": (b"", 0),
    "1 byte": (b"a", 0),
    "1,400 bytes": (b"a" * 1400, 0),
    # These may reach a port coalesced, and must not escape its bound.
    "coalesced": (b"a" * 64, 1),
}

# From linux/udp.h.
UDP_SEGMENT = 103

# The service, and ports with a protocol that takes single datagrams.
SERVERS = ("shout", *PORTS)


class Echo(DatagramProtocol):
    """
    A protocol that takes single datagrams and sends each of them back.
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
    Run a server: print the port, and after some time the results.

    @param kind: One of L{SERVERS}.

    @param seconds: Seconds to run.
    """
    from twisted.internet import reactor

    from shout import ShoutService, bindUDP
    from shout.udp import listenUDP

    runtime: Any = reactor
    protocol: Any = Shout() if kind == "shout" else Echo()
    if kind == "shout":
        sockets = bindUDP(0, ["127.0.0.1"])
        number = sockets[0].getsockname()[1]
        service = ShoutService(sockets, lambda: protocol, runtime)
        service.startService()
        stop: Any = service.stopService
    else:
        listen: Any = runtime.listenUDP if kind == "twisted" else listenUDP
        port = listen(0, protocol, "127.0.0.1", 65536)
        number, stop = port.getHost().port, port.stopListening
    delays: list[float] = []
    begin = time.monotonic()

    def tick(due: float) -> None:
        now = time.monotonic()
        delays.append(now - due)
        if now - begin < seconds:
            runtime.callLater(INTERVAL, tick, now + INTERVAL)
            return
        stopping = stop()
        stopping.addCallback(lambda _: finish(now))

    def finish(stopping: float) -> None:
        results = {
            "delay": max(delays),
            "stop": time.monotonic() - stopping,
            "received": protocol.counters.received,
        }
        print(json.dumps(results), flush=True)
        runtime.stop()

    print(number, flush=True)
    runtime.callLater(INTERVAL, tick, begin + INTERVAL)
    runtime.run()


def flood(
    port: int, payload: bytes, segment: int, server: subprocess.Popen[str]
) -> None:
    """
    Send datagrams to a server as fast as one core can, until it exits.

    @param segment: Length of the datagrams into which the kernel splits the payload, in
        bytes; 0 to send it as one.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        if segment:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        while server.poll() is None:
            for _ in range(1000):
                # The send buffer may be full, and in the end the port is closed.
                with suppress(OSError):
                    sock.send(payload)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Flood shout, and an echo on its ports and on Twisted's own, on the loopback, and
    print the greatest delay of a timer meanwhile.
    """
    parser = ArgumentParser(prog="python -m benchmarks.flood", description=main.__doc__)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="seconds per flood [5]"
    )
    parser.add_argument("--serve", choices=SERVERS, help="internal")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.seconds)
        return 0
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    print(
        f"{'port':10}{'flood':>18}{'received/s':>14}{'max delay':>14}{'stop time':>14}"
    )
    seconds = str(options.seconds)
    serving = [sys.executable, "-m", "benchmarks.flood", "--seconds", seconds]

    def serverOn(kind: str) -> Command:
        return lambda directory: onPort(kind, [*serving, "--serve", kind])

    commands = prepare({kind: serverOn(kind) for kind in SERVERS}, Path())
    for kind, command in commands.items():
        for name, (payload, segment) in KINDS.items():
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
            ) as server:
                assert server.stdout is not None
                flood(int(server.stdout.readline()), payload, segment, server)
                results = json.loads(server.stdout.readline())
            rate = results["received"] / options.seconds
            delay, stop = results["delay"] * 1000, results["stop"] * 1000
            print(f"{kind:10}{name:>18}{rate:14,.0f}{delay:11.1f} ms{stop:11.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
