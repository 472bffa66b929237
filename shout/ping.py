"""
Measuring a shout server: whether datagrams get through to it and back, how long
that takes, and how many get lost.

From a program of your own::

    from shout.ping import ping

    result = await ping("192.0.2.2", 9999, count=100, interval=0.01)
    print(result.lost, result.roundTrips.p99)

The statistics are functions of a L{Trips<shout.trips.Trips>} and nothing else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from shout.pinging import Pinging, Plan
from shout.probes import SMALLEST, WRONG
from shout.tally import Event, Tally
from shout.target import Target, reach
from shout.trips import Trips

__all__ = [
    "Event",
    "Plan",
    "Result",
    "RoundTrips",
    "deviation",
    "mean",
    "percentile",
    "ping",
    "summarize",
]


@dataclass(frozen=True)
class RoundTrips:
    """
    How long round trips took, all in nanoseconds.

    @ivar min: the shortest, exactly.

    @ivar mean: the arithmetic mean, rounded.

    @ivar p50: half took no longer; within 1 %, as the other percentiles.

    @ivar p90: 90 % took no longer.

    @ivar p99: 99 % took no longer.

    @ivar max: the longest, exactly.

    @ivar stddev: the standard deviation of all of them (not of a sample),
        rounded down.
    """

    min: int
    mean: int
    p50: int
    p90: int
    p99: int
    max: int
    stddev: int


@dataclass(frozen=True)
class Result:
    """
    What was measured.  Every probe has one fate: it is among the answered, the
    late, the lost, the refused or the mistaken.

    @ivar host: as it was named.

    @ivar address: the address that was measured.

    @ivar port: the UDP port; L{None} for a UNIX socket.

    @ivar sent: how many probes were sent.

    @ivar answered: how many of them got the right reply in time.

    @ivar lost: how many got nothing.

    @ivar duplicates: how many right replies came again.

    @ivar late: how many got the right reply, but after the timeout.

    @ivar outOfOrder: how many right replies came after that to a later probe.

    @ivar wrong: how many replies were not the right ones.

    @ivar kinds: how many of the wrong replies were of which kind, as in
        L{shout.probes.WRONG}.

    @ivar mistaken: how many probes got wrong replies alone.

    @ivar refused: how many probes were refused.

    @ivar refusals: how many refusals there were of each reason.

    @ivar old: how many right replies came so late that they cannot be told from
        duplicates.

    @ivar trips: the record of the round trips of what was answered.

    @ivar jitter: by how much the round trips of two successive probes differ on
        average (RFC 3393), in nanoseconds; L{None} when no two were answered.

    @ivar duration: from the first probe to the last, in nanoseconds.

    @ivar hasKernelTimes: whether the system told when replies arrived; if not,
        the time that this program took is in the round trips.

    @ivar skipped: how many probes were due but were not sent, as this machine
        could not.

    @ivar kernelDrops: how many replies this machine had no room for.

    @ivar withdrawn: how many probes were on their way at the end, and are not
        in these figures.
    """

    host: str
    address: str
    port: int | None
    sent: int
    answered: int
    lost: int
    duplicates: int
    late: int
    outOfOrder: int
    wrong: int
    kinds: Mapping[str, int]
    mistaken: int
    refused: int
    refusals: Mapping[str, int]
    old: int
    trips: Trips
    jitter: int | None
    duration: int
    hasKernelTimes: bool
    skipped: int
    kernelDrops: int
    withdrawn: int

    @property
    def roundTrips(self) -> RoundTrips | None:
        """
        The round trips of what was answered in time; L{None} when nothing was.
        """
        return summarize(self.trips)

    @property
    def unanswered(self) -> float:
        """
        How much of what was sent was not answered in time, for whatever reason,
        in percent.
        """
        return 100 * (1 - self.answered / self.sent) if self.sent else 0.0

    @property
    def loss(self) -> float:
        """
        How much of what was sent is lost, in percent.
        """
        return 100 * self.lost / self.sent if self.sent else 0.0

    @property
    def rate(self) -> float:
        """
        How many probes were sent per second; 0 when it was only one.
        """
        return (self.sent - 1) * 1e9 / self.duration if self.duration else 0.0


async def ping(
    host: str = "127.0.0.1",
    port: int = 9999,
    *,
    unix: str | None = None,
    family: int = socket.AF_UNSPEC,
    count: int | None = 10,
    interval: float = 1.0,
    size: int = 56,
    timeout: float = 1.0,
    deadline: float | None = None,
    heard: Callable[[Event], object] = lambda event: None,
    reactor: Any = None,
) -> Result:
    """
    Measure a shout server.

    @param host: a name, an IPv4 address or an IPv6 address.

    @param port: the UDP port, 1 to 65535.

    @param unix: the path of a UNIX socket, or its abstract name with an C{@}
        before it, to measure that instead of C{host} and C{port}.

    @param family: L{socket.AF_INET} or L{socket.AF_INET6}, to use the addresses
        of one family only.

    @param count: how many probes to send; L{None} for no end but C{deadline}.

    @param interval: how long there is from one probe to the next, in seconds;
        less than a millisecond makes several leave at a time.

    @param size: how many bytes a probe has.

    @param timeout: how long to wait for a reply, in seconds.

    @param deadline: how long it all may take, in seconds.  Sending stops one
        C{timeout} earlier.

    @param heard: called with each L{Event}.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider; by default the
        global one.

    @return: the figures.

    @raise UnknownHost: when C{host} leads to no address.

    @raise AskError: when there is no way there.

    @raise ValueError: when a number is out of range, or neither C{count} nor
        C{deadline} is given.
    """
    if count is None and deadline is None:
        raise ValueError("without a count or a deadline it would never end")
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be from 1 to 65535, not {port}")
    if (count is not None and count < 1) or (deadline is not None and deadline <= 0):
        raise ValueError("the count and the deadline must be above 0")
    if not (interval > 0 and timeout > 0):
        raise ValueError("the interval and the timeout must be above 0")
    if size < SMALLEST:
        raise ValueError(f"the size must be at least {SMALLEST}, not {size}")
    if reactor is None:
        from twisted.internet import reactor
    target = await reach(host, port, unix, family, reactor)
    plan = Plan(count, interval, size, timeout, deadline)
    pinging = Pinging(target.open(), plan, heard, reactor)
    await pinging.start()
    return resultOf(target, pinging)


def resultOf(target: Target, pinging: Pinging) -> Result:
    """
    Return the figures of a measurement, which may still be running.
    """
    tally: Tally = pinging.tally
    return Result(
        host=target.host,
        address=target.address,
        port=target.port,
        sent=tally.sent,
        answered=tally.answered,
        lost=tally.lost,
        duplicates=tally.duplicates,
        late=tally.late,
        outOfOrder=tally.outOfOrder,
        wrong=sum(tally.wrong.values()),
        kinds={kind: tally.wrong[kind] for kind in WRONG if tally.wrong[kind]},
        mistaken=tally.mistaken,
        refused=tally.refused,
        refusals=dict(tally.refusals),
        old=tally.old,
        trips=tally.trips,
        jitter=_divide(tally.variation, tally.variations),
        duration=pinging.ended - pinging.began,
        hasKernelTimes=pinging.hasKernelTimes,
        skipped=pinging.skipped,
        kernelDrops=pinging.kernelDrops,
        withdrawn=pinging.withdrawn,
    )


def summarize(trips: Trips) -> RoundTrips | None:
    """
    Return what there is to say about round trips; L{None} when there is none.
    """
    average = mean(trips)
    if average is None:
        return None
    p50, p90, p99 = (percentile(trips, each) or 0 for each in (50, 90, 99))
    return RoundTrips(
        trips.least, average, p50, p90, p99, trips.most, deviation(trips) or 0
    )


def mean(trips: Trips) -> int | None:
    """
    Return the arithmetic mean, rounded to whole nanoseconds; L{None} when there
    is none.
    """
    return _divide(trips.total, trips.count)


def deviation(trips: Trips) -> int | None:
    """
    Return the standard deviation of all of them, in whole nanoseconds, rounded
    down; L{None} when there is none.
    """
    if not trips.count:
        return None
    return isqrt(trips.count * trips.squares - trips.total**2) // trips.count


def percentile(trips: Trips, percent: int) -> int | None:
    """
    Return the round trip that so many percent do not exceed, by nearest rank
    and within 0.4 %, in nanoseconds; L{None} when there is none.

    @param percent: from 1 to 100.
    """
    rank = -(-trips.count * percent // 100)
    for bucket in trips.buckets():
        rank -= bucket.trips
        if rank <= 0:
            middle = (bucket.low + bucket.high - 1) // 2
            return max(trips.least, min(middle, trips.most))
    return None


def _divide(total: int, count: int) -> int | None:
    """
    Divide and round to the nearest whole number.
    """
    return (2 * total + count) // (2 * count) if count else None
