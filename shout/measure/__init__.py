"""
Measuring a shout server: whether datagrams get through to it and back, how long
that takes, and how many get lost.

From a program of your own::

    from shout import ping

    result = await ping("192.0.2.2", 9999, count=100, interval=0.01)
    print(result.lost, result.roundTrips.p99)

The statistics are functions of a L{Histogram<shout.measure.histogram.Histogram>} and nothing
else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf, isqrt
from typing import Any

from shout.measure.histogram import Histogram
from shout.measure.probe import SMALLEST, WRONG
from shout.measure.result import Event, Result, RoundTrips
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import Target, reach

__all__ = [
    "Event",
    "Result",
    "RoundTrips",
    "Schedule",
    "deviation",
    "mean",
    "percentile",
    "ping",
    "summarize",
]


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
    onEvent: Callable[[Event], object] = lambda event: None,
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

    @param size: how many bytes a probe has; at most 65507 over IPv4, 65527 over
        IPv6, and 212960 to a UNIX socket.

    @param timeout: how long to wait for a reply, in seconds.

    @param deadline: how long it all may take, in seconds.  Sending stops so long
        before that the last probe has its time: three times the longest round
        trip, or C{timeout} as long as there is none, but then not more than half
        of it all.

    @param heard: called with each L{Event}; what it raises is logged.

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
    if count is not None and not (isinstance(count, int) and count > 0):
        raise ValueError(f"the count must be a whole number above 0, not {count}")
    for seconds in (interval, timeout, 1 if deadline is None else deadline):
        if not 0 < seconds < inf:
            raise ValueError(f"a time must be above 0 and end, not {seconds}")
    if reactor is None:
        from twisted.internet import reactor
    target = await reach(host, port, unix, family, reactor)
    if not (isinstance(size, int) and SMALLEST <= size <= target.largest):
        raise ValueError(
            f"the size must be a whole number from {SMALLEST} to {target.largest}, "
            f"not {size}"
        )
    schedule = Schedule(count, interval, size, timeout, deadline)
    session = PingSession(target.open(), schedule, onEvent, reactor)
    await session.start()
    return resultOf(target, session)


def resultOf(target: Target, session: PingSession) -> Result:
    """
    Return the figures of a measurement, which may still be running.
    """
    tracker = session.tracker
    return Result(
        host=target.host,
        address=target.address,
        port=target.port,
        sent=tracker.sent,
        answered=tracker.answered,
        lost=tracker.lost,
        duplicates=tracker.duplicates,
        late=tracker.late,
        outOfOrder=tracker.outOfOrder,
        wrong=sum(tracker.wrong.values()),
        kinds={kind: tracker.wrong[kind] for kind in WRONG if tracker.wrong[kind]},
        answeredWrong=tracker.answeredWrong,
        refused=tracker.refused,
        icmpErrors=dict(tracker.icmpErrors),
        outOfWindow=tracker.outOfWindow,
        histogram=tracker.histogram,
        roundTrips=summarize(tracker.histogram),
        jitter=_divide(tracker.variation, tracker.variations),
        duration=session.ended - session.began,
        hasKernelTimes=session.hasKernelTimes,
        skipped=session.skipped,
        kernelDrops=session.kernelDrops,
        inFlightAtEnd=session.inFlightAtEnd,
    )


def summarize(histogram: Histogram) -> RoundTrips | None:
    """
    Return what there is to say about round trips; L{None} when there is none.
    """
    average = mean(histogram)
    if average is None:
        return None
    p50, p90, p99 = (percentile(histogram, each) or 0 for each in (50, 90, 99))
    return RoundTrips(
        histogram.least,
        average,
        p50,
        p90,
        p99,
        histogram.most,
        deviation(histogram) or 0,
    )


def mean(histogram: Histogram) -> int | None:
    """
    Return the arithmetic mean, rounded to whole nanoseconds; L{None} when there
    is none.
    """
    return _divide(histogram.total, histogram.count)


def deviation(histogram: Histogram) -> int | None:
    """
    Return the standard deviation of all of them, in whole nanoseconds, rounded
    down; L{None} when there is none.
    """
    if not histogram.count:
        return None
    return (
        isqrt(histogram.count * histogram.squares - histogram.total**2)
        // histogram.count
    )


def percentile(histogram: Histogram, percent: int) -> int | None:
    """
    Return the round trip that so many percent do not exceed, by nearest rank
    and within 0.4 %, in nanoseconds; L{None} when there is none.

    @param percent: from 1 to 100.
    """
    rank = -(-histogram.count * percent // 100)
    for bucket in histogram.buckets():
        rank -= bucket.histogram
        if rank <= 0:
            middle = (bucket.low + bucket.high - 1) // 2
            return max(histogram.least, min(middle, histogram.most))
    return None


def _divide(total: int, count: int) -> int | None:
    """
    Divide and round to the nearest whole number.
    """
    return (2 * total + count) // (2 * count) if count else None
