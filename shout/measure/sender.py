"""
Sending the probes that are due.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EAGAIN, EMSGSIZE, ENOBUFS
from typing import Any

from shout.measure.result import Event
from shout.measure.schedule import SECOND, Pacer, Schedule
from shout.measure.tracker import ProbeTracker
from shout.udp.icmp import explain

PAUSE = SECOND // 1000
"""
The shortest pause before the sender is called again, in nanoseconds.
"""


# No timer is shorter than a millisecond, so above a thousand probes per second
# several leave together.  One call sends no more than a millisecond's worth of
# probes, even after a delay, so that they leave evenly.
class Sender:
    """
    Send the probes that are due, within the limit of probes in flight.

    @cvar maxAtOnce: Number of probes sent before replies are read again.

    @ivar maxInFlight: Largest number of probes in flight.

    @ivar isFull: C{True} if the last call could not send all due probes because too
        many are in flight.

    @ivar isStopped: C{True} to send no more probes, even if more are due.

    @ivar lastSent: Time at which probes were last sent; 0 if none were.
    """

    maxAtOnce = 64

    def __init__(
        self,
        port: Any,
        tracker: ProbeTracker,
        schedule: Schedule,
        isUNIX: bool,
        onEvent: Callable[[Event], object],
        clock: Callable[[], int],
    ) -> None:
        """
        @param port: A L{TimedPort<shout.udp.timed.TimedPort>}, or similar.

        @param tracker: Source of the probes, which also counts them.

        @param schedule: The interval between the probes.

        @param isUNIX: C{True} if the peer is a UNIX socket, whose queue holds
            C{net.unix.max_dgram_qlen} datagrams, usually 10.

        @param onEvent: Called with each L{Event}.

        @param clock: Source of the monotonic time in nanoseconds.
        """
        self.maxInFlight = 8 if isUNIX else 1 << 16
        self.isFull = self.isStopped = False
        self.lastSent = 0
        self._isUNIX = isUNIX
        self._port = port
        self._tracker = tracker
        self._onEvent = onEvent
        self._clock = clock
        perPause = int(PAUSE / SECOND / schedule.interval) + 1
        self._maxAtOnce = min(self.maxAtOnce, perPause)
        self._blockedSince: int | None = None

    def send(self, pacer: Pacer, now: int, replyWait: int) -> bool:
        """
        Send the probes that are due.

        @param replyWait: As for L{Pacer.due}.

        @return: C{True} if more probes are due and can be sent.
        """
        self.isFull = False
        due = pacer.due(now, replyWait)
        left = min(due, self._maxAtOnce)
        tracker = self._tracker
        while left and not self.isStopped:
            free = min(self.maxInFlight - tracker.inFlight, tracker.freeSlots)
            if free <= 0:
                self.isFull = True
                return False
            sent = self._sendSome(min(left, free, self._port.maxAtOnce))
            if not sent:
                return False
            pacer.advance(sent)
            left -= sent
        return due > self._maxAtOnce

    def _sendSome(self, count: int) -> int:
        """
        Send probes in one call.

        @return: Number of probes sent or refused; 0 if the send buffer is full.
        """
        probes = self._tracker.makeProbes(count)
        now = self._clock()
        try:
            sent: int = self._port.send(probes)
        except OSError as e:
            if e.errno in (EAGAIN, ENOBUFS):
                if self._blockedSince is None:
                    self._blockedSince = now
                if now - self._blockedSince < self._tracker.timeout:
                    return 0
            sent = 1
            self._tracker.probesSent(now)
            reason = self._explain(e.errno or 0)
            self._onEvent(self._tracker.icmpErrorReceived(probes[0], reason, now))
        else:
            self._tracker.probesSent(now, sent)
        self._blockedSince = None
        self.lastSent = now
        return sent

    def _explain(self, number: int) -> str:
        if number == EMSGSIZE:
            return "too long to send"
        # An error number has the same text here as in an ICMP error.
        return os.strerror(number).lower() if self._isUNIX else explain(number)
