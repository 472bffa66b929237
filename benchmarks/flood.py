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

INTERVAL = 0.02

KINDS = {"empty": b"", "1 byte": b"a", "1,400 bytes": b"a" * 1400}


def serve(kind: str, seconds: float) -> None:
    """
    Be the server that is flooded: print the port, and after some time the
    figures.

    @param kind: C{shout} or C{twisted}: whose port to listen on.
    """
    from twisted.internet import reactor

    from shout import Shout, ShoutService, bindUDP

    runtime: Any = reactor
    protocol = Shout()
    if kind == "shout":
        sockets = bindUDP(0, ["127.0.0.1"])
        service = ShoutService(sockets, lambda: protocol, runtime)
        number = sockets[0].getsockname()[1]
        service.startService()
        stop = service.stopService
        counters = service.counters
    else:
        port = runtime.listenUDP(0, protocol, "127.0.0.1", 65536)
        number, stop, counters = (
            port.getHost().port,
            port.stopListening,
            protocol.counters,
        )
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
        figures = {"late": max(late), "stop": stopped, "received": counters.received}
        print(json.dumps(figures), flush=True)
        runtime.stop()

    print(number, flush=True)
    runtime.callLater(INTERVAL, tick, begin + INTERVAL)
    runtime.run()


def flood(port: int, payload: bytes, server: subprocess.Popen[str]) -> None:
    """
    Send to a server as fast as one core can, until it has ended.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        while server.poll() is None:
            for _ in range(1000):
                # Its buffer may be full, and at the end nobody listens.
                with suppress(OSError):
                    sock.send(payload)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Flood shout's port and Twisted's own, on the loopback, and print how late a
    timer gets meanwhile.
    """
    parser = ArgumentParser(prog="python -m benchmarks.flood", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per flood [5]")
    parser.add_argument("--serve", help="used by itself")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.seconds)
        return 0
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    print(
        f"{'port':10}{'flood':>14}{'received/s':>14}{'timer late':>14}{'stop took':>14}"
    )
    for kind in ("shout", "twisted"):
        for name, payload in KINDS.items():
            command = [sys.executable, "-m", "benchmarks.flood", "--serve", kind]
            command += ["--seconds", str(options.seconds)]
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
            ) as server:
                assert server.stdout is not None
                flood(int(server.stdout.readline()), payload, server)
                figures = json.loads(server.stdout.readline())
            rate = figures["received"] / options.seconds
            late, stop = figures["late"] * 1000, figures["stop"] * 1000
            print(f"{kind:10}{name:>14}{rate:14,.0f}{late:11.1f} ms{stop:11.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
