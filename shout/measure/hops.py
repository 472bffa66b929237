"""
The hops of flows, and the place where some of them part from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Hop(NamedTuple):
    """
    A hop of a flow.

    A hop that answers no probe has neither an address nor a round trip.  A hop with an
    address alone is inferred: enough other flows got their answers from that address.

    @ivar ttl: The TTL or hop limit of the probes that end at the hop.

    @ivar address: The address that the hop answers from; C{None} if it is silent.

    @ivar roundTrip: Nanoseconds from the probe to the answer; C{None} if the hop is
        silent or inferred.

    @ivar reason: The error that ends the way here, such as "administratively
        prohibited", or the fault of a wrong reply; empty for other hops.

    @ivar isTarget: C{True} if the application answered, in capitals.
    """

    ttl: int
    address: str | None = None
    roundTrip: int | None = None
    reason: str = ""
    isTarget: bool = False


FlowHops = Mapping[int, Sequence[Hop]]
"""
The hops of each flow in order, beginning with TTL 1, by the flow's source port.
"""


class Row(NamedTuple):
    """
    The flows that one address answered at one TTL.

    @ivar ttl: The TTL.

    @ivar address: The address; C{None} for the flows that got no answer.

    @ivar flows: The source ports of the flows.

    @ivar hops: The hop of each of these flows.

    @ivar likely: Number of flows that probably pass the address, including those that
        got no answer from it: flows with the same hop before and after, where no
        other address answers between these two.
    """

    ttl: int
    address: str | None
    flows: tuple[int, ...]
    hops: tuple[Hop, ...]
    likely: int


def merge(hops: FlowHops) -> list[Row]:
    """
    Merge the hops of all flows.

    @return: The rows by TTL, the silent one of a TTL last and the others by the number
        of their flows.
    """
    rows: list[Row] = []
    for ttl in range(1, max(map(len, hops.values()), default=0) + 1):
        found: dict[str | None, list[int]] = {}
        places: dict[int, tuple[str | None, str | None]] = {}
        for port, path in sorted(hops.items()):
            if len(path) >= ttl:
                found.setdefault(path[ttl - 1].address, []).append(port)
                before, after = _addressAt(path, ttl - 1), _addressAt(path, ttl + 1)
                if after and (before or ttl == 1):
                    places[port] = before, after
        silent = [places[port] for port in found.get(None, ()) if port in places]
        for address, ports in sorted(
            found.items(), key=lambda item: (item[0] is None, -len(item[1]))
        ):
            likely = len(ports)
            if address is not None and silent:
                others = {
                    p for a, ports in found.items() if a != address for p in ports
                }
                others -= set(found[None])
                taken = {places[port] for port in others if port in places}
                own = {places[port] for port in ports if port in places} - taken
                likely += sum(place in own for place in silent)
            path = tuple(hops[port][ttl - 1] for port in ports)
            rows.append(Row(ttl, address, tuple(ports), path, likely))
    return rows


def _addressAt(path: Sequence[Hop], ttl: int) -> str | None:
    return path[ttl - 1].address if 1 <= ttl <= len(path) else None
