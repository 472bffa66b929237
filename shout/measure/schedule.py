"""
The probes of a measurement, and the times at which they are due.
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
    Number, interval and size of the probes, and the time limits.

    @ivar count: Number of probes to send; C{None} for no limit.

    @ivar interval: Seconds from one probe to the next.

    @ivar size: Size of a probe in bytes.

    @ivar timeout: Seconds to wait for a reply.

    @ivar deadline: Seconds until the measurement ends; C{None} for no limit.

    @ivar isAdaptive: C{True} to send the next probe as soon as the last one has been
        answered, but no sooner than a millisecond after it.
    """

    count: int | None = None
    interval: float = 1.0
    size: int = 56
    timeout: float = 1.0
    deadline: float | None = None
    isAdaptive: bool = False

    @property
    def isEndless(self) -> bool:
        """
        C{True} without a count and a deadline.
        """
        return self.count is None and self.deadline is None


# Probes are due at fixed times, counted from the first, so a delay does not shift
# the later ones: probes that have become due meanwhile leave together.  Those more
# than 50 ms overdue are skipped, so that a slow machine sends less, but evenly.
class Pacer:
    """
    The times at which the probes of a schedule are due, in nanoseconds of any
    monotonic clock.

    @cvar maxOverdue: Age in nanoseconds above which a due probe is skipped.

    @ivar nextDue: Time at which the next probe is due.

    @ivar deadline: Time at which the measurement ends; C{None} for no limit.

    @ivar skipped: Number of probes skipped because they were too long overdue.
    """

    maxOverdue = SECOND // 20

    def __init__(self, schedule: Schedule, now: int) -> None:
        """
        @param now: Time at which the first probe is due.
        """
        self.nextDue = self._began = now
        self.deadline: int | None = None
        if schedule.deadline is not None:
            self.deadline = now + round(schedule.deadline * SECOND)
        self.skipped = 0
        self._interval = max(1, round(schedule.interval * SECOND))
        self._left = schedule.count

    @property
    def lastDue(self) -> int:
        """
        Time at which the last probe that was sent or skipped was due.
        """
        return self.nextDue - self._interval

    def isFinished(self, replyWait: int) -> bool:
        """
        Return C{True} if no more probes will be due.

        @param replyWait: Nanoseconds that the last probe has to have before the
            deadline.
        """
        return self._left == 0 or self.nextDue > self._latestDue(replyWait)

    def due(self, now: int, replyWait: int) -> int:
        """
        Return the number of probes to send now.  Probes more than 50 ms overdue are
        skipped and counted.

        @param replyWait: As for L{isFinished}.
        """
        if self._left == 0:
            return 0
        until = min(now, self._latestDue(replyWait))
        # A probe that is due alone is sent however late it is.
        overdue = now - self.nextDue
        if overdue > max(self.maxOverdue, self._interval) and self.nextDue <= until:
            missed = (overdue - self.maxOverdue) // self._interval + 1
            missed = min(missed, (until - self.nextDue) // self._interval + 1)
            self.skipped += missed
            self.nextDue += missed * self._interval
        if self.nextDue > until:
            return 0
        count = (until - self.nextDue) // self._interval + 1
        return count if self._left is None else min(count, self._left)

    def advance(self, count: int) -> None:
        """
        Move on by C{count} probes, which were sent.
        """
        self.nextDue += count * self._interval
        if self._left is not None:
            self._left -= count

    def hasten(self, time: int) -> None:
        """
        Make the next probe due at a time, unless it is due earlier, and the later ones
        at the interval from it.
        """
        self.nextDue = min(self.nextDue, time)

    def finish(self) -> None:
        """
        Have no more probes due.
        """
        self._left = 0

    def _latestDue(self, replyWait: int) -> int:
        """
        Return the latest time at which a probe may be due.  The first one always
        may.
        """
        if self.deadline is None:
            return _NEVER
        return max(self._began, self.deadline - replyWait)
