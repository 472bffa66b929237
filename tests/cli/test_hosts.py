"""
Tests for L{shout.cli.hosts}, and for many targets.
"""

from __future__ import annotations

import os
import resource
import signal

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.hosts import readLines
from shout.cli.pingoptions import parse
from shout.cli.usage import UsageError
from tests.cli.command import CommandCase
from tests.directory import shortDirectory


class HostsTests(SynchronousTestCase):
    """
    Tests for C{--hosts}.
    """

    def write(self, content: bytes) -> str:
        """
        Write a file, and return its path.
        """
        path = shortDirectory(self) + "/hosts"
        with open(path, "wb") as file:
            file.write(content)
        return path

    def refuse(self, path: str) -> str:
        """
        Return the message about a wrong file.
        """
        return str(self.assertRaises(UsageError, parse, ["--hosts", path]))

    def test_file(self) -> None:
        """
        Each line has a target, with comments.  Those on the command line come first.
        """
        path = self.write(b"# routers\n\na:1  # one\n [::1]:2\r\nunix:/x y#z\n#\nb")
        options = parse(["c", "--hosts", path, "-p", "7"])
        hosts = [(each.host, each.port) for each in options.destinations]
        self.assertEqual(hosts, [("c", 7), ("a", 1), ("::1", 2), ("", 7), ("b", 7)])
        self.assertEqual(options.destinations[3].unix, "/x y#z")

    def test_byteOrderMark(self) -> None:
        """
        A file may begin with a byte order mark.
        """
        (line,) = readLines(self.write(b"\xef\xbb\xbfa\n"))
        self.assertEqual(line[1], "a")

    def test_stdin(self) -> None:
        """
        C{-} is standard input, which stays open.
        """
        with open(self.write(b"a\n\nb\n"), "rb") as file:
            lines = list(readLines("-", file.fileno()))
            os.fstat(file.fileno())
        expected = [("standard input:1", "a"), ("standard input:3", "b")]
        self.assertEqual(lines, expected)

    def test_wrong(self) -> None:
        """
        A wrong line is one message with the file and the number of the line.
        """
        path = self.write(b"a\n\nb:0\n")
        expected = f"{path}:3: the port in 'b:0' must be a number from 1 to 65535, "
        self.assertEqual(self.refuse(path), expected + "not '0'")
        path = self.write(b"a\n192.0.2.1 b\n")
        expected = f"{path}:2: '192.0.2.1 b' is not a target; write one per line"
        self.assertEqual(self.refuse(path), expected)
        path = self.write(b"a\n\xff\n")
        self.assertEqual(self.refuse(path), f"{path}:2: not a line of text in UTF-8")

    def test_unreadable(self) -> None:
        """
        A file that cannot be read, and one without targets, is one message.
        """
        self.assertIn("No such file", self.refuse("/nowhere/hosts"))
        self.assertIn("has no target", self.refuse(self.write(b"# nothing\n")))
        with open(os.devnull, "wb") as file:
            lines = readLines("-", file.fileno())
            error = self.assertRaises(UsageError, list, lines)
        self.assertIn("cannot read --hosts -: ", str(error))


class ManyTargetsTests(CommandCase):
    """
    Tests for more targets than have lines of their own.
    """

    async def test_table(self) -> None:
        """
        There is one opening line, no line about a single reply, and at the end a table
        with the worst target first, and a summary of all.
        """
        port, closed = self.serveUDP("0.0.0.0"), self.freePort()
        hosts = [f"127.0.0.{number}:{port}" for number in range(1, 12)]
        options = ("-c", "2", "-i", "0.2", "-t", "5")
        status, out, _ = await self.ping(*hosts, f"127.0.0.1:{closed}", *options)
        self.assertEqual(status, 1)
        lines = out.splitlines()
        start = "SHOUT 12 targets: 56 bytes, every 0.2 s, late after 5 s"
        self.assertEqual(lines[0], start)
        self.assertTrue(lines[2].startswith("server "), lines)
        self.assertTrue(lines[3].startswith(f"127.0.0.1:{closed}"), lines)
        self.assertEqual(lines[16:18], ["", "--- 12 targets ---"])
        self.assertTrue(lines[18].startswith("24 sent, 22 answered, 0 lost"), lines)

    async def test_tall(self) -> None:
        """
        On a terminal the table has the worst targets for which there is room, but at
        least ten.
        """
        port = self.serveUDP("0.0.0.0")
        hosts = [f"127.0.0.{number}:{port}" for number in range(1, 31)]
        for rows, shown in ((24, None), (10, 10), (99, 30)):
            size = os.terminal_size((200, rows))
            self.patch(os, "get_terminal_size", lambda fd, size=size: size)
            status, out, _ = await self.onTerminal(*hosts, "-c", "1", "-i", "0.05")
            self.assertEqual(status, 0)
            lines = out.rpartition("server  ")[2].splitlines()
            if shown is None:
                # One more is for the prompt of the shell.
                self.assertEqual(len(lines) + 1, rows)
            else:
                count = sum(line.startswith("127.0.0.") for line in lines)
                self.assertEqual(count, shown)

    async def test_soFar(self) -> None:
        """
        Ctrl-\\ prints the table of the results so far.
        """
        port = self.serveUDP("0.0.0.0")
        hosts = [f"127.0.0.{number}:{port}" for number in range(1, 12)]
        self.reactor.callLater(0.1, os.kill, os.getpid(), signal.SIGQUIT)
        status, _, lines = await self.ping(*hosts, "-c", "1", "-i", "0.5", "-t", "9")
        self.assertEqual(status, 0)
        self.assertTrue(lines[0].startswith("server "), lines)
        self.assertEqual(lines[13:15], ["", "--- 11 targets ---"])

    async def test_terminal(self) -> None:
        """
        On a terminal a table changes in place.
        """
        self.patch(os, "environ", {**os.environ, "TERM": "xterm"})
        port = self.serveUDP("0.0.0.0")
        hosts = [f"127.0.0.{number}:{port}" for number in (1, 2)]
        options = ["-c", "4", "-i", "0.1", "-q"]
        status, out, errors = await self.onTerminal(*hosts, *options)
        self.assertEqual((status, errors), (0, []))
        self.assertRegex(out, r"\x1b\[3Aserver +unanswered  mean ms\x1b\[K\n127\.0")
        self.assertIn("0 of 2 servers without any answer\x1b[J", out)

    async def test_descriptors(self) -> None:
        """
        The limit of open file descriptors is raised as far as the targets need it.
        """
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd" if os.path.isdir("/proc") else "/dev/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        port = self.serveUDP("0.0.0.0")
        hosts = [f"127.0.0.{number}:{port}" for number in range(1, 31)]
        status, _, errors = await self.ping("-c", "1", "-q", "-i", "0.03", *hosts)
        self.assertEqual((status, errors), (0, []))
