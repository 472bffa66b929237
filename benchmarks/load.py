"""
The loads: L{stream}, L{crowd} and L{ping} send requests and check every reply.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from benchmarks.flow import MAX_FIXED_POINTS, Flow, connect

# Seconds without a reply after which the datagrams in flight count as lost.
TIMEOUT = 0.2

PAUSE = 50e-6


@dataclass
class Outcome:
    """
    The result of a load.

    @ivar seconds: Seconds from the first request to the last reply.

    @ivar cpu: CPU time that the load generator itself has used, in seconds.

    @ivar example: A wrong reply and the expected one, or an empty string.

    @ivar p50: The median round trip in seconds; only for L{ping}.

    @ivar p99: The 99th percentile of the round trips in seconds; only for L{ping}.
    """

    replies: int = 0
    lost: int = 0
    wrong: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    example: str = ""
    p50: float = 0.0
    p99: float = 0.0

    def values(self, cpu: float) -> dict[str, float]:
        """
        Return the values of a L{Measurement<benchmarks.report.Measurement>}; none if
        there was no reply.

        @param cpu: CPU time that the server has used, in seconds.
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
    Keep 128 datagrams in flight: 32 on each of four sockets.
    """
    texts = [text(i, size) for i in range(128)]
    return _drive([Flow(port, texts[i : i + 32]) for i in range(0, 128, 32)], seconds)


def crowd(port: int, size: int, seconds: float) -> Outcome:
    """
    Keep one datagram of each of 256 peers in flight.  The peers send in turn, so the
    server never receives two consecutive datagrams from one peer.
    """
    texts = [text(i, size) for i in range(256)]
    return _drive([Flow(port, texts, sources=True)], seconds)


def _drive(flows: Sequence[Flow], seconds: float) -> Outcome:
    cpu, begin = time.process_time(), time.perf_counter()
    now = last = begin
    half = sum(flow.batchSize for flow in flows) // 2
    for flow in flows:
        flow.start()
    while (isSending := now - begin < seconds) or any(flow.inFlight for flow in flows):
        received = 0
        for flow in flows:
            received += flow.exchange(isSending)
        now = time.perf_counter()
        if received:
            last = now
        elif now - last > TIMEOUT:
            if not isSending:
                break
            last = now
            for flow in flows:
                flow.start()
        if received < half:
            # Without the pause every few replies would cost a system call.
            time.sleep(PAUSE)
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
    Send a request, wait for the reply, and repeat, at least 2,000 times.
    """
    outcome = Outcome()
    roundTrips: list[float] = []
    pairs = cycle([(text(i, size), text(i, size).upper()) for i in range(4)])
    clock = time.perf_counter
    cpu, begin = time.process_time(), clock()
    sock, remaining = _connected(port, size), MAX_FIXED_POINTS
    # With a server that loses nearly everything, 2,000 replies would take too long.
    while clock() - begin < seconds or (len(roundTrips) < 2000 and outcome.lost < 20):
        request, expected = next(pairs)
        start = clock()
        sock.send(request)
        try:
            reply = sock.recv(65535)
        except BlockingIOError:
            outcome.lost += 1
            remaining = 0
        else:
            roundTrips.append(clock() - start)
            if reply != expected:
                outcome.wrong += 1
                outcome.example = f"{reply[:60]!r} instead of {expected[:60]!r}"
            if size == 0:
                remaining -= 1
        if remaining == 0:
            sock.close()
            sock, remaining = _connected(port, size), MAX_FIXED_POINTS
    sock.close()
    outcome.replies = len(roundTrips)
    outcome.seconds, outcome.cpu = clock() - begin, time.process_time() - cpu
    if roundTrips:
        roundTrips.sort()
        outcome.p50 = roundTrips[len(roundTrips) // 2]
        outcome.p99 = roundTrips[len(roundTrips) * 99 // 100]
    return outcome


def _connected(port: int, size: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # With Python's own timeout, every recv() would be two system calls.
    limit = struct.pack("ll", 0, int(TIMEOUT * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connect(sock, port, size)
    return sock


def text(client: int, size: int) -> bytes:
    """
    Return the payload of a client's request.

    @param client: Number of the client.

    @param size: Length of the payload, in bytes.
    """
    words = b"client %d asks: the quick brown fox jumps over the lazy dog; " % client
    return (words * (size // len(words) + 1))[:size]


Load = Callable[[int, int, float], Outcome]
"""
A function that takes the port of a server, the size of the datagrams in bytes, and the
duration in seconds.
"""

LOADS: dict[str, Load] = {"stream": stream, "crowd": crowd, "ping": ping}
"""
The loads by name.
"""
