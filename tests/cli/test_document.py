"""
Tests for L{shout.cli.document}.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.document import (
    beginObject,
    document,
    eventObject,
    leftOutLine,
)
from shout.measure.result import (
    LATE,
    LOST,
    OUT_OF_WINDOW,
    OUTSTANDING,
    REFUSED,
    REPLY,
    WRONG,
    Event,
)
from shout.measure.target import Target
from shout.udp.timestamps import IPHeader
from tests.measure.fakes import RESULT, histogramOf

TARGET = Target("a.example", "192.0.2.1", 9999)


class DocumentTests(SynchronousTestCase):
    """
    Tests for L{document}.
    """

    def test_fields(self) -> None:
        """
        Each count has a field, and the times are whole nanoseconds.
        """
        result = replace(
            RESULT,
            sent=51,
            answered=2,
            lost=3,
            duplicates=4,
            late=5,
            outOfOrder=6,
            wrong=7,
            refused=8,
            answeredWrong=9,
            outOfWindow=10,
            skipped=11,
            kernelDrops=12,
            inFlightAtEnd=13,
            duration=10**9,
            jitter=14,
            ttls={None: 3, 61: 1, 62: 2},
            toses={0: 2, 184: 4},
            roundTrips=histogramOf([10, 20, 30, 40]).summarize(),
            icmpErrors={("port unreachable", "192.0.2.7"): 8},
            flows=[replace(RESULT, sourcePort=40001)],
        )
        self.assertEqual(
            document([result], tos=184, span=(20, 30)),
            {
                "format": 1,
                "start": 20,
                "end": 30,
                "host": "h",
                "port": 9999,
                "sent": 51,
                "answered": 2,
                "lost": 3,
                "duplicates": 4,
                "late": 5,
                "out_of_order": 6,
                "wrong": 7,
                "refused": 8,
                "answered_wrong": 9,
                "out_of_window": 10,
                "skipped": 11,
                "kernel_drops": 12,
                "in_flight_at_end": 13,
                "rate": 63.0,
                "rtt_ns": {
                    "min": 10,
                    "mean": 25,
                    "p50": 20,
                    "p90": 40,
                    "p99": 40,
                    "max": 40,
                    "stddev": 11,
                },
                "jitter_ns": 14,
                "icmp_errors": [
                    {"from": "192.0.2.7", "reason": "port unreachable", "count": 8}
                ],
                "ttl": 62,
                "tos": {"sent": 184, "received": 184},
                "clock": "kernel",
                "flows": [
                    {
                        "source_port": 40001,
                        "sent": 100,
                        "answered": 100,
                        "lost": 0,
                        "late": 0,
                        "refused": 0,
                        "wrong": 0,
                        "rtt_ns": dict.fromkeys(
                            ("min", "mean", "p50", "p90", "p99", "max", "stddev")
                        ),
                        "icmp_errors": [],
                        "answered_from": [],
                        "ttl": None,
                        "tos": {"sent": 184, "received": None},
                        "hops": None,
                    }
                ],
                "error": None,
            },
        )

    def test_nothing(self) -> None:
        """
        Without replies the times are null.
        """
        nothing = document([replace(RESULT, hasKernelTimes=False)])
        self.assertEqual(nothing["clock"], "monotonic")
        times = nothing["rtt_ns"]
        self.assertEqual(len(times), 7)
        self.assertEqual(set(times.values()), {None})

    def test_failed(self) -> None:
        """
        A target that cannot be measured has an object with the same fields, and the
        reason.
        """
        failed = document([], [(TARGET, "no way")])
        self.assertEqual(list(failed), list(document([RESULT])))
        self.assertEqual(
            (failed["host"], failed["sent"], failed["error"]),
            ("a.example", 0, "no way"),
        )
        self.assertEqual(set(failed["rtt_ns"].values()), {None})
        both = document([RESULT], [(TARGET, "no way")])["targets"]
        self.assertEqual([each["error"] for each in both], [None, "no way"])

    def test_several(self) -> None:
        """
        With several targets there is a list of objects without C{format}.
        """
        result = document([RESULT, replace(RESULT, host="other", port=None)])
        self.assertEqual(list(result), ["format", "start", "end", "targets"])
        self.assertEqual([each["host"] for each in result["targets"]], ["h", "other"])
        self.assertNotIn("format", result["targets"][0])


class EventTests(SynchronousTestCase):
    """
    Tests for L{eventObject} and other lines.
    """

    def test_begin(self) -> None:
        """
        The first object has the target and the clock.
        """
        expected = {
            "event": "begin",
            "time": 7,
            "host": "a.example",
            "address": "192.0.2.1",
            "port": 9999,
            "size": 56,
        }
        for hasKernelTimes, clock in ((True, "kernel"), (False, "monotonic")):
            self.assertEqual(
                beginObject(TARGET, 56, hasKernelTimes, 7), {**expected, "clock": clock}
            )

    def test_events(self) -> None:
        """
        An event has the fields that apply to it; an empty reply has a length, too.
        """
        expected: list[tuple[Event, dict[str, Any]]] = [
            (
                Event(REPLY, 1, 56, 99, header=IPHeader(62, 0)),
                {"seq": 1, "bytes": 56, "rtt_ns": 99, "ttl": 62},
            ),
            (
                Event(LATE, 2, 56, 99, True),
                {"seq": 2, "bytes": 56, "rtt_ns": 99, "out_of_order": True},
            ),
            (
                Event(WRONG, None, 0, detail="empty"),
                {"seq": None, "bytes": 0, "detail": "empty"},
            ),
            (Event(REFUSED, 3, detail="no"), {"seq": 3, "detail": "no"}),
            (Event(LOST, 4), {"seq": 4}),
            (Event(OUTSTANDING, 4), {"seq": 4}),
            (Event(OUT_OF_WINDOW, 5, 56), {"seq": 5, "bytes": 56}),
        ]
        for event, fields in expected:
            name = "out_of_window" if event.kind == OUT_OF_WINDOW else event.kind
            self.assertEqual(
                eventObject(event, TARGET, 7),
                {"event": name, "time": 7, "host": "a.example", "port": 9999, **fields},
            )

    def test_leftOut(self) -> None:
        """
        Events that are read too slowly are replaced by an object.
        """
        self.assertEqual(
            json.loads(leftOutLine(7, 8)), {"event": "left out", "time": 8, "count": 7}
        )
