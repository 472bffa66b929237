"""
The place where the ways of hurt flows and of healthy ones part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import comb
from typing import NamedTuple

from shout.measure.hops import FlowHops, sortKey

# A result that is more probable than this without any cause may be chance.
_CHANCE = 0.01

# The share of healthy flows that a hop answers, unless its silence says nothing.
_NEARLY_ALL = 0.9

_MOST_LISTED = 8

_Groups = dict[str, set[int]]


def whereTheyPart(
    hurt: Collection[int], healthy: Collection[int], hops: FlowHops, kind: str
) -> list[str]:
    """
    Describe where hurt flows take other ways than healthy ones.

    Routers need not answer, so nothing is concluded from silence alone.

    @param hurt: The source ports of the hurt flows.

    @param healthy: The source ports of the healthy ones.

    @param kind: The words after "flows" for the hurt ones, such as "without an answer".

    @return: Sentences without full stops; none if either group has no traced flow.
    """
    return _Comparison(hops, {*hurt}, {*healthy}, kind).sentences()


class _Comparison:
    """
    The addresses of hurt flows and of healthy ones.
    """

    def __init__(
        self, hops: FlowHops, hurt: set[int], healthy: set[int], kind: str
    ) -> None:
        self._hops = hops
        self._hurt = hurt & hops.keys()
        self._healthy = healthy & hops.keys()
        self._kind = kind
        ports = self._hurt | self._healthy
        self._targets = {
            hop.address for port in ports for hop in hops[port] if hop.isTarget
        }
        # The flows at each router by TTL and address, and all flows by address.
        self._levels: dict[int, _Groups] = {}
        self._through: _Groups = {}
        for port in sorted(ports):
            for ttl, address in self._routersOf(port):
                self._levels.setdefault(ttl, {}).setdefault(address, set()).add(port)
                self._through.setdefault(address, set()).add(port)

    def _routersOf(self, port: int) -> list[tuple[int, str]]:
        """
        Return the TTLs and the addresses of the routers that answer a flow.
        """
        return [
            (hop.ttl, hop.address)
            for hop in self._hops[port]
            if hop.address is not None and hop.address not in self._targets
        ]

    def sentences(self) -> list[str]:
        if not self._hurt or not self._healthy:
            return []
        if not self._levels:
            return ["no router on the way answers, so the hops do not show the place"]
        sentences = []
        rest = set(self._hurt)
        while own := self._findOwn(rest):
            sentences.append(self._describeOwn(*own, rest))
            rest -= set().union(*own[1].values())
        # The flows without a hop of their own.
        silences: dict[_Silence | None, set[int]] = {}
        for port in sorted(rest):
            silences.setdefault(self._silenceOf(port), set()).add(port)
        ends = {
            silence: ports
            for silence, ports in silences.items()
            if silence is not None and silence.isEnd and silence.last is not None
        }
        if len({silence.last for silence in ends}) > 1:
            sentences.append(self._describeEnds(ends))
            silences = {
                silence: ports
                for silence, ports in silences.items()
                if silence not in ends
            }
        for silence, ports in silences.items():
            sentences.append(self._describeSilence(silence, ports))
        return sentences

    def _findOwn(self, hurt: set[int]) -> tuple[int, _Groups] | None:
        """
        Find the addresses that hurt flows go through, and no healthy one.

        @return: The TTL where these cover most of the flows, and the flows by address.
        """
        best: tuple[int, _Groups] | None = None
        most = 0
        for ttl, groups in sorted(self._levels.items()):
            own = {
                address: ports & hurt
                for address, ports in groups.items()
                if ports & hurt and not self._through[address] & self._healthy
            }
            covered = sum(map(len, own.values()))
            if covered > most:
                best, most = (ttl, own), covered
        return best

    def _describeOwn(self, ttl: int, own: _Groups, hurt: set[int]) -> str:
        covered = set().union(*own.values())
        name, go = self._name(covered, "all"), "goes" if len(covered) == 1 else "go"
        where = [
            address if len(own) == 1 else f"{address} ({len(ports)})"
            for address, ports in sorted(own.items(), key=lambda item: sortKey(item[0]))
        ]
        text = f"{name} {go} through {_list(where, 'or')}, and no other does"
        reasons = {
            f"{hop.address} answers: {hop.reason}"
            for port in covered
            for hop in self._hops[port]
            if hop.reason and hop.address not in self._targets
        }
        if reasons:
            text += f"; {_list(sorted(reasons), 'and')}"
        elif all(self._routersOf(port)[-1][1] in own for port in covered) and not any(
            hop.isTarget for port in covered for hop in self._hops[port]
        ):
            text += "; no hop behind answers"
        if self._probabilityOf(ttl, own) > _CHANCE:
            text += "; with so few flows this may be chance"
        return text

    def _probabilityOf(self, ttl: int, own: _Groups) -> float:
        """
        Return an upper bound of the probability that flows hurt at random would be all
        flows of as many addresses.
        """
        flows = len(self._hurt) + len(self._healthy)
        hurt, covered = len(self._hurt), sum(map(len, own.values()))
        ways = comb(len(self._levels[ttl]), len(own))
        return ways * comb(flows - covered, hurt - covered) / comb(flows, hurt)

    def _silenceOf(self, port: int) -> _Silence | None:
        """
        Return the first hop that answers healthy flows but not this one, if any.
        """
        routers = self._routersOf(port)
        for hop in self._hops[port]:
            if hop.address is None:
                before = [address for ttl, address in routers if ttl < hop.ttl]
                last = before[-1] if before else None
                answered = self._answeredAfter(last, hop.ttl)
                if answered:
                    isEnd = len(before) == len(routers)
                    return _Silence(hop.ttl, last, isEnd, answered)
        return None

    def _answeredAfter(self, last: str | None, ttl: int) -> tuple[str, ...]:
        """
        Return the addresses that answer healthy flows at a TTL, if nearly all of them
        are answered.

        @param last: A router that the flows share; C{None} for all flows.
        """
        healthy = self._healthy
        if last is not None:
            healthy = healthy & self._through[last]
        groups = self._levels.get(ttl, {})
        answered = {
            a: ports & healthy for a, ports in groups.items() if ports & healthy
        }
        count = sum(map(len, answered.values()))
        if not count or count < _NEARLY_ALL * len(healthy):
            return ()
        return tuple(sorted(answered, key=sortKey))

    def _describeEnds(self, ends: Mapping[_Silence, set[int]]) -> str:
        """
        Describe flows that end behind different routers, each with healthy flows that
        go on.
        """
        ports = set().union(*ends.values())
        routers = sorted({silence.last or "" for silence in ends}, key=sortKey)
        return (
            f"{self._name(ports, 'all')} share their hops with healthy flows, up to "
            f"{_list(routers, 'or')}, from where healthy flows go on: the way back is "
            "the likelier place, unless they share a hop that is silent"
        )

    def _describeSilence(self, silence: _Silence | None, ports: set[int]) -> str:
        name = self._name(ports, "the")
        if silence is None:
            its = "shares its" if len(ports) == 1 else "share their"
            return (
                f"{self._name(ports, 'all')} {its} hops with healthy flows: "
                "the way back is the likelier place"
            )
        where = _list(silence.others, "and")
        if not silence.isEnd:
            return (
                f"hop {silence.ttl} does not answer {name}, but healthy flows, "
                f"from {where}; later hops answer both"
            )
        text = f"the last hop that answers {name} is {silence.last}"
        if silence.last is None:
            text = f"no hop answers {self._name(ports, 'any of the')}"
        return (
            f"{text}; healthy flows go on through {where}; "
            "silence alone does not prove where the others end"
        )

    def _name(self, ports: Collection[int], article: str) -> str:
        """
        Return some of the hurt flows in words.

        @param article: The word before their number if they are all, and several.
        """
        count, every = len(ports), len(self._hurt)
        if every == 1:
            return f"the only flow {self._kind}"
        number = f"{count} of the" if count < every else article
        return f"{number} {every} flows {self._kind}"


class _Silence(NamedTuple):
    """
    A hop that does not answer hurt flows.

    @ivar ttl: Its TTL.

    @ivar last: The address of the last router before that answers; C{None} if there is
        none.

    @ivar isEnd: C{True} if no router behind it answers.

    @ivar others: The addresses from which it answers healthy flows.
    """

    ttl: int
    last: str | None
    isEnd: bool
    others: tuple[str, ...]


def _list(items: Sequence[str], last: str) -> str:
    """
    Return a list in words.
    """
    if len(items) > _MOST_LISTED:
        left = len(items) - _MOST_LISTED + 1
        items = [*items[: _MOST_LISTED - 1], f"{left} others"]
    return f" {last} ".join(filter(None, [", ".join(items[:-1]), items[-1]]))
