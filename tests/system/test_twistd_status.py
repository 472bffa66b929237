"""
Tests for C{twistd shout --status} as its users run it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection
from resource import RLIMIT_NOFILE, getpagesize, getrlimit, setrlimit
from unittest import skipIf, skipUnless
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests import hosts
from tests.families import needsIPv6
from tests.system.test_twistd import ISROOT, PATIENCE, TwistdCase
from tests.system.test_twistd import ask as askShout

STATUS = "tcp:0:interface=127.0.0.1"


def get(where: int | str, path: str) -> tuple[int, str]:
    """
    Ask for a page.

    @param where: a port on the loopback, or the path of a UNIX socket.

    @return: the status, and the body.
    """
    connection = HTTPConnection("127.0.0.1", where if isinstance(where, int) else 1)
    if isinstance(where, str):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(where)
    try:
        connection.timeout = PATIENCE
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def received(where: int | str) -> dict[str, float]:
    """
    Return how many datagrams Prometheus is told have arrived, by family.
    """
    [family] = [
        family
        for family in text_string_to_metric_families(get(where, "/metrics")[1])
        if family.name == "shout_datagrams_received"
    ]
    return {sample.labels["family"]: sample.value for sample in family.samples}


class StatusTests(TwistdCase):
    """
    Tests for a server in the foreground.
    """

    def status(self, server: subprocess.Popen[str]) -> int:
        """
        Return the port on which a server shows its status.
        """
        return int(self.waitFor(server, r"status at http://127\.0\.0\.1:(\d+)/")[1])

    @needsIPv6
    def test_shows(self) -> None:
        """
        It says where its status is, says there that it is
        healthy, counts by family what has arrived, and stops without a word about
        the requests.
        """
        for args in (
            ("twistd", "-n", "shout"),
            ("twistd", "-n", "-r", "select", "shout"),
            ("twist", "--log-format=text", "shout"),
        ):
            server = self.start(*args, "-p", "0", "-u", "s", "--status", STATUS)
            where = self.status(server)
            port = int(self.waitFor(server, r"listening on UDP \[::\]:(\d+)")[1])
            self.waitFor(server, "try it with")
            askShout(connectUDP("::1", port), b"six")
            askShout(connectUNIX(os.path.join(self.folder, "s")), b"unix")
            self.assertEqual(received(where), {"ipv4": 0, "ipv6": 1, "unix": 1})
            self.assertEqual(get(where, "/healthz"), (200, "every socket answers\n"))
            # It asks itself once more where that takes it long.
            for family, count in {"ipv4": 1, "ipv6": 2, "unix": 2}.items():
                self.assertGreaterEqual(received(where)[family], count)
            self.assertEqual(get(where, "/")[0], 200)
            output = self.finish(server, signal.SIGTERM)
            self.assertRegex(output, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", output)
            self.assertNotIn("GET", output)

    def test_guarded(self) -> None:
        """
        It finds itself healthy although others are refused and limited, and that
        opens nothing to others.
        """
        server = self.start(
            "twistd", "-n", "shout", "-i", "127.0.0.1", "-p", "0", "-u", "s",
            "--allow", "10.0.0.0/8", "--limit", "1", "--status", STATUS,
        )  # fmt: skip
        where = self.status(server)
        port = int(self.waitFor(server, r"listening on UDP 127\.0\.0\.1:(\d+)")[1])
        with connectUDP("127.0.0.1", port) as other:
            other.send(b"refused")
        for _ in range(4):
            self.assertEqual(get(where, "/healthz")[0], 200)
        output = self.finish(server, signal.SIGTERM)
        totals = r"received (\d+), answered (\d+), dropped 1 \(1 not allowed\)"
        found = re.search(totals, output)
        assert found is not None
        asked, answered = map(int, found.groups())
        self.assertGreaterEqual(answered, 8)
        self.assertEqual(asked, answered + 1)

    @needsIPv6
    def test_IPv6(self) -> None:
        """
        It can be shown over IPv6, and is said to be where a browser looks for it.
        """
        server = self.start(
            "twistd", "-n", "shout", "-u", "s", "--status", r"tcp6:0:interface=\:\:1"
        )
        where = self.waitFor(server, r"status at (\S+)")[1]
        self.assertRegex(where, r"^http://\[::1\]:\d+/$")
        url = urlsplit(where)
        socket.create_connection((url.hostname, url.port)).close()

    def test_UNIX(self) -> None:
        """
        It can be shown on a UNIX socket, whose path is removed in the end.
        """
        server = self.start(
            "twistd", "-n", "shout", "-u", "s", "--status", "unix:status:mode=600"
        )
        path = os.path.join(self.folder, "status")
        self.waitFor(server, f"status at UNIX {path}")
        self.waitFor(server, "try it with")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(get(path, "/healthz")[0], 200)
        self.finish(server, signal.SIGTERM)
        self.assertFalse(os.path.exists(path))

    @skipUnless(ISROOT, "shedding privileges needs root")
    def test_shedPrivileges(self) -> None:
        """
        A server that has shed its privileges, and sees another root folder, still
        finds itself healthy at a path that it cannot see, and stops without
        complaint.
        """
        os.chmod(self.folder, 0o755)
        os.makedirs(os.path.join(self.folder, "root", "etc"))
        with open(os.path.join(self.folder, "root", "etc", "passwd"), "w") as f:
            f.write("nobody:x:65534:65534::/:/bin/false\n")
        server = self.start(
            "twistd", "-n", "--pidfile=", "--uid=65534", "--gid=65534",
            f"--chroot={self.folder}/root", "-d", "/", "shout", "-p", "0", "-u", "s",
            "--status", "unix:status",
        )  # fmt: skip
        self.waitFor(server, "try it with")
        path = os.path.join(self.folder, "status")
        for page in ("/", "/healthz", "/metrics", "/snapshot"):
            self.assertEqual(get(path, page)[0], 200)
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("stopped listening", output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("Error", output)


# Requests that are refused, each in a way of its own.
BAD = [
    (f"{line}\r\nHost: a\r\n{header}\r\n\r\n").encode("latin-1") + body
    for line, header, body in (
        ("POST / HTTP/1.1", "Content-Type: a/b;\x0bc=d\r\nContent-Length: 3", b"abc"),
        ("POST / HTTP/1.1", "Content-Type: \xff\r\nContent-Length: 3", b"abc"),
        (
            "POST / HTTP/1.1",
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3",
            b"--x",
        ),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked", b"zz\r\n"),
        ("GET / HTTP/1.1", "Transfer-Encoding: chunked", b"1\r\nabc\r\n"),
        ("GET / HTTP/1.1", "Content-Length: 20000", bytes(20_000)),
        ("GET / HTTP/1.1", f"Content-Length: {'9' * 5000}", b""),
        ("GET / HTTP/1.1", "no colon", b""),
        ("GET / HTTP/1.1", "a: b\r\n" * 3000, b""),
        ("GET / HTTP/1.1", "a: " + "b" * 40_000, b""),
        ("GET /\xff HTTP/1.1", "a: b", b""),
        ("BREW / HTTP/1.1", "a: b", b""),
        ("GET / FOO", "a: b", b""),
        ("PRI * HTTP/2.0", "a: b", b"SM\r\n\r\n"),
        ("\x16\x03\x01\x02\x00\x01\x00", "\x1b[31m", bytes(range(256))),
        ("POST / HTTP/1.1", "Content-Length: 500000", bytes(500_000)),
    )
]


class StatusAttackedTests(TwistdCase):
    """
    Tests for a server whose clients are not what they should be.
    """

    def setUp(self) -> None:
        super().setUp()
        self.limits = getrlimit(RLIMIT_NOFILE)
        self.addCleanup(setrlimit, RLIMIT_NOFILE, self.limits)

    def serve(self, limit: int | None = None) -> None:
        """
        Start a server, and wait until it answers.

        @param limit: Number of files that it may open.
        """
        if limit is not None:
            setrlimit(RLIMIT_NOFILE, (limit, self.limits[1]))
        self.server = self.start(
            "twistd", "-n", "shout", "-i", "127.0.0.1", "-p", "0", "--status", STATUS
        )
        setrlimit(RLIMIT_NOFILE, self.limits)
        self.descriptors: list[int] = []
        where = self.waitFor(self.server, r"status at http://127\.0\.0\.1:(\d+)/")
        self.status = "127.0.0.1", int(where[1])
        port = self.waitFor(self.server, r"listening on UDP 127\.0\.0\.1:(\d+)")[1]
        self.waitFor(self.server, "try it with")
        self.peer = connectUDP("127.0.0.1", int(port))
        self.addCleanup(self.peer.close)

    def exchange(self, request: bytes) -> bytes:
        """
        Send a request, and return all that comes back.
        """
        with socket.create_connection(self.status, PATIENCE) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def connect(self, count: int) -> list[socket.socket]:
        """
        Make so many connections of many kinds, with datagrams in between.
        """
        clients = []
        requests = (
            b"", b"G", b"GET /metrics HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + 4000 * b"a: b\r\n",
        )  # fmt: skip
        for number in range(count):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(self.status)
            clients.append(client)
            if number % 20 == 0:
                self.checkAnswers()
        for round_ in range(3):
            for number, client in enumerate(clients):
                # Many have been ended by now.
                # trial has a use of its own for a module's `suppress`.
                with contextlib.suppress(OSError):
                    if number % 5 == 1 or round_ == 0:
                        client.send(requests[number % 5])
                    if number % 5 == 3:
                        client.recv(1)
                if number % 20 == 0:
                    self.checkAnswers()
        return clients

    def checkAnswers(self) -> None:
        """
        Datagrams are answered.
        """
        self.peer.settimeout(PATIENCE)
        self.peer.send(b"loud")
        self.assertEqual(self.peer.recv(100), b"LOUD")
        self.descriptors.append(self.countDescriptors())

    def countDescriptors(self) -> int:
        """
        Return how many files the server has open.
        """
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def memory(self) -> int:
        """
        Return how much memory the server has resident, in bytes.
        """
        with open(f"/proc/{self.server.pid}/statm") as f:
            return int(f.read().split()[1]) * getpagesize()

    def waitUntil(self, holds: Callable[[], bool]) -> None:
        """
        Wait for what has to come about.
        """
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_badRequests(self) -> None:
        """
        Bad requests of all kinds get their answer, whole, and add no more than some
        lines to the log, without a traceback.
        """
        self.serve()
        for number in range(400):
            answer = self.exchange(BAD[number % len(BAD)])
            self.assertRegex(answer, rb"^HTTP/1.1 4\d\d [ -~]+\r\n")
            self.assertTrue(answer.endswith(b"\r\n\r\n"))
        self.assertEqual(get(self.status[1], "/healthz")[0], 200)
        log = self.finish(self.server, signal.SIGTERM)
        self.assertNotIn("Traceback", log)
        self.assertLess(len(log), 5000)

    @skipUnless(os.path.exists("/proc/self/fd"), "needs /proc to look into")
    def test_connections(self) -> None:
        """
        While there are a thousand connections datagrams are answered, descriptors and
        memory stay bounded, and afterwards it is as it was before.
        """
        if self.limits[1] < 1200:
            self.skipTest("a thousand connections take more files than are allowed")
        self.serve()
        setrlimit(RLIMIT_NOFILE, (1200, self.limits[1]))
        before, memory = self.countDescriptors(), self.memory()
        clients = self.connect(1000)
        self.assertLess(max(self.descriptors), before + 120)
        self.assertLess(self.memory() - memory, 30_000_000)
        for client in clients:
            client.close()
        self.assertEqual(get(self.status[1], "/healthz")[0], 200)
        self.waitUntil(lambda: self.countDescriptors() <= before)
        log = self.finish(self.server, signal.SIGTERM)
        self.assertNotIn("Traceback", log)
        self.assertLess(len(log), 5000)

    @skipUnless(os.path.exists("/proc/self/fd"), "needs /proc to look into")
    def test_fewDescriptors(self) -> None:
        """
        A server that may open few files does not run out of them, and says so.
        """
        self.serve(64)
        for client in self.connect(300):
            client.close()
        self.assertLess(max(self.descriptors), 64)
        self.assertEqual(get(self.status[1], "/healthz")[0], 200)
        log = self.finish(self.server, signal.SIGTERM)
        self.assertIn("few of 64 file descriptors left", log)
        self.assertNotIn("EMFILE", log)
        self.assertLess(len(log), 5000)


class StatusDaemonTests(TwistdCase):
    """
    Tests for a server in the background.
    """

    def daemon(self, *args: str) -> int:
        """
        Start a server in the background, and return its process.
        """
        started = self.run_("twistd", *args)
        self.assertEqual((started.returncode, started.stderr), (0, ""))
        with open(os.path.join(self.folder, "twistd.pid")) as f:
            pid = int(f.read())
        self.addCleanup(self.kill, pid)
        return pid

    def kill(self, pid: int) -> None:
        """
        End a server if it still runs.
        """
        pidfile = os.path.join(self.folder, "twistd.pid")
        if not os.path.exists(pidfile):
            return
        with open(pidfile) as f:
            if int(f.read()) == pid:
                os.kill(pid, signal.SIGKILL)

    def waitForLog(self, text: str) -> None:
        """
        Wait until a text is in the log.
        """
        for _ in range(PATIENCE * 100):
            with open(os.path.join(self.folder, "twistd.log")) as f:
                if text in f.read():
                    return
            time.sleep(0.01)
        self.fail(f"no {text!r} in the log")

    def stop(self, pid: int) -> str:
        """
        Stop a server, and return its log.
        """
        os.kill(pid, signal.SIGTERM)
        self.waitUntilGone(pid)
        with open(os.path.join(self.folder, "twistd.log")) as f:
            return f.read()

    def test_answers(self) -> None:
        """
        What was bound before it went into the background is answered there, also
        with reactors that keep what they watch in the kernel.
        """
        for kind in ("epoll", "asyncio"):
            pid = self.daemon(
                "-r", kind, "shout", "-p", "0", "-u", "s", "--status", STATUS
            )
            with open(os.path.join(self.folder, "twistd.log")) as f:
                found = re.search(r"status at http://127.0.0.1:(\d+)/", f.read())
            assert found is not None
            self.assertEqual(get(int(found[1]), "/healthz")[0], 200)
            log = self.stop(pid)
            self.assertRegex(log, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", log)
            self.assertEqual(os.listdir(self.folder), ["twistd.log"])
            os.remove(os.path.join(self.folder, "twistd.log"))

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_withoutIPv6(self) -> None:
        """
        Where IPv6 is off it is healthy all the same, also with workers, and while
        IPv6 is switched on and off; what is not counted is named.
        """
        host = hosts.Namespaces(self, "a")
        path = os.path.join(self.folder, "status")
        for args in ((), ("--workers", "2")):
            host.switchIPv6("a", False)
            with host.on("a"):
                pid = self.daemon("shout", "-p", "0", *args, "--status", "unix:status")
            self.waitForLog("try it with")
            for isOn in (False, True, False, True):
                host.switchIPv6("a", isOn)
                status, text = get(path, "/healthz")
                self.assertEqual(status, 200)
                self.assertEqual("[::]" not in text, isOn)
            log = self.stop(pid)
            self.assertRegex(log, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", log)
            os.remove(os.path.join(self.folder, "twistd.log"))

    def test_second(self) -> None:
        """
        A second server does not take the path of one in the background for one
        that was left behind.
        """
        pid = self.daemon("shout", "-u", "s", "--status", "unix:status")
        second = self.run_(
            "twistd", "--pidfile=", "shout", "-u", "t", "--status", "unix:status"
        )
        self.assertRegex(second.stderr, r"^shout: --status: .* already in use.*\n$")
        path = os.path.join(self.folder, "status")
        self.assertEqual(get(path, "/healthz")[0], 200)
        self.stop(pid)
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])

    @skipUnless(ISROOT, "a port below 1024 and shedding privileges need root")
    def test_privilegedPort(self) -> None:
        """
        It can be shown on a port that takes privileges, which are shed then.
        """
        with socket.socket() as sock:
            for port in range(700, 1024):
                try:
                    sock.bind(("127.0.0.1", port))
                except OSError:
                    continue
                break
        os.chmod(self.folder, 0o777)
        pid = self.daemon(
            "--uid=65534", "--gid=65534", "shout", "-p", "0",
            "--status", f"tcp:{port}:interface=127.0.0.1",
        )  # fmt: skip
        self.assertEqual(os.stat(f"/proc/{pid}").st_uid, 65534)
        self.assertEqual(get(port, "/healthz")[0], 200)
        self.assertNotIn("Traceback", self.stop(pid))


class StatusMistakeTests(TwistdCase):
    """
    Tests for what users get wrong.
    """

    def setUp(self) -> None:
        super().setUp()
        # Twisted keeps a file in reserve once it has tried to listen, of which
        # Python's development mode has a word to say at the end.
        self.environment["PYTHONDEVMODE"] = ""

    def test_inUse(self) -> None:
        """
        A port in use is said to be, and the other sockets are given up.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            self.assertOneLine("in use", "-p", "0", "-u", "s", "--status", where)

    def test_usage(self) -> None:
        """
        What is not an endpoint is said to be none.
        """
        self.assertOneLine("not an endpoint", "-p", "0", "--status", "9990")

    def test_missing(self) -> None:
        """
        Without C{prometheus_client} it is said how to get it; without C{--status}
        nobody misses it.
        """
        os.mkdir(os.path.join(self.folder, "missing"))
        with open(f"{self.folder}/missing/prometheus_client.py", "w") as f:
            f.write("raise ModuleNotFoundError(name='prometheus_client')\n")
        self.environment["PYTHONPATH"] = f"{self.folder}/missing"
        self.assertOneLine(
            "pip install prometheus_client", "-p", "0", "-u", "s", "--status", STATUS
        )
        self.assertOneLine("not an IP address", "-i", "localhost")
