"""
Tests for what C{docs/operating.md} says about C{twistd}'s own options.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from unittest import skipUnless

from shout import BindError, bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests.families import PAIR
from tests.system.test_readme import needs
from tests.system.test_twistd import ISROOT, PATIENCE, TwistdCase, ask

OPERATING = Path(__file__).parent.parent.parent / "docs" / "operating.md"

# The user that owns nothing, which Debian and others call nobody.
NOBODY = 65534

forRoot = skipUnless(ISROOT, "shedding privileges needs root")
forLinux = skipUnless(sys.platform == "linux", "looks into /proc")


class OperatingCase(TwistdCase):
    """
    Starts daemons in a folder that everybody may look into.
    """

    def setUp(self) -> None:
        super().setUp()
        os.chmod(self.folder, 0o755)
        self.pidfile = os.path.join(self.folder, "twistd.pid")
        self.log = os.path.join(self.folder, "twistd.log")

    def daemon(self, *args: str) -> int:
        """
        Start a server in the background, and return its process number; it is
        ended when the test ends.
        """
        started = self.run_("twistd", "--logfile", self.log, *args)
        self.assertEqual(started.returncode, 0, started.stderr)
        pid = int(self.read(self.pidfile))
        self.addCleanup(self.end, pid, signal.SIGKILL)
        # Until then a signal ends it at once.
        self.waitUntil(lambda: "try it with" in self.read(self.log))
        return pid

    def end(self, pid: int, number: int = signal.SIGTERM) -> None:
        """
        End a server with a signal, and wait until it is gone.
        """

        def isGone() -> bool:
            try:
                os.kill(pid, 0)
                with open(f"/proc/{pid}/stat") as f:
                    # It may take long until somebody asks what became of it.
                    return f.read().rpartition(") ")[2].startswith("Z")
            except ProcessLookupError:
                return True
            except FileNotFoundError:
                return False

        if not isGone():
            os.kill(pid, number)
            self.waitUntil(isGone)

    def waitUntil(self, isTrue: Callable[[], bool]) -> None:
        """
        Wait for something that comes about by itself.
        """
        for _ in range(PATIENCE * 100):
            if isTrue():
                return
            time.sleep(0.01)
        self.fail("it does not come about")

    def read(self, path: str) -> str:
        """
        Return what is in a file.
        """
        with open(path) as f:
            return f.read()

    def files(self) -> list[str]:
        """
        Return the names of the files in the test's folder.
        """
        return sorted(os.listdir(self.folder))


class LogTests(OperatingCase):
    """
    Tests for log files and what becomes of them.
    """

    def test_rotated(self) -> None:
        """
        SIGUSR1 has it go on with a new log file, and so does it after shedding
        its privileges if the log file is its own.
        """
        args = []
        logs = os.path.join(self.folder, "log")
        os.mkdir(logs)
        self.log = os.path.join(logs, "shout.log")
        if ISROOT:
            args = ["--uid", str(NOBODY), "--gid", str(NOBODY)]
            with open(self.log, "w"):
                pass
            for path in (logs, self.log):
                os.chown(path, NOBODY, NOBODY)
        pid = self.daemon(*args, "shout", "-u", "s")
        os.kill(pid, signal.SIGUSR1)
        self.waitUntil(lambda: len(os.listdir(logs)) == 2)
        path = os.path.join(self.folder, "s")
        self.assertEqual(ask(connectUNIX(path), b"hello"), b"HELLO")
        self.end(pid)
        self.assertIn("try it with", self.read(self.log + ".1"))
        self.assertIn(": received 1, answered 1", self.read(self.log))

    def test_size(self) -> None:
        """
        A log file of a million bytes is followed by another.
        """
        with open(self.log, "w") as f:
            f.write("x" * 1_000_000)
        self.daemon("shout", "-u", "s")
        self.assertEqual(os.path.getsize(self.log + ".1"), 1_000_000)

    @needs("logrotate")
    def test_logrotate(self) -> None:
        """
        With the configuration in the document, logrotate and the server leave
        one dated file with everything up to then, and go on in the other.
        """
        pid = self.daemon("shout", "-u", "s")
        found = re.search(r"```logrotate\n(.*?)```", OPERATING.read_text(), re.DOTALL)
        assert found is not None
        rules = found[1].replace("/var/log/shout/shout.log", self.log)
        rules = rules.replace("/run/shout/shout.pid", self.pidfile)
        owner = f"{os.geteuid()} {os.getegid()}"
        rules = re.sub(r"create 0640 .*", f"create 0640 {owner}", rules)
        rules = re.sub(r" *su .*\n", "", rules)
        configuration = os.path.join(self.folder, "rules")
        with open(configuration, "w") as f:
            f.write(rules)
        os.chmod(configuration, 0o644)
        subprocess.run(
            ["logrotate", "--force", "--state", self.folder + "/state", configuration],
            check=True,
            timeout=PATIENCE,
        )
        self.end(pid)
        logs = [name for name in self.files() if name.startswith("twistd.log")]
        self.assertEqual(len(logs), 2)
        self.assertIn("try it with", self.read(os.path.join(self.folder, logs[1])))
        self.assertIn("stopped listening", self.read(self.log))

    @forRoot
    @needs("unshare")
    def test_syslog(self) -> None:
        """
        With --syslog every line goes to /dev/log, under the name that --prefix
        gives.
        """
        devices = os.path.join(self.folder, "dev")
        os.mkdir(devices)
        log = socket(AF_UNIX, SOCK_DGRAM)
        self.addCleanup(log.close)
        log.bind(os.path.join(devices, "log"))
        log.settimeout(PATIENCE)
        os.mknod(os.path.join(devices, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        twistd = shutil.which("twistd", path=os.path.dirname(sys.executable))
        # It sees a /dev of its own.
        script = f'mount --bind {devices} /dev && exec {twistd} "$@"'
        args = ["--nodaemon", "--pidfile=", "--syslog", "--prefix=megaphone"]
        args += [f"--uid={NOBODY}", "shout", "-u", os.path.join(self.folder, "s")]
        server = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "twistd", *args],
            # Of what Twisted thinks of its own observer.
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        line = b""
        while b"try it with" not in line:
            line = log.recv(65535)
            # User-level, informational; see RFC 3164.
            self.assertRegex(line, rb"^<14>.* megaphone(\[\d+\])?: ")


class SignalTests(OperatingCase):
    """
    Tests for what is left behind.
    """

    def test_hangup(self) -> None:
        """
        SIGHUP ends it there and then; the next server takes over the pidfile and
        the socket that stayed.
        """
        # Under nohup it would be ignored.
        previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGHUP, previous)
        server = self.start("twistd", "-n", "shout", "-u", "s")
        self.waitFor(server, "try it with")
        self.finish(server, signal.SIGHUP)
        self.assertEqual(server.returncode, -signal.SIGHUP)
        self.assertEqual(self.files(), ["s", "twistd.pid"])
        server = self.start("twistd", "-n", "shout", "-u", "s")
        self.waitFor(server, "Removing stale pidfile")
        self.waitFor(server, "try it with")
        self.finish(server, signal.SIGTERM)
        self.assertEqual(self.files(), [])

    def test_noLogFile(self) -> None:
        """
        Without a log file SIGUSR1 ends it there and then, too.
        """
        server = self.start("twistd", "-n", "shout", "-u", "s")
        self.waitFor(server, "try it with")
        self.finish(server, signal.SIGUSR1)
        self.assertEqual(server.returncode, -signal.SIGUSR1)
        self.assertEqual(self.files(), ["s", "twistd.pid"])

    def test_twice(self) -> None:
        """
        A second server with the same pidfile is refused, and says which process
        has it.
        """
        pid = self.daemon("shout", "-u", "s")
        second = self.run_("twistd", "shout", "-u", "t")
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"PID {pid}", second.stderr)

    def test_folders(self) -> None:
        """
        --rundir is where it goes once it has started; its paths are relative to
        where it was started.  --umask is for the files that it makes from then
        on; the socket is everybody's.
        """
        os.mkdir(os.path.join(self.folder, "run"))
        pid = self.daemon("--rundir=run", "--umask=027", "shout", "-u", "s")
        self.assertEqual(self.files(), ["run", "s", "twistd.log", "twistd.pid"])
        self.assertEqual(os.listdir(os.path.join(self.folder, "run")), [])
        self.assertEqual(stat.S_IMODE(os.stat(self.pidfile).st_mode), 0o640)
        path = os.path.join(self.folder, "s")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o666)
        if sys.platform == "linux":
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), self.folder + "/run")


@forRoot
@forLinux
class PrivilegesTests(OperatingCase):
    """
    Tests for servers that root starts and that do not stay root.
    """

    def privilegedPort(self) -> int:
        """
        Return a port below 1024 that is free.
        """
        # Other tests may look for one at the same time.
        first = 512 + os.getpid() % 256
        for port in range(first, 1024):
            try:
                bound = bindUDP(port)
            except BindError:
                continue
            for sock in bound:
                sock.close()
            return port
        self.fail("all of them are taken")

    def assertNobody(self, pid: int) -> None:
        """
        Assert that no thread of a process has any privilege left.
        """
        for task in os.listdir(f"/proc/{pid}/task"):
            status = dict(
                line.split(":\t", 1)
                for line in self.read(f"/proc/{pid}/task/{task}/status").splitlines()
                if ":\t" in line
            )
            for name in ("Uid", "Gid"):
                self.assertEqual(status[name].split(), [str(NOBODY)] * 4)
            self.assertIn(status["Groups"].split(), ([str(NOBODY)], []))
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[name], 16), 0)

    def test_shed(self) -> None:
        """
        On a port below 1024 it serves, and nothing of it is root's, in the
        foreground and in the background.
        """
        port = self.privilegedPort()
        args = (f"--uid={NOBODY}", f"--gid={NOBODY}", "shout", "-p", str(port))
        server = self.start("twistd", "--nodaemon", *args)
        self.waitFor(server, "try it with")
        self.assertEqual(ask(connectUDP("127.0.0.1", port), b"hello"), b"HELLO")
        self.assertNobody(server.pid)
        self.assertNotIn("Traceback", self.finish(server, signal.SIGTERM))
        # It was not allowed to remove it.
        os.unlink(self.pidfile)
        pid = self.daemon(*args)
        self.assertEqual(ask(connectUDP(PAIR[1], port), b"hello"), b"HELLO")
        self.assertNobody(pid)
        self.end(pid)
        self.assertNotIn("Traceback", self.read(self.log))

    def test_chroot(self) -> None:
        """
        In a folder that has nothing but a list of users and /dev/null it serves,
        refuses, logs and stops.
        """
        jail = os.path.join(self.folder, "jail")
        for name in ("etc", "dev"):
            os.makedirs(os.path.join(jail, name))
        with open(os.path.join(jail, "etc", "passwd"), "w") as f:
            f.write(f"nobody:x:{NOBODY}:{NOBODY}::/:/none\n")
        null = os.path.join(jail, "dev", "null")
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self.pidfile = os.path.join(jail, "shout.pid")
        port = self.privilegedPort()
        pid = self.daemon(
            f"--chroot={jail}",
            "--pidfile=/shout.pid",
            f"--uid={NOBODY}",
            f"--gid={NOBODY}",
            "shout",
            "--unicode",
            f"--port={port}",
            f"--unix={self.folder}/s",
        )
        self.assertEqual(os.readlink(f"/proc/{pid}/root"), jail)
        self.assertNobody(pid)
        for host in PAIR:
            client = connectUDP(host, port)
            self.assertEqual(ask(client, "straße".encode()), b"STRASSE")
        with socket(AF_UNIX, SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"hello", os.path.join(self.folder, "s"))
        self.waitUntil(lambda: "1 unnamed peer" in self.read(self.log))
        self.end(pid)
        log = self.read(self.log)
        self.assertIn(": received 3, answered 2, dropped 1", log)
        self.assertNotIn("Traceback", log)
