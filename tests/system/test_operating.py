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
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from unittest import skipUnless

from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests.families import PAIR
from tests.twistdcase import ISROOT, NOBODY, TIMEOUT, TwistdCase, ask, needs

OPERATING = Path(__file__).parent.parent.parent / "docs" / "operating.md"

forRoot = skipUnless(ISROOT, "dropping privileges needs root")
forLinux = skipUnless(sys.platform == "linux", "needs /proc")


class OperatingCase(TwistdCase):
    """
    Starts daemons in a directory that everybody may read.
    """

    def setUp(self) -> None:
        super().setUp()
        os.chmod(self.directory, 0o755)


class LogTests(OperatingCase):
    """
    Tests for log files and their rotation.
    """

    def test_rotated(self) -> None:
        """
        SIGUSR1 rotates the log file, also after dropping privileges if the log file
        belongs to the user.
        """
        args = []
        logs = self.path("log")
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
        path = self.path("s")
        self.assertEqual(ask(connectUNIX(path), b"hello"), b"HELLO")
        self.stop(pid)
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
        With the configuration in the document, logrotate leaves one dated file with
        the lines up to then, and the server continues in a new one.
        """
        pid = self.daemon("shout", "-u", "s")
        found = re.search(r"```logrotate\n(.*?)```", OPERATING.read_text(), re.DOTALL)
        assert found is not None
        rules = found[1].replace("/var/log/shout/shout.log", self.log)
        rules = rules.replace("/run/shout/shout.pid", self.pidfile)
        owner = f"{os.geteuid()} {os.getegid()}"
        rules = re.sub(r"create 0640 .*", f"create 0640 {owner}", rules)
        rules = re.sub(r" *su .*\n", "", rules)
        configuration = self.path("rules")
        with open(configuration, "w") as f:
            f.write(rules)
        os.chmod(configuration, 0o644)
        subprocess.run(
            [
                "logrotate",
                "--force",
                "--state",
                self.directory + "/state",
                configuration,
            ],
            check=True,
            timeout=TIMEOUT,
        )
        self.stop(pid)
        logs = [name for name in self.files() if name.startswith("twistd.log")]
        self.assertEqual(len(logs), 2)
        self.assertIn("try it with", self.read(os.path.join(self.directory, logs[1])))
        self.assertIn("stopped listening", self.read(self.log))

    @forRoot
    @needs("unshare")
    def test_syslog(self) -> None:
        """
        With --syslog every line goes to /dev/log, under the name given by --prefix.
        """
        devices = self.path("dev")
        os.mkdir(devices)
        log = socket(AF_UNIX, SOCK_DGRAM)
        self.addCleanup(log.close)
        log.bind(os.path.join(devices, "log"))
        log.settimeout(TIMEOUT)
        os.mknod(os.path.join(devices, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        twistd = shutil.which("twistd", path=os.path.dirname(sys.executable))
        # The server has a /dev of its own.
        script = f'mount --bind {devices} /dev && exec {twistd} "$@"'
        args = ["--nodaemon", "--pidfile=", "--syslog", "--prefix=megaphone"]
        args += [f"--uid={NOBODY}", "shout", "-u", self.path("s")]
        server = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "twistd", *args],
            # Twisted warns about its own observer.
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
    Tests for signals, and for the files that are left behind.
    """

    def test_hangup(self) -> None:
        """
        SIGHUP ends it at once; the next server takes over the pidfile and the socket
        that are left.
        """
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
        Without a log file SIGUSR1 ends it at once, too.
        """
        server = self.start("twistd", "-n", "shout", "-u", "s")
        self.waitFor(server, "try it with")
        self.finish(server, signal.SIGUSR1)
        self.assertEqual(server.returncode, -signal.SIGUSR1)
        self.assertEqual(self.files(), ["s", "twistd.pid"])

    def test_twice(self) -> None:
        """
        A second server with the same pidfile is refused, with the process ID of the
        first.
        """
        pid = self.daemon("shout", "-u", "s")
        second = self.run_("twistd", "shout", "-u", "t")
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"PID {pid}", second.stderr)

    def test_directories(self) -> None:
        """
        --rundir is the working directory of the server; paths are relative to the
        directory where it was started.  --umask is for the files that it makes from
        then on; everybody may use the socket.
        """
        os.mkdir(self.path("run"))
        pid = self.daemon("--rundir=run", "--umask=027", "shout", "-u", "s")
        self.assertEqual(self.files(), ["run", "s", "twistd.log", "twistd.pid"])
        self.assertEqual(os.listdir(self.path("run")), [])
        self.assertEqual(stat.S_IMODE(os.stat(self.pidfile).st_mode), 0o640)
        path = self.path("s")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o666)
        if sys.platform == "linux":
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), self.directory + "/run")


@forRoot
@forLinux
class PrivilegesTests(OperatingCase):
    """
    Tests for servers that root starts and that do not stay root.
    """

    def assertNobody(self, pid: int) -> None:
        """
        No thread of a process has any privilege left.
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

    def test_drop(self) -> None:
        """
        It serves a port below 1024 without any privilege left, in the foreground and
        in the background.
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
        self.stop(pid)
        self.assertNotIn("Traceback", self.read(self.log))

    def test_chroot(self) -> None:
        """
        In a root directory with nothing but a list of users and /dev/null it answers,
        drops datagrams, logs and stops.
        """
        jail = self.path("jail")
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
            f"--unix={self.directory}/s",
        )
        self.assertEqual(os.readlink(f"/proc/{pid}/root"), jail)
        self.assertNobody(pid)
        for host in PAIR:
            client = connectUDP(host, port)
            self.assertEqual(ask(client, "straße".encode()), b"STRASSE")
        with socket(AF_UNIX, SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"hello", self.path("s"))
        self.waitUntil(lambda: "1 unnamed peer" in self.read(self.log))
        self.stop(pid)
        log = self.read(self.log)
        self.assertIn(": received 3, answered 2, dropped 1", log)
        self.assertNotIn("Traceback", log)
