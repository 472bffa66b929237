"""
A running measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from shout.measure.probe import WRONG, Probes
from shout.measure.result import Event, Result
from shout.measure.schedule import SECOND, Pacer, Schedule
from shout.measure.sender import PAUSE, Sender
from shout.measure.target import Target
from shout.measure.tracker import ProbeTracker
from shout.udp.timed import TimedPort


class PingSession(DatagramProtocol):
    """
    Send probes to one peer, and count the replies.

    @ivar tracker: The counts so far.
    """

    _log = Logger()

    noisy = False

    def __init__(
        self,
        sock: Socket,
        schedule: Schedule,
        onEvent: Callable[[Event], object],
        reactor: Any,
        clock: Callable[[], int] = time.monotonic_ns,
        makePort: Callable[..., Any] = TimedPort,
    ) -> None:
        """
        @param sock: A non-blocking socket connected to the peer, which is closed at
            the end.

        @param schedule: The probes to send.

        @param onEvent: Called with each L{Event}; its exceptions are logged.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param clock: Source of the monotonic time in nanoseconds.

        @param makePort: Makes the port from the socket, this protocol, the reactor
            and the clock, like L{TimedPort}.
        """
        timeout = round(schedule.timeout * SECOND)
        self.tracker = ProbeTracker(Probes(schedule.size), timeout)
        self._schedule = schedule
        self._pacer = Pacer(schedule, 0)
        self._callback = onEvent
        self._reactor = reactor
        self._clock = clock
        self._port = makePort(sock, self, reactor, clock)
        isUNIX = sock.family == AF_UNIX
        self._sender = Sender(
            self._port, self.tracker, schedule, isUNIX, self._onEvent, clock
        )
        self._began = self._kernelDrops = self._inFlightAtEnd = 0
        self._isListening = self._isBlocked = self._isOver = False
        self._timer: IDelayedCall | None = None
        self._done: Deferred[ProbeTracker] = Deferred()

    @property
    def hasKernelTimes(self) -> bool:
        """
        C{True} if the kernel takes the arrival times of replies.
        """
        return bool(self._port.hasKernelTimes)

    @property
    def _replyWait(self) -> int:
        """
        Nanoseconds that the last probe has to have before the deadline.
        """
        if not self.tracker.answered:
            # The wait for the first reply should not take most of a short time.
            half = round((self._schedule.deadline or 0) * SECOND) // 2
            return min(self.tracker.timeout, half)
        return self.tracker.replyWait

    def result(self, target: Target) -> Result:
        """
        Return the figures so far, with C{target} as the peer.
        """
        tracker = self.tracker
        ended = max(self._began, self._sender.lastSent, self._pacer.lastDue)
        return Result(
            host=target.host,
            address=target.address,
            port=target.port,
            sent=tracker.sent,
            answered=tracker.answered,
            lost=tracker.lost,
            duplicates=tracker.duplicates,
            late=tracker.late,
            outOfOrder=tracker.outOfOrder,
            wrong=sum(tracker.wrong.values()),
            kinds={kind: tracker.wrong[kind] for kind in WRONG if tracker.wrong[kind]},
            answeredWrong=tracker.answeredWrong,
            refused=tracker.refused,
            icmpErrors=dict(tracker.icmpErrors),
            outOfWindow=tracker.outOfWindow,
            histogram=tracker.histogram,
            roundTrips=tracker.histogram.summarize(),
            jitter=tracker.jitter,
            duration=ended - self._began,
            hasKernelTimes=self.hasKernelTimes,
            skipped=self._pacer.skipped,
            kernelDrops=self._kernelDrops,
            inFlightAtEnd=self._inFlightAtEnd,
        )

    def listen(self) -> None:
        """
        Open the port without sending.  L{start} opens it, too.
        """
        if not self._isListening:
            self._isListening = True
            self._port.startListening()

    def start(self) -> Deferred[ProbeTracker]:
        """
        Start the measurement.

        @return: A L{Deferred} that fires with the tracker at the end.  Cancelling it
            stops the measurement.
        """
        self._done = Deferred(lambda _: self.stop())
        self.listen()
        self._began = self._clock()
        self._pacer = Pacer(self._schedule, self._began)
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
            if self._isOver:
                raise
            self._close(Failure())

    def _advance(self) -> None:
        self._endWait()
        now = self._clock()
        timeout = self.tracker.nextTimeout()
        if timeout is not None and timeout < now:
            # If this program was paused, the reply may be in the receive buffer.
            self._port.drain()
        for event in self.tracker.expire(now):
            self._onEvent(event)
        deadline = self._pacer.deadline
        if deadline is not None and now >= deadline:
            # Some of the probes that were due in time have left this much later.
            self._end(deadline - self._replyWait + self._pacer.maxOverdue)
            return
        hasMore = self._sender.send(self._pacer, now, self._replyWait)
        # The callback for an event may have stopped the measurement.
        if self._isOver:
            return
        isFinished = self._pacer.isFinished(self._replyWait)
        if isFinished and not self.tracker.inFlight:
            self._linger()
            return
        # A reply can make room, or show that there is time for more probes.
        self._isBlocked = isFinished or self._sender.isFull
        nextDue = None if isFinished else self._pacer.nextDue
        candidates = [nextDue, self.tracker.nextTimeout(), deadline]
        soonest = min(each for each in candidates if each is not None)
        delay = max(soonest - self._clock(), 0 if hasMore else PAUSE)
        self._timer = self._reactor.callLater(delay / SECOND, self._proceed)

    def _onEvent(self, event: Event) -> None:
        try:
            self._callback(event)
        except BaseException:
            self._log.failure("onEvent raised an exception for {event}", event=event)

    def _linger(self) -> None:
        """
        Wait for duplicates and late replies before the end.
        """
        self._endWait()
        now = self._clock()
        wait = self.tracker.timeout
        if not self.tracker.lost:
            wait = min(wait, 3 * self.tracker.histogram.max)
        if self._pacer.deadline is not None:
            wait = max(0, min(wait, self._pacer.deadline - now))
        self._timer = self._reactor.callLater(wait / SECOND, self._end, now)

    def _end(self, before: int) -> None:
        """
        Count the replies received, and end the measurement.

        @param before: Time before which a probe still in flight was sent to be lost;
            later ones are removed from the figures.
        """
        if self._isOver:
            return
        self._endWait()
        self._port.drain()
        for event in self.tracker.expireSentBefore(before):
            self._onEvent(event)
        if self._isOver:
            return
        self._inFlightAtEnd = self.tracker.removeInFlight()
        self._close(self.tracker)

    def _close(self, outcome: ProbeTracker | Failure) -> None:
        self._isOver = self._sender.isStopped = True
        self._endWait()
        self._kernelDrops = self._port.kernelDrops
        closing = maybeDeferred(self._port.stopListening)
        closing.addCallback(lambda _: outcome)
        closing.addBoth(self._finish)

    def _finish(self, outcome: ProbeTracker | Failure) -> None:
        # Cancelling the Deferred has fired it already.
        if not self._done.called:
            self._done.callback(outcome)

    def _endWait(self) -> None:
        self._isBlocked = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def timedDatagramReceived(
        self, datagram: bytes, now: int, delay: int, isFragmented: bool
    ) -> None:
        """
        Called when a reply has been read; see L{TimedPort}.
        """
        if not self._isOver:
            tracker = self.tracker
            self._onEvent(tracker.replyReceived(datagram, now, delay, isFragmented))
            if self._isBlocked:
                self._unblock()

    def icmpErrorReceived(self, datagram: bytes | None, reason: str) -> None:
        """
        Called when an ICMP error has been read; see L{TimedPort}.
        """
        if not self._isOver:
            now = self._clock()
            self._onEvent(self.tracker.icmpErrorReceived(datagram, reason, now))
            if self._isBlocked:
                self._unblock()

    def _unblock(self) -> None:
        """
        Send more probes or end, if the reply just counted allows it.
        """
        if not self._pacer.isFinished(self._replyWait):
            self._proceed()
        elif not self.tracker.inFlight:
            self._linger()
