"""
Rules that decide whether a datagram gets a reply.

A server that answers every datagram can be abused: a forged source address makes it
send replies to a third party, or start an endless loop with another server.  A
L{Guard} checks its rules before a reply is sent.  Nothing here does I/O, and memory is
bounded for any number of sources.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from shout.sockets.address import ipOf
from shout.sources import SourceRule, refuseReflectors

# Number of sources in each table.
_CAPACITY = 10_000

Rule = Callable[[bytes, bytes, Any], "str | None"]
"""
A function from a datagram, its reply and the peer's address to the reason why the reply
is refused, or C{None}.

Reasons are counted and logged, so they are a few words from a small, fixed set.  If a
rule raises, its datagram gets no reply.
"""


class TokenBuckets:
    """
    A token bucket per key, for the most recently used keys.

    A bucket is stored as the time at which it will be full again, so nothing has to be
    refilled.  This is the generic cell rate algorithm (ITU-T I.371).

    @cvar thrashingAge: Seconds since the bucket of the oldest key was full, below
        which L{isThrashing} is true.
    """

    thrashingAge = 10.0

    def __init__(
        self,
        rate: float,
        burst: int,
        seconds: Callable[[], float] = time.monotonic,
        capacity: int = _CAPACITY,
    ) -> None:
        """
        @param rate: Tokens added per second, above 0.

        @param burst: Number of tokens in a full bucket, at least 1.

        @param seconds: Returns the present time in seconds.

        @param capacity: Number of keys.  The least recently used key is forgotten,
            which fills its bucket.

        @raise ValueError: The rate or the burst is too low.
        """
        if rate <= 0 or burst < 1:
            raise ValueError(
                "the rate must be above 0 and the burst at least 1, "
                f"not {rate} and {burst}"
            )
        self._interval = 1 / rate
        # The hundredth allows for clocks with a low resolution and rounding errors.
        self._tolerance = (burst - 1 + 0.01) * self._interval
        self._seconds = seconds
        self._capacity = capacity
        self._states: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    @property
    def isThrashing(self) -> bool:
        """
        C{True} if keys are being forgotten soon after they were used.
        """
        if len(self._states) < self._capacity:
            return False
        full, _ = next(iter(self._states.values()))
        return self._seconds() - full < self.thrashingAge

    def take(self, key: Hashable) -> int:
        """
        Take a token.

        @return: Number of tokens taken from the bucket so far, including this one; 0
            if the bucket is empty.
        """
        now = self._seconds()
        full, taken = self._states.get(key, (now, 0))
        full = max(full, now)
        if full - now > self._tolerance:
            self._states.move_to_end(key)
            return 0
        taken += 1
        self._states[key] = (full + self._interval, taken)
        self._states.move_to_end(key)
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)
        return taken


class LoopGuard:
    """
    A L{Rule} that ends loops between two servers.

    In such a loop every datagram equals its reply: capitals stay capitals.  These fixed
    points are limited per peer.  A token bucket passes C{burst} at once and then
    C{rate} per second, which ends a loop with more datagrams in flight.  Every
    C{period}-th fixed point that the bucket passes is dropped.  That ends all other
    loops, as one drop removes one looping datagram, however long the round trip.

    With more peers in loops than the buckets hold, each peer looks new every time.
    While the buckets are thrashing, a new peer's datagram is therefore dropped with a
    probability of 1 in C{period}.

    @cvar rate: Fixed points per second and peer.

    @cvar burst: Fixed points at once, per peer.

    @cvar period: Number of fixed points of which one is dropped.
    """

    rate = 1.0
    burst = 100
    period = 128

    def __init__(
        self,
        seconds: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param seconds: Returns the present time in seconds.

        @param random: Returns a random number, from 0 to less than 1.
        """
        self._buckets = TokenBuckets(self.rate, self.burst, seconds)
        self._random = random

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        if datagram != reply:
            return None
        taken = self._buckets.take(addr)
        if taken == 1 and self._buckets.isThrashing:
            taken = int(self._random() * self.period)
        return None if taken % self.period else "loop"


class Limit:
    """
    A L{Rule} that limits the replies per second to one source: an IPv4 address, the /64
    of an IPv6 address, a link-local IPv6 address, or a UNIX socket.
    """

    def __init__(
        self, rate: float, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param rate: Replies per second, above 0.  Twice as many can be sent at once.

        @param seconds: Returns the present time in seconds.
        """
        self._buckets = TokenBuckets(rate, max(1, int(2 * rate)), seconds)

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        source = _network(addr[0]) if isinstance(addr, tuple) else addr
        return None if self._buckets.take(source) else "over the limit"


@lru_cache(maxsize=_CAPACITY)
def _network(host: str) -> str | bytes:
    ip = ipOf(host)
    # All link-local addresses are in one network.
    if isinstance(ip, IPv6Address) and not ip.is_link_local:
        return ip.packed[:8]
    return host


class Guard:
    """
    The rules that are checked before a reply is sent.

    @ivar accepted: Sources for which no rule refuses anything but fixed points, so that
        L{check} can be skipped for other datagrams.

    @ivar exempt: Sources that get every reply, regardless of the rules.  They belong to
        the service itself, and never answer.
    """

    def __init__(
        self,
        sources: Iterable[SourceRule] = (refuseReflectors,),
        loops: Rule | None = None,
        rules: Iterable[Rule] = (),
    ) -> None:
        """
        @param sources: Rules that are checked once per source.

        @param loops: The rule for fixed points, which are datagrams that equal their
            reply; by default a L{LoopGuard}.

        @param rules: Rules that are checked for each datagram.
        """
        self.accepted: set[Any] = set()
        self.exempt: set[Any] = set()
        self._sources = tuple(sources)
        self._loops = LoopGuard() if loops is None else loops
        self._rules = tuple(rules)
        self._reasons: dict[Any, str | None] = {}

    def check(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Return the reason of the first rule that refuses a reply, or C{None}.
        """
        if addr in self.exempt:
            return None
        try:
            reason = self._reasons[addr]
        except KeyError:
            reason = self._classify(addr)
        if reason is None and datagram == reply:
            reason = self._loops(datagram, reply, addr)
        for rule in self._rules:
            if reason is not None:
                break
            reason = rule(datagram, reply, addr)
        return reason

    def _classify(self, addr: Any) -> str | None:
        if len(self._reasons) >= _CAPACITY:
            self._reasons.clear()
            self.accepted.clear()
        reasons = (rule(addr) for rule in self._sources)
        reason = next((reason for reason in reasons if reason is not None), None)
        self._reasons[addr] = reason
        if reason is None and not self._rules:
            self.accepted.add(addr)
        return reason
