"""
Log lines about events that can be frequent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RateLimitedLog:
    """
    A log that writes the first event at once, and counts events in the C{quietPeriod}
    seconds after a line.  At the end of that period one line has the last of them, and
    the number of the others.

    @cvar quietPeriod: Seconds between two lines.
    """

    quietPeriod = 30.0

    def __init__(self, write: Callable[..., None], clock: Any) -> None:
        """
        @param write: Called with a line of text, and with the details of the event in
            that line.

        @param clock: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._write = write
        self._clock = clock
        self._pending = 0
        self._last: tuple[Any, ...] = ()
        self._timer: Any = None

    def add(self, text: str, *details: Any) -> None:
        """
        Log an event, or count it.

        @param text: The event, in one line.

        @param details: More about it, for C{write}.
        """
        self._pending += 1
        self._last = text, *details
        if self._timer is None:
            self._periodEnded()

    def flush(self) -> None:
        """
        Log the events that have only been counted.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            others = self._pending - 1
            text, *details = self._last
            self._pending, self._last = 0, ()
            more = f"; {others} more since the last such line" if others else ""
            self._write(text + more, *details)

    def _periodEnded(self) -> None:
        self._timer = None
        if self._pending:
            self.flush()
            self._timer = self._clock.callLater(self.quietPeriod, self._periodEnded)
