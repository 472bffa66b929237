"""
Tests for L{benchmarks}: that the load checks every reply, and the arithmetic.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from twisted.internet.testing import FakeDatagramTransport
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import kill
from benchmarks.flood import Echo
from benchmarks.load import CLOSED, Load, Outcome, openLoops, run
from benchmarks.measure import inTurn
from benchmarks.report import Measurement, markdown, summarize, table
from benchmarks.servers import Missing, build

Answer = Callable[[int, bytes], "list[bytes]"]


class EchoTests(SynchronousTestCase):
    """
    Tests for L{Echo}, which is flooded.
    """

    def test_counts(self) -> None:
        """
        It counts the datagrams it receives, and sends them back.
        """
        echo, transport = Echo(), FakeDatagramTransport()
        echo.makeConnection(transport)
        for datagram in b"a", b"":
            echo.datagramReceived(datagram, ("127.0.0.1", 40000))
        self.assertEqual(echo.counters.received, 2)
        self.assertEqual([each for each, _ in transport.written], [b"a", b""])


class KillTests(SynchronousTestCase):
    """
    Tests for the outcome of killed workers.
    """

    def test_isGood(self) -> None:
        """
        An outcome is good if workers were killed, no more was lost than they had in
        hand, and all replies were right.
        """
        self.assertTrue(kill.Outcome(answered=5, processing=[0, 2], lost=[0, 2]).isGood)
        for bad in (
            kill.Outcome(),
            kill.Outcome(answered=5),
            kill.Outcome(processing=[0], lost=[0]),
            kill.Outcome(answered=5, processing=[0, 2], lost=[2, 0]),
            kill.Outcome(answered=5, processing=[0], lost=[0], wrong=[b"x"]),
        ):
            self.assertFalse(bad.isGood, bad)


class LoadTests(SynchronousTestCase):
    """
    Tests for the loads, against a server in a thread.
    """

    loads = [CLOSED["crowd"], CLOSED["stream"], *openLoops([20000]).values()]

    def setUp(self) -> None:
        """
        Compile the load generator.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        try:
            self.program = build("load", directory).absolute()
        except Missing as e:
            self.skipTest(str(e))

    def run_(self, load: Load, size: int, answer: Answer) -> Outcome:
        """
        Run a load for a moment.

        @param answer: Called after the warm-up with the number of a datagram, counted
            from 1, and the datagram; returns the replies.
        """
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        goOn, isReady = True, threading.Event()

        def serve() -> None:
            number = 0
            while goOn:
                datagram, peer = server.recvfrom(65535)
                replies = [datagram.upper()]
                if isReady.is_set():
                    number += 1
                    replies = answer(number, datagram)
                for reply in replies:
                    server.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            return run(self.program, load, port, size, 0.1, onReady=isReady.set)
        finally:
            goOn = False
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            thread.join()

    def test_right(self) -> None:
        """
        Capitals are right replies, whatever the size.
        """
        for load in self.loads:
            for size in 8, 32, 8000:
                outcome = self.run_(load, size, lambda _, datagram: [datagram.upper()])
                self.assertEqual((outcome.wrong, outcome.example), (0, ""))
                self.assertGreater(outcome.replies, 0)

    def test_wrong(self) -> None:
        """
        Replies that are not in capitals, too long, too short, for no request or for one
        that has its reply are counted.
        """

        def answer(number: int, datagram: bytes) -> list[bytes]:
            reply = datagram.upper()
            wrong = {
                1: datagram,
                2: reply + b"!",
                3: reply[:-1],
                4: reply[:-1] + b"!",
                5: b"PPPPPPPP" + reply[8:],
                6: reply,
            }
            return [reply, wrong[number]] if number in wrong else [reply]

        for load in self.loads:
            outcome = self.run_(load, 32, answer)
            self.assertEqual(outcome.wrong, 6)
            self.assertIn("brown fox", outcome.example.lower())

    def test_lost(self) -> None:
        """
        A load goes on when a reply is lost, and counts it.
        """
        for load in self.loads:
            outcome = self.run_(
                load,
                32,
                lambda number, datagram: [datagram.upper()] if number != 5 else [],
            )
            self.assertEqual(outcome.wrong, 0)
            self.assertGreaterEqual(outcome.lost, 1)
            self.assertGreater(outcome.replies, 100)

    def test_values(self) -> None:
        """
        The CPU time is per reply, in microseconds.
        """
        outcome = self.run_(self.loads[0], 32, lambda _, datagram: [datagram.upper()])
        values = replace(outcome, replies=100, seconds=0.5).values(0.001, 0.0002)
        self.assertEqual((values["cpu"], values["user"]), (10, 2))
        self.assertEqual((values["rate"], values["busy"]), (200, 0.2))
        self.assertEqual(replace(outcome, replies=0).values(0.001, 0.0002), {})


class OrderTests(SynchronousTestCase):
    """
    Tests for L{inTurn}.
    """

    def test_inTurn(self) -> None:
        """
        Each round has all servers, from another one on, and every other round has
        them in reverse.
        """
        orders = ["".join(inTurn("abcdef", number, 3)) for number in range(3)]
        self.assertEqual(orders, ["abcdef", "bafedc", "efabcd"])


class ReportTests(SynchronousTestCase):
    """
    Tests for L{summarize}, L{table} and L{markdown}.
    """

    measurements = [
        Measurement(number, server, "memory", 0, {"rss": rss})
        for number, (shout, c) in enumerate([(10, 5), (60, 20), (30, 10)])
        for server, rss in (("shout", shout), ("c", c))
    ]

    def test_summarize(self) -> None:
        """
        Ratios are taken between values of the same round.
        """
        figure = summarize(self.measurements)["memory", 0]["shout"]["rss"]
        self.assertEqual((figure.median, figure.least, figure.most), (30, 10, 60))
        self.assertEqual(figure.ratios, {"c": 3})

    def test_table(self) -> None:
        """
        The table has a line per server: the median, the spread and the ratios.
        """
        lines = table(summarize(self.measurements)).splitlines()
        line = next(line for line in lines if line.startswith("  shout"))
        self.assertEqual(
            line.split(), ["shout", "30", "[10", "-", "60]", "-", "3.00", "-", "-"]
        )

    def test_markdown(self) -> None:
        """
        In Markdown a cell has the median and a ratio.
        """
        text = markdown(summarize(self.measurements), ["memory"], "rss", "MiB", "c")
        self.assertEqual(
            text.splitlines(),
            [
                "| MiB | memory 0 |",
                "| --- | --- |",
                "| shout | 30 (3.00) |",
                "| c | 10 (1.00) |",
            ],
        )
