"""
How to log what may happen often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Notices:
    """
    Say what has happened: at once or, when that was done a short while ago, later for
    the last of several, and how many more there were.

    @cvar quietPeriod: how long, in seconds, after one thing was said the others are
        only counted.
    """

    quietPeriod = 30.0

    def __init__(self, say: Callable[[str], None], clock: Any) -> None:
        """
        @param say: called with a line of text.

        @param clock: an L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._say = say
        self._clock = clock
        self._unsaid = 0
        self._last = ""
        self._quiet: Any = None

    def add(self, text: str) -> None:
        """
        Say this, or remember it.

        @param text: what has happened.
        """
        self._unsaid += 1
        self._last = text
        if self._quiet is None:
            self._goOn()

    def flush(self) -> None:
        """
        Say what is remembered.
        """
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if self._unsaid:
            others = self._unsaid - 1
            self._unsaid = 0
            more = f"; {others} more since this was said" if others else ""
            self._say(self._last + more)

    def _goOn(self) -> None:
        self._quiet = None
        if self._unsaid:
            self.flush()
            self._quiet = self._clock.callLater(self.quietPeriod, self._goOn)
