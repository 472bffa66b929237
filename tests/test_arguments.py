"""
Tests for L{shout.arguments}.
"""

from __future__ import annotations

import os
import socket
from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from shout import __version__
from shout.arguments import UsageError, parse


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def refuse(self, *arguments: str) -> str:
        """
        Return what is said about a wrong command line.
        """
        message = str(self.assertRaises(UsageError, parse, arguments))
        self.assertNotIn("\n", message)
        return message

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
        self.assertIn("-p/--port: expected one argument", self.refuse("-p"))

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
