"""
A measurement while it runs.
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

from shout.measure.probe import Probes
from shout.measure.result import Event
from shout.measure.schedule import SECOND, Pacer, Schedule
from shout.measure.sender import PAUSE, Sender
from shout.measure.tracker import ProbeTracker
from shout.udp.timed import TimedPort


class PingSession(DatagramProtocol):
    """
    Send probes to one peer, and tally what comes back.

    @ivar tally: the figures so far.
    @type tally: L{ProbeTracker}

    @ivar withdrawn: how many probes were on their way when it was stopped, and
        are not in the figures.
    @type withdrawn: L{int}

    @ivar began: when the first probe was sent, by C{clock}.
    @type began: L{int}

    @ivar kernelDrops: how many datagrams this machine has lost because they
        came faster than they were read.
    @type kernelDrops: L{int}
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
        @param sock: a socket that is connected to the peer and does not block;
            it is closed at the end.

        @param plan: what to measure.

        @param heard: called with each L{Event}.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param clock: returns the time, in nanoseconds that never go back.

        @param makePort: makes the port for the socket, this protocol, the
            reactor and the clock, as L{TimedPort} does.
        """
        self.tracker = ProbeTracker(
            Probes(schedule.size), round(schedule.timeout * SECOND)
        )
        self.inFlightAtEnd = self.kernelDrops = 0
        self.began = 0
        self._schedule = schedule
        self._pacer = Pacer(schedule, 0)
        self._listener = onEvent
        self._reactor = reactor
        self._clock = clock
        self._port = makePort(sock, self, reactor, clock)
        self._sender = Sender(
            self._port,
            self.tracker,
            schedule,
            sock.family == AF_UNIX,
            self._onEvent,
            lambda: self._isOver,
            clock,
        )
        self._isListening = self._isHolding = False
        self._isLingering = self._isOver = False
        self._timer: IDelayedCall | None = None
        self._done: Deferred[ProbeTracker] = Deferred()

    @property
    def hasKernelTimes(self) -> bool:
        """
        Whether the system takes the times of arrival.
        """
        return bool(self._port.hasKernelTimes)

    @property
    def ended(self) -> int:
        """
        When the last probe was sent, or was due and could not be, by C{clock}.
        """
        return max(self.began, self._sender.last, self._pacer.last)

    @property
    def skipped(self) -> int:
        """
        How many probes were due, but not sent, as this machine, or what was on
        its way, did not allow it.
        """
        return self._pacer.skipped

    @property
    def _patience(self) -> int:
        """
        How long the last probe has to have before the deadline: three times the
        longest round trip, and the timeout as long as that is not known.
        """
        if not self.tracker.answered:
            # Most of a short time should not pass with waiting for the first.
            half = round((self._schedule.deadline or 0) * SECOND) // 2
            return min(self.tracker.timeout, half)
        return self.tracker.patience

    def listen(self) -> None:
        """
        Open the port, without sending yet.  L{start} does it too.
        """
        if not self._isListening:
            self._isListening = True
            self._port.startListening()

    def start(self) -> Deferred[ProbeTracker]:
        """
        Begin.

        @return: fires with the tally when it is over.  Cancelling it stops,
            too.
        """
        self._done = Deferred(lambda _: self.stop())
        self.listen()
        self.began = self._clock()
        self._pacer = Pacer(self._schedule, self.began)
        self._proceed()
        return self._done

    def stop(self) -> None:
        """
        End now.  What waits is left out of the figures.
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
        self._cancelTimer()
        self._isHolding = False
        now = self._clock()
        self._expire(now)
        stop = self._pacer.stop
        if stop is not None and now >= stop:
            # As late as that some of those that were due in time have left.
            self._end(stop - self._patience + self._pacer.maxBehind)
            return
        isBehind = self._sender.send(self._pacer, now, self._patience)
        # The callback for an event may have stopped it.
        if self._isOver:
            return
        isOver = self._pacer.isOver(self._patience)
        if isOver and not self.tracker.inFlight:
            self._linger()
            return
        # An answer can show that there is time for more, or make room.
        self._isHolding = isOver or self._sender.isFull
        next = None if isOver else self._pacer.next
        candidates = [next, self.tracker.oldestDue(), stop]
        soonest = min(each for each in candidates if each is not None)
        delay = max(soonest - self._clock(), 0 if isBehind else PAUSE)
        self._timer = self._reactor.callLater(delay / SECOND, self._proceed)

    def _expire(self, now: int) -> None:
        due = self.tracker.oldestDue()
        if due is not None and due < now:
            # After a pause of this program its answer may have arrived.
            self._port.drain()
        for event in self.tracker.expire(now):
            self._onEvent(event)

    def _onEvent(self, event: Event) -> None:
        try:
            self._listener(event)
        except BaseException:
            self._log.failure("heard raised")

    def _linger(self) -> None:
        """
        Wait a little for duplicates and for what is late.
        """
        if self._isLingering or self._isOver:
            return
        self._isLingering = True
        self._cancelTimer()
        now = self._clock()
        wait = self.tracker.timeout
        if not self.tracker.lost:
            wait = min(wait, 3 * self.tracker.histogram.most)
        if self._pacer.stop is not None:
            wait = max(0, min(wait, self._pacer.stop - now))
        self._timer = self._reactor.callLater(wait / SECOND, self._end, now)

    def _end(self, before: int) -> None:
        """
        Count what has arrived, and end.

        @param before: what was sent before this time, and waits, is lost; what
            was sent later is left out of the figures.
        """
        if self._isOver:
            return
        self._cancelTimer()
        self._port.drain()
        for event in self.tracker.giveUp(before):
            self._onEvent(event)
        if self._isOver:
            return
        self.inFlightAtEnd = self.tracker.withdraw()
        self._close(self.tracker)

    def _close(self, outcome: ProbeTracker | Failure) -> None:
        self._isOver = True
        self._cancelTimer()
        self.kernelDrops = self._port.kernelDrops
        closing = maybeDeferred(self._port.stopListening)
        closing.addCallback(lambda _: outcome)
        closing.addBoth(self._finish)

    def _finish(self, outcome: ProbeTracker | Failure) -> None:
        # Whoever has cancelled it has already been told.
        if self._done.called:
            return
        if isinstance(outcome, Failure):
            self._done.errback(outcome)
        else:
            self._done.callback(outcome)

    def _cancelTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def timedDatagramReceived(
        self, datagram: bytes, now: int, delay: int, isFragmented: bool
    ) -> None:
        """
        Count a reply.

        @param datagram: the payload.

        @param now: when it was read.

        @param delay: how long it had waited by then, in nanoseconds.

        @param isFragmented: whether it came in fragments.
        """
        if not self._isOver:
            self._onEvent(self.tracker.received(datagram, now, delay, isFragmented))
            if self._isHolding:
                self._settle()

    def icmpErrorReceived(self, datagram: bytes | None, reason: str) -> None:
        """
        Count a refusal.

        @param datagram: what was refused, as far as that is known.

        @param reason: why, in a few words.
        """
        if not self._isOver:
            self._onEvent(self.tracker.refuse(datagram, reason, self._clock()))
            if self._isHolding:
                self._settle()

    def _settle(self) -> None:
        """
        Go on, or come to an end, if what was just counted allows it.
        """
        if self._isLingering or self._isOver:
            return
        if not self._pacer.isOver(self._patience):
            self._proceed()
        elif not self.tracker.inFlight:
            self._linger()
