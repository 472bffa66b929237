"""
The hops of flows, found by datagrams with small TTLs from their own source ports.

Routers choose among parallel paths by the addresses and ports of a datagram.  So a
probe takes the way of its flow until its TTL is used up, and the router there answers
with an ICMP error.  The last hop is the application, whose reply in capitals is
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from shout.measure.hopprobes import Answer, HopProbe, HopProbes
from shout.measure.hops import FlowHops, Hop
from shout.measure.level import Level
from shout.measure.rounds import Rounds
from shout.measure.sample import Route
from shout.measure.schedule import SECOND
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader

MAX_TTL = 30
"""
The largest TTL of the probes for hops.
"""

# The TTL of the first probes, which reach the application, and those of its replies.
_WHOLE_WAY = 64
_INITIAL_TTLS = (64, 128, 255)

# Whatever the number of flows, no more than 8 probes are sent in 10 ms.
_TICK = 0.01
_PER_TICK = 8

# An answer is waited for three times as long as the longest round trip so far, but for
# a quarter of a second at least.  A later one counts, too.
_SHORTEST_WAIT = SECOND // 4

# Number of TTLs beyond the last hop that has answered.
_BEYOND = 3

_IN_FLIGHT = 4


class TracedFlow(Protocol):
    """
    The part of a flow that a tracer uses; see L{Flow<shout.measure.flow.Flow>}.
    """

    @property
    def sourcePort(self) -> int | None:
        """
        The UDP port; C{None} for a UNIX socket, which has no hops.
        """

    def send(self, datagram: bytes, ttl: int) -> object:
        """
        Send a datagram.

        @raise OSError: If the system does not accept it.
        """


class Tracer:
    """
    Find the hops of the flows towards one target.

    The owner of the flows passes on what they receive.
    """

    def __init__(
        self,
        flows: Sequence[TracedFlow],
        address: str,
        reactor: Any,
        clock: Callable[[], int],
        timeout: float = 1.0,
        limit: float = 60.0,
        size: int = 56,
        random: Random | None = None,
    ) -> None:
        """
        @param flows: The flows.

        @param address: The IPv4 or IPv6 address of the target.

        @param reactor: An L{IReactorTime<twisted.internet.interfaces.IReactorTime>}
            provider.

        @param clock: Source of the monotonic time in nanoseconds.

        @param timeout: The longest time to wait for an answer, in seconds.

        @param limit: Seconds after which the tracer ends with what is known.  Many
            flows over routers with limits take long: each router that differs between
            flows has to answer each of them.

        @param size: Size of a probe in bytes.

        @param random: Source of random numbers; a new one by default.
        """
        self._flows = flows
        self._address = address
        self._reactor = reactor
        self._clock = clock
        self._timeout = round(timeout * SECOND)
        self._limit = limit
        self._probes = HopProbes(size)
        self._routes = [Route(index) for index in range(len(flows))]
        self._random = random or Random()
        # Neighbouring ports may share a path.
        self._order = self._random.sample(self._routes, len(flows))
        self._whole = self._makeLevel(_WHOLE_WAY, None, size=len(flows))
        self._levels: list[Level] = []
        # The lowest TTL that reaches the target, the highest that a router answers, a
        # guess of the former, and the longest round trip.
        self._nearest: int | None = None
        self._farthest = self._guess = self._longest = 0
        self._isTracing = self._isOver = False
        self._timers: list[IDelayedCall] = []
        self._done: Deferred[FlowHops] = Deferred()

    def _makeLevel(self, ttl: int, previous: Level | None, **size: int) -> Level:
        def makeRounds() -> Rounds:
            return Rounds(random=self._random.random, **size)

        return Level(ttl, self._order, previous, makeRounds)

    @property
    def sent(self) -> int:
        """
        Number of probes sent.
        """
        return self._probes.sent

    def start(self) -> Deferred[FlowHops]:
        """
        Begin to send probes.

        @return: A L{Deferred} that fires with the hops of each flow.  Cancelling it
            stops the tracer.
        """
        self._done = Deferred(lambda _: self.stop())
        self._timers = [self._reactor.callLater(self._limit, self.stop)]
        self._tick()
        return self._done

    def stop(self) -> None:
        """
        End with what is known.
        """
        if self._isOver:
            return
        self._isOver = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._done.callback(self.hops())

    def hops(self) -> FlowHops:
        """
        Return what is known of the hops of each flow.
        """
        return {
            flow.sourcePort or 0: tuple(
                level.hopOf(route) for level in self._levels[: self._endOf(route)]
            )
            for flow, route in zip(self._flows, self._routes)
        }

    def _endOf(self, route: Route) -> int:
        """
        Return the TTL of the last hop of a flow.
        """
        if route.distance is not None or self._nearest is not None:
            return self._boundOf(route)
        hops = [level.hopOf(route) for level in self._levels]
        return _BEYOND + max((hop.ttl for hop in hops if hop.address), default=0)

    def _boundOf(self, route: Route) -> int:
        """
        Return the highest TTL to ask a flow for.
        """
        if route.distance is not None:
            return route.distance
        if self._nearest is None:
            return MAX_TTL
        # Its path may be longer than that of others.
        return max(self._nearest, route.last + 1)

    def _tick(self) -> None:
        self._expire()
        left = _PER_TICK
        for sample in list(self._openSamples()):
            while left and self._sendOne(*sample):
                left -= 1
        if self._isOver:
            return
        # After the answers more samples may be open.
        isWaiting = bool(self._probes.waiting)
        if isWaiting or not all(self._isDone(*each) for each in self._openSamples()):
            self._timers[1:] = [self._reactor.callLater(_TICK, self._tick)]
        else:
            self.stop()

    def _openSamples(self) -> Iterator[tuple[Level, bool, bool]]:
        """
        Iterate over the TTLs, the kinds of flows to ask there, and C{True} for those
        of which each flow has to be asked.
        """
        yield self._whole, False, True
        # The answers of the application distinguish the two kinds of flows.
        self._isTracing |= self._whole.isAsked and not self._probes.waiting
        if not self._isTracing:
            return
        horizons = [self._horizonOf(kind) for kind in (False, True)]
        while len(self._levels) < max(horizons):
            previous = self._levels[-1] if self._levels else None
            self._levels.append(self._makeLevel(len(self._levels) + 1, previous))
        for level in self._levels:
            for kind in (False, True):
                if level.ttl <= horizons[kind]:
                    isForAll = kind and level.ttl >= (self._nearest or MAX_TTL)
                    yield level, kind, isForAll

    def _horizonOf(self, kind: bool) -> int:
        """
        Return the highest TTL at which to ask flows of a kind.
        """
        if self._nearest is not None:
            return min(MAX_TTL, max(self._nearest, self._farthest + 1))
        answered = [level.ttl for level in self._levels if level.samples[kind].known]
        horizon = max(answered, default=0)
        if kind:
            # The application is there, however many hops before it are silent.
            horizon = max(horizon, self._guess - _BEYOND)
            for level in self._levels:
                if not self._isDone(level, kind, False):
                    break
                horizon = max(horizon, level.ttl)
        return min(MAX_TTL, horizon + _BEYOND)

    def _isDone(self, level: Level, kind: bool, isForAll: bool) -> bool:
        return level.isDone(kind, isForAll, lambda route: self._isWithin(level, route))

    def _isWithin(self, level: Level, route: Route) -> bool:
        return level is self._whole or level.ttl <= self._boundOf(route)

    def _sendOne(self, level: Level, kind: bool, isForAll: bool) -> bool:
        """
        Send a probe if one is due.
        """

        def isReady(route: Route) -> bool:
            isFree = len(route.inFlight) < maxInFlight
            return isFree and self._isWithin(level, route)

        maxInFlight = 1 if self._probes.hasShortQuotes else _IN_FLIGHT
        now = self._clock()
        route = level.take(kind, isForAll, isReady, now)
        if route is None:
            return False
        probe, datagram = self._probes.make(route, level, kind, now)
        try:
            self._flows[route.index].send(datagram, level.ttl)
        except OSError:
            # It counts as unanswered, and is sent again later.
            self._end(probe, None)
        return True

    def _expire(self) -> None:
        """
        End the wait for overdue answers.
        """
        wait = self._timeout
        if self._longest and not self._probes.hasShortQuotes:
            wait = min(wait, max(_SHORTEST_WAIT, 3 * self._longest))
        latest = self._clock() - wait
        for probe in list(self._probes.waiting.values()):
            if probe.sent > latest:
                break
            self._end(probe, None)

    def _end(self, probe: HopProbe, hop: Hop | None) -> None:
        """
        End the wait for the answer to a probe.
        """
        _, route, level, kind, _ = probe
        if probe.number in self._probes.waiting:
            self._probes.endWait(probe)
            level.probeEnded(route, kind, hop, self._clock())
        elif hop is not None:
            level.record(route, hop)

    def datagramReceived(
        self, flow: int, datagram: bytes, now: int, delay: int, header: IPHeader
    ) -> bool:
        """
        Called when a flow has received a datagram.

        @param flow: Index of the flow.

        @param now: Time of reading in nanoseconds.

        @param delay: Nanoseconds that the datagram has waited until then.

        @return: C{True} if it is an answer to the tracer.
        """
        answer = self._probes.findReply(flow, datagram, self._address)
        if answer is None:
            return False
        if answer.isTarget and header.ttl is not None:
            # The way back may be longer or shorter.
            first = next(each for each in _INITIAL_TTLS if each >= header.ttl)
            self._guess = min(MAX_TTL, first - header.ttl + 1)
        self._answered(answer, now - delay)
        return True

    def icmpErrorReceived(self, flow: int, error: ICMPError, now: int) -> bool:
        """
        Called when a flow has received an ICMP error.

        @param flow: Index of the flow.

        @param now: Time of reading in nanoseconds.

        @return: C{True} if it is an answer to the tracer.
        """
        answer = self._probes.findError(self._routes[flow], error)
        if answer is None:
            return False
        self._answered(answer, now)
        return True

    def _answered(self, answer: Answer, time: int) -> None:
        probe, address, reason, isTarget = answer
        if probe is None or self._isOver:
            return
        route, level = probe.route, probe.level
        roundTrip = time - probe.sent
        self._longest = max(self._longest, roundTrip)
        if isTarget and not route.isAnswered:
            for each in (self._whole, *self._levels):
                each.applicationAnswered(route)
            route.isAnswered = True
        if level is not self._whole:
            if isTarget or reason:
                route.distance = min(route.distance or MAX_TTL, level.ttl)
                if address == self._address:
                    self._nearest = min(self._nearest or MAX_TTL, level.ttl)
            else:
                route.last = max(route.last, level.ttl)
                self._farthest = max(self._farthest, level.ttl)
        self._end(probe, Hop(level.ttl, address, roundTrip, reason, isTarget))
