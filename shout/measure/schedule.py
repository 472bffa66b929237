"""
What to measure, and when what is due.
"""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000
"""
A second, in nanoseconds.
"""

_NEVER = 1 << 63


@dataclass(frozen=True)
class Schedule:
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


# Probes are due at fixed times, counted from the first.  Whoever comes late finds
# several due and sends them at once.  What is more than 50 ms overdue is not sent
# any more, so that a machine that cannot keep up sends less, but evenly.
class Pacer:
    """
    When the probes of a plan are due, in nanoseconds of any clock that never
    goes back.

    @cvar maxBehind: how long a probe may be overdue.

    @ivar next: when the next probe is due.
    @type next: L{int}

    @ivar stop: when it all ends, whatever is on its way; L{None} for no end.
    @type stop: L{int} or L{None}

    @ivar skipped: how many probes were due, but too late to be sent.
    @type skipped: L{int}
    """

    maxBehind = SECOND // 20

    def __init__(self, schedule: Schedule, now: int) -> None:
        """
        @param now: when the first probe is due.
        """
        self.next = self._began = now
        self.stop: int | None = None
        if schedule.deadline is not None:
            self.stop = now + round(schedule.deadline * SECOND)
        self.skipped = 0
        self._interval = max(1, round(schedule.interval * SECOND))
        self._left = schedule.count

    @property
    def last(self) -> int:
        """
        When the last probe was due that was sent or skipped.
        """
        return self.next - self._interval

    def isOver(self, patience: int) -> bool:
        """
        Whether no more probes will be due.

        @param patience: how long the last one has to have before the end.
        """
        return self._left == 0 or self.next > self._last(patience)

    def due(self, now: int, patience: int) -> int:
        """
        Return how many probes are due, those left out that are due for too
        long.

        @param patience: as for L{isOver}.
        """
        if self._left == 0:
            return 0
        until = min(now, self._last(patience))
        # One that comes alone is sent however late it is.
        late = now - self.next
        if late > max(self.maxBehind, self._interval) and self.next <= until:
            missed = (late - self.maxBehind) // self._interval + 1
            missed = min(missed, (until - self.next) // self._interval + 1)
            self.skipped += missed
            self.next += missed * self._interval
        if self.next > until:
            return 0
        count = (until - self.next) // self._interval + 1
        return count if self._left is None else min(count, self._left)

    def took(self, count: int) -> None:
        """
        Take note that so many were sent.
        """
        self.next += count * self._interval
        if self._left is not None:
            self._left -= count

    def _last(self, patience: int) -> int:
        """
        Return when the last probe can be due; the first always can.
        """
        if self.stop is None:
            return _NEVER
        return max(self._began, self.stop - patience)
