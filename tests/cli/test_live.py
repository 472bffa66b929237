"""
Tests for L{shout.cli.live}.
"""

from __future__ import annotations

import os

from shout.cli.live import LiveLine
from shout.cli.text import leftOutLine
from tests.peers import PeerCase


class ConsoleTests(PeerCase):
    """
    Tests for L{LiveLine}.
    """

    def live(self, isTerminal: bool) -> LiveLine:
        """
        Return a console that writes to a pipe.
        """
        self.ours, theirs = os.pipe()
        self.addCleanup(os.close, theirs)
        self.complaints: list[str] = []
        return LiveLine(
            theirs, isTerminal, leftOutLine, self.complaints.append, self.reactor
        )

    async def printed(self, live: LiveLine) -> str:
        """
        End, and return what was printed.
        """
        live.finish()
        self.assertEqual(await live.ended, 0)
        text = os.read(self.ours, 65536).decode()
        os.close(self.ours)
        return text

    async def test_plain(self) -> None:
        """
        Where nothing can be printed over, there are lines alone.
        """
        live = self.live(False)
        live.say("one")
        live.show("live")
        live.say("two")
        self.assertEqual(await self.printed(live), "one\ntwo\n")

    async def test_terminal(self) -> None:
        """
        On a terminal the changing line stays below the others, and goes away,
        with the C{^C} that a terminal writes beside it.
        """
        live = self.live(True)
        live.show("live")
        live.show("live")
        live.say("one")
        live.show("lively")
        self.assertEqual(
            await self.printed(live),
            "live" + "\r      \rone\nlive" + "\r      \rlively" + "\r        \r",
        )

    async def test_wide(self) -> None:
        """
        What is wider than the terminal is cut off, as only one line can be
        printed over.
        """
        live = self.live(True)
        live.show("x" * 100)
        self.assertEqual(await self.printed(live), "x" * 77 + f"\r{' ' * 79}\r")

    async def test_slow(self) -> None:
        """
        Lines that may be left out are, while nobody reads; how many is said
        before the next that is printed.
        """
        live = self.live(False)
        live.pauseProducing()
        live.say("one", canBeLeftOut=True)
        live.say("two", canBeLeftOut=True)
        live.say("three")
        live.resumeProducing()
        live.say("four", canBeLeftOut=True)
        self.assertEqual(await self.printed(live), "(2 lines left out)\nthree\nfour\n")

    async def test_slowTerminal(self) -> None:
        """
        Nor does the last line of a terminal change while nobody reads.
        """
        live = self.live(True)
        live.pauseProducing()
        live.show("live")
        live.resumeProducing()
        live.say("one")
        self.assertEqual(await self.printed(live), "one\n")

    async def test_closed(self) -> None:
        """
        When nobody reads any more it ends as the shell expects, without a word.
        """
        live = self.live(False)
        os.close(self.ours)
        live.say("one")
        self.assertEqual(await live.ended, 141)
        self.assertEqual(self.complaints, [])
        live.say("two")
        live.finish()

    async def test_never(self) -> None:
        """
        What cannot be written to is complained about, once.
        """
        fd = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        complaints: list[str] = []
        live = LiveLine(fd, False, leftOutLine, complaints.append, self.reactor)
        live.say("one")
        self.assertEqual(await live.ended, 1)
        (complaint,) = complaints
        self.assertIn("standard output", complaint)
