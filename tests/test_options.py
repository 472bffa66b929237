"""
Tests for L{shout.options}.
"""

from __future__ import annotations

import sys
from io import StringIO
from ipaddress import ip_network

from twisted.python.usage import Options as ParentOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import shout
from shout import options
from shout.options import AUTO, Options
from tests.parsing import parse


class OptionsTests(SynchronousTestCase):
    """
    Tests for L{Options}.
    """

    def test_defaults(self) -> None:
        """
        By default no address is given, and text is ASCII.
        """
        options = parse()
        self.assertEqual(
            (options["port"], options["interfaces"], options["unix"]), (None, [], [])
        )
        self.assertFalse(options["unicode"])
        self.assertFalse(options["copy-tos"])

    def test_copyTOS(self) -> None:
        """
        C{--copy-tos} needs Linux.
        """
        options = Options()
        self.patch(sys, "platform", "linux")
        options.parseOptions(["--copy-tos"])
        self.assertTrue(options["copy-tos"])
        self.patch(sys, "platform", "darwin")
        error = self.assertRaises(UsageError, Options().parseOptions, ["--copy-tos"])
        self.assertIn("needs Linux", str(error))

    def test_shortAndLong(self) -> None:
        """
        Options have short and long names, and those for addresses can be repeated.
        """
        for port, interface, unix in (
            ("--port", "--interface", "--unix"),
            ("-p", "-i", "-u"),
        ):
            options = parse(
                port, "4000", interface, "127.0.0.1", interface, "::1", unix, "a",
                unix, "b",
            )  # fmt: skip
            self.assertEqual(options["port"], 4000)
            self.assertEqual(options["interfaces"], ["127.0.0.1", "::1"])
            self.assertEqual(options["unix"], ["a", "b"])

    def test_instances(self) -> None:
        """
        Instances share no values.
        """
        parse("-i", "127.0.0.1")
        self.assertEqual(parse()["interfaces"], [])

    def test_port(self) -> None:
        """
        A port is a decimal number of 16 bits.
        """
        self.assertEqual(
            [parse("-p", text)["port"] for text in ("0", "65535")], [0, 65535]
        )
        for text in ("x", "", "-1", "65536", "1e3", "٤٢", "9" * 5000, " 1"):
            error = self.assertRaises(UsageError, parse, "--port", text)
            self.assertIn("0 to 65535", str(error))

    def test_allow(self) -> None:
        """
        Networks to allow are parsed, and an error has an example.
        """
        options = parse("--allow", "192.0.2.0/24", "--allow", "::1")
        self.assertEqual(
            options["allow"], [ip_network("192.0.2.0/24"), ip_network("::1")]
        )
        for text in (
            "",
            "x",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "localhost",
            "fe80::%1/64",
        ):
            error = self.assertRaises(UsageError, parse, "--allow", text)
            self.assertIn("192.0.2.0/24", str(error))

    def test_limit(self) -> None:
        """
        A limit is a whole number from 1.
        """
        self.assertEqual(parse("--limit", "10")["limit"], 10)
        for text in ("", "x", "0", "-1", "1.5", "9" * 5000):
            error = self.assertRaises(UsageError, parse, "--limit", text)
            self.assertIn("from 1", str(error))

    def test_workers(self) -> None:
        """
        The number of workers is a number from 1 to 256, or C{auto}.
        """
        self.assertIs(parse()["workers"], None)
        self.assertEqual(parse("--workers", "1")["workers"], 1)
        self.assertEqual(parse("--workers", "auto")["workers"], AUTO)
        for text in ("", "x", "0", "-1", "257", "1.5", "9" * 5000):
            error = self.assertRaises(UsageError, parse, "--workers", text)
            self.assertIn("1 to 256, or auto", str(error))

    def test_workersElsewhere(self) -> None:
        """
        On systems other than Linux there is at most one worker.
        """
        self.patch(options, "hasReusePortBalancing", False)
        error = self.assertRaises(UsageError, parse, "--workers", "2")
        self.assertIn("only Linux", str(error))
        self.assertEqual(parse("--workers", "1")["workers"], 1)
        self.assertEqual(parse("--workers", "auto")["workers"], AUTO)

    def test_unexpectedArgument(self) -> None:
        """
        Arguments other than options are an error that names the first.
        """
        error = self.assertRaises(UsageError, parse, "9999")
        self.assertIn("'9999'", str(error))

    def test_oneLineUnderTwistd(self) -> None:
        """
        As the options of a subcommand, an error ends the process with one line that
        mentions C{--help}.
        """

        class Parent(ParentOptions):
            subCommands = [("shout", None, Options, "")]

        for args in (["-p", "x"], ["--nonsense"], ["word"], ["-p"]):
            error = self.assertRaises(
                SystemExit, Parent().parseOptions, ["shout", *args]
            )
            self.assertIsInstance(error.code, str)
            self.assertNotIn("\n", error.code)
            self.assertTrue(error.code.startswith("shout: "))
            self.assertIn("--help", error.code)

    def test_help(self) -> None:
        """
        The help begins with examples, describes every option with its default, and fits
        a terminal.
        """
        text = str(Options())
        for option in ("--port", "--interface", "--unix", "--unicode", "--workers"):
            self.assertIn(option, text)
        self.assertIn("[default: 9999]", " ".join(text.split()))
        example = text.index("twistd -n shout -p 4000 -i 127.0.0.1")
        self.assertLess(example, text.index("Options:"))
        self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_version(self) -> None:
        """
        C{--version} prints the version and exits with status 0.
        """
        self.patch(sys, "stdout", output := StringIO())
        error = self.assertRaises(SystemExit, parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertIn(f"shout {shout.__version__} ", output.getvalue())
