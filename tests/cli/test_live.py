"""
Tests for L{shout.cli.live}.
"""

from __future__ import annotations

import os

from shout.cli.live import LiveLine
from shout.cli.text import leftOutLine
from tests.peers import PeerCase


class LiveLineTests(PeerCase):
    """
    Tests for L{LiveLine}.
    """

    def live(self, isTerminal: bool) -> LiveLine:
        """
        Return a L{LiveLine} that prints to a pipe.
        """
        self.ours, theirs = os.pipe()
        self.addCleanup(os.close, theirs)
        self.errors: list[str] = []
        return LiveLine(
            theirs, isTerminal, leftOutLine, self.errors.append, self.reactor
        )

    async def printed(self, live: LiveLine) -> str:
        """
        Finish, and return the output.
        """
        live.finish()
        self.assertEqual(await live.ended, 0)
        text = os.read(self.ours, 65536).decode()
        os.close(self.ours)
        return text

    async def test_plain(self) -> None:
        """
        Without a terminal there is no status line.
        """
        live = self.live(False)
        live.writeLine("one")
        live.setStatus("live")
        live.writeLine("two")
        self.assertEqual(await self.printed(live), "one\ntwo\n")

    def setTerminal(self, name: str, columns: int = 80) -> None:
        """
        Set the type and the width of the terminal.
        """
        self.patch(os, "environ", {**os.environ, "TERM": name})
        size = os.terminal_size((columns, 24))
        self.patch(os, "get_terminal_size", lambda fd: size)

    async def test_lines(self) -> None:
        """
        Several status lines are erased together.
        """
        self.setTerminal("xterm")
        live = self.live(True)
        live.setStatus("a\nb\nc")
        live.writeLine("one")
        self.assertEqual(
            await self.printed(live),
            "a\nb\nc" + "\r\x1b[2A\x1b[J" + "one\na\nb\nc" + "\r\x1b[2A\x1b[J",
        )

    async def test_redraw(self) -> None:
        """
        Several status lines are replaced without erasing them first.
        """
        self.setTerminal("xterm")
        live = self.live(True)
        live.setStatus("a\nb\nc")
        live.setStatus("d\ne")
        live.setStatus("d\ne")
        live.setStatus("")
        self.assertEqual(
            await self.printed(live),
            "a\nb\nc" + "\r\x1b[2Ad\x1b[K\ne\x1b[J" + "\r\x1b[1A\x1b[J",
        )

    async def test_resize(self) -> None:
        """
        Lines that a narrower terminal wraps are replaced, too.
        """
        self.setTerminal("xterm", 40)
        live = self.live(True)
        live.setStatus("a" * 30 + "\n\n" + "c" * 20)
        self.setTerminal("xterm", 20)
        live.setStatus("d\ne")
        _, _, text = (await self.printed(live)).partition("c" * 20)
        self.assertEqual(text, "\r\x1b[3Ad\x1b[K\ne\x1b[J" + "\r\x1b[1A\x1b[J")

    async def test_dumb(self) -> None:
        """
        Of several status lines, a terminal that cannot move its cursor up shows the
        last one.
        """
        self.setTerminal("dumb")
        live = self.live(True)
        live.setStatus("a\nb")
        self.assertEqual(await self.printed(live), "b\r   \r")

    async def test_terminal(self) -> None:
        """
        On a terminal the status line stays below the others, and is erased at the end,
        with the C{^C} that a terminal writes beside it.
        """
        live = self.live(True)
        live.setStatus("live")
        live.setStatus("live")
        live.writeLine("one")
        live.setStatus("lively")
        self.assertEqual(
            await self.printed(live),
            "live" + "\r      \rone\nlive" + "\r      \rlively" + "\r        \r",
        )

    async def test_wide(self) -> None:
        """
        A status wider than the terminal is cut, as only one line can be overwritten.
        """
        live = self.live(True)
        live.setStatus("x" * 100)
        self.assertEqual(await self.printed(live), "x" * 77 + f"\r{' ' * 79}\r")

    async def test_slow(self) -> None:
        """
        Optional lines are left out while the output is full; their number is printed
        before the next line.
        """
        live = self.live(False)
        live.pauseProducing()
        live.writeLine("one", isOptional=True)
        live.writeLine("two", isOptional=True)
        live.writeLine("three")
        live.resumeProducing()
        live.writeLine("four", isOptional=True)
        self.assertEqual(await self.printed(live), "(2 lines left out)\nthree\nfour\n")

    async def test_slowTerminal(self) -> None:
        """
        The status line does not change while the output is full.
        """
        live = self.live(True)
        live.pauseProducing()
        live.setStatus("live")
        live.resumeProducing()
        live.writeLine("one")
        self.assertEqual(await self.printed(live), "one\n")

    async def test_closed(self) -> None:
        """
        When the reader has ended, the status is that of a process that SIGPIPE ended,
        and nothing is printed.
        """
        live = self.live(False)
        os.close(self.ours)
        live.writeLine("one")
        self.assertEqual(await live.ended, 141)
        self.assertEqual(self.errors, [])
        live.writeLine("two")
        live.finish()

    async def test_never(self) -> None:
        """
        A descriptor that cannot be written to is reported once.
        """
        fd = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        errors: list[str] = []
        live = LiveLine(fd, False, leftOutLine, errors.append, self.reactor)
        live.writeLine("one")
        self.assertEqual(await live.ended, 1)
        (error,) = errors
        self.assertIn("standard output", error)
