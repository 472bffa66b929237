"""
The search for the largest datagrams that come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from socket import socket as Socket

from shout.measure.probe import MIN_SIZE
from shout.measure.result import LOST, REFUSED, REPLY, Event
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner
from shout.udp.sockopt import allowFragments

_TRIES = 3
_INTERVAL = 0.02

# The largest number of networks on the path, each narrower than the one before, of
# which the kernel can learn during one attempt.
_MAX_NARROWER = 8


@dataclass(frozen=True)
class MTUResult:
    """
    The result of the search, in bytes of payload.

    @ivar whole: Size of the largest datagram that came back, fragmented or not;
        C{None} if none did.

    @ivar unfragmented: Size of the largest that came back in one piece, with
        don't-fragment set; C{None} if none did, for a UNIX socket, and where the
        system cannot set it.

    @ivar headers: Length of the IP and UDP headers.

    @ivar largest: Size of the largest datagram possible.
    """

    whole: int | None
    unfragmented: int | None
    headers: int
    largest: int

    @property
    def pathMTU(self) -> int | None:
        """
        The path MTU as seen by UDP, in bytes; C{None} if unknown.
        """
        if self.unfragmented is None:
            return None
        return self.unfragmented + self.headers

    @property
    def isAtLeast(self) -> bool:
        """
        C{True} if the path MTU may be larger, because no larger datagram came back at
        all.
        """
        return self.unfragmented is not None and self.unfragmented == self.whole


NOTHING = MTUResult(None, None, 0, 0)
"""
The result if nothing was tried.
"""


def leastOf(flows: Sequence[MTUResult]) -> MTUResult:
    """
    Return the result of several flows to a target: the largest datagram that came back
    in any, and the largest that came back unfragmented in each that has one.
    """
    whole = [flow.whole for flow in flows if flow.whole is not None]
    sizes = [flow.unfragmented for flow in flows if flow.unfragmented is not None]
    if not whole:
        return NOTHING
    first = flows[0]
    return MTUResult(max(whole), min(sizes, default=None), first.headers, first.largest)


async def search(
    attempt: Callable[[int], Awaitable[bool]],
    least: int,
    most: int,
    guess: int | None = None,
) -> int | None:
    """
    Find the largest size that works, if all smaller ones work too.

    A pause of a host on the path can make any attempt fail, and look like a limit.  So
    the limit found is tried once more, and so is the smallest size.

    @param attempt: Returns C{True} if a size works.

    @param guess: A size that may be the largest; it is tried first.

    @return: The size, or C{None} if not even C{least} works.
    """
    if not (await attempt(least) or await attempt(least)):
        return None
    if await attempt(most):
        return most
    first = guess
    while True:
        failed = most
        if first is not None and least <= first < most:
            if not await attempt(first):
                failed = first
            elif await attempt(first + 1):
                least = first + 1
            else:
                least, failed = first, first + 1
        first = None
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


# Routers choose among parallel paths by the addresses and ports of a flow, and over
# IPv6 perhaps by its flow label.  So one socket is used from the first datagram to the
# last.  Another socket on the same source port would not do everywhere: Linux draws a
# hash for each connected socket, and routers in network namespaces may choose by it.
async def findMTU(
    runner: SearchRunner,
    sock: Socket,
    timeout: float,
    onStep: Callable[[int, bool, bool], object],
    like: MTUResult | None = None,
) -> MTUResult:
    """
    Find the largest datagrams that a target answers.

    Each size is tried up to three times, so an occasional loss does not count.

    @param runner: Measures the target.

    @param sock: A socket connected to the target.  It sends all datagrams, and so
        from one source port, and stays open.

    @param timeout: Seconds to wait for a reply.

    @param onStep: Called with each size, C{True} if it may be fragmented, and C{True}
        if it came back.

    @param like: The result of another flow to the target.  Fragments have no ports, so
        they take the same path in all flows, and are not sent again.  That path may be
        narrower than the one of this flow.

    @raise Stopped: If C{runner} was stopped.
    """
    target = runner.target
    most = target.largest

    async def attempt(size: int, mayFragment: bool) -> bool:
        isBack = await comesBack(runner, sock, size, timeout, mayFragment)
        onStep(size, mayFragment, isBack)
        return isBack

    whole = guess = unfragmented = None
    if like is not None:
        whole, guess = like.whole, like.unfragmented
    if whole is None:
        allowFragments(sock, True)
        whole = await search(lambda size: attempt(size, True), MIN_SIZE, most)
    if whole is not None and allowFragments(sock, False):
        limit = whole if like is None else most
        unfragmented = await search(
            lambda size: attempt(size, False), MIN_SIZE, limit, guess
        )
        whole = max(whole, unfragmented or 0)
    return MTUResult(whole, unfragmented, target.headers, most)


async def comesBack(
    runner: SearchRunner, sock: Socket, size: int, timeout: float, mayFragment: bool
) -> bool:
    """
    Return C{True} if a datagram of a size comes back.

    @param mayFragment: C{True} if it may come back in fragments.
    """
    isBack = hasLearned = False

    def isLast(event: Event) -> bool:
        nonlocal isBack, hasLearned
        if event.kind == REPLY and (mayFragment or not event.header.isFragmented):
            isBack = True
        if mayFragment and event.error is not None and event.error.mtu is not None:
            # The kernel will send smaller fragments now.
            hasLearned = True
            return False
        # A late reply would not count, so there is no need to wait for one.
        isLastLost = event.kind == LOST and event.number == _TRIES
        # An ICMP error without a number may be about a size tried earlier.
        isRefused = event.kind == REFUSED and event.number is not None
        return isLastLost or isRefused or event.kind == REPLY

    schedule = Schedule(_TRIES, _INTERVAL, size, timeout)
    for _ in range(_MAX_NARROWER):
        hasLearned = False
        await runner.measure(schedule, sock, isLast)
        if isBack or not hasLearned:
            break
    return isBack
