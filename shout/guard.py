"""
Who gets an answer.

A server that answers everybody can be made to answer somebody who never asked,
or another server like itself, for ever.  A L{Guard} asks its rules before a
reply goes out.  Nothing here does I/O, and the memory is bounded however many
sources there are.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

REFLECTORS = frozenset({1900, 3702, 5353, 11211})
"""
Ports from 1024 on whose services answer anybody: SSDP, WS-Discovery, multicast
DNS and memcached.  The source is the alert TA14-017A of the CISA; the other
ports that it names are below 1024, or belong to games and file sharing, which
honest clients use too.
"""

# How many sources to remember at a time, of each kind.
_CAPACITY = 10_000

Rule = Callable[[bytes, bytes, Any], "str | None"]
"""
Is given a datagram, the reply to it, and the peer's address; returns why the
peer gets no answer, in a word or two, or L{None}.  Reasons are counted and
logged, so they must come from a small, fixed set.
"""

SourceRule = Callable[[Any], "str | None"]
"""
The same, where the peer's address alone decides.
"""


def neverAsks(addr: Any) -> str | None:
    """
    Refuse sources that are forged, or that no client has: the ports below 1024
    and those of L{REFLECTORS}, and addresses that are not one host's.  Clients
    have neither; a datagram that seems to come from there makes whoever answers
    it the weapon.
    """
    ip = _ip(addr)
    if ip is None:
        return None
    port = addr[1]
    if port < 1024 or port in REFLECTORS:
        return "source port"
    if ip.is_multicast or ip.is_unspecified or ip in _BROADCAST:
        return "source address"
    return None


_BROADCAST = (IPv4Address("255.255.255.255"), IPv4Address("127.255.255.255"))


class Allow:
    """
    Refuse all sources but those of some networks.  UNIX sockets are not refused:
    the permissions of their paths say who may write to them.
    """

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """
        @param networks: those that are answered.
        """
        self._networks = tuple(map(_unmapped, networks))

    def __call__(self, addr: Any) -> str | None:
        """
        Be a L{SourceRule}.
        """
        if not isinstance(addr, tuple):
            return None
        ip = _ip(addr)
        if ip is not None and any(ip in network for network in self._networks):
            return None
        return "not allowed"


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """
    Return a network as IPv4 where it is one (RFC 4291, 2.5.5.2).
    """
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    if not mapped or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _ip(addr: Any) -> IPv4Address | IPv6Address | None:
    """
    Return the IP address of a peer, as IPv4 where it is one; L{None} for the
    peer of a UNIX socket.
    """
    if not isinstance(addr, tuple):
        return None
    try:
        ip = ip_address(addr[0])
    except ValueError:
        return None
    return (ip.version == 6 and ip.ipv4_mapped) or ip


class Buckets:
    """
    A token bucket per key, for the keys used last.

    It is kept as the time at which the bucket will be full again (known as the
    generic cell rate algorithm, ITU-T I.371), so there is nothing to refill.
    """

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
        """
        self._interval = 1 / rate
        self._tolerance = (burst - 1) * self._interval
        self._seconds = seconds
        self._capacity = capacity
        self._states: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, key: Hashable) -> int:
        """
        Take a token.

        @return: how many have been taken from the bucket, this one included; 0
            when it is empty.
        """
        now = self._seconds()
        full, taken = self._states.get(key, (now, 0))
        full = max(full, now)
        # A billionth of a second is less than clocks tell and sums err.
        if full - now > self._tolerance + 1e-9:
            self._states.move_to_end(key)
            return 0
        taken += 1
        self._states[key] = (full + self._interval, taken)
        self._states.move_to_end(key)
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)
        return taken


class Loops:
    """
    Refuse what keeps two servers busy with each other.

    In a loop between two servers every datagram equals the reply to it: capitals
    stay capitals.  Such fixed points are restrained, per peer.  A bucket lets
    C{burst} through at once and then C{rate} per second, which ends all loops
    but those in which less than that is under way.  Of what the bucket lets
    through, every C{period}-th is dropped, which ends these too: one drop ends
    one looping datagram, however long its round trip.

    @cvar rate: fixed points per second and peer.

    @cvar burst: fixed points at once, per peer.

    @cvar period: of how many fixed points one is dropped.
    """

    rate = 1.0
    burst = 200
    period = 128

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """
        @param seconds: returns the present time, in seconds.
        """
        self._buckets = Buckets(self.rate, self.burst, seconds)

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        if datagram != reply:
            return None
        return None if self._buckets.take(addr) % self.period else "loop"


class Limit:
    """
    Refuse what is more than so many replies per second to one source: an IPv4
    address, the /64 of an IPv6 address, or a UNIX socket.
    """

    def __init__(
        self, rate: float, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param rate: replies per second; twice as many at once.

        @param seconds: returns the present time, in seconds.
        """
        self._buckets = Buckets(rate, max(1, int(2 * rate)), seconds)

    def __call__(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        source = _network(addr[0]) if isinstance(addr, tuple) else addr
        return None if self._buckets.take(source) else "over the limit"


@lru_cache(maxsize=_CAPACITY)
def _network(host: str) -> str:
    ip = _ip((host,))
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((ip.packed, 64), strict=False))
    return host


class Guard:
    """
    Ask rules whether a reply may go out.

    @ivar known: sources of which nothing but a fixed point will be refused, so
        that L{refuse} need not be asked.
    @type known: L{set}
    """

    def __init__(
        self,
        sources: Sequence[SourceRule] = (neverAsks,),
        loops: Rule | None = None,
        rules: Sequence[Rule] = (),
    ) -> None:
        """
        @param sources: asked once about each source.

        @param loops: asked about fixed points: datagrams that equal the reply
            to them; by default L{Loops}.

        @param rules: asked about each datagram.
        """
        self.known: set[Any] = set()
        self._sources = sources
        self._loops = Loops() if loops is None else loops
        self._rules = rules
        self._verdicts: dict[Any, str | None] = {}

    def refuse(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        """
        Be a L{Rule}.
        """
        try:
            reason = self._verdicts[addr]
        except KeyError:
            reason = self._judge(addr)
        if reason is None and datagram == reply:
            reason = self._loops(datagram, reply, addr)
        for rule in self._rules:
            if reason is not None:
                break
            reason = rule(datagram, reply, addr)
        return reason

    def _judge(self, addr: Any) -> str | None:
        if len(self._verdicts) >= _CAPACITY:
            self._verdicts.clear()
            self.known.clear()
        reasons = (rule(addr) for rule in self._sources)
        reason = next((reason for reason in reasons if reason is not None), None)
        self._verdicts[addr] = reason
        if reason is None and not self._rules:
            self.known.add(addr)
        return reason
