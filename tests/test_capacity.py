"""
Tests for the arithmetic in C{docs/scaling.md}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.capacity import SPEED, costs, links, oneWorker


class CapacityTests(SynchronousTestCase):
    """
    Tests for L{benchmarks.capacity}.
    """

    row = "| shout with its guard | 2 (0.41) | 4 (1.08) | 5 (0.68) | 8 (1.21) |\n"

    def test_costs(self) -> None:
        """
        What a reply costs is read from the table of the document on speed.
        """
        self.assertEqual(costs(self.row), {32: (2.0, 4.0), 1400: (5.0, 8.0)})

    def test_oneWorker(self) -> None:
        """
        One core answers a second's worth of replies.
        """
        self.assertIn(
            "| 32 bytes | 500,000 (2.0 µs each) | 250,000 (4.0 µs each) |",
            oneWorker(self.row),
        )

    def test_links(self) -> None:
        """
        Of 32 bytes of payload Ethernet makes 98, 784 bits, and a link is busy for
        as long as they take.
        """
        self.assertIn(
            "| 1 Gbit/s | 32 bytes | 1,275,510 | 2.6 to 5.1 |", links(self.row)
        )

    def test_document(self) -> None:
        """
        The tables of the document on scaling are those that come of the figures
        of the document on speed: C{python -m benchmarks.capacity} prints them.
        """
        speed = SPEED.read_text()
        scaling = (Path(SPEED).parent / "scaling.md").read_text()
        self.assertIn(oneWorker(speed), scaling)
        self.assertIn(links(speed), scaling)
