"""
The largest datagrams that come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import socket as Socket

from shout.measure.probe import SMALLEST
from shout.measure.result import LOST, REFUSED, REPLY, Event
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner
from shout.udp.icmp import TOO_BIG
from shout.udp.sockopt import allowFragments, omitFlowLabel

# The IP header without options and the UDP header (RFC 791, RFC 8200).
_HEADERS_IPv4, _HEADERS_IPv6 = 28, 48

_TRIES = 3
_APART = 0.02

# How many narrower networks one after the other can be learned of on the way.
_LESSONS = 8


@dataclass(frozen=True)
class MTUResult:
    """
    What was found out, in bytes of payload.

    @ivar whole: the largest datagram that came back, in however many fragments;
        L{None} when none did.

    @ivar unfragmented: the largest that came back in one piece, with
        don't-fragment set; L{None} when none did, or this system, or a UNIX
        socket, has no such thing.

    @ivar headers: how many bytes of IP and UDP headers go with it.

    @ivar largest: the largest that there can be.
    """

    whole: int | None
    unfragmented: int | None
    headers: int
    largest: int

    @property
    def pathMTU(self) -> int | None:
        """
        The path MTU as UDP sees it, in bytes; L{None} when it is not known.
        """
        if self.unfragmented is None:
            return None
        return self.unfragmented + self.headers

    @property
    def isAtLeast(self) -> bool:
        """
        Whether the path MTU may be larger than that, as no larger datagram came
        back at all.
        """
        return self.unfragmented is not None and self.unfragmented == self.whole


NOTHING = MTUResult(None, None, 0, 0)
"""
What is known when nothing was tried.
"""


async def search(
    attempt: Callable[[int], Awaitable[bool]], least: int, most: int
) -> int | None:
    """
    Find the largest size that works, where all that are smaller work too.

    A pause of a host on the way can make any size fail, and would be taken for a
    limit.  So the limit that is found is tried once more, and so is the smallest size.

    @param attempt: tries a size.

    @param least: the smallest size.

    @param most: the largest size.

    @return: L{None} when even the smallest does not.
    """
    if not (await attempt(least) or await attempt(least)):
        return None
    if await attempt(most):
        return most
    while True:
        failed = most
        while failed - least > 1:
            middle = (least + failed) // 2
            if await attempt(middle):
                least = middle
            else:
                failed = middle
        if not await attempt(failed):
            return least
        if failed == most:
            return most
        least = failed


# Where there are parallel paths, routers choose one for each flow by its addresses
# and ports, and over IPv6 perhaps by its flow label.  So one socket lasts from the
# first datagram to the last.  Another one on the same source port would not do
# everywhere: Linux draws a hash for each socket that connects, and a router in a
# network namespace of this machine may choose by that.
async def findMTU(
    runner: SearchRunner,
    sock: Socket,
    timeout: float,
    onStep: Callable[[int, bool, bool], object],
) -> MTUResult:
    """
    Find the largest datagrams that a target answers whole.

    Each size is tried up to three times, so that a loss now and then does not
    decide.

    @param attempts: measures the target.

    @param sock: a socket that is connected to the target.  All datagrams are sent
        from it, and so from one source port.  It stays open.

    @param timeout: how long to wait for a reply, in seconds.

    @param tried: called with each size, whether it may be fragmented, and
        whether it came back.

    @raise Stopped: when C{attempts} was stopped.
    """
    target = runner.target
    most, headers = target.largest, 0
    if target.port is not None:
        headers = _HEADERS_IPv6 if target.isIPv6 else _HEADERS_IPv4

    async def attempt(size: int, isAllowed: bool) -> bool:
        isWhole = await comesBack(runner, sock, size, timeout, isAllowed)
        onStep(size, isAllowed, isWhole)
        return isWhole

    omitFlowLabel(sock)
    allowFragments(sock, True)
    whole = await search(lambda size: attempt(size, True), SMALLEST, most)
    unfragmented = None
    if whole is not None and allowFragments(sock, False):
        unfragmented = await search(lambda size: attempt(size, False), SMALLEST, whole)
    return MTUResult(whole, unfragmented, headers, most)


async def comesBack(
    runner: SearchRunner, sock: Socket, size: int, timeout: float, isAllowed: bool
) -> bool:
    """
    Tell whether a datagram of a size comes back whole.

    @param isAllowed: whether it may come back in fragments.
    """
    for _ in range(_LESSONS):
        found, hasLearned = await _try(runner, sock, size, timeout, isAllowed)
        if found or not hasLearned:
            break
    return found


async def _try(
    runner: SearchRunner, sock: Socket, size: int, timeout: float, isAllowed: bool
) -> tuple[bool, bool]:
    """
    Try a size.

    @return: whether it came back whole, and whether this system has learned to
        cut the next one into smaller fragments.
    """
    found = hasLearned = False

    def isEnough(event: Event) -> bool:
        nonlocal found, hasLearned
        if event.kind == REPLY and (isAllowed or not event.isFragmented):
            found = True
        if isAllowed and event.kind == REFUSED and event.detail == TOO_BIG:
            hasLearned = True
            return False
        # What would come late does not count.
        isLast = event.kind == LOST and event.number == _TRIES
        # An ICMP error without a number may be about a size tried earlier.
        isRefused = event.kind == REFUSED and event.number is not None
        return isLast or isRefused or event.kind == REPLY

    await runner.measure(Schedule(_TRIES, _APART, size, timeout), sock, isEnough)
    return found, hasLearned
