"""
Tests for L{shout.cli.times}.
"""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.times import WallClock, spanLine, stamp
from shout.measure.result import LOST, REPLY, Event


class WallClockTests(SynchronousTestCase):
    """
    Tests for L{WallClock}.
    """

    def test_timeOf(self) -> None:
        """
        The time of a reply is that of its arrival, and the time of another event is the
        current time.
        """
        clock = WallClock(lambda: 1_700_000_000_000_000_000, lambda: 5_000)
        reply = Event(REPLY, 1, 56, 100, arrived=4_700)
        self.assertEqual(clock.timeOf(reply), 1_699_999_999_999_999_700)
        self.assertEqual(clock.timeOf(Event(LOST, 1)), clock.now())

    def test_defaults(self) -> None:
        """
        By default the clocks are those of the system and of measurements.
        """
        clock = WallClock()
        before, arrived = time.time_ns(), time.monotonic_ns()
        found = clock.timeOf(Event(REPLY, 1, arrived=arrived))
        self.assertLess(abs(found - before), 10**9)


class StampTests(SynchronousTestCase):
    """
    Tests for L{stamp} and L{spanLine}.
    """

    def setUp(self) -> None:
        before = os.environ.get("TZ")

        def restore() -> None:
            os.environ.pop("TZ")
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        # Two hours east of Greenwich (tzset(3)).
        os.environ["TZ"] = "XYZ-2"
        time.tzset()

    def test_stamp(self) -> None:
        """
        A time is local, with microseconds.
        """
        for nanoseconds, expected in (
            (1_700_000_000_000_000_999, "2023-11-15 00:13:20.000000"),
            (1_700_000_000_012_345_678, "2023-11-15 00:13:20.012345"),
        ):
            self.assertEqual(stamp(nanoseconds), expected)

    def test_span(self) -> None:
        """
        The start and the end have a time zone.
        """
        start = 1_700_000_000_000_000_000
        self.assertEqual(
            spanLine(start, start + 1_500_000_000),
            "from 2023-11-15 00:13:20.000000 to 2023-11-15 00:13:21.500000 (UTC+0200)",
        )
