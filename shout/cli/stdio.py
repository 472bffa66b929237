"""
Lines from standard input, and bytes to standard output.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from select import PIPE_BUF
from typing import Any, NamedTuple

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure


class Line(NamedTuple):
    """
    A line without its end.

    @ivar number: where it stands, from 1.

    @ivar text: its bytes, as far as they were kept.

    @ivar length: how many bytes it has; more than C{text} when it was too long
        to keep.
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
        @param maxLength: how many bytes of a line to keep.
        """
        self._maxLength = maxLength
        self._text = bytearray()
        self._length = 0
        self._lastByte = b""
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """
        Take the next bytes.

        @return: the lines that end in them.
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
        Take the end of the bytes.

        @return: the last line, if something stands after the last line end.
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


# Twisted's StandardIO makes its descriptors non-blocking.  They are often the
# shell's own, and a shell, or whatever else shares them, gets errors that it
# does not expect, after this program is gone too.  These two leave the mode as
# it is.  A descriptor that is ready does not block: a read returns what is
# there, and a pipe that can be written to takes PIPE_BUF bytes; see pipe(7).
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
        @param fd: the descriptor; it stays open.

        @param received: called with each chunk of bytes.

        @param ended: called once, at the end, with L{ConnectionDone
            <twisted.internet.error.ConnectionDone>}, or with the L{OSError}
            that ended it.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider.
        """
        super().__init__(reactor)
        self._fd = fd
        self._received = received
        self._ended = ended

    def fileno(self) -> int:
        """
        Return the descriptor.
        """
        return self._fd

    def doRead(self) -> Exception | None:
        """
        Read what is there.

        @return: L{None}, or why there will be no more.
        """
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
        """
        Tell that there will be no more.
        """
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._ended(reason)


class Output(FileDescriptor):
    """
    Write to a descriptor of any kind: terminal, pipe, file.
    """

    connected = True

    def __init__(self, fd: int, ended: Callable[[Failure], None], reactor: Any) -> None:
        """
        @param fd: the descriptor; it stays open.

        @param ended: called once: with L{ConnectionDone
            <twisted.internet.error.ConnectionDone>} when everything is written
            after L{finish}, or with the error that ended it.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider.
        """
        super().__init__(reactor)
        self._fd = fd
        self._ended = ended

    def fileno(self) -> int:
        """
        Return the descriptor.
        """
        return self._fd

    def writeSomeData(self, data: bytes) -> int | Exception:
        """
        Write as much as does not block.

        @return: how many bytes, or why no more can be written.
        """
        try:
            return os.write(self._fd, data[:PIPE_BUF])
        except BlockingIOError:
            return 0
        except OSError as e:
            return e

    def finish(self) -> None:
        """
        Write what is left, and end.
        """
        self.unregisterProducer()
        self.loseConnection()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """
        Tell that no more can be written.
        """
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._ended(reason)
