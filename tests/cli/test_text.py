"""
Tests for L{shout.cli.text}.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.text import (
    errorsInWords,
    eventLine,
    leftOutLine,
    milliseconds,
    openingLine,
    pace,
    percent,
    statusLine,
    summary,
)
from shout.measure.histogram import Histogram
from shout.measure.probe import Probes
from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    OUTSTANDING,
    REFUSED,
    REPLY,
    WRONG,
    Event,
)
from shout.measure.schedule import Schedule
from shout.measure.target import Target
from shout.measure.tracker import ProbeTracker
from shout.udp.timestamps import IPHeader
from tests.measure.fakes import RESULT

TARGET = Target("example.com", "192.0.2.1", 9999)


class NumberTests(SynchronousTestCase):
    """
    Tests for L{milliseconds}, L{percent} and L{pace}.
    """

    def test_milliseconds(self) -> None:
        """
        A time has three or four significant digits.
        """
        times = [0, 123, 123_456, 9_876_543, 98_765_432, 987_654_321, 9_876_543_210]
        self.assertEqual(
            [milliseconds(time) for time in times],
            ["0.000", "0.000", "0.123", "9.877", "98.77", "987.7", "9877"],
        )

    def test_percent(self) -> None:
        """
        A percentage between 0 and 100 is rounded to neither.
        """
        for value, expected in (
            (0, "0 %"),
            (0.001, "less than 0.01 %"),
            (0.25, "0.25 %"),
            (10, "10 %"),
            (33.333, "33.3 %"),
            (99.99, "more than 99.9 %"),
            (100, "100 %"),
        ):
            self.assertEqual(percent(value), expected)

    def test_pace(self) -> None:
        """
        A rate has at least three significant digits.
        """
        for rate, expected in ((79_374.2, "79,374"), (19.74, "19.7"), (0.5, "0.5")):
            self.assertEqual(pace(rate), expected)


class LineTests(SynchronousTestCase):
    """
    Tests for the lines during a measurement.
    """

    def test_opening(self) -> None:
        """
        The first line has the target, the size, the interval, the timeout and the
        clock.
        """
        self.assertEqual(
            openingLine(TARGET, Schedule(timeout=2.0), True),
            "SHOUT example.com (192.0.2.1:9999): 56 bytes, every 1 s, "
            "late after 2 s, times by the kernel",
        )
        self.assertIn(
            "20,000 per s", openingLine(TARGET, Schedule(interval=0.00005), True)
        )
        self.assertIn("monotonic", openingLine(TARGET, Schedule(), False))
        self.assertIn(
            ": 56 bytes, after each reply, or every 1 s, late",
            openingLine(TARGET, Schedule(isAdaptive=True), True),
        )

    def test_target(self) -> None:
        """
        An IPv6 address stands in brackets, and a UNIX socket has no port.
        """
        for target, name in (
            (Target("::1", "::1", 1), "[::1]:1"),
            (Target("/run/s", "/run/s", None), "/run/s"),
        ):
            self.assertIn(f"SHOUT {name}:", openingLine(target, Schedule(), True))

    def test_events(self) -> None:
        """
        Every kind of event has its line.
        """
        reply = "56 bytes from 192.0.2.1: seq=7"
        for event, expected in (
            (Event(REPLY, 7, 56, 1_234_567), f"{reply} time=1.235 ms"),
            (
                Event(REPLY, 7, 56, 1_234_567, True),
                f"{reply} time=1.235 ms (out of order)",
            ),
            (
                Event(REPLY, 7, 56, 1_234_567, header=IPHeader(62)),
                f"{reply} ttl=62 time=1.235 ms",
            ),
            (Event(DUPLICATE, 7, 56), f"{reply} (duplicate)"),
            (Event(LATE, 7, 56, 1_500_000_000), f"{reply} time=1500 ms (late)"),
            (Event(OUT_OF_WINDOW, 7, 56), f"{reply} (late or duplicate)"),
            (Event(WRONG, 7, 56, detail="echoed"), f"{reply} wrong: echoed"),
            (
                Event(WRONG, None, 3, detail="garbage"),
                "3 bytes from 192.0.2.1: wrong: garbage",
            ),
            (
                Event(REFUSED, 7, detail="port unreachable"),
                "ICMP error for 192.0.2.1: seq=7 port unreachable",
            ),
            (Event(LOST, 7), "no answer from 192.0.2.1: seq=7"),
            (Event(OUTSTANDING, 7), "no answer yet from 192.0.2.1: seq=7"),
        ):
            self.assertEqual(eventLine(event, TARGET), expected)

    def test_leftOut(self) -> None:
        """
        Lines left out are replaced by one with their number.
        """
        self.assertEqual(leftOutLine(7), "(7 lines left out)")

    def test_live(self) -> None:
        """
        The status line has the losses and, with one target, the last and the mean
        round trip.
        """
        tracker = ProbeTracker(Probes(56), 100)
        self.assertEqual(statusLine([tracker]), "0 sent, 0 % lost")
        for time in (1_000_000, 3_000_000):
            tracker.probesSent(0)
            tracker.histogram.add(time)
        self.assertEqual(
            statusLine([tracker]), "2 sent, 0 % lost, last 3.000 ms, mean 2.000 ms"
        )
        self.assertEqual(statusLine([tracker, tracker]), "4 sent, 0 % lost")


class SummaryTests(SynchronousTestCase):
    """
    Tests for L{summary}.
    """

    def test_nothing(self) -> None:
        """
        Without round trips there are no times.
        """
        lines = summary(replace(RESULT, sent=0, answered=0))
        self.assertEqual(
            lines,
            [
                "--- h (192.0.2.1:9999) ---",
                "0 sent, 0 answered, 0 lost (0 %), 0 late, 0 refused, 0 wrong",
                "0 duplicates, 0 out of order",
            ],
        )

    def test_everything(self) -> None:
        """
        Counts and lines that are not always there stand in their places.
        """
        histogram = Histogram()
        histogram.add(1_000_000)
        result = replace(
            RESULT,
            sent=10,
            answered=1,
            lost=2,
            wrong=4,
            kinds={"echoed": 3, "garbage": 1},
            refused=3,
            icmpErrors={("port unreachable", None): 3},
            outOfWindow=5,
            histogram=histogram,
            roundTrips=histogram.summarize(),
            jitter=2_000,
            skipped=7,
            kernelDrops=2,
            inFlightAtEnd=1,
        )
        lines = summary(result)
        self.assertEqual(
            lines[1:5],
            [
                "10 sent, 1 answered, 2 lost (20 %), 0 late, "
                "3 refused (port unreachable), 4 wrong (3 echoed, 1 garbage)",
                "0 duplicates, 0 out of order, 5 late or duplicate",
                "round trip min/mean/p50/p90/p99/max/stddev = "
                "1.000/1.000/1.000/1.000/1.000/1.000/0.000 ms",
                "jitter 0.002 ms, times by the kernel",
            ],
        )
        self.assertEqual(
            lines[5],
            "sent 10,000,000,000 per s, 7 datagrams skipped: this machine was too "
            "slow, or too many were in flight",
        )
        self.assertEqual(
            lines[6],
            "2 replies dropped by the kernel of this machine: receive buffer full; "
            "measure at a lower rate",
        )
        self.assertEqual(lines[7], "1 in flight at the end, not counted")

    def test_manyErrors(self) -> None:
        """
        Of many kinds of ICMP errors the most frequent are named.
        """
        errors: dict[tuple[str, str | None], int] = {
            ("unreachable", f"192.0.2.{number}"): number for number in range(10)
        }
        words = errorsInWords(errors)
        start = "9 from 192.0.2.9: unreachable, 8 from 192.0.2.8: unreachable, "
        self.assertTrue(words.startswith(start), words)
        self.assertTrue(words.endswith(" and 2 more kinds"), words)
