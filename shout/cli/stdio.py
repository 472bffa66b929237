"""
Lines from standard input, and bytes to standard output.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from errno import EPIPE
from select import PIPE_BUF
from typing import Any, NamedTuple

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure


class Line(NamedTuple):
    """
    A line without its end.

    @ivar text: The bytes of the line, up to the length that is kept.

    @ivar length: The number of bytes in the line, those not kept among them.
    """

    number: int
    text: bytes
    length: int


class LineSplitter:
    """
    Turn chunks of bytes into lines that end with C{\\n} or C{\\r\\n}, in bounded
    memory.
    """

    def __init__(self, maxLength: int) -> None:
        """
        @param maxLength: The number of bytes of a line to keep.
        """
        self._maxLength = maxLength
        self._text = bytearray()
        self._length = 0
        self._lastByte = b""
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """
        Take the next bytes, and return the lines that end in them.
        """
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._add(piece)
            if self._lastByte == b"\r":
                self._length -= 1
            lines.append(self._take())
        self._add(rest)
        return lines

    def finish(self) -> list[Line]:
        """
        Return the last line, if any bytes follow the last line end.
        """
        return [self._take()] if self._length else []

    def _add(self, piece: bytes) -> None:
        self._text += piece[: self._maxLength - len(self._text)]
        self._length += len(piece)
        self._lastByte = piece[-1:] or self._lastByte

    def _take(self) -> Line:
        self._number += 1
        text = bytes(self._text[: self._length])
        line = Line(self._number, text, self._length)
        self._text.clear()
        self._length = 0
        self._lastByte = b""
        return line


# Twisted's StandardIO makes its descriptors non-blocking.  They are often shared with
# a shell and other programs, which then get errors that they do not expect, even after
# this program has ended.  These two classes leave the mode as it is.  A descriptor that
# is ready does not block: a read returns the bytes available, and a pipe that can be
# written to takes PIPE_BUF bytes; see pipe(7).
class Input(FileDescriptor):
    """
    Read from a descriptor of any kind: terminal, pipe, file.
    """

    connected = True

    def __init__(
        self,
        fd: int,
        received: Callable[[bytes], None],
        ended: Callable[[Failure], None],
        reactor: Any,
    ) -> None:
        """
        @param fd: The descriptor; it stays open.

        @param received: Called with each chunk of bytes.

        @param ended: Called once, at the end, with L{ConnectionDone
            <twisted.internet.error.ConnectionDone>}, or with the C{OSError} of the
            last read.
        """
        super().__init__(reactor)
        self._fd = fd
        self._received = received
        self._ended = ended

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> Exception | None:
        try:
            chunk = os.read(self._fd, 65536)
        except BlockingIOError:
            return None
        except OSError as e:
            return e
        if not chunk:
            return CONNECTION_DONE
        self._received(chunk)
        return None

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._ended(reason)


class Output(FileDescriptor):
    """
    Write to a descriptor of any kind: terminal, pipe, file.
    """

    connected = True

    def __init__(
        self,
        fd: int,
        ended: Callable[[int], None],
        printError: Callable[[str], object],
        reactor: Any,
    ) -> None:
        """
        @param fd: The descriptor; it stays open.

        @param ended: Called once with an exit status: 0 when everything is written
            after L{finish}, 141 (128 and SIGPIPE) if the reader has ended, and 1 if
            nothing can be written.

        @param printError: Called with one line if nothing can be written.
        """
        super().__init__(reactor)
        self._fd = fd
        self._ended = ended
        self._printError = printError

    def fileno(self) -> int:
        return self._fd

    def writeSomeData(self, data: bytes) -> int | Exception:
        try:
            return os.write(self._fd, data[:PIPE_BUF])
        except BlockingIOError:
            return 0
        except OSError as e:
            return e

    def finish(self) -> None:
        """
        Write the rest, and end.
        """
        self.unregisterProducer()
        self.loseConnection()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        error: Any = reason.value
        if isinstance(error, ConnectionDone):
            self._ended(0)
        elif isinstance(error, ConnectionLost) or getattr(error, "errno", 0) == EPIPE:
            # As in "shout < lines | head -1".
            self._ended(128 + signal.SIGPIPE)
        else:
            self._printError(f"cannot write to standard output: {error.strerror}")
            self._ended(1)
