"""
The state of each probe sent, and the counts of a measurement.
"""

from __future__ import annotations

from array import array
from collections import Counter
from enum import IntEnum

from shout.measure.histogram import Histogram
from shout.measure.probe import ELSEWHERE, GARBAGE, OTHER_RUN, Probes
from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    OUTSTANDING,
    REFUSED,
    REPLY,
    UNKNOWN_HEADER,
    WRONG,
    Event,
)
from shout.measure.unmatched import UnmatchedReplies
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader


class ProbeState(IntEnum):
    """
    The state of a probe.  A wrong reply does not end the wait for the right one.
    """

    IN_FLIGHT = 1
    IN_FLIGHT_WRONG = 2
    ANSWERED = 3
    LATE = 4
    TIMED_OUT = 5
    ANSWERED_WRONG = 6
    REFUSED = 7


# Plain integers, which are compared faster on the path of each probe.
_IN_FLIGHT = ProbeState.IN_FLIGHT.value
_IN_FLIGHT_WRONG = ProbeState.IN_FLIGHT_WRONG.value
_ANSWERED = ProbeState.ANSWERED.value
_LATE = ProbeState.LATE.value
_TIMED_OUT = ProbeState.TIMED_OUT.value
_ANSWERED_WRONG = ProbeState.ANSWERED_WRONG.value
_REFUSED = ProbeState.REFUSED.value


# Number of addresses, other than the target's, and of ICMP errors with their senders to
# remember.  Both can be forged.
_MAX_SENDERS = 16


# Each probe has one state, so that at the end
#
#     sent = answered + late + lost + refused + answeredWrong
#
# and each datagram that arrives is counted once: as answered, late, duplicate, wrong
# or out of window.  A right reply overrides whatever came before it.  What cannot be
# assigned to a probe goes to UnmatchedReplies.
class ProbeTracker:
    """
    Count the probes and replies of one flow.  There is no I/O, and times are handed in,
    in nanoseconds of any monotonic clock.  The figures have the names and the meaning
    that they have in L{Result<shout.measure.result.Result>}.

    The states and times of the last L{window} probes are kept, in memory that does
    not grow.

    @ivar window: Number of probes whose states are kept.

    @ivar timeout: Nanoseconds to wait for a reply.

    @ivar settled: Number of the last probe before which none is in flight.

    @ivar headers: Number of right replies by their L{IPHeader}.

    @ivar elsewhere: Number of right replies from other addresses than the target's, by
        address; only some if there are many.

    @ivar skipped: Number of probes skipped because the flow could not send.

    @ivar inFlight: Number of probes in flight.

    @ivar wrong: Number of wrong replies by kind; see
        L{WRONG<shout.measure.probe.WRONG>}.
    """

    window = 1 << 18

    def __init__(
        self,
        probes: Probes,
        timeout: int,
        window: int | None = None,
        sourcePort: int | None = None,
    ) -> None:
        """
        @param probes: The probes of this flow, which also classify the replies.

        @param timeout: Nanoseconds to wait for a reply.

        @param window: Number of probes whose states are kept, if it is smaller than
            usual.

        @param sourcePort: The port that the events name.
        """
        self.window = min(self.window, window or self.window)
        self.sourcePort = sourcePort
        self.probes = probes
        self.timeout = timeout
        self.sent = self.answered = self.late = self.inFlight = 0
        self.duplicates = self.outOfWindow = self.outOfOrder = 0
        self.skipped = 0
        self.wrong: Counter[str] = Counter()
        self.icmpErrors: Counter[tuple[str, str | None]] = Counter()
        self.headers: Counter[IPHeader] = Counter()
        self.elsewhere: Counter[str] = Counter()
        self.histogram = Histogram()
        # The time at which a probe was sent, and later its round trip.
        self._times = array("q", [0]) * self.window
        self._states = bytearray(self.window)
        self.settled = 0
        # The last probe answered.
        self._highest = 0
        self.variation = self.variations = 0
        # Numbers of probes by state.  Some of those that timed out are matched with
        # a reply, or else with an ICMP error.
        self._timedOut = self._answeredWrong = self._refused = 0
        self._unmatchedReplies = UnmatchedReplies()
        self._unmatchedErrors = UnmatchedReplies()

    @property
    def lost(self) -> int:
        matched = self._unmatchedReplies.matched + self._unmatchedErrors.matched
        return self._timedOut - matched

    @property
    def answeredWrong(self) -> int:
        return self._answeredWrong + self._unmatchedReplies.matched

    @property
    def refused(self) -> int:
        return self._refused + self._unmatchedErrors.matched

    @property
    def replyWait(self) -> int:
        """
        Nanoseconds in which a reply is expected: three times the longest round trip,
        or the timeout if that is shorter or nothing has been answered.
        """
        if not self.histogram.count:
            return self.timeout
        return min(self.timeout, 3 * self.histogram.max)

    @property
    def freeSlots(self) -> int:
        """
        Number of probes that can be sent before one in flight leaves the window.
        """
        self.nextTimeout()
        return self.window - (self.sent - self.settled)

    def makeProbes(self, count: int = 1) -> list[bytes]:
        """
        Return the next probes to send.
        """
        first = self.sent + 1
        return [self.probes.make(number) for number in range(first, first + count)]

    def probesSent(self, now: int, count: int = 1) -> None:
        """
        Count the next probes as sent.

        @param now: Time at which they were sent.

        @param count: Number of probes.
        """
        for number in range(self.sent + 1, self.sent + 1 + count):
            slot = number % self.window
            self._times[slot] = now
            self._states[slot] = _IN_FLIGHT
        self.sent += count
        self.inFlight += count

    def sendTimeReceived(self, number: int, time: int) -> None:
        """
        Correct the time at which a probe in flight was sent.
        """
        slot = number % self.window
        if self._states[slot] == _IN_FLIGHT and self._isInWindow(number):
            self._times[slot] = max(time, self._times[slot])

    def countReply(
        self, reply: bytes, now: int, delay: int, header: IPHeader
    ) -> int | None:
        """
        Count a right reply in time to a probe in flight.

        @param now: The current time.

        @param delay: Nanoseconds since the reply arrived.

        @param header: Its IP header.

        @return: The number of the probe.  C{None} if the reply is anything else; it is
            not counted then.
        """
        number = self.probes.match(reply)
        if number is None or not 0 < number <= self.sent:
            return None
        slot = number % self.window
        if self._states[slot] != _IN_FLIGHT or not self._isInWindow(number):
            return None
        roundTrip = now - self._times[slot]
        # The wall clock of the arrival can have been set meanwhile.
        if 0 <= delay <= roundTrip:
            roundTrip -= delay
        if roundTrip > self.timeout:
            return None
        self.inFlight -= 1
        self._count(number, slot, roundTrip, header)
        return number

    def replyReceived(
        self, reply: bytes, now: int, delay: int = 0, header: IPHeader = UNKNOWN_HEADER
    ) -> Event:
        """
        Count a reply of any kind; see L{countReply}.
        """
        number = self.countReply(reply, now, delay, header)
        if number is not None:
            roundTrip = self._times[number % self.window]
            return self._replyEvent(REPLY, number, len(reply), roundTrip, header)
        number = self.probes.match(reply)
        if number is None or not 0 < number <= self.sent:
            return self._wrongReplyReceived(reply, now - max(0, delay), header)
        if not self._isInWindow(number):
            self.outOfWindow += 1
            return self._event(OUT_OF_WINDOW, number, len(reply), header=header)
        slot = number % self.window
        state = self._states[slot]
        if state in (_ANSWERED, _LATE):
            self.duplicates += 1
            return self._event(DUPLICATE, number, len(reply), header=header)
        elapsed = now - self._times[slot]
        roundTrip = elapsed - delay if 0 <= delay <= elapsed else elapsed
        self._uncount(state)
        kind = REPLY if roundTrip <= self.timeout else LATE
        self._count(number, slot, roundTrip, header)
        return self._replyEvent(kind, number, len(reply), roundTrip, header)

    def _count(self, number: int, slot: int, roundTrip: int, header: IPHeader) -> None:
        self.headers[header] += 1
        isOutOfOrder = number < self._highest
        if isOutOfOrder:
            self.outOfOrder += 1
        else:
            self._highest = number
        if roundTrip > self.timeout:
            self._states[slot] = _LATE
            self.late += 1
            return
        self._states[slot] = _ANSWERED
        self._times[slot] = roundTrip
        self.answered += 1
        self.histogram.add(roundTrip)
        self._compare(roundTrip, number - 1)
        if isOutOfOrder:
            self._compare(roundTrip, number + 1)

    def _replyEvent(
        self, kind: str, number: int, length: int, roundTrip: int, header: IPHeader
    ) -> Event:
        isOutOfOrder = number < self._highest
        return self._event(kind, number, length, roundTrip, isOutOfOrder, header=header)

    def _compare(self, roundTrip: int, other: int) -> None:
        """
        Compare a round trip with that of the probe before or after it, if that is
        answered.
        """
        slot = other % self.window
        if self._states[slot] == _ANSWERED and self._isInWindow(other):
            self.variation += abs(roundTrip - self._times[slot])
            self.variations += 1

    def _event(
        self,
        kind: str,
        number: int | None,
        length: int = 0,
        roundTrip: int | None = None,
        isOutOfOrder: bool = False,
        detail: str = "",
        header: IPHeader = UNKNOWN_HEADER,
        error: ICMPError | None = None,
    ) -> Event:
        inRun = None if number is None else self.probes.inRun(number)
        port = self.sourcePort
        return Event(
            kind, inRun, length, roundTrip, isOutOfOrder, detail, port, header, error
        )

    def _isInWindow(self, number: int) -> bool:
        return self.sent - self.window < number <= self.sent

    def _uncount(self, state: int) -> None:
        """
        Remove a probe that changes its state from the count of the old one.
        """
        if state in (_IN_FLIGHT, _IN_FLIGHT_WRONG):
            self.inFlight -= 1
        elif state == _TIMED_OUT:
            self._timedOut -= 1
            if self.lost < 0:
                hasReply = self._unmatchedReplies.matched > 0
                source = self._unmatchedReplies if hasReply else self._unmatchedErrors
                source.restore(self.inFlight)
        elif state == _ANSWERED_WRONG:
            self._answeredWrong -= 1
        else:
            self._refused -= 1

    def _wrongReplyReceived(
        self, reply: bytes, arrived: int, header: IPHeader
    ) -> Event:
        kind, number, detail = self.probes.classify(reply)
        if number is not None and not 0 < number <= self.sent:
            # It has the nonce of this run, but answers a probe yet to be sent.
            kind, number, detail = GARBAGE, None, f"answers probe {number}, not sent"
        self._countWrong(kind, number)
        if number is None and kind != OTHER_RUN:
            self._unmatchedReplies.add(arrived, self.inFlight)
        return self._event(WRONG, number, len(reply), detail=detail, header=header)

    def _countWrong(self, kind: str, number: int | None) -> None:
        self.wrong[kind] += 1
        if number is not None and self._isInWindow(number):
            slot = number % self.window
            state = self._states[slot]
            if state == _IN_FLIGHT:
                self._states[slot] = _IN_FLIGHT_WRONG
            elif state == _TIMED_OUT:
                self._uncount(state)
                self._states[slot] = _ANSWERED_WRONG
                self._answeredWrong += 1

    def replyFromElsewhereReceived(self, reply: bytes, sender: str) -> Event | None:
        """
        Count a right reply from another address than the target's.

        @param sender: The address.

        @return: The event, or C{None} if it is not a right reply: anybody can send
            those.
        """
        number = self.probes.match(reply)
        if number is None or not 0 < number <= self.sent:
            return None
        if sender in self.elsewhere or len(self.elsewhere) < _MAX_SENDERS:
            self.elsewhere[sender] += 1
        self._countWrong(ELSEWHERE, number)
        return self._event(WRONG, number, len(reply), detail=f"from {sender}")

    def icmpErrorReceived(self, error: ICMPError, now: int) -> Event:
        """
        Count an ICMP error, or an error in sending, unless it quotes a probe of
        another run: an earlier run may have used the same socket.

        @param now: The current time.
        """
        probe, reason = error.quote, error.reason
        number = None if probe is None else self.probes.numberOf(probe)
        if probe and number is None and self.probes.isOfOtherRun(probe):
            detail = f"{reason}, quotes a probe of another run"
            return self._event(REFUSED, None, detail=detail, error=error)
        key: tuple[str, str | None] = reason, error.sender
        if key not in self.icmpErrors and len(self.icmpErrors) >= _MAX_SENDERS:
            key = "other ICMP errors", None
        self.icmpErrors[key] += 1
        if number is None:
            self._unmatchedErrors.add(now, self.inFlight)
        elif self._isInWindow(number):
            slot = number % self.window
            state = self._states[slot]
            if state in (_IN_FLIGHT, _IN_FLIGHT_WRONG, _TIMED_OUT):
                self._uncount(state)
                self._states[slot] = _REFUSED
                self._refused += 1
        return self._event(REFUSED, number, detail=reason, error=error)

    def isAnswered(self, number: int) -> bool:
        """
        Return C{True} if a probe in the window has been answered in time.
        """
        return self._states[number % self.window] == _ANSWERED

    def outstanding(self, number: int) -> Event | None:
        """
        Return an event if a probe in the window is in flight and has no reply of any
        kind.
        """
        if self._states[number % self.window] != _IN_FLIGHT:
            return None
        return self._event(OUTSTANDING, number)

    def expire(self, now: int) -> list[Event]:
        """
        Time out the probes that have been in flight for longer than the timeout.

        @return: Events of the probes that are lost.
        """
        return self.expireSentBefore(now - self.timeout)

    def expireSentBefore(self, before: int) -> list[Event]:
        """
        Time out the probes in flight that were sent before a time.

        @return: Events of the probes that are lost.
        """
        events = []
        while self.settled < self.sent:
            number = self.settled + 1
            slot = number % self.window
            state = self._states[slot]
            if state in (_IN_FLIGHT, _IN_FLIGHT_WRONG):
                if self._times[slot] >= before:
                    break
                self.inFlight -= 1
                if state == _IN_FLIGHT_WRONG:
                    self._states[slot] = _ANSWERED_WRONG
                    self._answeredWrong += 1
                else:
                    self._states[slot] = _TIMED_OUT
                    self._timedOut += 1
                    if not self._match(number):
                        events.append(self._event(LOST, number))
            self.settled = number
        return events

    def _match(self, number: int) -> bool:
        sent = self._times[number % self.window]
        sources = (self._unmatchedReplies, self._unmatchedErrors)
        return any(each.match(sent, sent + self.replyWait) for each in sources)

    def nextTimeout(self) -> int | None:
        """
        Return the time at which the next probe times out, or C{None} if none is in
        flight.
        """
        while self.settled < self.sent:
            slot = (self.settled + 1) % self.window
            if self._states[slot] in (_IN_FLIGHT, _IN_FLIGHT_WRONG):
                return self._times[slot] + self.timeout
            self.settled += 1
        return None

    def removeInFlight(self) -> int:
        """
        End the measurement: remove the probes in flight from the counts, except for
        those with wrong replies.

        @return: Number of probes removed.
        """
        inFlight = [
            number
            for number in range(self.settled + 1, self.sent + 1)
            if self._states[number % self.window] in (_IN_FLIGHT, _IN_FLIGHT_WRONG)
        ]
        removed = 0
        self.inFlight -= len(inFlight)
        for number in inFlight:
            if self._states[number % self.window] == _IN_FLIGHT_WRONG:
                self._answeredWrong += 1
            elif self._match(number):
                self._timedOut += 1
            else:
                removed += 1
        self.sent -= removed
        self.settled = self.sent
        return removed
