"""
The choice of the flows that are asked for their hop at a TTL.

Flows that the application answers are asked apart from the others, which may be silent
from some hop on.  A flow is silent at a TTL after four probes, the last three of them
in rounds without any answer.  In others a router may have reached its limit of errors.

While all answers at a TTL come from one address, only eleven flows are asked, and the
hops of the others inferred.  Two equal paths then look like one in one of 1,024 cases,
and four in one of a million.  Where answers differ each flow is asked.  At a router
with a limit it is enough, however, if the hop before decides: several answers to flows
with the same hop before, none of which differ.  This is the case of a router where
parallel paths meet, and which has an address on each.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from shout.measure.hops import Hop
from shout.measure.rounds import INTERVAL, Rounds
from shout.measure.sample import Route, Sample

ENOUGH = 11
"""
The number of equal answers at a TTL from which the hops of other flows are inferred.
"""

# The number of these that flows of each kind give, if there are flows of both kinds.
_EACH = 5

# The evidence that the hop before decides: the number of answers to flows with one hop
# before, and the number of all answers beyond the first to each of these.
_ENOUGH_ALIKE = 4
_ENOUGH_REPEATS = ENOUGH - 1

_SILENT_ROUNDS = 3
_LEAST_TRIES = 4
_MOST_TRIES = 20

_Groups = dict[str | None, Counter[str | None]]


class Level:
    """
    The hops of all flows at one TTL.

    @ivar hops: The hops of the flows that were asked, including silent ones.

    @ivar samples: The flows that the application does not answer, and the others.
    """

    def __init__(
        self,
        ttl: int,
        routes: Sequence[Route],
        previous: Level | None,
        rounds: Callable[[], Rounds] = Rounds,
    ) -> None:
        """
        @param routes: The flows, in the order in which they are asked.

        @param previous: The level of the TTL before.

        @param rounds: Makes the rounds for flows of one kind.
        """
        self.ttl = ttl
        self.hops: dict[int, Hop] = {}
        self._routes = {each.index: each for each in routes}
        self._previous = previous
        self.samples = tuple(
            Sample([r for r in routes if r.isAnswered == kind], rounds())
            for kind in (False, True)
        )
        self._examples: dict[str, Hop] = {}
        self._changes = 0
        self._alikeStates: dict[bool, tuple[int, int]] = {}
        self._knownAlike: dict[bool, dict[str | None, tuple[str, int]]] = {}
        self._sizes = [len(each.fresh) for each in self.samples]
        self._tries: Counter[int] = Counter()
        self._silentRounds: tuple[Counter[int], ...] = Counter(), Counter()

    @property
    def isAsked(self) -> bool:
        """
        C{True} if each flow has been asked.
        """
        return not any(each.fresh for each in self.samples)

    def take(
        self, kind: bool, isForAll: bool, isReady: Callable[[Route], bool], now: int
    ) -> Route | None:
        """
        Return a flow to ask now, and count the probe.

        @param kind: C{True} for one of those that the application answers.

        @param isForAll: C{True} if nothing is to be inferred.

        @param isReady: A function that returns C{True} if a flow can be asked.
        """
        sample = self.samples[kind]
        rounds = sample.rounds
        if not rounds.isOpen(now):
            return None
        queue = self._find(
            kind, isForAll, lambda r: isReady(r) and not rounds.hasMissed(r.index)
        )
        if queue is None:
            return None
        route = queue.popleft()
        if queue is sample.fresh:
            sample.asked += 1
        sample.inFlight += 1
        rounds.probeSent(now)
        self._tries[route.index] += 1
        return route

    def triesOf(self, route: Route) -> int:
        """
        Return the number of probes to a flow.
        """
        return self._tries[route.index]

    def isDone(
        self, kind: bool, isForAll: bool, isReady: Callable[[Route], bool]
    ) -> bool:
        """
        Return C{True} if no flow is to be asked, and no answer waited for.  The
        parameters are those of L{take}.
        """
        isIdle = not self.samples[kind].inFlight
        return isIdle and self._find(kind, isForAll, isReady) is None

    def _find(
        self, kind: bool, isForAll: bool, isReady: Callable[[Route], bool]
    ) -> deque[Route] | None:
        """
        Return a queue that has the next flow to ask at its beginning.
        """
        sample = self.samples[kind]
        queues = [sample.retries]
        if isForAll or sample.isMixed or sample.asked < self._quota(kind):
            queues.insert(0, sample.fresh)
        mayInfer = not isForAll and sample.rounds.isLimited and len(sample.known) > 1
        for queue in queues:
            for _ in range(len(queue)):
                route = queue[0]
                isKnown = mayInfer and self._inferFromAlike(route) is not None
                if not isKnown and isReady(route):
                    return queue
                queue.rotate(-1)
        return None

    def _quota(self, kind: bool) -> int:
        """
        Return the number of flows of a kind to ask while they do not differ.
        """
        own, other = self.samples[kind], self.samples[not kind]
        known = own.known | other.known
        if len(known) > 1 or own.isSilent or other.isSilent:
            return ENOUGH
        return ENOUGH - min(_EACH, self._sizes[not kind])

    def probeEnded(self, route: Route, kind: bool, hop: Hop | None, now: int) -> None:
        """
        Called when a probe has been answered, or is no longer waited for.

        @param kind: The kind of the flow when the probe was sent.

        @param hop: The hop that has answered; C{None} without an answer.
        """
        sample = self.samples[kind]
        sample.inFlight -= 1
        silent = sample.rounds.probeEnded(route.index, hop is not None)
        if hop is not None:
            sample.lastAnswer = now
            self._silentRounds[kind].clear()
            self.record(route, hop)
        elif route.index not in self.hops:
            self.samples[route.isAnswered].retries.append(route)
        if silent:
            # A router at its limit answers the first probe of a round only, and that
            # answer may get lost on the way back.
            sample.retries.rotate(-1)
        if silent and not self._isContended(kind):
            sample.isSilent = not sample.known
            self._silentRounds[kind].update(silent)
        for index in {*silent, route.index} - self.hops.keys():
            tries = self._tries[index]
            isSilent = self._silentRounds[kind][index] >= _SILENT_ROUNDS
            if tries >= _MOST_TRIES or (isSilent and tries >= _LEAST_TRIES):
                self.record(self._routes[index], Hop(self.ttl))

    def _isContended(self, kind: bool) -> bool:
        """
        Return C{True} if the other kind may have used up what a router allows in this
        round, by probes with answers or by those whose answers get lost.
        """
        own, other = self.samples[kind], self.samples[not kind]
        if other.lastAnswer >= own.rounds.began - INTERVAL:
            return True
        # Only one of the two kinds waits for the end of the other.
        return kind and bool(other.known) and bool(other.inFlight or other.retries)

    def record(self, route: Route, hop: Hop) -> None:
        """
        Record the hop of a flow, unless it is known already.
        """
        sample = self.samples[route.isAnswered]
        earlier = self.hops.get(route.index)
        if earlier is not None:
            if earlier.address is not None:
                return
            sample.addresses[None] -= 1
        self._changes += 1
        self.hops[route.index] = hop
        sample.addresses[hop.address] += 1
        if hop.address is not None:
            self._examples[hop.address] = hop._replace(roundTrip=None)
        if route in sample.retries:
            sample.retries.remove(route)

    def applicationAnswered(self, route: Route) -> None:
        """
        Called when the application has answered a flow for the first time.
        """
        old, new = self.samples
        self._sizes[False] -= 1
        self._sizes[True] += 1
        for source, target in ((old.fresh, new.fresh), (old.retries, new.retries)):
            if route in source:
                source.remove(route)
                target.append(route)
        if self._tries[route.index]:
            old.asked -= 1
            new.asked += 1
        self._changes += 1
        if route.index in self.hops:
            address = self.hops[route.index].address
            old.addresses[address] -= 1
            new.addresses[address] += 1

    def hopOf(self, route: Route) -> Hop:
        """
        Return the hop of a flow, measured or inferred, or a silent one.  The
        application is not inferred.
        """
        hop = self.hops.get(route.index)
        if hop is None:
            hop = self._inferFromAll(route) or self._inferFromAlike(route)
            if hop is None or hop.isTarget:
                return Hop(self.ttl)
        return hop

    def _inferFromAll(self, route: Route) -> Hop | None:
        kind = route.isAnswered
        sample = self.samples[kind]
        if sample.isMixed or not sample.known:
            return None
        if sum(sample.addresses.values()) < self._quota(kind):
            return None
        return self._examples[next(iter(sample.known))]

    def _inferFromAlike(self, route: Route) -> Hop | None:
        """
        Infer the hop of a flow from those of flows with the same hop before.
        """
        if self._previous is None:
            return None
        before = self._previous.hopOf(route).address
        address, count = self._alike(route.isAnswered).get(before, ("", 0))
        return self._examples[address] if count >= _ENOUGH_ALIKE else None

    def _alike(self, kind: bool) -> dict[str | None, tuple[str, int]]:
        """
        Return the address of the flows with each hop before, and the number of answers
        from it; nothing if the hop before does not decide for flows of this kind.
        """
        assert self._previous is not None
        state = self._changes, self._previous._changes
        if self._alikeStates.get(kind) == state:
            return self._knownAlike[kind]
        groups: tuple[_Groups, _Groups] = {}, {}
        for index, hop in self.hops.items():
            route = self._routes[index]
            before = self._previous.hopOf(route).address
            group = groups[route.isAnswered].setdefault(before, Counter())
            group[hop.address] += 1
        own, others = groups[kind], groups[not kind]
        own.pop(None, None)
        alike: dict[str | None, tuple[str, int]] = {}
        repeats = 0
        for before, group in own.items():
            ((address, count), *_) = group.items()
            # Flows of the other kind may be silent from here on.
            other = others.get(before, Counter())
            if address is not None and other.keys() <= {address, None}:
                count += other[address]
                alike[before] = address, count
            repeats += count - 1
        isUnequal = any(len(group) > 1 for group in own.values())
        if isUnequal or repeats < _ENOUGH_REPEATS:
            alike = {}
        self._alikeStates[kind], self._knownAlike[kind] = state, alike
        return alike
