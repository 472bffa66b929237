"""
Tests for L{shout.cli.bitrate}, and for the option C{--bitrate}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.bitrate import bitrateInWords, intervalOf, parseBitrate
from shout.cli.pingoptions import parse, scheduleOf
from shout.cli.usage import UsageError
from tests.cli.command import CommandCase
from tests.families import LOOPBACK


class BitrateTests(SynchronousTestCase):
    """
    Tests for L{parseBitrate}, L{intervalOf} and L{bitrateInWords}.
    """

    def test_parse(self) -> None:
        """
        A rate may have a decimal suffix, in capitals or not.
        """
        for text, expected in (
            ("8000", 8e3),
            ("64k", 64e3),
            ("64K", 64e3),
            ("2.5M", 2.5e6),
            ("1g", 1e9),
            ("1000G", 1e12),
        ):
            self.assertEqual(parseBitrate(text), expected)

    def test_refused(self) -> None:
        """
        Other text is refused.
        """
        for text in ("", "k", "0", "-1", "100Mbit", "1T", "nan", "1001G", "1_0k"):
            error = self.assertRaises(UsageError, parseBitrate, text)
            self.assertEqual(
                str(error),
                "--bitrate must be a number of bits per second such as 100M, "
                f"from 1 to 1000000000000, not {text!r}",
            )

    def test_interval(self) -> None:
        """
        Each packet takes its bits of the rate.
        """
        self.assertEqual(intervalOf(1e6, 1250), 0.01)

    def test_intervalRefused(self) -> None:
        """
        If the packets would be too many or too few, another size is advised.
        """
        for bitrate, length, message in (
            (
                10e9,
                84,
                "--bitrate takes 14,880,952 datagrams per second here, and the most is "
                "1,000,000; use larger ones with -s",
            ),
            (
                1,
                1250,
                "--bitrate takes 0.0001 datagrams per second here, and the least is "
                "0.001; use smaller ones with -s",
            ),
        ):
            error = self.assertRaises(UsageError, intervalOf, bitrate, length)
            self.assertEqual(str(error), message)

    def test_words(self) -> None:
        """
        A rate has at least three significant digits.
        """
        for bitrate, expected in (
            (999.4, "999.4 bit/s"),
            (1_000, "1 kbit/s"),
            (12_345, "12.35 kbit/s"),
            (99_900_000, "99.9 Mbit/s"),
            (1.5e9, "1.5 Gbit/s"),
            (0, "0 bit/s"),
        ):
            self.assertEqual(bitrateInWords(bitrate), expected)

    def test_schedule(self) -> None:
        """
        The headers are part of the rate.
        """
        options = parse(["h", "--bitrate", "1M", "-s", "1222"])
        self.assertEqual(scheduleOf(options, 28).interval, 0.01)
        self.assertAlmostEqual(scheduleOf(options, 48).interval, 0.01016)


class BitrateCommandTests(CommandCase):
    """
    Tests for C{shoutping --bitrate}.
    """

    async def test_bitrate(self) -> None:
        """
        The datagrams are sent at the rate, whatever the length of their headers.
        """
        for host, headers in zip(LOOPBACK, (28, 48)):
            target = ("-p", str(self.serveUDP(host)), host)
            options = ("--bitrate", "80k", "-s", str(200 - headers), "-c", "4")
            _, out, _ = await self.ping(*target, *options, "--json-lines")
            *_, last = map(json.loads, out.splitlines())
            self.assertLess(last["rate"], 51)
            _, out, _ = await self.ping(*target, *options)
            self.assertRegex(
                out.splitlines()[-1], r"^sent [\d.]+ kbit/s of IP packets$"
            )

    async def test_refused(self) -> None:
        """
        A rate that needs too many datagrams is one line, and the status is 2; so is one
        that needs C{--flood}.
        """
        status, out, (error,) = await self.ping("127.0.0.1", "--bitrate", "10G")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("use larger ones", error)
