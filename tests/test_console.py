"""
Tests for L{shout.terminal.console}.
"""

from __future__ import annotations

import os

from shout.measurement.report import leftOutLine
from shout.terminal.console import Console
from tests.peers import PeerCase


class ConsoleTests(PeerCase):
    """
    Tests for L{Console}.
    """

    def console(self, isTerminal: bool) -> Console:
        """
        Return a console that writes to a pipe.
        """
        self.ours, theirs = os.pipe()
        self.addCleanup(os.close, theirs)
        self.complaints: list[str] = []
        return Console(
            theirs, isTerminal, leftOutLine, self.complaints.append, self.reactor
        )

    async def printed(self, console: Console) -> str:
        """
        End, and return what was printed.
        """
        console.finish()
        self.assertEqual(await console.ended, 0)
        text = os.read(self.ours, 65536).decode()
        os.close(self.ours)
        return text

    async def test_plain(self) -> None:
        """
        Where nothing can be printed over, there are lines alone.
        """
        console = self.console(False)
        console.say("one")
        console.show("live")
        console.say("two")
        self.assertEqual(await self.printed(console), "one\ntwo\n")

    async def test_terminal(self) -> None:
        """
        On a terminal the changing line stays below the others, and goes away,
        with the C{^C} that a terminal writes beside it.
        """
        console = self.console(True)
        console.show("live")
        console.show("live")
        console.say("one")
        console.show("lively")
        self.assertEqual(
            await self.printed(console),
            "live" + "\r      \rone\nlive" + "\r      \rlively" + "\r        \r",
        )

    async def test_wide(self) -> None:
        """
        What is wider than the terminal is cut off, as only one line can be
        printed over.
        """
        console = self.console(True)
        console.show("x" * 100)
        self.assertEqual(await self.printed(console), "x" * 77 + f"\r{' ' * 79}\r")

    async def test_slow(self) -> None:
        """
        Lines that may be left out are, while nobody reads; how many is said
        before the next that is printed.
        """
        console = self.console(False)
        console.pauseProducing()
        console.say("one", canBeLeftOut=True)
        console.say("two", canBeLeftOut=True)
        console.say("three")
        console.resumeProducing()
        console.say("four", canBeLeftOut=True)
        self.assertEqual(
            await self.printed(console), "(2 lines left out)\nthree\nfour\n"
        )

    async def test_slowTerminal(self) -> None:
        """
        Nor does the last line of a terminal change while nobody reads.
        """
        console = self.console(True)
        console.pauseProducing()
        console.show("live")
        console.resumeProducing()
        console.say("one")
        self.assertEqual(await self.printed(console), "one\n")

    async def test_closed(self) -> None:
        """
        When nobody reads any more it ends as the shell expects, without a word.
        """
        console = self.console(False)
        os.close(self.ours)
        console.say("one")
        self.assertEqual(await console.ended, 141)
        self.assertEqual(self.complaints, [])
        console.say("two")
        console.finish()

    async def test_never(self) -> None:
        """
        What cannot be written to is complained about, once.
        """
        fd = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        complaints: list[str] = []
        console = Console(fd, False, leftOutLine, complaints.append, self.reactor)
        console.say("one")
        self.assertEqual(await console.ended, 1)
        (complaint,) = complaints
        self.assertIn("standard output", complaint)
