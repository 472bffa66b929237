"""
Tests for L{shout.cli.csvlines}, and for the option C{--csv}.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.csvlines import csvLines
from shout.measure.target import Target
from tests.cli.command import CommandCase
from tests.measure.fakes import RESULT, histogramOf


def rowsOf(lines: Sequence[str]) -> list[dict[str, str]]:
    """
    Return the rows of a table by column.
    """
    return [*csv.DictReader(lines, strict=True)]


class CSVLinesTests(SynchronousTestCase):
    """
    Tests for L{csvLines}.
    """

    def test_result(self) -> None:
        """
        Each result has a row of scalar values; those that are unknown are empty.
        """
        result = replace(
            RESULT,
            answered=98,
            refused=2,
            icmpErrors={("port unreachable", "192.0.2.7"): 1, ("too long", None): 1},
            roundTrips=histogramOf([10, 20]).summarize(),
            toses={184: 98},
            sourcePort=40001,
        )
        (row,) = rowsOf(csvLines([result], [], 184, (5, 6)))
        self.assertEqual(
            row,
            {
                "host": "h",
                "port": "9999",
                "source_port": "40001",
                "sent": "100",
                "answered": "98",
                "lost": "0",
                "duplicates": "0",
                "late": "0",
                "out_of_order": "0",
                "wrong": "0",
                "refused": "2",
                "answered_wrong": "0",
                "out_of_window": "0",
                "skipped": "0",
                "kernel_drops": "0",
                "in_flight_at_end": "0",
                "rate": "99000000000.0",
                "rtt_ns_min": "10",
                "rtt_ns_mean": "15",
                "rtt_ns_p50": "10",
                "rtt_ns_p90": "20",
                "rtt_ns_p99": "20",
                "rtt_ns_max": "20",
                "rtt_ns_stddev": "5",
                "jitter_ns": "",
                "icmp_errors": "1 from 192.0.2.7: port unreachable, 1 too long",
                "ttl": "",
                "tos_sent": "184",
                "tos_received": "184",
                "clock": "kernel",
                "error": "",
                "start": "5",
                "end": "6",
            },
        )

    def test_failed(self) -> None:
        """
        A target that cannot be measured has a row with the reason.
        """
        failure = Target("/run/a,b", "/run/a,b", None), 'no "way"'
        first, second = rowsOf(csvLines([RESULT], [failure], 0, (5, 6)))
        self.assertEqual(list(first), list(second))
        self.assertEqual((first["sent"], first["error"]), ("100", ""))
        values = [second[name] for name in ("host", "port", "source_port", "error")]
        self.assertEqual(values, ["/run/a,b", "", "", 'no "way"'])
        self.assertEqual((second["sent"], second["rtt_ns_p50"]), ("0", ""))


class CSVCommandTests(CommandCase):
    """
    Tests for C{shoutping --csv}.
    """

    async def test_targets(self) -> None:
        """
        There is a row for each target, and nothing else.
        """
        targets = [f"127.0.0.1:{self.serveUDP()}" for _ in range(2)]
        options = ["--csv", "-c", "2", "-i", "0.02", "-D"]
        status, out, errors = await self.ping(*targets, *options)
        self.assertEqual((status, errors), (0, []))
        rows = rowsOf(out.splitlines())
        found = [f"{row['host']}:{row['port']}" for row in rows]
        self.assertEqual(found, targets)
        self.assertEqual([row["answered"] for row in rows], ["2", "2"])
        self.assertLess(int(rows[0]["start"]), int(rows[0]["end"]))

    async def test_flows(self) -> None:
        """
        With several flows there is a row for each of them.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        options = ["--csv", "--flows", "3", "-c", "4", "-i", "0.02"]
        _, out, _ = await self.ping(target, "255.255.255.255", *options)
        rows = rowsOf(out.splitlines())
        answered = [row["answered"] for row in rows]
        self.assertEqual(sorted(answered[:3]), ["1", "1", "2"])
        self.assertEqual(answered[3:], ["0"])
        ports = {row["source_port"] for row in rows}
        self.assertEqual(len(ports), 4)
        self.assertIn("cannot reach", rows[-1]["error"])
