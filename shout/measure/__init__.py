"""
Measuring a shout server: reachability, round trips and loss.

From a program of your own::

    from shout import ping

    result = await ping("192.0.2.2", 9999, count=100, interval=0.01)
    print(result.lost, result.roundTrips.p99)
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from typing import Any

from shout.measure.histogram import RoundTrips
from shout.measure.probe import MIN_SIZE
from shout.measure.result import Event, Result
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import resolveTarget

__all__ = ["Event", "Result", "RoundTrips", "Schedule", "ping"]


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

    @param host: A name, an IPv4 address or an IPv6 address.

    @param port: The UDP port, 1 to 65535.

    @param unix: The path of a UNIX socket, or its abstract name after an C{@}; it
        takes the place of C{host} and C{port}.

    @param family: C{socket.AF_INET} or C{socket.AF_INET6} to use addresses of one
        family only.

    @param count: Number of probes to send; C{None} for no limit but C{deadline}.

    @param interval: Seconds from one probe to the next.  Below a millisecond several
        probes leave together.

    @param size: Size of a probe in bytes, from 32 to 65507 over IPv4, to 65527 over
        IPv6, and to 212960 for a UNIX socket.

    @param timeout: Seconds to wait for a reply.

    @param deadline: Seconds until the measurement ends; C{None} for no limit.  The
        last probe is sent early enough for its reply: three times the longest round
        trip before the deadline.  Until something has been answered it is C{timeout}
        before, or half of the time if that is less.

    @param onEvent: Called with each L{Event}; its exceptions are logged.

    @param reactor: An L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider; the global one by
        default.

    @return: The figures.

    @raise UnknownHost: If C{host} has no address.

    @raise AskError: If the server cannot be reached.

    @raise ValueError: If a number is out of range, or there is neither C{count} nor
        C{deadline}.
    """
    if count is None and deadline is None:
        raise ValueError("a measurement needs a count or a deadline to end")
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be from 1 to 65535, not {port}")
    if count is not None and not (isinstance(count, int) and count > 0):
        raise ValueError(f"the count must be a whole number above 0, not {count}")
    for seconds in (interval, timeout, 1 if deadline is None else deadline):
        if not 0 < seconds < inf:
            raise ValueError(f"a time must be above 0 and finite, not {seconds}")
    if reactor is None:
        from twisted.internet import reactor
    target = await resolveTarget(host, port, unix, family, reactor)
    if not (isinstance(size, int) and MIN_SIZE <= size <= target.largest):
        raise ValueError(
            f"the size must be a whole number from {MIN_SIZE} to {target.largest}, "
            f"not {size}"
        )
    schedule = Schedule(count, interval, size, timeout, deadline)
    sockets = [[target.open()]]
    session = PingSession(sockets, schedule, lambda event, _: onEvent(event), reactor)
    await session.start()
    return session.result(target)
