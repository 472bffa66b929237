"""
Tests for L{shout.cli.search}.
"""

from __future__ import annotations

import json
import os
import signal

from shout.measure import rate
from tests.cli.command import CommandCase


class SearchCase(CommandCase):
    """
    Runs searches that spend little time on each rate.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(rate, "_DURATION", 0.04)
        # However busy this machine is, it can send evenly enough.
        self.patch(rate, "_EVEN", 0.0)

    def press(self, *keys: int) -> None:
        """
        Send signals to this process, one after the other.
        """
        for number, key in enumerate(keys):
            self.reactor.callLater(number * 0.02, os.kill, os.getpid(), key)


class FindRateTests(SearchCase):
    """
    Tests for C{--find-rate}.
    """

    async def test_lossy(self) -> None:
        """
        The rates tried are printed, then the loss at each and the result: here every
        second datagram is lost.
        """
        self.patch(rate, "_LOWEST", 125.0)
        target = f"127.0.0.1:{self.answerHalf()}"
        status, out, errors = await self.ping("--find-rate", target, "-t", "0.1")
        self.assertEqual((status, errors), (1, []))
        self.assertIn("highest rate without loss, 56 bytes", out)
        self.assertRegex(out, "125 per s: 5 sent, [46]0 % not answered, p50 ")
        self.assertRegex(out, "125 per s +[46]0 % #+\n")
        self.assertIn("no rate was without loss", out)

    async def test_echo(self) -> None:
        """
        If all replies are wrong, the result has their kind, and the status is 3.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        target = f"127.0.0.1:{port}"
        status, out, errors = await self.ping("--find-rate", target, "-t", "0.02")
        self.assertEqual((status, errors), (3, []))
        self.assertIn("only wrong replies came back: echoed", out)

    async def test_keys(self) -> None:
        """
        Ctrl-\\ prints the last rate tried, and Ctrl-C ends the search with its result.
        """
        received = []

        def answer(datagram: bytes) -> list[bytes]:
            received.append(datagram)
            # Five are sent at the first rate, ten at the second.
            if len(received) == 6:
                self.press(signal.SIGQUIT, signal.SIGINT)
            return [datagram.upper()]

        _, port = self.misbehave(answer)
        target = f"127.0.0.1:{port}"
        status, out, errors = await self.ping("--find-rate", target)
        self.assertEqual(status, 0)
        self.assertEqual(len(errors), 1)
        self.assertIn("125 per s: 5 sent, 0 % not answered", errors[0])
        self.assertIn("highest rate without loss: 125 per s (stopped", out)

    async def test_json(self) -> None:
        """
        The JSON object has the rates that were tried.
        """
        port = self.freePort()
        target = f"127.0.0.1:{port}"
        status, result = await self.measure("--find-rate", target)
        for step in result["steps"]:
            self.assertLess(0, step.pop("managed"))
        steps = [{"rate": 125.0, "sent": 5, "answered": 0}] * 2
        self.assertEqual(status, 1)
        self.assertEqual(
            result,
            {
                "format": 1,
                "host": "127.0.0.1",
                "port": port,
                "rate": 0,
                "limit": "loss",
                "steps": steps,
                "error": None,
            },
        )

    async def test_unreachable(self) -> None:
        """
        If there is no route to the target, the JSON object has the reason too, and
        the status is 1.
        """
        for mode in ("--find-rate", "--mtu"):
            status, out, errors = await self.ping(mode, "--json", "255.255.255.255")
            self.assertEqual((status, [json.loads(out)["error"]]), (1, errors))
            status, out, errors = await self.ping(mode, "255.255.255.255")
            self.assertEqual((status, out, len(errors)), (1, "", 1))


class FindMTUTests(SearchCase):
    """
    Tests for C{--mtu}.
    """

    async def test_found(self) -> None:
        """
        The largest datagram that comes back is found.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        status, out, errors = await self.ping("--mtu", target)
        self.assertEqual((status, errors), (0, []))
        self.assertIn("largest that comes back whole: 65507 bytes, the maximum", out)

    async def test_cut(self) -> None:
        """
        A server that cuts long datagrams is measured too, all from one source port.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()[:65506]])
        target = f"127.0.0.1:{port}"
        status, out, _ = await self.ping("--mtu", target, "-q", "-t", "0.1")
        self.assertEqual(status, 0)
        self.assertNotIn("came back", out)
        self.assertIn("largest that comes back whole: 65506 bytes\n", out)
        self.assertEqual(len(set(peer.senders)), 1)

    async def test_nothing(self) -> None:
        """
        If no right reply arrives, the result has what came back instead; if those
        were wrong replies, the status is 3.
        """
        target = f"127.0.0.1:{self.freePort()}"
        status, out, _ = await self.ping("--mtu", target)
        self.assertEqual(status, 1)
        self.assertIn(
            "nothing came back: from 127.0.0.1: port unreachable, of any size", out
        )
        _, port = self.misbehave(lambda datagram: [datagram])
        target = f"127.0.0.1:{port}"
        status, out, _ = await self.ping("--mtu", target, "-t", "0.02")
        self.assertEqual(status, 3)
        self.assertIn("only wrong replies came back: echoed, of any size", out)

    async def test_keys(self) -> None:
        """
        Ctrl-C ends the search, and the result has the reason; before the first result
        Ctrl-\\ reports that there is none.
        """

        def answer(datagram: bytes) -> list[bytes]:
            if len(peer.received) == 1:
                self.press(signal.SIGQUIT, signal.SIGINT)
            return []

        peer, port = self.misbehave(answer)
        target = f"127.0.0.1:{port}"
        options = ("--mtu", "--json", "-t", "30")
        status, out, errors = await self.ping(target, *options)
        error = "stopped before the largest size was found"
        self.assertEqual((status, errors), (1, ["no results yet", error]))
        result = json.loads(out)
        self.assertEqual((result["whole"], result["error"]), (None, error))

    async def test_json(self) -> None:
        """
        The JSON object has the sizes.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        _, result = await self.measure("--mtu", target)
        self.assertEqual((result["format"], result["whole"]), (1, 65507))
