"""
The hops of flows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple


class Hop(NamedTuple):
    """
    A hop of a flow.

    A silent hop has neither an address nor a round trip.  A hop with an address alone
    is inferred from those of other flows, which make another address improbable.

    @ivar ttl: The TTL or hop limit of the probes that end at the hop.

    @ivar address: The address that the hop answers from; C{None} for a silent one.

    @ivar roundTrip: Nanoseconds from the probe to the answer; C{None} for a silent hop,
        and an inferred one.

    @ivar reason: The ICMP error that ends the way here, such as "administratively
        prohibited", or the fault of a wrong reply; empty for other hops.

    @ivar isTarget: C{True} if the application has answered, in capitals.

    @ivar name: The name of the address, if it was looked up and found.
    """

    ttl: int
    address: str | None = None
    roundTrip: int | None = None
    reason: str = ""
    isTarget: bool = False
    name: str | None = None


FlowHops = Mapping[int, Sequence[Hop]]
"""
The hops of each flow in order, from TTL 1, by source port.
"""


class Row(NamedTuple):
    """
    The flows that have one address at one TTL.

    @ivar ttl: The TTL.

    @ivar address: The address; C{None} for the flows without an answer.

    @ivar hops: The hop of each of the flows by source port.

    @ivar silent: Number of other flows that probably pass the address, too, but got no
        answer: they have the same hops before and after, and no other flow has.
    """

    ttl: int
    address: str | None
    hops: Mapping[int, Hop]
    silent: int = 0


def merge(hops: FlowHops) -> list[Row]:
    """
    Merge the hops of all flows.

    @return: The rows in the order of the TTLs, and of the addresses at each TTL; that
        of flows without an answer is the last.
    """
    rows: list[Row] = []
    for ttl in range(1, 1 + max(map(len, hops.values()), default=0)):
        groups: dict[str | None, dict[int, Hop]] = {}
        for port, path in sorted(hops.items()):
            if len(path) >= ttl:
                groups.setdefault(path[ttl - 1].address, {})[port] = path[ttl - 1]
        places = {
            address: [_around(hops[port], ttl) for port in group]
            for address, group in groups.items()
        }
        silent = places.pop(None, [])
        for address in sorted(groups, key=sortKey):
            alike = 0
            if address is not None:
                others = {p for a in places if a != address for p in places[a]}
                own = {*places[address]} - others - {None}
                alike = sum(place in own for place in silent)
            rows.append(Row(ttl, address, groups[address], alike))
    return rows


def _around(path: Sequence[Hop], ttl: int) -> tuple[str, str] | None:
    """
    Return the addresses before and after a hop, or C{None} if they are not known.
    """
    before = path[ttl - 2].address if ttl > 1 else ""
    after = path[ttl].address if ttl < len(path) else None
    return None if before is None or after is None else (before, after)


def sortKey(address: str | None) -> tuple[int, int]:
    """
    Return the key that sorts addresses by their numbers, and C{None} after them.
    """
    if address is None:
        return 1, 0
    return 0, int(ip_address(address.partition("%")[0]))
