"""
Who gets an answer.

A server that answers everybody can be made to answer somebody who never asked,
or another server like itself, for ever.  A L{Guard} asks its rules before a
reply goes out.  Nothing here does I/O, and the memory is bounded however many
sources there are.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from shout.sources import SourceRule, ipOf, refuseReflectors

# How many sources to remember at a time, of each kind.
_CAPACITY = 10_000

Rule = Callable[[bytes, bytes, Any], "str | None"]
"""
Is given a datagram, the reply to it, and the peer's address; returns why the
peer gets no answer, in a word or two, or L{None}.  Reasons are counted and
logged, so they must come from a small, fixed set.  One that raises leaves the
datagram unanswered, and may be asked about the others of its batch again.
"""


class TokenBuckets:
    """
    A token bucket per key, for the keys used last.

    It is kept as the time at which the bucket will be full again (known as the
    generic cell rate algorithm, ITU-T I.371), so there is nothing to refill.

    @cvar shortWhile: how many seconds without use, from when the bucket is full
        again, are not long.
    """

    shortWhile = 10.0

    def __init__(
        self,
        rate: float,
        burst: int,
        seconds: Callable[[], float] = time.monotonic,
        capacity: int = _CAPACITY,
    ) -> None:
        """
        @param rate: how many tokens come in, per second.

        @param burst: how many there are at most.

        @param seconds: returns the present time, in seconds.

        @param capacity: how many keys to remember; the one that was used least
            recently is forgotten, which fills its bucket.

        @raise ValueError: when the rate is not above 0, or the burst below 1.
        """
        if rate <= 0 or burst < 1:
            raise ValueError(f"no bucket has {rate} per second and {burst} at once")
        self._interval = 1 / rate
        # The hundredth is for clocks that count coarsely, and sums that err.
        self._tolerance = (burst - 1 + 0.01) * self._interval
        self._seconds = seconds
        self._capacity = capacity
        self._states: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    @property
    def isThrashing(self) -> bool:
        """
        Whether keys are forgotten that were used a short while ago.
        """
        if len(self._states) < self._capacity:
            return False
        full, _ = next(iter(self._states.values()))
        return self._seconds() - full < self.shortWhile

    def take(self, key: Hashable) -> int:
        """
        Take a token.

        @return: how many have been taken from the bucket, this one included; 0
            when it is empty.
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
    Refuse what keeps two servers busy with each other.

    In a loop between two servers every datagram equals the reply to it: capitals
    stay capitals.  Such fixed points are restrained, per peer.  A bucket lets
    C{burst} through at once and then C{rate} per second, which ends all loops
    but those in which less than that is under way.  Of what the bucket lets
    through, every C{period}-th is dropped, which ends these too: one drop ends
    one looping datagram, however long its round trip.

    Where there are more peers in loops than can be remembered, each comes back
    as a new one.  Of those one of C{period} is dropped, too, by chance, as long as
    peers are forgotten a short while after they were last heard of; see
    L{TokenBuckets.shortWhile}.

    @cvar rate: fixed points per second and peer.

    @cvar burst: fixed points at once, per peer.

    @cvar period: of how many fixed points one is dropped.
    """

    rate = 1.0
    burst = 100
    period = 128

    def __init__(
        self,
        seconds: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        @param seconds: returns the present time, in seconds.

        @param chance: returns a random number, from 0 to less than 1.
        """
        self._buckets = TokenBuckets(self.rate, self.burst, seconds)
        self._chance = chance

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        if datagram != reply:
            return None
        taken = self._buckets.take(addr)
        if taken == 1 and self._buckets.isThrashing:
            taken = int(self._chance() * self.period)
        return None if taken % self.period else "loop"


class Limit:
    """
    Refuse what is more than so many replies per second to one source: an IPv4
    address, the /64 of an IPv6 address, a link-local IPv6 address, or a UNIX
    socket.
    """

    def __init__(
        self, rate: float, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param rate: replies per second, above 0; twice as many at once.

        @param seconds: returns the present time, in seconds.
        """
        self._buckets = TokenBuckets(rate, max(1, int(2 * rate)), seconds)

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        source = _network(addr[0]) if isinstance(addr, tuple) else addr
        return None if self._buckets.take(source) else "over the limit"


@lru_cache(maxsize=_CAPACITY)
def _network(host: str) -> str | bytes:
    ip = ipOf(host)
    # All neighbours have the same link-local network.
    if isinstance(ip, IPv6Address) and not ip.is_link_local:
        return ip.packed[:8]
    return host


class Guard:
    """
    Ask rules whether a reply may go out.

    @ivar known: sources of which nothing but a fixed point will be refused, so
        that L{refuse} need not be asked.
    @type known: L{set}

    @ivar exempt: sources to which every reply may go out, whatever the rules say:
        the service's own, which never answer what they receive.
    @type exempt: L{set}
    """

    def __init__(
        self,
        sources: Iterable[SourceRule] = (refuseReflectors,),
        loops: Rule | None = None,
        rules: Iterable[Rule] = (),
    ) -> None:
        """
        @param sources: asked once about each source.

        @param loops: asked about fixed points: datagrams that equal the reply
            to them; by default L{LoopGuard}.

        @param rules: asked about each datagram.
        """
        self.accepted: set[Any] = set()
        self.exempt: set[Any] = set()
        self._sources = tuple(sources)
        self._loops = LoopGuard() if loops is None else loops
        self._rules = tuple(rules)
        self._verdicts: dict[Any, str | None] = {}

    def check(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        if addr in self.exempt:
            return None
        try:
            reason = self._verdicts[addr]
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
        if len(self._verdicts) >= _CAPACITY:
            self._verdicts.clear()
            self.accepted.clear()
        reasons = (rule(addr) for rule in self._sources)
        reason = next((reason for reason in reasons if reason is not None), None)
        self._verdicts[addr] = reason
        if reason is None and not self._rules:
            self.accepted.add(addr)
        return reason
