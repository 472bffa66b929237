"""
A running measurement.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from socket import socket as Socket
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from shout.measure.flow import Flow, ListenerBeside, Timeouts
from shout.measure.histogram import Histogram, divide
from shout.measure.probe import WRONG, Probes, drawNonce
from shout.measure.result import Event, Result
from shout.measure.schedule import SECOND, Pacer, Schedule
from shout.measure.sender import PAUSE, Sender
from shout.measure.target import Target, sourcePortOf
from shout.measure.tracker import ProbeTracker
from shout.udp.port import DatagramPort
from shout.udp.timed import TimedPort

# Numbers of probes in flight, and of those whose states are kept, of all flows.
_MAX_IN_FLIGHT = 1 << 16
_WINDOW = 1 << 18

# Number of flows above which datagrams are received one by one.  Few arrive on each
# socket then, and buffers for batches would take 60 KB for each.
_MAX_BATCHED = 64

# Interval in seconds above which the kernel takes the times of sending.
_LEAST_TIMED = 0.001

# The same for each flow, if there are very many.
_LEAST_IN_FLIGHT = 16
_LEAST_WINDOW = 64


class PingSession:
    """
    Send probes to targets over several flows each, and count the replies.

    @ivar flows: The flows of all targets: the first one of each, then the second one
        of each, and so on.

    @ivar isOver: C{True} if the measurement has ended.

    @ivar isQuiet: C{True} if nothing is called with each event.

    @ivar tracer: A L{Tracer<shout.measure.trace.Tracer>} of the flows, or C{None}.  The
        measurement does not end before it has traced them, unless it is stopped or its
        deadline is over.  Without a count and a deadline it ends then.
    """

    _log = Logger()

    def __init__(
        self,
        sockets: Sequence[Sequence[Socket]],
        schedule: Schedule,
        onEvent: Callable[[Event, int], object] | None,
        reactor: Any,
        clock: Callable[[], int] = time.monotonic_ns,
        makePort: Callable[..., Any] = TimedPort,
        beside: Sequence[Socket] = (),
    ) -> None:
        """
        @param sockets: The non-blocking sockets of each target, connected to it, each
            with a source port of its own.  All targets have the same number.  The
            sockets are closed at the end.

        @param schedule: The probes to send to each target, over all its flows.  The
            targets have their turns within the interval.

        @param onEvent: Called with each L{Event} and the index of its target; its
            exceptions are logged.  C{None} costs less.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param clock: Source of the monotonic time in nanoseconds.

        @param makePort: Makes the port from the socket, its protocol, the reactor and
            the clock, like L{TimedPort}.

        @param beside: Sockets on the source ports of the flows of a single target, as
            L{openBeside<shout.measure.target.openBeside>} returns them.
        """
        self._targets = len(sockets)
        total = None if schedule.count is None else schedule.count * self._targets
        interval = schedule.interval / self._targets
        self._schedule = replace(schedule, count=total, interval=interval)
        self._pacer = Pacer(self._schedule, 0)
        self._timeout = round(schedule.timeout * SECOND)
        self._callback = onEvent
        self.isQuiet = onEvent is None
        self._reactor = reactor
        self._clock = clock
        self.flows = self._makeFlows(sockets, schedule, makePort)
        self._beside = [
            DatagramPort(sock, ListenerBeside(flow), reactor)
            for flow, sock in zip(self.flows, beside)
        ]
        self._timeouts = Timeouts()
        byIndex = [
            self.flows[first : first + self._targets]
            for first in range(0, len(self.flows), self._targets)
        ]
        self._sender = Sender(
            byIndex, self._timeouts, self._schedule, self._onEvent, clock
        )
        self.tracer: Any = None
        self._isTracing = False
        self._lingeredAt: int | None = None
        self._began = self._longest = 0
        self._isListening = self._isBlocked = self.isOver = False
        self._timer: IDelayedCall | None = None
        self._done: Deferred[PingSession] = Deferred()

    def _makeFlows(
        self,
        sockets: Sequence[Sequence[Socket]],
        schedule: Schedule,
        makePort: Callable[..., Any],
    ) -> list[Flow]:
        each = len(sockets[0])
        total = self._targets * each
        nonce = drawNonce()
        window = max(_LEAST_WINDOW, _WINDOW // total)
        if schedule.count is not None:
            window = min(window, -(-schedule.count // each))
        maxInFlight = max(_LEAST_IN_FLIGHT, _MAX_IN_FLIGHT // total)
        flows = []
        if total > _MAX_BATCHED:
            makePort = partial(makePort, isBatched=False)
        for index in range(each):
            for target, ofTarget in enumerate(sockets):
                probes = Probes(schedule.size, nonce, index, each)
                sock = ofTarget[index]
                port = sourcePortOf(sock)
                tracker = ProbeTracker(probes, self._timeout, window, port)
                others = (maxInFlight, self, self._reactor, self._clock, makePort)
                flows.append(Flow(sock, index, target, tracker, *others))
        return flows

    def hasKernelTimes(self, index: int = 0) -> bool:
        """
        Return C{True} if the kernel takes the arrival times of replies.

        @param index: Index of the target.
        """
        flows = self.flows[index :: self._targets]
        return all(flow.port.hasKernelTimes for flow in flows)

    @property
    def _replyWait(self) -> int:
        """
        Nanoseconds that the last probe has to have before the deadline.
        """
        if not self._longest:
            # The wait for the first reply should not take most of a short time.
            half = round((self._schedule.deadline or 0) * SECOND) // 2
            return min(self._timeout, half)
        return min(self._timeout, 3 * self._longest)

    def result(self, target: Target, index: int = 0) -> Result:
        """
        Return the figures so far of a target.

        @param target: The target to name.

        @param index: Its index among those measured.
        """
        flows = self.flows[index :: self._targets]
        each = [self._resultOf(target, [flow]) for flow in flows]
        whole = each[0] if len(flows) == 1 else self._resultOf(target, flows)
        if self.tracer is not None:
            hops = self.tracer.hops()
            each = [replace(flow, hops=hops.get(flow.sourcePort)) for flow in each]
        return replace(whole, flows=each)

    def total(self, target: Target) -> Result:
        """
        Return the figures so far of all targets together.

        @param target: The target to name.
        """
        return self._resultOf(target, self.flows)

    def _resultOf(self, target: Target, flows: Sequence[Flow]) -> Result:
        trackers = [flow.tracker for flow in flows]

        def total(name: str) -> int:
            return sum(getattr(tracker, name) for tracker in trackers)

        wrong = sum((tracker.wrong for tracker in trackers), Counter[str]())
        ttls: Counter[int | None] = Counter()
        toses: Counter[int | None] = Counter()
        errors: Counter[tuple[str, str | None]] = Counter()
        for tracker in trackers:
            errors.update(tracker.icmpErrors)
            for header, count in tracker.headers.items():
                ttls[header.ttl] += count
                toses[header.tos] += count
        histogram = Histogram.merge(tracker.histogram for tracker in trackers)
        variations = total("variations")
        ended = max(self._began, self._sender.lastSent, self._pacer.lastDue)
        return Result(
            host=target.host,
            address=target.address,
            port=target.port,
            sent=total("sent"),
            answered=total("answered"),
            lost=total("lost"),
            duplicates=total("duplicates"),
            late=total("late"),
            outOfOrder=total("outOfOrder"),
            wrong=wrong.total(),
            kinds={kind: wrong[kind] for kind in WRONG if wrong[kind]},
            answeredWrong=total("answeredWrong"),
            refused=total("refused"),
            icmpErrors=dict(errors),
            outOfWindow=total("outOfWindow"),
            histogram=histogram,
            roundTrips=histogram.summarize(),
            jitter=divide(total("variation"), variations) if variations else None,
            duration=ended - self._began,
            hasKernelTimes=all(flow.port.hasKernelTimes for flow in flows),
            skipped=total("skipped")
            # All flows miss probes that are overdue equally often.
            + self._pacer.skipped * len(flows) // len(self.flows),
            kernelDrops=sum(flow.port.kernelDrops for flow in flows),
            inFlightAtEnd=sum(flow.inFlightAtEnd for flow in flows),
            ttls=dict(ttls),
            toses=dict(toses),
            elsewhere=dict(sum((each.elsewhere for each in trackers), Counter[str]())),
            sourcePort=trackers[0].sourcePort if len(flows) == 1 else None,
        )

    def reportOutstanding(self) -> None:
        """
        Call C{onEvent} also with each probe that is in flight when the next one to its
        target has been sent.
        """
        self._sender.reportsOutstanding = True

    def listen(self) -> None:
        """
        Open the ports without sending.  L{start} opens them, too.
        """
        if not self._isListening:
            self._isListening = True
            isSlow = self._schedule.interval > _LEAST_TIMED
            for flow in self.flows:
                flow.listen(isSlow)
            for port in self._beside:
                port.startListening()  # type: ignore[no-untyped-call]

    def start(self) -> Deferred[PingSession]:
        """
        Start the measurement.

        @return: A L{Deferred} that fires with this session at the end.  Cancelling it
            stops the measurement.
        """
        self._done = Deferred(lambda _: self.stop())
        self.listen()
        self._began = self._clock()
        self._pacer = Pacer(self._schedule, self._began)
        if self.tracer is not None:
            self._isTracing = True
            for flow in self.flows:
                flow.tracer = self.tracer
            self.tracer.start().addBoth(self._traced)
        self._proceed()
        return self._done

    def stop(self) -> None:
        """
        End the measurement now.  Probes in flight are removed from the figures.
        """
        self._end(0)

    def _proceed(self) -> None:
        try:
            self._advance()
        except BaseException:
            if self.isOver:
                raise
            self._close(Failure())

    def _advance(self) -> None:
        self._endWait()
        now = self._clock()
        for flow, event in self._timeouts.expire(now):
            self._onEvent(flow, event)
        deadline = self._pacer.deadline
        if deadline is not None and now >= deadline:
            # Some of the probes that were due in time have left this much later.
            self._end(deadline - self._replyWait + self._pacer.maxOverdue)
            return
        hasMore = self._sender.send(self._pacer, now, self._replyWait)
        # The callback for an event may have stopped the measurement.
        if self.isOver:
            return
        isFinished = self._pacer.isFinished(self._replyWait)
        timeout = self._timeouts.next()
        if isFinished and timeout is None:
            self._linger()
            return
        # A reply can make room, or show that there is time for more probes, or make the
        # next one due.
        isAdaptive = self._schedule.isAdaptive
        self._isBlocked = isFinished or self._sender.isFull or isAdaptive
        nextDue = None if isFinished else self._pacer.nextDue
        candidates = [nextDue, timeout, deadline]
        soonest = min(each for each in candidates if each is not None)
        delay = max(soonest - self._clock(), 0 if hasMore else PAUSE)
        self._timer = self._reactor.callLater(delay / SECOND, self._proceed)

    def _onEvent(self, flow: Flow, event: Event) -> None:
        try:
            if self._callback is not None:
                self._callback(event, flow.target)
        except BaseException:
            self._log.failure("onEvent raised an exception for {event}", event=event)

    def _linger(self) -> None:
        """
        Wait for duplicates and late replies before the end.
        """
        self._endWait()
        now = self._clock()
        wait = self._timeout
        if not any(flow.tracker.lost for flow in self.flows):
            wait = min(wait, 3 * self._longest)
        if self._pacer.deadline is not None:
            wait = max(0, min(wait, self._pacer.deadline - now))
        self._timer = self._reactor.callLater(wait / SECOND, self._lingered, now)

    def _lingered(self, now: int) -> None:
        if not self._isTracing:
            self._end(now)
            return
        self._lingeredAt = now
        if self._pacer.deadline is not None:
            rest = max(0, self._pacer.deadline - self._clock())
            self._timer = self._reactor.callLater(rest / SECOND, self._end, now)

    def _traced(self, _: object) -> None:
        """
        Called when all flows are traced, or the tracer was stopped.
        """
        self._isTracing = False
        if self._lingeredAt is not None:
            self._end(self._lingeredAt)
        elif not self.isOver and self._schedule.isEndless:
            self._pacer.finish()
            self._proceed()

    def _end(self, before: int) -> None:
        """
        Count the replies received, and end the measurement.

        @param before: Time before which a probe still in flight was sent to be lost;
            later ones are removed from the figures.
        """
        if self.isOver:
            return
        self._endWait()
        for flow in self.flows:
            flow.port.drain()
        for flow in self.flows:
            for event in flow.tracker.expireSentBefore(before):
                self._onEvent(flow, event)
        if self.isOver:
            return
        for flow in self.flows:
            flow.inFlightAtEnd = flow.tracker.removeInFlight()
        self._close(self)

    def _close(self, outcome: PingSession | Failure) -> None:
        self.isOver = self._sender.isStopped = True
        if self._isTracing:
            self.tracer.stop()
        self._endWait()
        ports = [*(flow.port for flow in self.flows), *self._beside]
        closing: Deferred[Any] = gatherResults(
            [maybeDeferred(port.stopListening) for port in ports]
        )
        closing.addCallback(lambda _: outcome)
        closing.addBoth(self._finish)

    def _finish(self, outcome: PingSession | Failure) -> None:
        # Cancelling the Deferred has fired it already.
        if not self._done.called:
            self._done.callback(outcome)

    def _endWait(self) -> None:
        self._isBlocked = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def eventOccurred(self, flow: Flow, event: Event | None) -> None:
        """
        Called when a flow has counted a reply or an ICMP error.
        """
        longest = flow.tracker.histogram.max
        if longest > self._longest:
            self._longest = longest
        if event is not None:
            self._onEvent(flow, event)
        if self._schedule.isAdaptive and self._sender.isAnswered:
            self._pacer.hasten(max(self._clock(), self._sender.lastSent + PAUSE))
        if self._isBlocked:
            self._unblock()

    def _unblock(self) -> None:
        """
        Send more probes or end, if the reply just counted allows it.
        """
        if not self._pacer.isFinished(self._replyWait):
            self._proceed()
        elif self._timeouts.next() is None:
            self._linger()
