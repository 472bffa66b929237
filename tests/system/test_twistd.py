"""
Tests for shout as its users run it: C{twistd shout} and C{twist shout}.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from unittest import skipUnless

from shout import bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp.sockopt import setTOS
from shout.udp.timestamps import enableHeaders
from tests.families import EVERYWHERE, LOOPBACK, PAIR
from tests.twistdcase import ISROOT, NOBODY, TwistdCase, ask


class ForegroundTests(TwistdCase):
    """
    Tests for a server in the foreground.
    """

    def test_answers(self) -> None:
        """
        With each reactor, it logs the addresses where it listens, answers there over
        IPv4, IPv6 and UNIX sockets, and logs the totals when it is stopped.
        """
        path = self.path("s")
        for reactor in "default", "poll", "asyncio":
            server = self.start(
                *("twistd", "-n", "-r", reactor, "shout", "-p", "0", "-u", "s")
            )
            port = int(self.waitFor(server, r"listening on UDP 0\.0\.0\.0:(\d+)")[1])
            for address in EVERYWHERE[1:]:
                self.waitFor(server, rf"listening on UDP \[{address}\]:{port}")
            self.waitFor(server, f"listening on UNIX {path}")
            self.waitFor(server, f"try it with: nc -u 127.0.0.1 {port}")
            self.assertEqual(ask(connectUDP("127.0.0.1", port), b"four"), b"FOUR")
            self.assertEqual(ask(connectUDP(PAIR[1], port), b"six"), b"SIX")
            self.assertEqual(ask(connectUNIX(path), b"unix"), b"UNIX")
            output = self.finish(server, signal.SIGTERM)
            self.assertIn(": received 3, answered 3, dropped 0", output)
            self.assertNotIn("Traceback", output)
            self.assertFalse(os.path.exists(path))

    def test_everyDatagram(self) -> None:
        """
        All 256 byte values come back as C{bytes.upper} converts them, and datagrams
        of every size come back whole.
        """
        datagrams = [bytes(range(256))]
        datagrams += [b"x" * size for size in (0, 1, 8192, 8193, 65507)]
        server = self.start("twistd", "-n", "--pidfile=", "shout", "-p", "0", "-u", "s")
        port = int(self.waitFor(server, r"0\.0\.0\.0:(\d+)")[1])
        self.waitFor(server, "try it with")
        for datagram in datagrams:
            for host in LOOPBACK:
                reply = ask(connectUDP(host, port), datagram)
                self.assertEqual(reply, datagram.upper())
            reply = ask(connectUNIX(self.path("s")), datagram)
            self.assertEqual(reply, datagram.upper())

    @skipUnless(sys.platform == "linux", "it needs Linux")
    def test_copyTOS(self) -> None:
        """
        With C{--copy-tos}, each process answers a datagram with its DSCP.
        """
        options = ("-p", "0", "-i", "127.0.0.1", "--copy-tos")
        for workers in (), ("--workers", "2"):
            server = self.start(
                "twistd", "-n", "--pidfile=", "shout", *options, *workers
            )
            port = int(self.waitFor(server, r"UDP 127\.0\.0\.1:(\d+)")[1])
            self.waitFor(server, "try it with")
            for _ in range(8):
                sock = connectUDP("127.0.0.1", port)
                setTOS(sock, 184)
                enableHeaders(sock)
                sock.settimeout(30)
                sock.send(b"x")
                with sock:
                    ((_, _, tos),) = (
                        each for each in sock.recvmsg(1, 256)[1] if each[:2] == (0, 1)
                    )
                self.assertEqual(tos, bytes([184]))

    def test_interrupted(self) -> None:
        """
        SIGINT stops it as cleanly.
        """
        server = self.start("twistd", "-n", "shout", "-p", "0", "-i", "127.0.0.1")
        self.waitFor(server, "try it with")
        output = self.finish(server, signal.SIGINT)
        self.assertIn(": received 0", output)
        self.assertNotIn("Traceback", output)
        self.assertEqual(self.files(), [])

    def test_killed(self) -> None:
        """
        The next server takes over the UNIX socket of one that was killed, and a
        relative path is relative to the directory where the command was typed,
        although the server runs in another.
        """
        path = self.path("s")
        for directory in ".", "/":
            server = self.start(
                *("twistd", "-n", "-d", directory, "--pidfile=", "shout", "-u", "s")
            )
            self.waitFor(server, f"listening on UNIX {path}")
            self.waitFor(server, "try it with")
            self.assertEqual(ask(connectUNIX(path), b"hello"), b"HELLO")
            self.finish(server, signal.SIGKILL)
            self.assertTrue(os.path.exists(path))

    @skipUnless(ISROOT, "dropping privileges needs root")
    def test_dropPrivileges(self) -> None:
        """
        A server that has dropped the privileges to remove its socket stops all the
        same, and leaves the socket to the next one.
        """
        os.chmod(self.directory, 0o755)
        server = self.start(
            *("twistd", "-n", "--pidfile=", f"--uid={NOBODY}", f"--gid={NOBODY}"),
            *("shout", "-u", "s"),
        )
        self.waitFor(server, "try it with")
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("stopped listening", output)
        self.assertNotIn("Traceback", output)
        self.assertEqual(self.files(), ["s"])


class DaemonTests(TwistdCase):
    """
    Tests for a server in the background.
    """

    def test_answers(self) -> None:
        """
        It answers in the background until it is stopped, and then leaves neither its
        pidfile nor its socket.
        """
        pid = self.daemon("shout", "-u", "s")
        self.assertEqual(ask(connectUNIX(self.path("s")), b"hello"), b"HELLO")
        self.stop(pid)
        self.assertEqual(self.files(), ["twistd.log"])
        self.assertIn(": received 1, answered 1, dropped 0", self.read(self.log))


class HelpTests(TwistdCase):
    """
    Tests for the help.
    """

    def test_listed(self) -> None:
        """
        C{twistd} and C{twist} list the plugin.
        """
        for name in ("twistd", "twist"):
            self.assertRegex(self.run_(name, "--help").stdout, r"(?m)^ +shout  ")

    def test_shown(self) -> None:
        """
        C{twistd shout --help} shows the help of the plugin.
        """
        shown = self.run_("twistd", "shout", "--help")
        self.assertEqual(shown.returncode, 0)
        self.assertIn("[default: 9999]", " ".join(shown.stdout.split()))


class MistakeTests(TwistdCase):
    """
    Tests for mistakes of users.
    """

    def test_oneLine(self) -> None:
        """
        A mistake is one line on standard error and a status that is not 0, in the
        foreground and in the background, and leaves nothing behind.
        """
        [taken] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(taken.close)
        inUse = "-u", "s", "-p", str(taken.getsockname()[1])
        for start, args, pattern in (
            (["twistd"], inUse, "in use"),
            (["twist"], inUse, "in use"),
            (["twistd", "-n"], ["--nonsense"], "--nonsense"),
        ):
            ended = self.run_(*start, "shout", *args)
            self.assertNotEqual(ended.returncode, 0)
            self.assertRegex(ended.stderr, rf"\Ashout: .*{pattern}.*\n\Z")
            self.assertEqual(ended.stdout, "")
            self.assertEqual(self.files(), [])

    def test_inUse(self) -> None:
        """
        A port or a path that is in use is an error.
        """
        with ExitStack() as stack:
            for address in LOOPBACK:
                [taken] = map(stack.enter_context, bindUDP(0, [address]))
                self.assertMistake("in use", "-p", str(taken.getsockname()[1]))
            stack.enter_context(bindUNIX(self.path("s")))
            self.assertMistake("in use", "-u", self.path("s"))

    def test_usage(self) -> None:
        """
        A port that is out of range or not a number, an unknown option and an option
        without its value are errors.
        """
        self.assertMistake("0 to 65535", "-p", "65536")
        self.assertMistake("0 to 65535", "-p", "echo")
        self.assertMistake("--nonsense", "--nonsense")
        self.assertMistake("requires argument", "--port")

    def test_address(self) -> None:
        """
        An address that does not parse, or is not an address of the host, is an error
        (192.0.2.0/24 is for documentation: RFC 5737).
        """
        self.assertMistake("not an IP address", "-i", "localhost")
        self.assertMistake("not an address of this host", "-i", "192.0.2.77")

    def test_path(self) -> None:
        """
        A path that is too long, in a directory that does not exist, or not a socket
        is an error.
        """
        self.assertMistake("too long", "-u", self.path("x" * 200))
        self.assertMistake("create it first", "-u", self.path("none/s"))
        self.assertMistake("not a socket", "-u", "/dev/null")

    @skipUnless(ISROOT, "becoming another user needs root")
    def test_privileges(self) -> None:
        """
        A port or a directory that needs a privilege is an error without it.
        """
        os.chmod(self.directory, 0o755)
        os.mkdir(self.path("locked"), 0o500)
        port = str(self.privilegedPort())
        self.assertMistake("no permission .* below 1024", "-p", port, user=NOBODY)
        locked = self.path("locked", "s")
        self.assertMistake("no permission", "-u", locked, user=NOBODY)
