"""
The hops of flows, found by datagrams with small TTLs from their own source ports.

Routers choose among parallel paths by the addresses and ports of a datagram.  So a
probe takes the way of its flow until its TTL is used up, and the router there answers
with an ICMP error.  The last hop is the application, whose reply in capitals is
checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import sample as shuffled
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from shout.measure.hops import FlowHops, Hop
from shout.measure.probe import RIGHT, Probes
from shout.measure.sampler import Level, Route
from shout.measure.schedule import SECOND
from shout.udp.icmp import TIME_EXCEEDED, ICMPError
from shout.udp.timestamps import IPHeader

MAX_TTL = 30
"""
The largest TTL of the probes for hops.
"""

# The TTL of the probes that reach the application from the beginning, and those that
# hosts use.
_WHOLE_WAY = 64
_FIRST_TTLS = (64, 128, 255)

# No more than 8 probes leave in 10 ms, whatever the number of flows.
_TICK = 0.01
_PER_TICK = 8

# A probe is waited for three times as long as the longest round trip so far, but at
# least for so many nanoseconds.  Later answers count as well.
_SHORTEST_WAIT = SECOND // 4

# Number of TTLs beyond the last hop that has answered.
_BEYOND = 3

# Number of probes of a flow that are waited for at the same time.
_IN_FLIGHT = 4

_TRIES = 1000


class TracedFlow(Protocol):
    """
    What a tracer needs of a flow; see L{Flow<shout.measure.flow.Flow>}.
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


class _Probe(NamedTuple):
    route: Route
    level: Level
    kind: bool
    sent: int


class Tracer:
    """
    Find the hops of the flows of one target.

    Each hop probe is asked for by a number that holds the flow and the TTL, so
    an ICMP error is matched by the payload that it quotes.  If a router quotes too
    little, each flow has one probe in flight at a time, so the error is about that one.

    @ivar sent: Number of probes sent.
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
    ) -> None:
        """
        @param flows: The flows.

        @param address: The IPv4 or IPv6 address of the target.

        @param reactor: An L{IReactorTime<twisted.internet.interfaces.IReactorTime>}
            provider.

        @param clock: Source of the monotonic time in nanoseconds.

        @param timeout: The longest time to wait for an answer, in seconds.

        @param limit: Seconds after which the tracer ends with what is known.

        @param size: Size of a probe in bytes.
        """
        self.sent = 0
        self._flows = flows
        self._address = address
        self._reactor = reactor
        self._clock = clock
        self._timeout = round(timeout * SECOND)
        self._limit = limit
        self._probes = Probes(size)
        self._routes = [Route(index) for index in range(len(flows))]
        # Neighbouring ports may share a path.
        self._order = shuffled(self._routes, len(flows))
        self._whole = Level(_WHOLE_WAY, self._order, None, len(flows))
        self._levels: list[Level] = []
        self._waiting: dict[int, _Probe] = {}
        self._known: dict[int, _Probe] = {}
        self._nearest: int | None = None
        self._guess = self._farthest = self._longest = 0
        self._inFlight = _IN_FLIGHT
        self._isTracing = self._isOver = False
        self._timers: list[IDelayedCall] = []
        self._done: Deferred[FlowHops] = Deferred()

    def start(self) -> Deferred[FlowHops]:
        """
        Start.

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
        if not self._done.called:
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
        if route.distance is not None:
            return route.distance
        if self._nearest is not None:
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
        # The path of a flow may be longer than that of another.
        return max(self._nearest, route.last + 1)

    def _tick(self) -> None:
        self._expire()
        left = _PER_TICK
        samples = list(self._openSamples())
        for level, kind, isForAll in samples:
            while left and self._sendOne(level, kind, isForAll):
                left -= 1
        if self._isOver:
            return
        # With answers more samples may be open now.
        if not self._waiting and all(self._isDone(*s) for s in self._openSamples()):
            self.stop()
            return
        self._timers[1:] = [self._reactor.callLater(_TICK, self._tick)]

    def _openSamples(self) -> Iterator[tuple[Level, bool, bool]]:
        """
        Iterate over the levels, the kinds of flows to ask there, and C{True} for
        those of which each one has to be asked.
        """
        yield self._whole, False, True
        if not self._isTracing:
            # The application's answers tell the two kinds apart.
            isAsked = self._whole.isAsked
            self._isTracing = isAsked and not self._waiting
            if not self._isTracing:
                return
        horizons = [self._horizonOf(kind) for kind in (False, True)]
        while len(self._levels) < max(horizons):
            previous = self._levels[-1] if self._levels else None
            self._levels.append(Level(len(self._levels) + 1, self._order, previous))
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
        Send a probe, if one is due.
        """

        def isReady(route: Route) -> bool:
            isFree = len(route.inFlight) < self._inFlight
            return isFree and self._isWithin(level, route)

        now = self._clock()
        route = level.take(kind, isForAll, isReady, now)
        if route is None:
            return False
        number = (route.index * 128 + level.ttl) * _TRIES + level.triesOf(route)
        probe = _Probe(route, level, kind, now)
        self._waiting[number] = self._known[number] = probe
        route.inFlight.add(number)
        self.sent += 1
        try:
            self._flows[route.index].send(self._probes.make(number), level.ttl)
        except OSError:
            # The probe counts as unanswered, and is repeated later.
            if number in self._waiting:
                self._end(number, None)
        return True

    def _expire(self) -> None:
        """
        End the wait for answers that are overdue.
        """
        wait = self._timeout
        if self._inFlight > 1 and self._longest:
            wait = min(wait, max(_SHORTEST_WAIT, 3 * self._longest))
        latest = self._clock() - wait
        for number, probe in list(self._waiting.items()):
            if probe.sent > latest:
                break
            self._end(number, None)

    def _end(self, number: int, hop: Hop | None) -> None:
        route, level, kind, _ = self._waiting.pop(number)
        route.inFlight.remove(number)
        level.probeEnded(route, kind, hop, self._clock())

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
        nonce = self._probes.nonce
        if datagram[: len(nonce)].lower() != nonce:
            return False
        kind, number, detail = self._probes.classify(datagram)
        if kind == RIGHT and header.ttl is not None:
            # The way back may have another length.
            first = next(each for each in _FIRST_TTLS if each >= header.ttl)
            self._guess = min(MAX_TTL, first - header.ttl + 1)
        isTarget = kind == RIGHT
        self._answered(flow, number, now - delay, self._address, detail, isTarget)
        return True

    def icmpErrorReceived(self, flow: int, error: ICMPError, now: int) -> bool:
        """
        Called when a flow has received an ICMP error.

        @param flow: Index of the flow.

        @param now: Time of reading in nanoseconds.

        @return: C{True} if it is an answer to the tracer.
        """
        quote = error.quote or b""
        number = self._probes.numberOf(quote)
        if number is None and error.sender is not None:
            number = self._findByQuote(flow, quote)
        if number is None:
            return False
        if error.sender is not None:
            reason = "" if error.reason == TIME_EXCEEDED else error.reason
            self._answered(flow, number, now, error.sender, reason)
        return True

    def _findByQuote(self, flow: int, quote: bytes) -> int | None:
        """
        Return the number of the only probe in flight that a short quote fits.
        """
        make = self._probes.make
        inFlight = self._routes[flow].inFlight
        numbers = [each for each in inFlight if make(each).startswith(quote)]
        if len(numbers) > 1:
            # From now on quotes of this router will be enough.
            self._inFlight = 1
        return numbers[0] if len(numbers) == 1 else None

    def _answered(
        self,
        flow: int,
        number: int | None,
        time: int,
        address: str,
        reason: str,
        isTarget: bool = False,
    ) -> None:
        probe = None if number is None else self._known.get(number)
        if number is None or probe is None or probe.route.index != flow:
            return
        del self._known[number]
        route, level, _, sent = probe
        hop = Hop(level.ttl, address, time - sent, reason, isTarget)
        self._longest = max(self._longest, time - sent)
        if isTarget and not route.isAnswered:
            for each in (self._whole, *self._levels):
                each.applicationAnswered(route)
            route.isAnswered = True
        if level is not self._whole:
            if not isTarget and not reason:
                route.last = max(route.last, level.ttl)
                self._farthest = max(self._farthest, level.ttl)
            else:
                route.distance = min(route.distance or MAX_TTL, level.ttl)
                if address == self._address:
                    self._nearest = min(self._nearest or MAX_TTL, level.ttl)
        if number in self._waiting:
            self._end(number, hop)
        else:
            level.record(route, hop)
