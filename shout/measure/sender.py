"""
Sending the probes that are due.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from errno import EAGAIN, EMSGSIZE, ENOBUFS

from shout.measure.flow import Flow, Timeouts
from shout.measure.result import Event
from shout.measure.schedule import SECOND, Pacer, Schedule
from shout.udp.icmp import ICMPError, explain

PAUSE = SECOND // 1000
"""
The shortest pause before the sender is called again, in nanoseconds.
"""


# No timer is shorter than a millisecond, so above a thousand probes per second
# several leave together.  One call sends no more than a millisecond's worth of
# probes, even after a delay, so that they leave evenly.
#
# With several flows each sends one probe in a round, and has its turn in a new random
# order.  Otherwise bursts of losses would hit neighbours together, and periodic ones
# always the same flow.  A flow that cannot send misses its turn, so that it does not
# delay the others.
class Sender:
    """
    Send the probes that are due, within the limits of the flows.

    @cvar maxAtOnce: Number of probes sent before replies are read again.

    @cvar shuffle: Called with the flows to change their order.

    @ivar isFull: C{True} if the last call could not send all due probes because too
        many are in flight.

    @ivar isStopped: C{True} to send no more probes, even if more are due.

    @ivar reportsOutstanding: C{True} to report each probe that is in flight when the
        next one to its target has been sent.

    @ivar lastSent: Time at which probes were last sent; 0 if none were.
    """

    maxAtOnce = 64
    shuffle: Callable[[list[Sequence[Flow]]], None] = staticmethod(random.shuffle)

    def __init__(
        self,
        flows: Sequence[Sequence[Flow]],
        timeouts: Timeouts,
        schedule: Schedule,
        onEvent: Callable[[Flow, Event], object],
        clock: Callable[[], int],
    ) -> None:
        """
        @param flows: The flows by their index, each list with one for each target.

        @param timeouts: The order in which the probes sent time out.

        @param schedule: The interval between the probes of all flows.

        @param onEvent: Called with each L{Event}.

        @param clock: Source of the monotonic time in nanoseconds.
        """
        self.isFull = self.isStopped = self.reportsOutstanding = False
        self.lastSent = 0
        self._flows = [*flows]
        self._isAlone = len(flows) == len(flows[0]) == 1
        self._round = [*flows[0]] if self._isAlone else []
        self._turn = 0
        self._lastFlow: Flow | None = None
        self._timeouts = timeouts
        self._onEvent = onEvent
        self._clock = clock
        perPause = int(PAUSE / SECOND / schedule.interval) + 1
        self._maxAtOnce = min(self.maxAtOnce, perPause)
        self._blockedSince: int | None = None
        # The flow and the number of the last probe to each target.
        self._last: dict[int, tuple[Flow, int]] = {}

    @property
    def isAnswered(self) -> bool:
        """
        C{True} if the last probe sent has been answered in time.
        """
        flow = self._lastFlow
        return flow is not None and flow.tracker.isAnswered(flow.tracker.sent)

    def send(self, pacer: Pacer, now: int, replyWait: int) -> bool:
        """
        Send the probes that are due.

        @param replyWait: As for L{Pacer.due}.

        @return: C{True} if more probes are due and can be sent.
        """
        self.isFull = False
        due = pacer.due(now, replyWait)
        left = min(due, self._maxAtOnce)
        isAlone = self._isAlone
        while left and not self.isStopped:
            if self._turn == len(self._round):
                self._beginRound()
            flow = self._round[self._turn]
            capacity = flow.capacity
            if capacity <= 0 and isAlone:
                self.isFull = True
                return False
            sent = 0
            if capacity > 0:
                most = flow.port.maxAtOnce if isAlone else 1
                sent = self._sendSome(flow, min(left, capacity, most))
            if not sent:
                if isAlone:
                    return False
                flow.tracker.skipped += 1
            if not isAlone:
                self._turn += 1
            pacer.advance(sent or 1)
            left -= sent or 1
        return due > self._maxAtOnce

    def _beginRound(self) -> None:
        self.shuffle(self._flows)
        self._round = [flow for ofIndex in self._flows for flow in ofIndex]
        self._turn = 0

    def _sendSome(self, flow: Flow, count: int) -> int:
        """
        Send probes in one call.

        @return: Number of probes sent or refused; 0 if the send buffer is full.
        """
        tracker = flow.tracker
        probes = tracker.makeProbes(count)
        now = self._clock()
        error = None
        try:
            sent: int = flow.port.send(probes)
        except OSError as e:
            if e.errno in (EAGAIN, ENOBUFS):
                if self._blockedSince is None:
                    self._blockedSince = now
                if now - self._blockedSince < tracker.timeout:
                    return 0
            sent = 1
            error = ICMPError(self._explain(flow, e.errno or 0), quote=probes[0])
        tracker.probesSent(now, sent)
        self._timeouts.probesSent(flow)
        if error is None:
            if flow.hasSendTimes:
                flow.probeSent()
        else:
            self._onEvent(flow, tracker.icmpErrorReceived(error, now))
        self._blockedSince = None
        self.lastSent = now
        self._lastFlow = flow
        if self.reportsOutstanding:
            self._reportOutstanding(flow)
        return sent

    def _reportOutstanding(self, flow: Flow) -> None:
        before = self._last.get(flow.target)
        self._last[flow.target] = flow, flow.tracker.sent
        if before is None:
            return
        flow, number = before
        # If this program was paused, the reply may be in the receive buffer.
        flow.port.drain()
        event = flow.tracker.outstanding(number)
        if event is not None and not self.isStopped:
            self._onEvent(flow, event)

    def _explain(self, flow: Flow, number: int) -> str:
        if number == EMSGSIZE:
            return "too long to send"
        # An error number has the same text here as in an ICMP error.
        return os.strerror(number).lower() if flow.isUNIX else explain(number)
