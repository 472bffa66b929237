"""
Tests for shout as its users run it: C{twistd shout} and C{twist shout}.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from ctypes import CDLL
from socket import socket
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR

# How long, in seconds, to wait for what has to happen.
PATIENCE = 30

# From linux/prctl.h and linux/capability.h.
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
CAP_NET_BIND_SERVICE = 10

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def command(name: str) -> str:
    """
    Return the path of a command that is installed beside this Python.
    """
    return os.path.join(os.path.dirname(sys.executable), name)


def ask(client: socket, datagram: bytes) -> bytes:
    """
    Send a datagram and wait for the reply.
    """
    with client:
        client.settimeout(PATIENCE)
        client.send(datagram)
        return client.recv(65535)


class TwistdCase(SynchronousTestCase):
    """
    Runs C{twistd} and C{twist} in a folder of the test's own.
    """

    def setUp(self) -> None:
        self.folder = shortDirectory(self)
        self.capabilities: set[int] = set()
        self.environment: dict[str, str] = {}

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """
        Start a server in the foreground; it is stopped when the test ends.

        @param options: further ones of L{subprocess.Popen}.
        """
        process = subprocess.Popen(
            [command(args[0]), *args[1:]],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell that starts something in the background has it ignore
            # interrupts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def finish(self, process: subprocess.Popen[str], number: int) -> str:
        """
        End a server with a signal, and return what it printed meanwhile.
        """
        process.send_signal(number)
        try:
            return process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()

    def waitFor(self, process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
        """
        Read what a server prints until a line matches.
        """
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        self.fail(f"no line matches {pattern!r} in {''.join(printed)}")

    def run_(self, *args: str) -> subprocess.CompletedProcess[str]:
        """
        Run a command that ends by itself.
        """
        return subprocess.run(
            [command(args[0]), *args[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=os.environ | self.environment,
            preexec_fn=self.giveUpCapabilities,
        )

    def waitUntilGone(self, pid: int) -> None:
        """
        Wait until a process that is not a child of this one has ended.
        """
        for _ in range(PATIENCE * 100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.01)
        self.fail(f"{pid} goes on")

    def assertOneLine(self, pattern: str, *args: str) -> None:
        """
        A mistake is one line on standard error and a status that is not 0, in
        the foreground and in the background, and leaves nothing behind.
        """
        before = os.listdir(self.folder)
        for start in (("twistd", "-n"), ("twistd",), ("twist",)):
            ended = self.run_(*start, "shout", *args)
            self.assertNotEqual(ended.returncode, 0)
            self.assertRegex(ended.stderr, rf"^shout: .*{pattern}.*\n$")
            self.assertEqual(ended.stdout, "")
            self.assertEqual(os.listdir(self.folder), before)

    def giveUpCapabilities(self) -> None:
        """
        Run what is started next without C{self.capabilities}.
        """
        for capability in self.capabilities:
            CDLL(None).prctl(PR_CAPBSET_DROP, capability)


class ForegroundTests(TwistdCase):
    """
    Tests for a server in the foreground.
    """

    def test_answers(self) -> None:
        """
        It says where it listens, answers there over IPv4, IPv6 and UNIX
        sockets, and says the totals when it is stopped.
        """
        for args in (
            ("twistd", "-n", "shout"),
            ("twistd", "-n", "-r", "select", "shout"),
            ("twistd", "-n", "-r", "poll", "shout"),
            ("twistd", "-n", "-r", "asyncio", "shout"),
            ("twist", "--log-format=text", "shout"),
        ):
            server = self.start(*args, "-p", "0", "-u", "s")
            port = int(self.waitFor(server, r"listening on UDP 0\.0\.0\.0:(\d+)")[1])
            for address in EVERYWHERE[1:]:
                self.waitFor(server, rf"listening on UDP \[{address}\]:{port}")
            self.waitFor(server, f"listening on UNIX {self.folder}/s")
            self.waitFor(server, f"try it with: nc -u 127.0.0.1 {port}")
            self.assertEqual(ask(connectUDP("127.0.0.1", port), b"four"), b"FOUR")
            self.assertEqual(ask(connectUDP(PAIR[1], port), b"six"), b"SIX")
            path = os.path.join(self.folder, "s")
            self.assertEqual(ask(connectUNIX(path), b"unix"), b"UNIX")
            output = self.finish(server, signal.SIGTERM)
            self.assertIn(": received 3, answered 3, dropped 0", output)
            self.assertNotIn("Traceback", output)
            self.assertFalse(os.path.exists(path))

    def test_interrupted(self) -> None:
        """
        An interrupt from the keyboard stops it as cleanly.
        """
        server = self.start("twistd", "-n", "shout", "-p", "0", "-i", "127.0.0.1")
        self.waitFor(server, "try it with")
        output = self.finish(server, signal.SIGINT)
        self.assertIn(": received 0", output)
        self.assertNotIn("Traceback", output)
        self.assertEqual(os.listdir(self.folder), [])

    def test_killed(self) -> None:
        """
        After a server was killed the next one takes over its UNIX socket.
        """
        for _ in range(2):
            server = self.start("twistd", "-n", "--pidfile=", "shout", "-u", "s")
            self.waitFor(server, "try it with")
            path = os.path.join(self.folder, "s")
            self.assertEqual(ask(connectUNIX(path), b"hello"), b"HELLO")
            self.finish(server, signal.SIGKILL)
            self.assertTrue(os.path.exists(path))

    def test_relativePath(self) -> None:
        """
        A relative path is relative to where the command was typed, although
        the server runs elsewhere.
        """
        server = self.start("twistd", "-n", "-d", "/", "--pidfile=", "shout", "-u", "s")
        self.waitFor(server, f"listening on UNIX {self.folder}/s")

    def test_listed(self) -> None:
        """
        C{twistd} and C{twist} list the plugin, and show its help.
        """
        for name in ("twistd", "twist"):
            self.assertRegex(self.run_(name, "--help").stdout, r"(?m)^ +shout  ")
            shown = self.run_(name, "shout", "--help")
            self.assertEqual(shown.returncode, 0)
            self.assertIn("[default: 9999]", " ".join(shown.stdout.split()))

    @skipUnless(ISROOT, "shedding privileges needs root")
    def test_shedPrivileges(self) -> None:
        """
        A server that has shed the privileges to remove its socket stops all the
        same, and leaves it to the next one.
        """
        os.chmod(self.folder, 0o755)
        server = self.start(
            "twistd",
            "-n",
            "--pidfile=",
            "--uid=65534",
            "--gid=65534",
            "shout",
            "-u",
            "s",
        )
        self.waitFor(server, "try it with")
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("stopped listening", output)
        self.assertNotIn("Traceback", output)
        self.assertTrue(os.path.exists(os.path.join(self.folder, "s")))


class DaemonTests(TwistdCase):
    """
    Tests for a server in the background.
    """

    def test_answers(self) -> None:
        """
        It answers in the background until it is told to stop, and then leaves
        neither its pidfile nor its socket.
        """
        started = self.run_("twistd", "shout", "-u", "s")
        self.assertEqual((started.returncode, started.stderr), (0, ""))
        with open(os.path.join(self.folder, "twistd.pid")) as f:
            pid = int(f.read())
        path = os.path.join(self.folder, "s")
        self.assertEqual(ask(connectUNIX(path), b"hello"), b"HELLO")
        os.kill(pid, signal.SIGTERM)
        self.waitUntilGone(pid)
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])
        with open(os.path.join(self.folder, "twistd.log")) as f:
            self.assertIn(": received 1, answered 1, dropped 0", f.read())


class MistakeTests(TwistdCase):
    """
    Tests for what users get wrong.
    """

    def test_inUse(self) -> None:
        """
        A port or a path in use is said to be.
        """
        with ExitStack() as stack:
            for address in LOOPBACK:
                [taken] = map(stack.enter_context, bindUDP(0, [address]))
                self.assertOneLine("in use", "-p", str(taken.getsockname()[1]))
            stack.enter_context(bindUNIX(os.path.join(self.folder, "s")))
            self.assertOneLine("in use", "-u", "s")

    def test_usage(self) -> None:
        """
        A port out of range or not a number, an option that does not exist and
        one without its value are said to be.
        """
        self.assertOneLine("0 to 65535", "-p", "65536")
        self.assertOneLine("0 to 65535", "-p", "echo")
        self.assertOneLine("--nonsense", "--nonsense")
        self.assertOneLine("requires argument", "--port")

    def test_address(self) -> None:
        """
        An address that does not parse or is not the host's is said to be
        (192.0.2.0/24 is for documentation: RFC 5737).
        """
        self.assertOneLine("not an IP address", "-i", "localhost")
        self.assertOneLine("not an address of this host", "-i", "192.0.2.77")

    def test_path(self) -> None:
        """
        A path that is too long, in no folder or not a socket is said to be.
        """
        self.assertOneLine("too long", "-u", "x" * 200)
        self.assertOneLine("create it first", "-u", "none/s")
        self.assertOneLine("not a socket", "-u", "/dev/null")

    @skipUnless(ISROOT and sys.platform == "linux", "giving up capabilities needs root")
    def test_privileges(self) -> None:
        """
        A port or a folder that takes a privilege is said to.
        """
        self.capabilities = {CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE}
        self.assertOneLine("no permission .* below 1024", "-p", "7")
        os.mkdir(os.path.join(self.folder, "locked"), 0o500)
        self.assertOneLine("no permission", "-u", "locked/s")
