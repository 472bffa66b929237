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

    table = """
| µs (ratio) | crowd 32 | crowd 1,400 | stream 32 | stream 1,400 |
| --- | --- | --- | --- | --- |
| shout | 4 (1.08) | 8 (1.21) | 2 (0.41) | 5 (0.68) |
| c | 3 (1.0) | 3 (1.0) | 3 (1.0) | 3 (1.0) |
"""

    def test_costs(self) -> None:
        """
        The cost of a reply is read from the table of the document on speed.
        """
        self.assertEqual(costs(self.table), {32: (2.0, 4.0), 1400: (5.0, 8.0)})

    def test_oneWorker(self) -> None:
        """
        One core answers a second's worth of replies.
        """
        self.assertIn(
            "| 32 bytes | 500,000 (2.0 µs each) | 250,000 (4.0 µs each) |",
            oneWorker(self.table),
        )

    def test_links(self) -> None:
        """
        32 bytes of payload are 98 bytes on Ethernet, which is 784 bits of a link.
        """
        self.assertIn(
            "| 1 Gbit/s | 32 bytes | 1,275,510 | 2.6 to 5.1 |", links(self.table)
        )

    def test_document(self) -> None:
        """
        The tables of the document on scaling follow from those of the document on
        speed: C{python -m benchmarks.capacity} prints them.
        """
        speed = SPEED.read_text()
        scaling = (Path(SPEED).parent / "scaling.md").read_text()
        self.assertIn(oneWorker(speed), scaling)
        self.assertIn(links(speed), scaling)
