"""
Times by the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shout.measure.result import Event
from shout.measure.schedule import SECOND


class WallClock:
    """
    The wall clock, in nanoseconds since 1970 (UTC).
    """

    def __init__(
        self,
        now: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """
        @param now: Source of the time.

        @param monotonic: The clock of the measurement.
        """
        self.now = now
        self._monotonic = monotonic

    def timeOf(self, event: Event) -> int:
        """
        Return the time at which a reply arrived; for any other event, the current time.
        """
        if event.arrived is None:
            return self.now()
        return self.now() - (self._monotonic() - event.arrived)


# Text is compared by eye with log files and captures, so it has the local time in the
# form of tcpdump -tttt.  Programs get the nanoseconds in JSON.
def stamp(nanoseconds: int) -> str:
    """
    Return a time as local time: C{2026-11-26 22:07:21.123456}.
    """
    seconds, rest = divmod(nanoseconds, SECOND)
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return f"{local}.{rest // 1000:06}"


def spanLine(start: int, end: int) -> str:
    """
    Return the line about the start and the end of a run, with the time zone.
    """
    zone = time.strftime("%z", time.localtime(end // SECOND))
    return f"from {stamp(start)} to {stamp(end)} (UTC{zone})"
