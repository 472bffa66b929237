"""
Tests for C{twistd shout --workers} as its users run it.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from unittest import skipUnless

from benchmarks.kill import kill, stopped, workersOf
from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.workers.reuseport import hasReusePortBalancing
from tests.families import EVERYWHERE, PAIR
from tests.httpget import get, received
from tests.twistdcase import ISROOT, NOBODY, TIMEOUT, TwistdCase, ask, hasExited


@skipUnless(hasReusePortBalancing, "more than one worker needs Linux")
class WorkersCase(TwistdCase):
    """
    Runs servers with workers.
    """

    def serve(self, *args: str, twistd: tuple[str, ...] = ()) -> int:
        """
        Start a server with two workers on the loopback, and return its port.
        """
        self.server = self.start(
            *("twistd", "-n", "--pidfile=", *twistd),
            *("shout", "--port=0", "--interface=127.0.0.1", "--workers=2", *args),
            start_new_session=True,
        )
        found = self.waitFor(self.server, r"try it with: nc -u 127\.0\.0\.1 (\d+)")
        return int(found[1])

    def askAll(self, port: int, count: int = 40) -> None:
        """
        Ask from many source ports, so that all workers answer.
        """
        for number in range(count):
            client = connectUDP("127.0.0.1", port)
            self.assertEqual(ask(client, b"q%d" % number), b"Q%d" % number)

    def waitForWorkers(self, parent: int, but: int) -> list[int]:
        """
        Wait until there are two workers, one of them in place of C{but}.
        """
        self.waitUntil(lambda: len(pids := workersOf(parent)) == 2 and but not in pids)
        return workersOf(parent)


class WorkersTests(WorkersCase):
    """
    Tests for a server with workers.
    """

    def test_answers(self) -> None:
        """
        With each reactor, it logs once where it listens, answers there, and logs the
        totals of all workers when it is stopped.
        """
        for reactor in "epoll", "select", "poll", "asyncio":
            server = self.start(
                *("twistd", "-n", "-r", reactor, "--pidfile="),
                *("shout", "-p", "0", "-u", "s", "--workers", "3"),
            )
            port = int(self.waitFor(server, r"listening on UDP 0\.0\.0\.0:(\d+)")[1])
            for address in EVERYWHERE[1:]:
                self.waitFor(server, rf"listening on UDP \[{address}\]:{port}")
            self.waitFor(server, f"listening on UNIX {self.directory}/s")
            self.waitFor(server, r"started 3 workers: processes \d+, \d+, \d+$")
            self.waitFor(server, f"try it with: nc -u 127.0.0.1 {port}")
            self.askAll(port)
            self.assertEqual(ask(connectUDP(PAIR[1], port), b"six"), b"SIX")
            path = self.path("s")
            self.assertEqual(ask(connectUNIX(path), b"unix"), b"UNIX")
            output = self.finish(server, signal.SIGTERM)
            self.assertIn("received 42, answered 42, dropped 0", output)
            self.assertEqual(output.count("stopped listening"), 1)
            self.assertNotIn("Traceback", output)
            self.assertFalse(os.path.exists(path))

    def test_twist(self) -> None:
        """
        C{twist} runs it, and the workers answer as the options demand.
        """
        server = self.start(
            *("twist", "--log-format=text", "shout", "-p", "0", "--workers", "2"),
            "--unicode",
        )
        port = int(self.waitFor(server, r"nc -u 127\.0\.0\.1 (\d+)")[1])
        self.askAll(port)
        client = connectUDP("127.0.0.1", port)
        self.assertEqual(ask(client, "straße".encode()), b"STRASSE")
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("received 41, answered 41, dropped 0", output)

    def test_oneLine(self) -> None:
        """
        Datagrams that all workers drop for one reason are logged once.
        """
        port = self.serve("--allow", "192.0.2.0/24")
        for _ in range(40):
            with connectUDP("127.0.0.1", port) as client:
                client.send(b"x")
        output = self.finish(self.server, signal.SIGTERM)
        self.assertEqual(output.count("not answered: "), 1)
        self.assertIn("received 40, answered 0, dropped 40 (40 not allowed)", output)

    def test_limit(self) -> None:
        """
        The limit of one source does not grow with the number of workers.
        """
        began = time.monotonic()
        port = self.serve("--limit", "1", "--workers", "8")
        for _ in range(100):
            with connectUDP("127.0.0.1", port) as client:
                client.send(b"x")
        output = self.finish(self.server, signal.SIGTERM)
        took = time.monotonic() - began
        found = re.search("received 100, answered ([0-9]+),", output)
        assert found is not None, output
        # A burst of two, and one more each second.
        self.assertLessEqual(int(found[1]), 2 + took)

    def test_secondServer(self) -> None:
        """
        A second server at the same port is refused, with workers and without,
        whichever of them came first.
        """
        port = str(self.serve())
        for args in ((), ("--workers=2",)):
            self.assertMistake("already in use", "-p", port, *args)
        self.finish(self.server, signal.SIGTERM)
        [alone] = bindUDP(0, ["127.0.0.1"])
        with alone:
            port = str(alone.getsockname()[1])
            self.assertMistake("already in use", "-p", port, "--workers=2")

    def test_killed(self) -> None:
        """
        When workers are killed under load, every reply is right, and no more
        datagrams are lost than the workers had in hand.
        """
        outcome = kill(1, 2, (0, 0.1))
        self.assertEqual(outcome.wrong, [])
        self.assertEqual(outcome.lost, outcome.processing)
        self.assertGreaterEqual(len(outcome.lost), 1)
        self.assertGreater(outcome.answered, 100)

    def test_waits(self) -> None:
        """
        Datagrams that arrive while there is no worker are answered by the next ones.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(40)]
        before = workersOf(self.server.pid)
        with stopped(self.server.pid):
            for pid in before:
                os.kill(pid, signal.SIGKILL)
                self.waitForExit(pid)
            for client in clients:
                client.send(b"waits")
        for client in clients:
            with client:
                client.settimeout(TIMEOUT)
                self.assertEqual(client.recv(100), b"WAITS")
        self.waitFor(self.server, r"worker \d \(process \d+\) exited: signal 9")
        self.assertFalse(set(before) & set(workersOf(self.server.pid)))

    def test_parentKilled(self) -> None:
        """
        When the parent is killed all workers exit, a stopped one too, and the port is
        free.
        """
        port = self.serve()
        pids = workersOf(self.server.pid)
        self.assertEqual(len(pids), 2)
        os.kill(pids[0], signal.SIGSTOP)
        self.finish(self.server, signal.SIGKILL)
        for pid in pids:
            self.waitForExit(pid)
        for sock in bindUDP(port, ["127.0.0.1"]):
            sock.close()

    def test_drains(self) -> None:
        """
        On SIGTERM all workers answer the datagrams that had arrived.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(100)]
        first, second = workersOf(self.server.pid)
        with stopped(first), stopped(second):
            for client in clients:
                client.send(b"waits")
            self.server.send_signal(signal.SIGTERM)
        output = self.server.communicate(timeout=TIMEOUT)[0]
        for client in clients:
            with client:
                client.settimeout(TIMEOUT)
                self.assertEqual(client.recv(100), b"WAITS")
        self.assertIn("received 100, answered 100, dropped 0", output)

    def test_interrupted(self) -> None:
        """
        Ctrl-C, which sends SIGINT to the workers too, stops all of them as cleanly.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(40)]
        first, second = workersOf(self.server.pid)
        with stopped(first), stopped(second):
            for client in clients:
                client.send(b"waits")
            os.killpg(self.server.pid, signal.SIGINT)
        output = self.server.communicate(timeout=TIMEOUT)[0]
        for client in clients:
            with client:
                client.settimeout(TIMEOUT)
                self.assertEqual(client.recv(100), b"WAITS")
        self.assertIn("received 40, answered 40, dropped 0", output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("ended", output)

    def test_terminatedAlone(self) -> None:
        """
        A worker ignores SIGTERM: its parent decides when it ends.
        """
        port = self.serve()
        pids = workersOf(self.server.pid)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        self.askAll(port)
        self.assertEqual(workersOf(self.server.pid), pids)

    def test_status(self) -> None:
        """
        The status has one sum, which does not go down when workers are killed, and
        names a worker that does not answer.
        """
        path = self.path("status")
        self.askAll(self.serve("--status", f"unix:{path}"))
        self.assertEqual(received(path), {"ipv4": 40})
        for pid in workersOf(self.server.pid):
            os.kill(pid, signal.SIGKILL)
            self.waitForWorkers(self.server.pid, but=pid)
        self.assertEqual(received(path), {"ipv4": 40})
        self.waitUntilHealthy(path)
        with stopped(workersOf(self.server.pid)[0]):
            status, text = get(path, "/healthz")
        self.assertEqual(status, 503)
        self.assertRegex(text, "worker [12] does not respond")
        self.waitUntilHealthy(path)

    def waitUntilHealthy(self, path: str) -> None:
        """
        Wait until all workers answer.
        """
        self.waitUntil(lambda: get(path, "/healthz") == (200, "every socket answers\n"))


@skipUnless(ISROOT, "privileged ports and other users need root")
class PrivilegesTests(WorkersCase):
    """
    Tests for a server that root starts and that does not stay root.
    """

    def assertNobody(self, pid: int) -> None:
        """
        A process has no privilege left.
        """
        status = Path(f"/proc/{pid}/status").read_text()
        for name in "Uid", "Gid":
            ids = re.search(rf"{name}:\t(.*)\n", status)
            assert ids is not None
            self.assertEqual(set(ids[1].split()), {str(NOBODY)})
        groups = re.search(r"Groups:\t(.*)\n", status)
        assert groups is not None
        self.assertNotIn("0", groups[1].split())
        capabilities = re.search(r"CapEff:\t(.*)\n", status)
        assert capabilities is not None
        self.assertEqual(int(capabilities[1], 16), 0)

    def test_daemon(self) -> None:
        """
        In the background, at a privileged port and as another user it serves without
        any privilege left, with workers and without; so does the next worker after
        one was killed.
        """
        os.chmod(self.directory, 0o777)
        port = self.privilegedPort()
        for workers in ((), ("--workers", "2")):
            parent = self.daemon(
                *(f"--uid={NOBODY}", f"--gid={NOBODY}"),
                *("shout", "-p", str(port), "-i", "127.0.0.1", *workers),
            )
            self.askAll(port)
            pids = workersOf(parent)
            self.assertEqual(len(pids), 2 if workers else 0)
            if workers:
                os.kill(pids[0], signal.SIGKILL)
                pids = self.waitForWorkers(parent, but=pids[0])
                self.askAll(port)
            for pid in (parent, *pids):
                self.assertNobody(pid)
            self.stop(parent)
            for pid in pids:
                self.assertTrue(hasExited(pid))
            os.remove(self.log)

    def test_chroot(self) -> None:
        """
        In a root directory with nothing but a list of users, so without Python,
        workers are started and replaced.
        """
        etc = self.path("root", "etc")
        os.makedirs(etc)
        Path(etc, "passwd").write_text(f"nobody:x:{NOBODY}:{NOBODY}::/:/bin/false\n")
        root = os.path.dirname(etc)
        user = f"--uid={NOBODY}", f"--gid={NOBODY}"
        port = self.serve(twistd=(f"--chroot={root}", "--rundir=/", *user))
        pids = workersOf(self.server.pid)
        os.kill(pids[1], signal.SIGKILL)
        for pid in self.waitForWorkers(self.server.pid, but=pids[1]):
            self.assertNobody(pid)
            self.assertEqual(os.readlink(f"/proc/{pid}/root"), root)
        self.askAll(port)
        output = self.finish(self.server, signal.SIGTERM)
        self.assertIn("answered 40, dropped 0", output)
