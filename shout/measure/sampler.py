"""
The choice of the flows that are asked for their hop at a TTL, and the pace.

Routers limit the ICMP errors that they send to a host.  Linux allows six at once, then
one a second over IPv4 and ten over IPv6; others allow more or fewer, or any number.  An
error that is not sent does not count towards the limit.  So rounds of probes find the
limit: while all of a round are answered, the next one is twice as large and follows at
once.  After the first round that lacks answers there is a round a second, as large as
the number of answers to the last.  A round without any answer has met no limit but
silence, so the next one is larger again.

A flow is silent at a TTL after four probes, three of them in rounds without any answer
to other flows, whose router may have reached its limit.  Flows that the application
answers are asked apart from the others, which may be silent from some hop on.

While all answers at a TTL come from one address, only eleven flows are asked, and the
hops of the others inferred.  Two equal paths then look like one in one of 1,024 cases,
and four in one of a million.  Where answers differ each flow is asked.  At a router
that limits its errors it is enough, however, if the hop before decides: several answers
to flows with the same hop before, none of which differ.  This is the case of a router
where parallel paths meet, and which answers from several addresses.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from shout.measure.hops import Hop
from shout.measure.schedule import SECOND

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

_FIRST_ROUND = 6
_LARGEST_ROUND = 64
_PAUSE = SECOND * 105 // 100
_SILENT_ROUNDS = 3
_LEAST_TRIES = 4
_MOST_TRIES = 20

_ALL = 1 << 31


class Route:
    """
    The state of one flow.

    @ivar index: Number of the flow, from 0.

    @ivar isAnswered: C{True} if the application has answered the flow.

    @ivar distance: The lowest TTL at which the way is known to end; C{None} if there
        is none yet.

    @ivar last: The highest TTL at which a router on the way has answered.

    @ivar inFlight: The numbers of the probes that are waited for.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.isAnswered = False
        self.distance: int | None = None
        self.last = 0
        self.inFlight: set[int] = set()


class Pace:
    """
    Rounds of probes.

    @ivar isLimited: C{True} if a round was answered in part.

    @ivar began: Time of the first probe of the round.
    """

    def __init__(self, size: int = _FIRST_ROUND) -> None:
        """
        @param size: Number of probes in the first round.
        """
        self.isLimited = False
        self.began = 0
        self._size = size
        self._notBefore = 0
        self._begin()

    def _begin(self) -> None:
        self._sent = self._answered = 0
        self._missed: list[int] = []

    def isOpen(self, now: int) -> bool:
        """
        Return C{True} if a probe may be sent.
        """
        return self._sent < self._size and now >= self._notBefore

    def hasMissed(self, index: int) -> bool:
        """
        Return C{True} if a flow got no answer in this round.
        """
        return index in self._missed

    def probeSent(self, now: int) -> None:
        """
        Called when a probe is sent.
        """
        if not self._sent:
            self.began = now
        self._sent += 1

    def probeEnded(self, index: int, isAnswered: bool, now: int) -> list[int]:
        """
        Called when a probe has been answered, or is no longer waited for.

        @param index: Number of the flow.

        @return: The flows of the round, if it is over without any answer.
        """
        if isAnswered:
            self._answered += 1
        else:
            self._missed.append(index)
        if self._answered + len(self._missed) < self._sent:
            return []
        answered, missed = self._answered, self._missed
        if answered and missed:
            self.isLimited = True
            self._size = answered
        elif answered and self.isLimited:
            self._size = min(2 * self._size, _LARGEST_ROUND)
        else:
            self._size = max(self._size, min(2 * self._size, _LARGEST_ROUND))
        if missed or self.isLimited:
            self._notBefore = now + _PAUSE
        self._begin()
        return [] if answered else missed


class Sample:
    """
    The flows of one kind at one TTL: those that the application answers, or the others.

    @ivar addresses: Number of flows by the address that answered them; of those without
        any answer by C{None}.

    @ivar asked: Number of flows that were asked.

    @ivar fresh: The flows not asked yet.

    @ivar retries: The flows to be asked again.

    @ivar pace: The rounds.

    @ivar isSilent: C{True} after a round without any answer.

    @ivar lastAnswer: Time of the last answer.
    """

    def __init__(self, routes: Sequence[Route], pace: Pace) -> None:
        self.isSilent = False
        self.lastAnswer = -_PAUSE
        self.addresses: Counter[str | None] = Counter()
        self.asked = self.inFlight = 0
        self.fresh = deque(routes)
        self.retries: deque[Route] = deque()
        self.pace = pace

    @property
    def known(self) -> set[str]:
        """
        The addresses that have answered.
        """
        return {each for each, count in self.addresses.items() if each and count}

    @property
    def isMixed(self) -> bool:
        """
        C{True} if the flows are known to differ.
        """
        return len(+self.addresses) > 1


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
        firstRound: int = _FIRST_ROUND,
    ) -> None:
        """
        @param routes: The flows, in the order in which they are asked.

        @param previous: The level of the TTL before.

        @param firstRound: Number of probes in the first round.
        """
        self.ttl = ttl
        self.hops: dict[int, Hop] = {}
        self._routes = {each.index: each for each in routes}
        self._previous = previous
        self.samples = tuple(
            Sample([r for r in routes if r.isAnswered == kind], Pace(firstRound))
            for kind in (False, True)
        )
        self._examples: dict[str, Hop] = {}
        self._groupsState: tuple[bool, int, int] | None = None
        self._knownGroups: dict[str | None, Counter[str | None]] = {}
        self._sizes = [len(each.fresh) for each in self.samples]
        self._tries: Counter[int] = Counter()
        self._silentRounds: Counter[int] = Counter()

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
        pace = sample.pace
        if not pace.isOpen(now):
            return None
        queue = self._find(
            kind, isForAll, lambda r: isReady(r) and not pace.hasMissed(r.index)
        )
        if queue is None:
            return None
        route = queue.popleft()
        if queue is sample.fresh:
            sample.asked += 1
        sample.inFlight += 1
        pace.probeSent(now)
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
        mayInfer = not isForAll and sample.pace.isLimited and len(sample.known) > 1
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
        sample, other = self.samples[kind], self.samples[not kind]
        sample.inFlight -= 1
        silent = sample.pace.probeEnded(route.index, hop is not None, now)
        if hop is not None:
            sample.lastAnswer = now
            self.record(route, hop)
        elif route.index not in self.hops:
            self.samples[route.isAnswered].retries.append(route)
        # The other kind may have used up what a router allows.
        if silent and other.lastAnswer < sample.pace.began - _PAUSE:
            sample.isSilent = not sample.known
            self._silentRounds.update(silent)
        for index in {*silent, route.index} - self.hops.keys():
            tries = self._tries[index]
            isSilent = self._silentRounds[index] >= _SILENT_ROUNDS
            if tries >= _MOST_TRIES or (isSilent and tries >= _LEAST_TRIES):
                self.record(self._routes[index], Hop(self.ttl))

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
        if route.index in self.hops:
            address = self.hops[route.index].address
            old.addresses[address] -= 1
            new.addresses[address] += 1

    def hopOf(self, route: Route) -> Hop:
        """
        Return the hop of a flow, measured or inferred, or a silent one.
        """
        hop = self.hops.get(route.index)
        if hop is None:
            hop = self._inferFromAll(route) or self._inferFromAlike(route)
        return hop or Hop(self.ttl)

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
        groups = self._groups(route.isAnswered)
        own = groups.get(self._previous.hopOf(route).address)
        if own is None:
            return None
        ((address, count),) = own.items()
        if address is None or count < _ENOUGH_ALIKE:
            return None
        return self._examples[address]

    def _groups(self, kind: bool) -> dict[str | None, Counter[str | None]]:
        """
        Return the number of flows of a kind by the address of the hop before, and by
        their own; nothing if the hop before does not decide.
        """
        assert self._previous is not None
        state = kind, len(self.hops), len(self._previous.hops)
        if state == self._groupsState:
            return self._knownGroups
        groups: dict[str | None, Counter[str | None]] = {}
        for index, hop in self.hops.items():
            route = self._routes[index]
            if route.isAnswered == kind:
                before = self._previous.hopOf(route).address
                groups.setdefault(before, Counter())[hop.address] += 1
        groups.pop(None, None)
        repeats = sum(group.total() - 1 for group in groups.values())
        isUnequal = any(len(group) > 1 for group in groups.values())
        if isUnequal or repeats < _ENOUGH_REPEATS:
            groups.clear()
        self._groupsState, self._knownGroups = state, groups
        return groups
