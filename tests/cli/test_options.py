"""
Tests for L{shout.cli.options}.
"""

from __future__ import annotations

import os
import socket
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from shout import __version__
from shout.cli.options import UsageError, parse
from shout.cli.pingoptions import scheduleOf
from shout.measure.schedule import Schedule


class ParseCase(SynchronousTestCase):
    """
    Parses wrong command lines.
    """

    def refuse(self, *arguments: str) -> str:
        """
        Return what is said about a wrong command line.
        """
        message = str(self.assertRaises(UsageError, parse, arguments))
        self.assertNotIn("\n", message)
        return message


class ParseTests(ParseCase):
    """
    Tests for L{parse}.
    """

    def printed(self, *arguments: str) -> str:
        """
        Return what is printed before the command exits with success.
        """
        output = StringIO()
        with redirect_stdout(output):
            error = self.assertRaises(SystemExit, parse, arguments)
        self.assertEqual(error.code, 0)
        return output.getvalue()

    def test_defaults(self) -> None:
        """
        Without arguments it is UDP port 9999 of this host, three tries of one
        second, and no text.
        """
        options = parse([])
        self.assertEqual((options.host, options.port), ("127.0.0.1", 9999))
        self.assertEqual((options.timeout, options.retries), (1.0, 2))
        self.assertEqual(options.family, socket.AF_UNSPEC)
        self.assertIsNone(options.unix)
        self.assertIsNone(options.text)
        self.assertIs(options.unicode, False)

    def test_long(self) -> None:
        """
        Every option has a long name.
        """
        arguments = "--host h --port 1 --timeout 0.5 --retries 0 --unicode"
        options = parse(arguments.split())
        self.assertEqual((options.host, options.port), ("h", 1))
        self.assertEqual((options.timeout, options.retries), (0.5, 0))
        self.assertIs(options.unicode, True)
        self.assertEqual(parse(["--unix", "/run/shout"]).unix, "/run/shout")

    def test_short(self) -> None:
        """
        Most options have a short name.
        """
        options = parse(["-H", "h", "-p65535", "-t", "2", "-r", "1", "-6"])
        self.assertEqual((options.host, options.port), ("h", 65535))
        self.assertEqual((options.timeout, options.retries), (2.0, 1))
        self.assertEqual(options.family, socket.AF_INET6)
        self.assertEqual(parse(["-4"]).family, socket.AF_INET)
        self.assertEqual(parse(["-u", "@shout"]).unix, "@shout")

    def test_text(self) -> None:
        """
        The words of the text are joined by spaces, wherever the options stand.
        """
        options = parse(["hello", "-p", "4000", "my", "-4", "world"])
        self.assertEqual((options.text, options.port), (b"hello my world", 4000))

    def test_emptyText(self) -> None:
        """
        An empty text is not the same as none.
        """
        self.assertEqual(parse([""]).text, b"")

    def test_endOfOptions(self) -> None:
        """
        After two dashes everything is text, also two dashes.
        """
        options = parse(["a", "-p", "1", "--", "-p", "--", "b"])
        self.assertEqual((options.text, options.port), (b"a -p -- b", 1))
        self.assertIsNone(parse(["--"]).text)

    def test_bytes(self) -> None:
        """
        The text has the bytes that were given, whatever the encoding.
        """
        self.assertEqual(parse([os.fsdecode(b"\xff\xc3\x9f")]).text, b"\xff\xc3\x9f")

    def test_port(self) -> None:
        """
        A port is a number from 1 to 65535.
        """
        for text in ("x", "", "0", "65536", "1.5", "1_0", "\u0661", "9" * 5000):
            self.assertEqual(
                self.refuse("--port", text),
                f"--port takes a number from 1 to 65535, not {text!r}",
            )

    def test_timeout(self) -> None:
        """
        A timeout is a number of seconds above zero.
        """
        for text in ("x", "0", "nan", "inf"):
            self.assertEqual(
                self.refuse("-t", text),
                "--timeout takes a number of seconds from 0.001 to 86400, "
                f"not {text!r}",
            )

    def test_retries(self) -> None:
        """
        The number of retries is not negative.
        """
        for arguments in (["-r", "x"], ["--retries=-1"]):
            self.assertIn("--retries takes a number", self.refuse(*arguments))

    def test_unix(self) -> None:
        """
        A UNIX socket has a path, and neither host nor port.
        """
        for other in (["-H", "h"], ["-p", "1"], ["-4"], ["-6"]):
            self.assertEqual(
                self.refuse("-u", "s", *other),
                "--unix goes without --host, --port, -4 and -6",
            )
        self.assertEqual(self.refuse("-u", ""), "--unix takes a path")

    def test_families(self) -> None:
        """
        There is at most one family.
        """
        self.assertIn("not allowed with", self.refuse("-4", "-6"))

    def test_unknown(self) -> None:
        """
        An option that does not exist is named, also when it begins like one
        that does.
        """
        for option in ("--foo", "-x", "--ho", "-1"):
            self.assertIn(
                f"unknown option {option!r}; --help", self.refuse("hello", option)
            )

    def test_noValue(self) -> None:
        """
        An option whose value is missing is named.
        """
        for words in (["-p"], ["-p", "-1"], ["--ping", "--port", "-1", "-q"]):
            self.assertEqual(
                self.refuse(*words),
                "-p/--port takes a value, which does not begin with -",
            )

    def test_help(self) -> None:
        """
        The help begins with what the command is for, and has an example of it
        and the defaults.
        """
        text = self.printed("--help")
        self.assertIn("usage: shout [options] [text ...]\n\nSend text to", text)
        self.assertIn("shout hello world               prints HELLO WORLD", text)
        for default in ("[127.0.0.1]", "[9999]", "[1]", "[2]"):
            self.assertIn(default, text)

    def test_version(self) -> None:
        """
        The version is that of the package.
        """
        self.assertTrue(self.printed("--version").startswith(f"shout {__version__} ("))


class PingTests(ParseCase):
    """
    Tests for the options that measure.
    """

    def test_defaults(self) -> None:
        """
        C{--ping} alone measures this host, once per second, without end.
        """
        options = parse(["--ping"])
        self.assertEqual(options.hosts, ["127.0.0.1"])
        self.assertEqual(scheduleOf(options), Schedule(None, 1.0, 56, 1.0, None))
        self.assertFalse(options.json or options.quiet)

    def test_short(self) -> None:
        """
        The options have the letters that those of ping have.
        """
        words = "--ping -c 5 -i 0.2 -s 100 -w 10 -t 3 -q -H a -H b"
        options = parse(words.split())
        self.assertEqual(scheduleOf(options), Schedule(5, 0.2, 100, 3.0, 10.0))
        self.assertEqual((options.hosts, options.quiet), (["a", "b"], True))

    def test_long(self) -> None:
        """
        They have long names, too.
        """
        words = "--ping --count 5 --interval 0.2 --size 100 --deadline 10 --quiet"
        self.assertEqual(
            scheduleOf(parse(words.split())), Schedule(5, 0.2, 100, 1.0, 10.0)
        )

    def test_rate(self) -> None:
        """
        A rate is another way to give the interval.
        """
        self.assertEqual(scheduleOf(parse(["--ping", "--rate", "4"])).interval, 0.25)

    def test_jsonLines(self) -> None:
        """
        C{--json-lines} is C{--json} with more.
        """
        self.assertTrue(parse(["--ping", "--json-lines"]).json)

    def test_modes(self) -> None:
        """
        C{--sizes} and C{--find-rate} are kinds of C{--ping}.
        """
        self.assertTrue(parse(["--sizes"]).ping)
        self.assertTrue(parse(["--find-rate", "--flood", "-s", "100"]).ping)

    def test_smallest(self) -> None:
        """
        A size that cannot hold the nonce and the number is refused, and the
        least that can is named.
        """
        self.assertEqual(parse(["--ping", "-s", "32"]).size, 32)
        self.assertIn("from 32 to", self.refuse("--ping", "-s", "31"))

    def test_refused(self) -> None:
        """
        What does not go together is refused, in a line that says what does not.
        """
        for words, expected in (
            ("--ping hello", "-H"),
            ("-c 3", "--count goes with --ping"),
            ("-q hello", "--quiet goes with --ping"),
            ("--json-lines hello", "--json-lines goes with --ping"),
            ("--max-loss 0 hello", "--max-loss goes with --ping"),
            ("-H a -H b hello", "several hosts"),
            ("--ping --unicode", "--unicode"),
            ("--ping -r 3", "--retries"),
            ("--ping -i 1 --rate 5", "--rate"),
            ("--sizes --find-rate", "one at a time"),
            ("--sizes -c 3", "--sizes goes without --count"),
            ("--sizes -H a -H b", "one host"),
            ("--find-rate -i 1", "--find-rate goes without --interval"),
            ("--ping -c 0", "--count takes a number from 1"),
            ("--ping -c x", "--count"),
            ("--ping -i 0", "--interval"),
            ("--ping -i nan", "--interval"),
            ("--ping -w 0", "--deadline"),
            ("--ping --max-loss 101", "--max-loss"),
            ("--ping --rate 0", "--rate"),
        ):
            self.assertIn(expected, self.refuse(*words.split()))
