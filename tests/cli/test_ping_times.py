"""
Tests for the options of C{shoutping} about times: C{-D} and C{-O}.
"""

from __future__ import annotations

import json
import time

from tests.cli.command import CommandCase


class TimesTests(CommandCase):
    """
    Tests for C{-D}, and for the times in JSON.
    """

    async def test_text(self) -> None:
        """
        With C{-D} each line about an event begins with its time, and the last line has
        the start and the end.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        options = ["-D", "-c", "2", "-i", "0.02", "-t", "0.1"]
        _, out, _ = await self.ping(target, *options)
        _, reply, loss, *_, last = out.splitlines()
        clock = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
        self.assertRegex(reply, rf"^{clock} 56 bytes from .* seq=1 ")
        self.assertRegex(loss, rf"^{clock} no answer from .* seq=2$")
        self.assertRegex(last, rf"^from {clock} to {clock} \(UTC[+-]\d{{4}}\)$")

    async def test_json(self) -> None:
        """
        Each object has the time of its event, and that at the end the time of the start
        and the end.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        options = ["--json-lines", "-c", "2", "-i", "0.02", "-t", "0.1"]
        before = time.time_ns()
        _, out, _ = await self.ping(target, *options)
        *events, last = map(json.loads, out.splitlines())
        times = [event["time"] for event in events]
        self.assertEqual(len(times), 3)
        times = [before, last["start"], *times, last["end"], time.time_ns()]
        self.assertEqual(times, sorted(times))


class OutstandingTests(CommandCase):
    """
    Tests for C{-O}.
    """

    async def test_outstanding(self) -> None:
        """
        A missing reply is reported as soon as the next datagram is sent, and again if
        it is lost.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        options = ["-O", "-c", "4", "-i", "0.2", "-t", "0.5"]
        _, out, _ = await self.ping(target, *options)
        ends = [line.split()[-1] for line in out.splitlines() if " answer" in line]
        self.assertEqual(out.count("no answer yet from 127.0.0.1: seq=2\n"), 1)
        self.assertNotIn("yet from 127.0.0.1: seq=4", out)
        self.assertEqual(ends[:3], ["seq=2", "seq=2", "seq=4"])
