"""
The load: L{stream}, L{crowd} and L{ping} ask a server and check every reply.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.flow import LIFE, Flow, connect

# How many seconds without a reply mean that what is under way is lost.
PATIENCE = 0.2

NAP = 50e-6


@dataclass
class Outcome:
    """
    What came of a load.

    @ivar seconds: from the first request to the last reply.

    @ivar cpu: the seconds of CPU that the load itself has used.

    @ivar example: a wrong reply, and what it should have been.

    @ivar p50: the median round trip in seconds; of L{ping} alone.

    @ivar p99: the round trip that one in a hundred exceeds.
    """

    replies: int = 0
    lost: int = 0
    wrong: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    example: str = ""
    p50: float = 0.0
    p99: float = 0.0

    def figures(self, cpu: float) -> dict[str, float]:
        """
        Return the figures of a L{Measurement<benchmarks.report.Measurement>}.

        @param cpu: the seconds of CPU that the server has used.

        @return: none when there was no reply.
        """
        if not self.replies:
            return {}
        return {
            "cpu": cpu * 1e6 / self.replies,
            "rate": self.replies / self.seconds,
            "p50": self.p50 * 1e6,
            "p99": self.p99 * 1e6,
            "load": self.cpu * 1e6 / self.replies,
            "lost": self.lost,
            "wrong": self.wrong,
        }


def stream(port: int, size: int, seconds: float) -> Outcome:
    """
    Keep 128 datagrams under way: 32 on each of four sockets.
    """
    texts = [text(i, size) for i in range(128)]
    return _drive([Flow(port, texts[i : i + 32]) for i in range(0, 128, 32)], seconds)


def crowd(port: int, size: int, seconds: float) -> Outcome:
    """
    Keep one datagram of each of 256 peers under way.  They ask in turn, so that
    the server never sees two of the same peer in a row.
    """
    texts = [text(i, size) for i in range(256)]
    return _drive([Flow(port, texts, sources=True)], seconds)


def _drive(flows: Sequence[Flow], seconds: float) -> Outcome:
    cpu, begin = time.process_time(), time.perf_counter()
    now = last = begin
    half = sum(flow.most for flow in flows) // 2
    for flow in flows:
        flow.start()
    while (goOn := now - begin < seconds) or any(flow.underWay for flow in flows):
        received = 0
        for flow in flows:
            received += flow.turn(goOn)
        now = time.perf_counter()
        if received:
            last = now
        elif now - last > PATIENCE:
            if not goOn:
                break
            last = now
            for flow in flows:
                flow.start()
        if received < half:
            # Otherwise it would follow on the heels of the server, and make a
            # system call for every few replies.
            time.sleep(NAP)
    outcome = Outcome(seconds=last - begin, cpu=time.process_time() - cpu)
    for flow in flows:
        flow.close()
        outcome.replies += flow.received
        outcome.lost += flow.sent - flow.received
        outcome.wrong += flow.wrong
        outcome.example = outcome.example or flow.example
    return outcome


def ping(port: int, size: int, seconds: float) -> Outcome:
    """
    Ask, wait for the reply, and ask again, at least 2,000 times.
    """
    outcome = Outcome()
    trips: list[float] = []
    pairs = cycle([(text(i, size), text(i, size).upper()) for i in range(4)])
    clock = time.perf_counter
    cpu, begin = time.process_time(), clock()
    sock, life = _connected(port, size), LIFE
    # A server that loses nearly everything is not waited for 2,000 times.
    while clock() - begin < seconds or (len(trips) < 2000 and outcome.lost < 20):
        request, wanted = next(pairs)
        start = clock()
        sock.send(request)
        try:
            reply = sock.recv(65535)
        except BlockingIOError:
            outcome.lost += 1
            life = 0
        else:
            trips.append(clock() - start)
            if reply != wanted:
                outcome.wrong += 1
                outcome.example = f"{reply[:60]!r} instead of {wanted[:60]!r}"
            if size == 0:
                life -= 1
        if life == 0:
            sock.close()
            sock, life = _connected(port, size), LIFE
    sock.close()
    outcome.replies = len(trips)
    outcome.seconds, outcome.cpu = clock() - begin, time.process_time() - cpu
    if trips:
        trips.sort()
        outcome.p50 = trips[len(trips) // 2]
        outcome.p99 = trips[len(trips) * 99 // 100]
    return outcome


def _connected(port: int, size: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # With Python's own timeout, every recv() would be two system calls.
    limit = struct.pack("ll", 0, int(PATIENCE * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connect(sock, port, size)
    return sock


def text(client: int, size: int) -> bytes:
    """
    Return what a client asks.

    @param size: how long it is.
    """
    words = b"client %d asks: the quick brown fox jumps over the lazy dog; " % client
    return (words * (size // len(words) + 1))[:size]


Load = Callable[[int, int, float], Outcome]
"""
Is given the port of a server, the size of the datagrams, and for how many seconds
to go on.
"""

LOADS: dict[str, Load] = {"stream": stream, "crowd": crowd, "ping": ping}
"""
By name.
"""
