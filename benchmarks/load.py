"""
The loads: C{load.c} makes them, and checks every reply.

In a closed loop each client has a number of datagrams in flight, and sends the next one
after a reply.  In an open loop datagrams arrive at random at a given rate, as those of
many independent clients do.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.servers import Failed

RATES = [1000, 5000, 20000, 50000, 100000, 200000]

MIN_ARRIVALS = 2000
"""
Number of datagrams that an open loop sends at least.
"""


@dataclass(frozen=True)
class Load:
    """
    A kind of load.

    @ivar title: Description for tables.

    @ivar sockets: Number of clients, each with a socket of its own.

    @ivar window: Datagrams in flight per socket in a closed loop.

    @ivar rate: Datagrams per second of all sockets together in an open loop.
    """

    title: str
    sockets: int
    window: int = 0
    rate: int = 0

    def arguments(self, seconds: float, seed: int) -> list[str]:
        """
        Return the arguments of the load generator.
        """
        if self.rate:
            seconds = max(seconds, MIN_ARRIVALS / self.rate)
            kind = ["open", str(self.sockets), str(self.rate), str(seed)]
        else:
            kind = ["closed", str(self.sockets), str(self.window)]
        return [str(seconds), *kind]


CLOSED = {
    "crowd": Load("256 clients in turn, 1 in flight each", 256, window=1),
    "stream": Load("4 clients, 32 in flight each", 4, window=32),
    "8x4": Load("8 clients, 4 in flight each", 8, window=4),
    "32x1": Load("32 clients, 1 in flight each", 32, window=1),
    "ping": Load("1 client, 1 in flight", 1, window=1),
}
"""
The closed loops by name.
"""


def openLoops(rates: Iterable[int] = RATES) -> dict[str, Load]:
    """
    Return open loops of 64 clients, by name.
    """
    return {
        f"open-{rate}": Load(f"arriving at random, {rate:,}/s", 64, rate=rate)
        for rate in rates
    }


@dataclass(frozen=True)
class Outcome:
    """
    The result of a load.  Round trips are in microseconds: in an open loop from the
    time when a datagram was due, and from the time when it was sent.

    @ivar replies: Number of right replies.

    @ivar example: The beginning of the first wrong reply, or an empty string.

    @ivar seconds: Seconds from the first request to the last reply.

    @ivar cpu: CPU time that the load generator itself has used, in seconds.

    @ivar late_p99: The 99th percentile of the microseconds by which an open loop sent
        too late.
    """

    sent: int
    replies: int
    lost: int
    wrong: int
    example: str
    seconds: float
    cpu: float
    due_p50: float
    due_p99: float
    sent_p50: float
    sent_p99: float
    late_p50: float
    late_p99: float

    def values(self, cpu: float, user: float) -> dict[str, float]:
        """
        Return the values of a L{Measurement<benchmarks.report.Measurement>}; none if
        there was no reply.

        @param cpu: CPU time that the server has used, in seconds.

        @param user: The part of it that was not spent in the kernel.
        """
        if not self.replies:
            return {}
        return {
            **{
                name: value
                for name, value in asdict(self).items()
                if name not in ("example", "cpu")
            },
            "cpu": cpu * 1e6 / self.replies,
            "user": user * 1e6 / self.replies,
            "load": self.cpu * 1e6 / self.replies,
            "rate": self.replies / self.seconds,
            "busy": cpu * 100 / self.seconds,
        }


def run(
    program: Path,
    load: Load,
    port: int,
    size: int,
    seconds: float,
    seed: int = 1,
    onReady: Callable[[], object] = lambda: None,
) -> Outcome:
    """
    Send datagrams to a server on 127.0.0.1, from the last core.

    @param program: The compiled C{load.c}.

    @param size: Length of the datagrams, in bytes; at least 8.

    @param seconds: Seconds to send.  An open loop takes longer at low rates; see
        L{MIN_ARRIVALS}.

    @param seed: Number that determines the random arrivals of an open loop.

    @param onReady: Called after the warm-up, while the server is idle.

    @raise Failed: If the load generator exits early.
    """
    arguments = [str(program), str(port), str(size), *load.arguments(seconds, seed)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as process:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        assert process.stdout is not None
        try:
            process.stdout.readline()
            onReady()
            output, _ = process.communicate("\n")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise Failed(f"the load generator has exited with status {process.returncode}")
    return Outcome(**json.loads(output))
