"""
Tests for L{benchmarks}: that the load checks every reply, and the arithmetic.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from twisted.internet.testing import FakeDatagramTransport
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import kill
from benchmarks.flood import Echo
from benchmarks.load import LOADS, Outcome
from benchmarks.report import Measurement, summarize, table
from tests.batches import needsBatches

Answer = Callable[[int, bytes], "bytes | None"]


class EchoTests(SynchronousTestCase):
    """
    Tests for L{Echo}, which is flooded.
    """

    def test_counts(self) -> None:
        """
        It counts what it has received, and sends it back.
        """
        echo, transport = Echo(), FakeDatagramTransport()
        echo.makeConnection(transport)
        for datagram in b"a", b"":
            echo.datagramReceived(datagram, ("127.0.0.1", 40000))
        self.assertEqual(echo.counters.received, 2)
        self.assertEqual([each for each, _ in transport.written], [b"a", b""])


class KillTests(SynchronousTestCase):
    """
    Tests for what is made of workers that were killed.
    """

    def test_isGood(self) -> None:
        """
        All is as it should be when workers were killed, what was lost is what
        they had in hand, and all that was answered was answered rightly.
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


@needsBatches
class LoadTests(SynchronousTestCase):
    """
    Tests for the loads, against a server in a thread.
    """

    def run_(self, load: str, size: int, answer: Answer) -> Outcome:
        """
        Run a load for a moment.

        @param answer: returns the reply to the so-manieth datagram, or L{None}.
        """
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        goOn = True

        def serve() -> None:
            number = 0
            while goOn:
                datagram, peer = server.recvfrom(65535)
                number += 1
                reply = answer(number, datagram)
                if reply is not None:
                    server.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return LOADS[load](server.getsockname()[1], size, 0.05)
        finally:
            goOn = False
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            thread.join()

    def test_right(self) -> None:
        """
        Capitals are right replies, whatever the size.
        """
        for load in LOADS:
            for size in 0, 32, 8000:
                outcome = self.run_(load, size, lambda _, datagram: datagram.upper())
                self.assertEqual((outcome.wrong, outcome.example), (0, ""))
                self.assertGreater(outcome.replies, 0)

    def test_wrong(self) -> None:
        """
        A single reply that is not in capitals, too long or too short is counted.
        """
        spoilt: list[Callable[[bytes], bytes]] = [
            bytes.lower,
            lambda reply: reply + b"!",
            lambda reply: reply[:-1],
        ]
        for load in LOADS:
            for spoil in spoilt:

                def answer(
                    number: int,
                    datagram: bytes,
                    spoil: Callable[[bytes], bytes] = spoil,
                ) -> bytes:
                    reply = datagram.upper()
                    return spoil(reply) if number == 100 else reply

                outcome = self.run_(load, 32, answer)
                self.assertEqual(outcome.wrong, 1)
                self.assertIn(" instead of b'CLIENT ", outcome.example)

    def test_lost(self) -> None:
        """
        A load goes on when a reply is lost, and counts it.
        """
        for load in LOADS:
            outcome = self.run_(
                load,
                32,
                lambda number, datagram: None if number == 100 else datagram.upper(),
            )
            self.assertEqual(outcome.wrong, 0)
            self.assertGreaterEqual(outcome.lost, 1)
            self.assertGreater(outcome.replies, 100)


class ReportTests(SynchronousTestCase):
    """
    Tests for L{summarize} and L{table}.
    """

    measurements = [
        Measurement(number, server, "memory", 0, {"rss": rss})
        for number, (shout, c) in enumerate([(10, 5), (60, 20), (30, 10)])
        for server, rss in (("shout", shout), ("c", c))
    ]

    def test_summarize(self) -> None:
        """
        Ratios are those of figures of the same round.
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
        self.assertEqual(line.split(), ["shout", "30", "[10", "-", "60]", "3.00", "-"])
