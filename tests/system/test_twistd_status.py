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
from resource import RLIMIT_NOFILE, getpagesize, getrlimit, setrlimit
from unittest import skipIf, skipUnless
from urllib.parse import urlsplit

from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests import hosts
from tests.families import needsIPv6
from tests.httpget import get, received
from tests.twistdcase import ISROOT, NOBODY, TIMEOUT, TwistdCase, ask

STATUS = "tcp:0:interface=127.0.0.1"


class StatusTests(TwistdCase):
    """
    Tests for a server in the foreground.
    """

    def status(self, server: subprocess.Popen[str]) -> int:
        """
        Return the port of the status of a server.
        """
        return int(self.waitFor(server, r"status at http://127\.0\.0\.1:(\d+)/")[1])

    @needsIPv6
    def test_shows(self) -> None:
        """
        With other reactors and commands too, it logs the URL of its status, is healthy
        there, counts received datagrams by family, and logs no requests.
        """
        for args in (
            ("twistd", "-n", "-r", "select", "shout"),
            ("twist", "--log-format=text", "shout"),
        ):
            server = self.start(*args, "-p", "0", "-u", "s", "--status", STATUS)
            where = self.status(server)
            port = int(self.waitFor(server, r"listening on UDP \[::\]:(\d+)")[1])
            self.waitFor(server, "try it with")
            ask(connectUDP("::1", port), b"six")
            ask(connectUNIX(self.path("s")), b"unix")
            self.assertEqual(received(where), {"ipv4": 0, "ipv6": 1, "unix": 1})
            self.assertEqual(get(where, "/healthz"), (200, "every socket answers\n"))
            # A health check that takes long sends one more datagram.
            for family, count in {"ipv4": 1, "ipv6": 2, "unix": 2}.items():
                self.assertGreaterEqual(received(where)[family], count)
            self.assertEqual(get(where, "/")[0], 200)
            output = self.finish(server, signal.SIGTERM)
            self.assertRegex(output, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", output)
            self.assertNotIn("GET", output)

    def test_guarded(self) -> None:
        """
        It is healthy although all other peers are refused and limited, and that
        allows nothing to other peers.
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
        Its status can be served over IPv6, with a URL that a browser understands.
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
        Its status can be served on a UNIX socket, whose path is removed in the end.
        """
        server = self.start(
            "twistd", "-n", "shout", "-u", "s", "--status", "unix:status:mode=600"
        )
        path = self.path("status")
        self.waitFor(server, f"status at UNIX {path}")
        self.waitFor(server, "try it with")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(get(path, "/healthz")[0], 200)
        self.finish(server, signal.SIGTERM)
        self.assertFalse(os.path.exists(path))

    @skipUnless(ISROOT, "dropping privileges needs root")
    def test_dropPrivileges(self) -> None:
        """
        A server that has dropped its privileges, and runs in another root directory,
        is still healthy at a path that it cannot see, and stops without an error.
        """
        os.chmod(self.directory, 0o755)
        os.makedirs(self.path("root", "etc"))
        with open(self.path("root", "etc", "passwd"), "w") as f:
            f.write(f"nobody:x:{NOBODY}:{NOBODY}::/:/bin/false\n")
        server = self.start(
            "twistd", "-n", "--pidfile=", f"--uid={NOBODY}", f"--gid={NOBODY}",
            f"--chroot={self.directory}/root", "-d", "/", "shout", "-p", "0", "-u", "s",
            "--status", "unix:status",
        )  # fmt: skip
        self.waitFor(server, "try it with")
        path = self.path("status")
        for page in ("/", "/healthz", "/metrics", "/snapshot"):
            self.assertEqual(get(path, page)[0], 200)
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("stopped listening", output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("Error", output)


# Requests that are refused, each for another reason.
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
    Tests for a server with hostile clients.
    """

    def setUp(self) -> None:
        super().setUp()
        self.limits = getrlimit(RLIMIT_NOFILE)
        self.addCleanup(setrlimit, RLIMIT_NOFILE, self.limits)

    def serve(self, limit: int | None = None) -> None:
        """
        Start a server, and wait until it answers.

        @param limit: The number of files that it may open.
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
        with socket.create_connection(self.status, TIMEOUT) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def connect(self, count: int) -> list[socket.socket]:
        """
        Make connections of many kinds, with datagrams in between.
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
                # Many have been closed by now.
                # A module's own `suppress` would have a meaning for trial.
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
        self.peer.settimeout(TIMEOUT)
        self.peer.send(b"loud")
        self.assertEqual(self.peer.recv(100), b"LOUD")
        self.descriptors.append(self.countDescriptors())

    def countDescriptors(self) -> int:
        """
        Return the number of files that the server has open.
        """
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def memory(self) -> int:
        """
        Return the resident memory of the server, in bytes.
        """
        with open(f"/proc/{self.server.pid}/statm") as f:
            return int(f.read().split()[1]) * getpagesize()

    def test_badRequests(self) -> None:
        """
        Bad requests of all kinds get a complete response, and add no more than some
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
        During a thousand connections datagrams are answered, descriptors and memory
        stay bounded, and afterwards as many descriptors are open as before.
        """
        if self.limits[1] < 1200:
            self.skipTest("a thousand connections need more files than are allowed")
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
        A server that may open few files does not run out of them, and logs a warning.
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

    def test_answers(self) -> None:
        """
        Sockets bound before it goes into the background are served there, also with
        reactors that keep what they watch in the kernel.
        """
        for kind in ("epoll", "asyncio"):
            pid = self.daemon(
                "-r", kind, "shout", "-p", "0", "-u", "s", "--status", STATUS
            )
            status = r"status at http://127.0.0.1:(\d+)/"
            found = re.search(status, self.read(self.log))
            assert found is not None
            self.assertEqual(get(int(found[1]), "/healthz")[0], 200)
            self.stop(pid)
            log = self.read(self.log)
            self.assertRegex(log, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", log)
            self.assertEqual(self.files(), ["twistd.log"])
            os.remove(self.log)

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_withoutIPv6(self) -> None:
        """
        Without IPv6 it is healthy, also with workers, and also while IPv6 is switched
        on and off; addresses that are not checked are named.
        """
        host = hosts.Namespaces(self, "a")
        path = self.path("status")
        for args in ((), ("--workers", "2")):
            host.switchIPv6("a", False)
            with host.on("a"):
                pid = self.daemon("shout", "-p", "0", *args, "--status", "unix:status")
            for isOn in (False, True, False, True):
                host.switchIPv6("a", isOn)
                status, text = get(path, "/healthz")
                self.assertEqual(status, 200)
                self.assertEqual("[::]" not in text, isOn)
            self.stop(pid)
            log = self.read(self.log)
            self.assertRegex(log, r": received (\d+), answered \1, dropped 0")
            self.assertNotIn("Traceback", log)
            os.remove(self.log)

    def test_second(self) -> None:
        """
        A second server does not take over the path of the status of one that runs.
        """
        pid = self.daemon("shout", "-u", "s", "--status", "unix:status")
        path = self.path("status")
        self.assertMistake(
            "--status: .* already in use",
            *("-u", self.path("t"), "--status", f"unix:{path}"),
        )
        self.assertEqual(get(path, "/healthz")[0], 200)
        self.stop(pid)
        self.assertEqual(self.files(), ["twistd.log"])

    @skipUnless(ISROOT, "a port below 1024 and dropping privileges need root")
    def test_privilegedPort(self) -> None:
        """
        The status can be served on a port that needs privileges, which are dropped
        then.
        """
        port = self.privilegedPort()
        os.chmod(self.directory, 0o777)
        pid = self.daemon(
            f"--uid={NOBODY}", f"--gid={NOBODY}", "shout", "-p", "0",
            "--status", f"tcp:{port}:interface=127.0.0.1",
        )  # fmt: skip
        self.assertEqual(os.stat(f"/proc/{pid}").st_uid, NOBODY)
        self.assertEqual(get(port, "/healthz")[0], 200)
        self.stop(pid)
        self.assertNotIn("Traceback", self.read(self.log))


class StatusMistakeTests(TwistdCase):
    """
    Tests for mistakes of users.
    """

    def test_inUse(self) -> None:
        """
        A port that is in use is an error, and the other sockets are closed.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            self.assertMistake(
                "in use", "-p", "0", "-u", self.path("s"), "--status", where
            )

    def test_usage(self) -> None:
        """
        A text that is not an endpoint is an error.
        """
        self.assertMistake("not an endpoint", "-p", "0", "--status", "9990")

    def test_missing(self) -> None:
        """
        Without C{prometheus_client} the error has the command that installs it; other
        options work without C{prometheus_client}.
        """
        os.mkdir(self.path("missing"))
        with open(self.path("missing", "prometheus_client.py"), "w") as f:
            f.write("raise ModuleNotFoundError(name='prometheus_client')\n")
        # Twisted keeps a file in reserve once it has tried to listen, which Python's
        # development mode reports at the end.
        environment = {"PYTHONPATH": self.path("missing"), "PYTHONDEVMODE": ""}
        for args, pattern in (
            (["-p", "0", "-u", "s", "--status", STATUS], "install prometheus_client"),
            (["-i", "localhost"], "not an IP address"),
        ):
            ended = self.run_("twistd", "shout", *args, environment=environment)
            self.assertNotEqual(ended.returncode, 0)
            self.assertRegex(ended.stderr, rf"\Ashout: .*{pattern}.*\n\Z")
            self.assertEqual(self.files(), ["missing"])
