"""
What became of each probe that was sent.
"""

from __future__ import annotations

from array import array
from collections import Counter

from shout.measure.histogram import Histogram
from shout.measure.probe import GARBAGE, OTHER_RUN, RIGHT, Probes
from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    REFUSED,
    REPLY,
    WRONG,
    Event,
)
from shout.measure.unmatched import UnmatchedReplies

# The fate of a probe.  What waits is on its way and may still get any other; a
# mistaken one has only got wrong replies so far.
_WAITING, _MISTAKEN, _ANSWERED, _LATE, _SILENT, _WRONG, _REFUSED = range(1, 8)


# Every probe has exactly one fate, so that at the end
#
#     sent = answered + late + lost + refused + those with wrong replies alone
#
# and every datagram that comes back is counted once: as answered, late,
# duplicate, wrong or old.  A right reply decides, whatever came before it.  What
# does not say which probe it belongs to is the matter of L{UnmatchedReplies}.
class ProbeTracker:
    """
    Count what comes back.  Pure bookkeeping: no I/O, and the times are handed
    in, in nanoseconds of any clock that never goes back.

    Fates and times are kept of the last L{window} probes, in memory that does
    not grow.

    @cvar window: how many probes are remembered.

    @ivar sent: how many probes were sent.
    @type sent: L{int}

    @ivar answered: how many of them got the right reply in time.
    @type answered: L{int}

    @ivar late: how many got it after the timeout.
    @type late: L{int}

    @ivar inFlight: how many wait for their fate.
    @type inFlight: L{int}

    @ivar duplicates: how many right replies came again.
    @type duplicates: L{int}

    @ivar old: how many right replies came to probes out of the window; whether
        they are late or duplicates cannot be told any more.
    @type old: L{int}

    @ivar outOfOrder: how many replies, answered or late, came after that to a
        later probe (RFC 4737).
    @type outOfOrder: L{int}

    @ivar wrong: how many wrong replies came, by kind; see
        L{shout.measure.probe.WRONG}.
    @type wrong: L{Counter} of L{str}

    @ivar refusals: how many refusals there were, by reason.
    @type refusals: L{Counter} of L{str}

    @ivar trips: the round trips of what was answered in time.
    @type trips: L{Histogram}

    @ivar variation: the sum of how much the round trips of two successive
        probes differ (RFC 3393), in nanoseconds.
    @type variation: L{int}

    @ivar variations: of how many pairs that is the sum.
    @type variations: L{int}
    """

    window = 1 << 18

    def __init__(self, probes: Probes, timeout: int) -> None:
        """
        @param probes: judges the replies.

        @param timeout: how long a reply may take, in nanoseconds.
        """
        self.probes = probes
        self.timeout = timeout
        self.sent = self.answered = self.late = self.inFlight = 0
        self.duplicates = self.outOfWindow = self.outOfOrder = 0
        self.variation = self.variations = 0
        self.wrong: Counter[str] = Counter()
        self.icmpErrors: Counter[str] = Counter()
        self.histogram = Histogram()
        # When a probe was sent, or, once it is answered, how long that took.
        self._times = array("q", [0]) * self.window
        self._fates = bytearray(self.window)
        self._oldest = self._highest = 0
        # How many probes had which fate; some of the silent ones are claimed,
        # for wrong replies before refusals.
        self._silent = self._wrong = self._refused = 0
        self._strayReplies, self._strayRefusals = UnmatchedReplies(), UnmatchedReplies()

    @property
    def lost(self) -> int:
        """
        How many probes got no reply at all.
        """
        return self._silent - self._strayReplies.count - self._strayRefusals.count

    @property
    def answeredWrong(self) -> int:
        """
        How many probes got wrong replies alone.
        """
        return self._wrong + self._strayReplies.count

    @property
    def refused(self) -> int:
        """
        How many probes came to an ICMP error, or were not let out by the
        system.
        """
        return self._refused + self._strayRefusals.count

    @property
    def patience(self) -> int:
        """
        How long a reply is expected to take at the most, in nanoseconds: three
        times the longest round trip, and the timeout as long as that is not
        known.
        """
        if not self.histogram.count:
            return self.timeout
        return min(self.timeout, 3 * self.histogram.most)

    @property
    def room(self) -> int:
        """
        How many probes can be sent that push none out of the window that still
        waits.
        """
        self.oldestDue()
        return self.window - (self.sent - self._oldest)

    def next(self, count: int = 1) -> list[bytes]:
        """
        Return the probes to send next.
        """
        first = self.sent + 1
        return [self.probes.make(number) for number in range(first, first + count)]

    def hasSent(self, now: int, count: int = 1) -> None:
        """
        Take note that the next probes are on their way.

        @param now: when they were sent.

        @param count: how many they are.
        """
        for number in range(self.sent + 1, self.sent + 1 + count):
            slot = number % self.window
            self._times[slot] = now
            self._fates[slot] = _WAITING
        self.sent += count
        self.inFlight += count

    def received(
        self, reply: bytes, now: int, delay: int = 0, isFragmented: bool = False
    ) -> Event:
        """
        Count a datagram that came back.

        @param now: the time.

        @param delay: how long ago the datagram arrived.
        """
        kind, number, detail = self.probes.classify(reply)
        if number is not None and not 0 < number <= self.sent:
            # It has our nonce, and answers what was never asked.
            kind, number, detail = GARBAGE, None, f"answers probe {number}, not sent"
        if kind != RIGHT:
            self._mistake(kind, number, now - max(0, delay))
            return Event(WRONG, number, len(reply), None, False, isFragmented, detail)
        assert number is not None
        if not self._remembers(number):
            self.outOfWindow += 1
            return Event(OUT_OF_WINDOW, number, len(reply))
        slot = number % self.window
        fate = self._fates[slot]
        if fate in (_ANSWERED, _LATE):
            self.duplicates += 1
            return Event(DUPLICATE, number, len(reply), None, False, isFragmented)
        elapsed = now - self._times[slot]
        # The clock of the arrival can have been set in between.
        roundTrip = elapsed - delay if 0 <= delay <= elapsed else elapsed
        self._leave(fate)
        if isOutOfOrder := number < self._highest:
            self.outOfOrder += 1
        else:
            self._highest = number
        if roundTrip <= self.timeout:
            kind = REPLY
            self._answered(slot, number, roundTrip)
        else:
            kind = LATE
            self._fates[slot] = _LATE
            self.late += 1
        return Event(kind, number, len(reply), roundTrip, isOutOfOrder, isFragmented)

    def _answered(self, slot: int, number: int, roundTrip: int) -> None:
        self._fates[slot] = _ANSWERED
        self._times[slot] = roundTrip
        self.answered += 1
        self.histogram.add(roundTrip)
        for other in (number - 1, number + 1):
            place = other % self.window
            if self._remembers(other) and self._fates[place] == _ANSWERED:
                self.variation += abs(roundTrip - self._times[place])
                self.variations += 1

    def _remembers(self, number: int) -> bool:
        return self.sent - self.window < number <= self.sent

    def _leave(self, fate: int) -> None:
        """
        Take a probe out of those that had a fate.
        """
        if fate in (_WAITING, _MISTAKEN):
            self.inFlight -= 1
        elif fate == _SILENT:
            self._silent -= 1
            if self.lost < 0:
                isReply = self._strayReplies.count > 0
                claims = self._strayReplies if isReply else self._strayRefusals
                claims.giveBack(self.inFlight)
        elif fate == _WRONG:
            self._wrong -= 1
        else:
            self._refused -= 1

    def _mistake(self, kind: str, number: int | None, arrived: int) -> None:
        self.wrong[kind] += 1
        if number is not None:
            if self._remembers(number):
                slot = number % self.window
                fate = self._fates[slot]
                if fate == _WAITING:
                    self._fates[slot] = _MISTAKEN
                elif fate == _SILENT:
                    self._leave(fate)
                    self._fates[slot] = _WRONG
                    self._wrong += 1
        elif kind != OTHER_RUN:
            self._strayReplies.hold(arrived, self.inFlight)

    def refuse(self, probe: bytes | None, reason: str, now: int) -> Event:
        """
        Count a refusal, unless it quotes a probe of another run: the socket can
        have served one before.

        @param probe: what was refused, as far as the refusal quotes it.

        @param reason: why, in a few words.

        @param now: the time.
        """
        number = None if probe is None else self.probes.recognise(probe)
        if probe and number is None and self.probes.isOfOtherRun(probe):
            detail = f"{reason}, quotes a probe of another run"
            return Event(REFUSED, None, detail=detail)
        self.icmpErrors[reason] += 1
        if number is None:
            self._strayRefusals.hold(now, self.inFlight)
        elif self._remembers(number):
            slot = number % self.window
            fate = self._fates[slot]
            if fate in (_WAITING, _MISTAKEN, _SILENT):
                self._leave(fate)
                self._fates[slot] = _REFUSED
                self._refused += 1
        return Event(REFUSED, number, detail=reason)

    def expire(self, now: int) -> list[Event]:
        """
        Give up on what has waited for longer than the timeout.

        @param now: the time.

        @return: what is lost.
        """
        return self.giveUp(now - self.timeout)

    def giveUp(self, before: int) -> list[Event]:
        """
        Give up on what was sent before a time.

        @return: what is lost.
        """
        events = []
        while self._oldest < self.sent:
            number = self._oldest + 1
            slot = number % self.window
            fate = self._fates[slot]
            if fate in (_WAITING, _MISTAKEN):
                if self._times[slot] >= before:
                    break
                self.inFlight -= 1
                if fate == _MISTAKEN:
                    self._fates[slot] = _WRONG
                    self._wrong += 1
                else:
                    self._fates[slot] = _SILENT
                    self._silent += 1
                    if not self._claim(number):
                        events.append(Event(LOST, number))
            self._oldest = number
        return events

    def _claim(self, number: int) -> bool:
        left = self._times[number % self.window]
        strays = (self._strayReplies, self._strayRefusals)
        return any(claims.claim(left, left + self.patience) for claims in strays)

    def oldestDue(self) -> int | None:
        """
        Return when the probe that waits longest will be given up, if one waits.
        """
        while self._oldest < self.sent:
            slot = (self._oldest + 1) % self.window
            if self._fates[slot] in (_WAITING, _MISTAKEN):
                return self._times[slot] + self.timeout
            self._oldest += 1
        return None

    def withdraw(self) -> int:
        """
        End: leave what still waits out of the figures, as if it had not been
        sent.

        @return: how many that are.
        """
        waiting = [
            number
            for number in range(self._oldest + 1, self.sent + 1)
            if self._fates[number % self.window] in (_WAITING, _MISTAKEN)
        ]
        inFlightAtEnd = 0
        self.inFlight -= len(waiting)
        for number in waiting:
            if self._fates[number % self.window] == _MISTAKEN:
                self._wrong += 1
            elif self._claim(number):
                self._silent += 1
            else:
                inFlightAtEnd += 1
        self.sent -= inFlightAtEnd
        self._oldest = self.sent
        return inFlightAtEnd
