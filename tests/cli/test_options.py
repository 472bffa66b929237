"""
Tests for L{shout.cli.options}.
"""

from __future__ import annotations

import os
import shlex
import socket
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from shout import __version__
from shout.cli import pingoptions
from shout.cli.options import parse
from shout.cli.usage import UsageError


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def refuse(self, *arguments: str) -> str:
        """
        Return the message about a wrong command line.
        """
        message = str(self.assertRaises(UsageError, parse, arguments))
        self.assertNotIn("\n", message)
        return message

    def printed(self, *arguments: str) -> str:
        """
        Return the output of a command line that only prints something.
        """
        output = StringIO()
        with redirect_stdout(output):
            error = self.assertRaises(SystemExit, parse, arguments)
        self.assertEqual(error.code, 0)
        return output.getvalue()

    def test_defaults(self) -> None:
        """
        The defaults are UDP port 9999 of this host, three tries of one second, and no
        text.
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
        An empty text differs from no text.
        """
        self.assertEqual(parse([""]).text, b"")

    def test_endOfOptions(self) -> None:
        """
        Everything after two dashes is text, also two more dashes.
        """
        options = parse(["a", "-p", "1", "--", "-p", "--", "b"])
        self.assertEqual((options.text, options.port), (b"a -p -- b", 1))
        self.assertIsNone(parse(["--"]).text)

    def test_bytes(self) -> None:
        """
        The text has the bytes of the arguments, whatever their encoding.
        """
        self.assertEqual(parse([os.fsdecode(b"\xff\xc3\x9f")]).text, b"\xff\xc3\x9f")

    def test_port(self) -> None:
        """
        A port is a number from 1 to 65535.
        """
        for text in ("x", "", "0", "65536", "1.5", "1_0", "\u0661", "9" * 5000):
            self.assertEqual(
                self.refuse("--port", text),
                f"--port must be a number from 1 to 65535, not {text!r}",
            )

    def test_timeout(self) -> None:
        """
        A timeout is a number of seconds above zero.
        """
        for text in ("x", "0", "nan", "inf"):
            self.assertEqual(
                self.refuse("-t", text),
                "--timeout must be a number of seconds from 0.001 to 86400, "
                f"not {text!r}",
            )

    def test_retries(self) -> None:
        """
        The number of retries is not negative.
        """
        for arguments in (["-r", "x"], ["--retries=-1"]):
            self.assertIn("--retries must be a number", self.refuse(*arguments))

    def test_unix(self) -> None:
        """
        A UNIX socket has a path, and neither a host nor a port.
        """
        for other in (["-H", "h"], ["-p", "1"], ["-4"], ["-6"]):
            self.assertEqual(
                self.refuse("-u", "s", *other),
                "--unix cannot be used with --host, --port, -4 and -6",
            )
        self.assertEqual(self.refuse("-u", ""), "--unix takes a path")

    def test_families(self) -> None:
        """
        C{-4} and C{-6} cannot be combined.
        """
        self.assertIn("not allowed with", self.refuse("-4", "-6"))

    def test_unknown(self) -> None:
        """
        An unknown option is named, also if it is the beginning of another option.
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
                "-p/--port needs a value, which cannot begin with -",
            )

    def test_help(self) -> None:
        """
        The help begins with the purpose of the command, and has examples and the
        defaults.
        """
        text = self.printed("--help")
        self.assertIn("usage: shout [options] [TEXT ...]\n\nSend text to", text)
        self.assertIn("shout hello world               prints HELLO WORLD", text)
        for default in ("[127.0.0.1]", "[9999]", "[1]", "[2]"):
            self.assertIn(default, text)

    def test_version(self) -> None:
        """
        The version is that of the package.
        """
        self.assertTrue(self.printed("--version").startswith(f"shout {__version__} ("))


class FormerOptionTests(SynchronousTestCase):
    """
    Tests for options that C{shoutping} has now.
    """

    def test_command(self) -> None:
        """
        The message has the C{shoutping} command for the options.
        """
        for words, command in (
            ("--ping", "127.0.0.1"),
            ("--sizes -H h -t 0.3 -q", "h -t 0.3 --mtu -q"),
            ("--find-rate -4 -H h", "h -4 --find-rate"),
            ("-c 3 --ping -H h -p 4000", "h:4000 -c 3"),
            ("--ping --rate=9 -H ::1 -H h -p 1", "'[::1]:1' h:1 --rate=9"),
            ("--ping --json -u @s", "unix:@s --json"),
            ("-q -H h", "h -q"),
            ("--count 3", "127.0.0.1 --count 3"),
            ("--max-loss=3 -6", "127.0.0.1 -6 --max-loss=3"),
            ("--mtu -H h", "h --mtu"),
            ("-c3 hello", "127.0.0.1 -c3"),
            ("-H h --ping hello 9999 -c 3", "h -c 3"),
        ):
            error = self.assertRaises(UsageError, parse, words.split())
            message = "use shoutping to measure: shoutping "
            self.assertEqual(str(error), message + command)

    def test_valid(self) -> None:
        """
        The command in the message is valid.
        """
        words = ["--ping", "-H", "::1", "-p", "1", "-c", "3", "-6", "-t", "2"]
        error = self.assertRaises(UsageError, parse, words)
        command = shlex.split(str(error).partition(": ")[2])
        options = pingoptions.parse(command[1:])
        self.assertEqual(options.destinations, [("::1", 1, None)])
        self.assertEqual(
            (options.count, options.family, options.timeout), (3, socket.AF_INET6, 2)
        )

    def test_text(self) -> None:
        """
        Such words after two dashes are text.
        """
        self.assertEqual(parse(["--", "--ping"]).text, b"--ping")
