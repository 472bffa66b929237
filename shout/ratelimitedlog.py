"""
Log lines about events that can be frequent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RateLimitedLog:
    """
    Log the first event at once.  Events in the C{quietPeriod} seconds after a line are
    counted; at the end of that time one line is about the last of them, with the
    number of the others.

    @cvar quietPeriod: Seconds between two lines.
    """

    quietPeriod = 30.0

    def __init__(self, write: Callable[..., None], clock: Any) -> None:
        """
        @param write: Called with a line of text, and with the details of the event
            that it is about.

        @param clock: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._write = write
        self._clock = clock
        self._unsaid = 0
        self._last: tuple[Any, ...] = ()
        self._quiet: Any = None

    def add(self, text: str, *details: Any) -> None:
        """
        Log an event, or count it.

        @param text: The event, in one line.

        @param details: More about it, for C{write}.
        """
        self._unsaid += 1
        self._last = text, *details
        if self._quiet is None:
            self._goOn()

    def flush(self) -> None:
        """
        Log the events that were only counted.
        """
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if self._unsaid:
            others = self._unsaid - 1
            text, *details = self._last
            self._unsaid, self._last = 0, ()
            more = f"; {others} more since the last such line" if others else ""
            self._write(text + more, *details)

    def _goOn(self) -> None:
        self._quiet = None
        if self._unsaid:
            self.flush()
            self._quiet = self._clock.callLater(self.quietPeriod, self._goOn)
