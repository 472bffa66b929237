"""
Standard output, with a line at its end that changes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from errno import EPIPE
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from shout.cli.stdio import Output

# What a terminal shows beside the changing line for Ctrl-C, and likewise Ctrl-\.
_ECHO = "^C"


@implementer(IPushProducer)
class LiveLine:
    """
    Print lines without ever waiting for who reads them.  When they are read too
    slowly, those that may be left out are.

    @ivar isTerminal: whether a line can be printed over.
    @type isTerminal: L{bool}

    @ivar ended: fires when nothing more is to be or can be printed, with the
        exit status that this makes: 0 when all was.
    @type ended: L{Deferred} of L{int}
    """

    def __init__(
        self,
        fd: int,
        isTerminal: bool,
        leftOutLine: Callable[[int], str],
        printError: Callable[[str], object],
        reactor: Any,
    ) -> None:
        """
        @param fd: the descriptor to print to; it stays open.

        @param isTerminal: whether a line can be printed over.

        @param leftOutLine: makes the line that says how many were left out.

        @param complain: called with one line when nothing can be printed.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider.
        """
        self.isTerminal = isTerminal
        self.ended: Deferred[int] = Deferred()
        self._printError = printError
        self._leftOutLine = leftOutLine
        self._fd = fd
        self._live = ""
        self._isPaused = False
        self._isOver = False
        self._leftOut = 0
        self._output = Output(fd, self._outputEnded, reactor)
        self._output.registerProducer(self, True)

    def say(self, text: str, canBeLeftOut: bool = False) -> None:
        """
        Print a line.

        @param canBeLeftOut: whether it need not be printed when nobody reads.
        """
        if self._isOver:
            return
        if self._isPaused and canBeLeftOut:
            self._leftOut += 1
            return
        left, self._leftOut = self._leftOut, 0
        note = f"{self._leftOutLine(left)}\n" if left else ""
        live = self._live
        self._write(self._erase() + note + text + "\n" + live)
        self._live = live

    def show(self, text: str) -> None:
        """
        Print the changing line anew, on a terminal; nothing takes it away.
        """
        if not self.isTerminal or self._isPaused or self._isOver:
            return
        # What does not fit in one line cannot be printed over, nor what the
        # terminal adds.
        text = text[: self.columns - 1 - len(_ECHO)]
        if text != self._live:
            self._write(self._erase() + text)
            self._live = text

    def finish(self) -> None:
        """
        Print what is left, and end.
        """
        if not self._isOver:
            self._isOver = True
            self._write(self._erase())
            self._output.finish()

    @property
    def columns(self) -> int:
        """
        How many characters a line of the terminal has.
        """
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    def _erase(self) -> str:
        live, self._live = self._live, ""
        return f"\r{' ' * len(live + _ECHO)}\r" if live else ""

    def _write(self, text: str) -> None:
        # What does not show in a locale's encoding must not end a measurement.
        self._output.write(text.encode("utf-8", "surrogateescape"))

    def pauseProducing(self) -> None:
        """
        Leave out lines until the user has read what was printed.
        """
        self._isPaused = True

    def resumeProducing(self) -> None:
        """
        Go on printing.
        """
        self._isPaused = False

    def stopProducing(self) -> None:
        """
        Do nothing: C{ended} fires too.
        """

    def _outputEnded(self, reason: Failure) -> None:
        self._isOver = True
        error: Any = reason.value
        if isinstance(error, ConnectionDone):
            self.ended.callback(0)
        elif isinstance(error, ConnectionLost) or getattr(error, "errno", 0) == EPIPE:
            self.ended.callback(128 + signal.SIGPIPE)
        else:
            self._printError(f"cannot write to standard output: {error.strerror}")
            self.ended.callback(1)
