"""
Servers in processes of their own, started as users start them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import sample
from socket import create_server, socket
from typing import Any, TypeVar
from unittest import skipUnless

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP
from tests.directory import shortDirectory

TIMEOUT = 30
"""
Seconds to wait for what has to happen.
"""

NOBODY = 65534
"""
The ID of the user without rights, which Debian and others call nobody.
"""

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0

Test = TypeVar("Test", bound=Callable[..., None])


def needs(program: str) -> Callable[[Test], Test]:
    """
    Skip a test if a program is not installed.
    """
    return skipUnless(shutil.which(program), f"{program} is not installed")


def command(name: str) -> str:
    """
    Return the path of a command that is installed beside this Python.
    """
    return os.path.join(os.path.dirname(sys.executable), name)


def ask(client: socket, datagram: bytes) -> bytes:
    """
    Send a datagram, wait for the reply, and close the socket.
    """
    with client:
        client.settimeout(TIMEOUT)
        client.send(datagram)
        return client.recv(65535)


class TwistdCase(SynchronousTestCase):
    """
    Runs C{twistd} and C{twist} in a directory of the test's own.

    @ivar directory: The path of that directory, with room for names of UNIX sockets.

    @ivar pidfile: The path of the pidfile of L{daemon}.

    @ivar log: The path of the log file of L{daemon}.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.pidfile = self.path("twistd.pid")
        self.log = self.path("twistd.log")

    def path(self, *names: str) -> str:
        """
        Return a path in the test's directory.
        """
        return os.path.join(self.directory, *names)

    def read(self, path: str) -> str:
        """
        Return the text of a file.
        """
        return Path(path).read_text()

    def files(self) -> list[str]:
        """
        Return the names in the test's directory, sorted.
        """
        return sorted(os.listdir(self.directory))

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """
        Start a server in the foreground; it is killed when the test ends.

        @param options: Further arguments of C{subprocess.Popen}.
        """
        process = subprocess.Popen(
            [command(args[0]), *args[1:]],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # In the background of a shell SIGINT is ignored, and under nohup SIGHUP.
            preexec_fn=_resetSignals,
            **options,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def finish(self, process: subprocess.Popen[str], number: int) -> str:
        """
        End a server with a signal, and return the rest of its output.
        """
        process.send_signal(number)
        try:
            return process.communicate(timeout=TIMEOUT)[0]
        finally:
            process.kill()

    def waitFor(self, process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
        """
        Read the output of a server until a line matches.
        """
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        self.fail(f"no line matches {pattern!r} in {''.join(printed)}")

    def run_(
        self, *args: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a command that ends by itself.

        @param environment: Variables besides those of this process.
        """
        return subprocess.run(
            [command(args[0]), *args[1:]],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env=os.environ | (environment or {}),
        )

    def daemon(self, *args: str) -> int:
        """
        Start C{twistd} in the background; it is killed when the test ends.

        @return: The process ID.
        """
        started = self.run_("twistd", "--logfile", self.log, *args)
        self.assertEqual((started.returncode, started.stderr), (0, ""))
        pid = int(self.read(self.pidfile))
        self.addCleanup(self.stop, pid, signal.SIGKILL)
        # Before that line the signals have no handlers.
        self.waitUntil(lambda: "try it with" in self.read(self.log))
        return pid

    def stop(self, pid: int, number: int = signal.SIGTERM) -> None:
        """
        End a process in the background with a signal, and wait until it has exited.
        """
        if not hasExited(pid):
            os.kill(pid, number)
            self.waitForExit(pid)

    def waitForExit(self, pid: int) -> None:
        """
        Wait until a process has exited.
        """
        self.waitUntil(lambda: hasExited(pid))

    def waitUntil(self, condition: Callable[[], bool]) -> None:
        """
        Wait until a condition holds.
        """
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, "the condition never held")
            time.sleep(0.01)

    def privilegedPort(self) -> int:
        """
        Return a port below 1024 that is free.
        """
        # Chosen at random, as other tests may look for one at the same time.
        for port in sample(range(600, 1024), 424):
            try:
                sockets = [create_server(("127.0.0.1", port)), *bindUDP(port)]
            except (BindError, OSError):
                continue
            for sock in sockets:
                sock.close()
            return port
        self.fail("no port is free")

    def assertMistake(self, pattern: str, *args: str, user: int | None = None) -> None:
        """
        A command line is refused with one line, and leaves nothing behind.

        C{twistd} parses it here, in the test's own process.

        @param user: The ID of the user who makes the service.
        """
        before = self.files()
        options = ServerOptions()
        with self.assertRaises(SystemExit) as raised:
            options.parseOptions(["--nodaemon", "shout", *args])
            plugin = options.loadedPlugins["shout"]
            own = os.geteuid()
            os.seteuid(own if user is None else user)
            try:
                plugin.makeService(options.subOptions)
            finally:
                os.seteuid(own)
        self.assertRegex(str(raised.exception.code), rf"\Ashout: .*{pattern}.*\Z")
        self.assertEqual(self.files(), before)


def hasExited(pid: int) -> bool:
    """
    Return L{True} if a process does not exist, or waits for its parent to reap it.
    """
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return True
    except FileNotFoundError:
        # It has just been reaped, or there is no /proc.
        return os.path.exists("/proc/self/stat")
    return stat.rpartition(")")[2].split()[0] in "ZX"


def _resetSignals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
