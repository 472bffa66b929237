"""
Standard output, with a status below the other lines on a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from shout.cli.stdio import Output

# The characters that a terminal adds to the status line for Ctrl-C, or Ctrl-\.
_ECHO = "^C"


@implementer(IPushProducer)
class LiveLine:
    """
    Print lines without blocking.  If they are read too slowly, optional lines are
    left out.

    @ivar isTerminal: C{True} if a line can be overwritten.
    @type isTerminal: C{bool}

    @ivar ended: Fires with an exit status when everything is printed, or nothing can
        be printed any more; see L{Output}.
    @type ended: L{Deferred} of C{int}
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
        @param fd: The descriptor to print to; it stays open.

        @param isTerminal: C{True} if a line can be overwritten.

        @param leftOutLine: Called with the number of lines left out; returns the line
            in their place.
        """
        self.isTerminal = isTerminal
        self.printError = printError
        self.ended: Deferred[int] = Deferred()
        self._leftOutLine = leftOutLine
        self._fd = fd
        self._status = ""
        self._isPaused = False
        self._isOver = False
        self._leftOut = 0
        self._output = Output(fd, self._outputEnded, printError, reactor)
        self._output.registerProducer(self, True)

    def writeLine(self, text: str, isOptional: bool = False) -> None:
        """
        Print a line.

        @param isOptional: C{True} if the line may be left out.
        """
        if self._isOver:
            return
        if self._isPaused and isOptional:
            self._leftOut += 1
            return
        leftOut, self._leftOut = self._leftOut, 0
        note = f"{self._leftOutLine(leftOut)}\n" if leftOut else ""
        status = self._status
        self._write(self._erase() + note + text + "\n" + status)
        self._status = status

    def setStatus(self, text: str) -> None:
        """
        Replace the status on a terminal: a line, or several of them if the terminal can
        move its cursor up.  An empty text removes it.
        """
        if not self.isTerminal or self._isPaused or self._isOver:
            return
        if os.environ.get("TERM") == "dumb":
            text = text.rpartition("\n")[2]
        # Lines that wrap, with the characters that a terminal adds, cannot be
        # overwritten.
        width = self.columns - 1 - len(_ECHO)
        text = "\n".join(line[:width] for line in text.split("\n"))
        if text == self._status:
            return
        if "\n" in text and "\n" in self._status:
            # To erase all lines first would flicker.
            lines = text.replace("\n", "\x1b[K\n")
            self._write(f"{self._up()}{lines}\x1b[J")
        else:
            self._write(self._erase() + text)
        self._status = text

    def finish(self) -> None:
        """
        Print the rest, and end.
        """
        if not self._isOver:
            self._isOver = True
            self._write(self._erase())
            self._output.finish()

    @property
    def columns(self) -> int:
        """
        The width of the terminal in characters.
        """
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    @property
    def rows(self) -> int:
        """
        The height of the terminal in lines.
        """
        try:
            return os.get_terminal_size(self._fd).lines or 24
        except OSError:
            return 24

    def rowsOf(self, lines: Iterable[str]) -> int:
        """
        Return the number of rows of the terminal that lines take, wrapped.
        """
        columns = self.columns
        return sum(-(-len(line) // columns) or 1 for line in lines)

    def _up(self) -> str:
        """
        Return the characters that move the cursor to the begin of the status.
        """
        # Lines that were drawn on a wider terminal wrap now.
        rows = self.rowsOf(self._status.split("\n"))
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"

    def _erase(self) -> str:
        status = self._status
        if not status:
            return ""
        if "\n" in status:
            erase = f"{self._up()}\x1b[J"
        else:
            erase = f"\r{' ' * len(status + _ECHO)}\r"
        self._status = ""
        return erase

    def _write(self, text: str) -> None:
        # Not in the locale's encoding: a character that it lacks would raise.
        self._output.write(text.encode("utf-8", "surrogateescape"))

    def pauseProducing(self) -> None:
        self._isPaused = True

    def resumeProducing(self) -> None:
        self._isPaused = False

    def stopProducing(self) -> None:
        """
        Do nothing: C{ended} fires too.
        """

    def _outputEnded(self, status: int) -> None:
        self._isOver = True
        self.ended.callback(status)
