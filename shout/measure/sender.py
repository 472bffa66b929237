"""
Sending what is due.
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
How long to wait at least before probes are sent again, in nanoseconds.
"""


# No timer is set to less than a millisecond, so at more than a thousand per
# second several probes leave at a time: those of that millisecond, and however
# late it is no more, so that they leave evenly.
class Sender:
    """
    Send the probes that are due, as far as there is room for them.

    @cvar maxAtOnce: how many probes are sent before the replies are read again.

    @ivar maxInFlight: how many probes may wait for a reply at a time.
    @type maxInFlight: L{int}

    @ivar isFull: whether the last time not all that was due was sent, as too much
        was on its way.
    @type isFull: L{bool}

    @ivar last: when probes were last sent; 0 when none were.
    @type last: L{int}
    """

    maxAtOnce = 64

    def __init__(
        self,
        port: Any,
        tracker: ProbeTracker,
        schedule: Schedule,
        isUNIX: bool,
        onEvent: Callable[[Event], object],
        isOver: Callable[[], bool],
        clock: Callable[[], int],
    ) -> None:
        """
        @param port: a L{TimedPort<shout.udp.timed.TimedPort>}, or one like it.

        @param tally: makes the probes, and is told of them.

        @param plan: how often they are sent.

        @param isUNIX: whether they go to a UNIX socket, which queues no more than
            C{net.unix.max_dgram_qlen}, usually 10.

        @param heard: called with each L{Event}.

        @param isOver: whether no more are to be sent; an event can end it.

        @param clock: returns the time, in nanoseconds that never go back.
        """
        self.maxInFlight = 8 if isUNIX else 1 << 16
        self.isFull = False
        self.last = 0
        self._isUNIX = isUNIX
        self._port = port
        self._tally = tracker
        self._onEvent = onEvent
        self._isOver = isOver
        self._clock = clock
        perPause = int(PAUSE / SECOND / schedule.interval) + 1
        self._maxAtOnce = min(self.maxAtOnce, perPause)
        self._blockedSince: int | None = None

    def send(self, pacer: Pacer, now: int, patience: int) -> bool:
        """
        Send what is due.

        @param schedule: says what that is.

        @param now: the time.

        @param patience: as for L{Schedule.due}.

        @return: whether more is due, and there is room for it.
        """
        self.isFull = False
        due = pacer.due(now, patience)
        left = min(due, self._maxAtOnce)
        while left and not self._isOver():
            room = min(self.maxInFlight - self._tally.inFlight, self._tally.room)
            if room <= 0:
                self.isFull = True
                return False
            sent = self._sendSome(min(left, room, self._port.maxAtOnce))
            if not sent:
                return False
            pacer.took(sent)
            left -= sent
        return due > self._maxAtOnce

    def _sendSome(self, count: int) -> int:
        """
        Send probes at once.

        @return: how many; 0 when there is no room for any.
        """
        probes = self._tally.next(count)
        now = self._clock()
        try:
            sent: int = self._port.send(probes)
        except OSError as e:
            if e.errno in (EAGAIN, ENOBUFS):
                if self._blockedSince is None:
                    self._blockedSince = now
                if now - self._blockedSince < self._tally.timeout:
                    return 0
            sent = 1
            self._tally.hasSent(now)
            reason = self._explain(e.errno or 0)
            self._onEvent(self._tally.refuse(probes[0], reason, now))
        else:
            self._tally.hasSent(now, sent)
        self._blockedSince = None
        self.last = now
        return sent

    def _explain(self, number: int) -> str:
        if number == EMSGSIZE:
            return "too long to send"
        # What the network says by the same number is the same reason.
        return os.strerror(number).lower() if self._isUNIX else explain(number)
