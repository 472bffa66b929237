"""
A measurement while it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import EAGAIN, EMSGSIZE, ENOBUFS
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol

from shout.probes import Probes
from shout.tally import Event, Tally
from shout.timed import TimedPort

SECOND = 1_000_000_000
"""
A second, in nanoseconds.
"""


@dataclass(frozen=True)
class Plan:
    """
    What to measure.

    @ivar count: how many probes to send; L{None} for no end.

    @ivar interval: how long there is from one to the next, in seconds.

    @ivar size: how many bytes each has.

    @ivar timeout: how long to wait for a reply, in seconds.

    @ivar deadline: how long it all may take, in seconds; L{None} for no end.
    """

    count: int | None = None
    interval: float = 1.0
    size: int = 56
    timeout: float = 1.0
    deadline: float | None = None


# Probes are due at fixed times, counted from the first.  A timer that comes late
# finds several due and sends them at once; that is also how rates above a
# thousand per second are made, because no timer is set to less than a
# millisecond.  What is more than 50 ms overdue is not sent any more, so that a
# machine that cannot keep up sends less, but evenly.
class Pinging(DatagramProtocol):
    """
    Send probes to one peer, and tally what comes back.

    @cvar maxInFlight: how many probes may wait for a reply at a time.

    @cvar maxInFlightUNIX: the same for a UNIX socket, which queues no more than
        C{net.unix.max_dgram_qlen}, usually 10.

    @cvar maxAtOnce: how many probes are sent before the replies are read again.

    @cvar maxBehind: how long a probe may be overdue, in nanoseconds.

    @ivar tally: the figures so far.
    @type tally: L{Tally}

    @ivar withdrawn: how many probes were on their way when it was stopped, and
        are not in the figures.
    @type withdrawn: L{int}

    @ivar began: when the first probe was sent, by C{clock}.
    @type began: L{int}

    @ivar ended: when the last one was, by C{clock}.
    @type ended: L{int}

    @ivar skipped: how many probes were due, but not sent, as this machine, or
        the number in flight, did not allow it.
    @type skipped: L{int}

    @ivar kernelDrops: how many datagrams this machine has lost because they
        came faster than they were read.
    @type kernelDrops: L{int}
    """

    noisy = False

    maxInFlight = 1 << 16
    maxInFlightUNIX = 8
    maxBehind = SECOND // 20
    maxAtOnce = 64

    def __init__(
        self,
        sock: Socket,
        plan: Plan,
        heard: Callable[[Event], object],
        reactor: Any,
        clock: Callable[[], int] = time.monotonic_ns,
        makePort: Callable[[Socket, DatagramProtocol, Any], Any] = TimedPort,
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

        @param makePort: makes the port for the socket, this protocol and the
            reactor.
        """
        self.tally = Tally(Probes(plan.size), round(plan.timeout * SECOND))
        self.withdrawn = self.skipped = self.kernelDrops = 0
        self.began = self.ended = 0
        self._plan = plan
        self._heard = heard
        self._reactor = reactor
        self._clock = clock
        self._port = makePort(sock, self, reactor)
        self._interval = round(plan.interval * SECOND)
        self._most = self.maxInFlight
        if sock.family == AF_UNIX:
            self._most = self.maxInFlightUNIX
        self._due = 0
        self._stopSending: int | None = None
        self._stop: int | None = None
        self._blockedSince: int | None = None
        self._isListening = self._isLingering = self._isOver = False
        self._timer: IDelayedCall | None = None
        self._done: Deferred[Tally] = Deferred()

    @property
    def hasKernelTimes(self) -> bool:
        """
        Whether the system takes the times of arrival.
        """
        return bool(self._port.hasKernelTimes)

    def listen(self) -> None:
        """
        Open the port, without sending yet.  L{start} does it too.
        """
        if not self._isListening:
            self._isListening = True
            self._port.startListening()

    def start(self) -> Deferred[Tally]:
        """
        Begin.

        @return: fires with the tally when it is over.  Cancelling it stops,
            too.
        """
        self._done = Deferred(lambda _: self.stop())
        self.listen()
        now = self._clock()
        self.began = self.ended = self._due = now
        if self._plan.deadline is not None:
            self._stop = now + round(self._plan.deadline * SECOND)
            # So that the last probe, too, has its time.
            self._stopSending = max(now, self._stop - self.tally.timeout)
        self._proceed()
        return self._done

    def stop(self) -> None:
        """
        End now.  What waits is left out of the figures.
        """
        if not self._isOver:
            self._port.drain()
            self.withdrawn = self.tally.withdraw()
            self._finish()

    def _proceed(self) -> None:
        self._timer = None
        now = self._clock()
        self._expire(now)
        if self._stop is not None and now >= self._stop:
            self._giveUp()
            return
        isBehind = self._send(now)
        # The callback for an event may have stopped it.
        if self._isOver:
            return
        if self._isSent():
            if not self.tally.inFlight:
                self._linger()
                return
            next = None
        else:
            next = self._due
        candidates = [next, self.tally.oldestDue(), self._stop]
        soonest = min(each for each in candidates if each is not None)
        delay = max((soonest - self._clock()) / SECOND, 0 if isBehind else 0.001)
        self._timer = self._reactor.callLater(delay, self._proceed)

    def _isSent(self) -> bool:
        """
        Whether there is nothing more to send.
        """
        if self._plan.count is not None and self.tally.sent >= self._plan.count:
            return True
        return self._stopSending is not None and self._due > self._stopSending

    def _send(self, now: int) -> bool:
        """
        Send what is due.

        @return: whether more is due, and there is room for it.
        """
        late = now - self._due
        if late > self.maxBehind and self._interval < late:
            missed = (late - self.maxBehind) // self._interval + 1
            self.skipped += missed
            self._due += missed * self._interval
        for _ in range(self.maxAtOnce):
            if self._due > now or self._isOver or self._isSent():
                return False
            isFull = self.tally.inFlight >= self._most or self.tally.isFull
            if isFull or not self._sendOne():
                return False
            self._due += self._interval
        return True

    def _sendOne(self) -> bool:
        """
        Send a probe.

        @return: whether there was room for it.
        """
        probe = self.tally.next()
        now = self._clock()
        try:
            self._port.send(probe)
        except OSError as e:
            if e.errno in (EAGAIN, ENOBUFS):
                if self._blockedSince is None:
                    self._blockedSince = now
                if now - self._blockedSince < self.tally.timeout:
                    return False
            reason = os.strerror(e.errno or 0).lower()
            if e.errno == EMSGSIZE:
                reason = "too long to send"
            self.tally.hasSent(now)
            self._heard(self.tally.refuse(probe, reason))
        else:
            self.tally.hasSent(now)
        self._blockedSince = None
        self.ended = now
        return True

    def _expire(self, now: int) -> None:
        for event in self.tally.expire(now):
            self._heard(event)

    def _giveUp(self) -> None:
        self._port.drain()
        for event in self.tally.giveUp():
            self._heard(event)
        if not self._isOver:
            self._finish()

    def _linger(self) -> None:
        """
        Wait a little for duplicates and for what is late.
        """
        if self._isLingering or self._isOver:
            return
        self._isLingering = True
        wait = min(self.tally.timeout, 3 * self.tally.trips.most)
        if self._stop is not None:
            wait = max(0, min(wait, self._stop - self._clock()))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._reactor.callLater(wait / SECOND, self._end)

    def _end(self) -> None:
        self._timer = None
        self._giveUp()

    def _finish(self) -> None:
        self._isOver = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.kernelDrops = self._port.kernelDrops
        closing = maybeDeferred(self._port.stopListening)
        closing.addCallback(lambda _: self._done.callback(self.tally))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Count a reply.

        @param datagram: the payload.

        @param addr: not looked at: a connected socket hears its peer alone.
        """
        if self._isOver:
            return
        port = self._port
        now = self._clock()
        self._heard(self.tally.received(datagram, now, port.delay, port.isFragmented))
        self._lingerIfDone()

    def refused(self, datagram: bytes | None, reason: str) -> None:
        """
        Count a refusal.

        @param datagram: what was refused, as far as that is known.

        @param reason: why, in a few words.
        """
        if self._isOver:
            return
        self._heard(self.tally.refuse(datagram, reason))
        self._lingerIfDone()

    def _lingerIfDone(self) -> None:
        if not (self.tally.inFlight or self._isOver) and self._isSent():
            self._linger()
