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
from shout import BindError, bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.workers.reuseport import hasReusePortBalancing
from tests.families import EVERYWHERE, PAIR
from tests.system.test_twistd import ISROOT, PATIENCE, TwistdCase, ask
from tests.system.test_twistd_status import get, received


@skipUnless(hasReusePortBalancing, "more than one worker takes Linux")
class WorkersCase(TwistdCase):
    """
    Runs servers with workers.
    """

    def serve(self, *args: str, twistd: tuple[str, ...] = ()) -> int:
        """
        Start a server with two workers at C{self.port} of the loopback, and return
        the port.
        """
        self.server = self.start(
            "twistd",
            "-n",
            "--pidfile=",
            *twistd,
            "shout",
            "--port=0",
            "--interface=127.0.0.1",
            "--workers=2",
            *args,
            start_new_session=True,
        )
        found = self.waitFor(self.server, r"try it with: nc -u 127\.0\.0\.1 (\d+)")
        return int(found[1])

    def askAll(self, port: int, count: int = 40) -> None:
        """
        Ask from so many ports, so that all workers answer.
        """
        for number in range(count):
            client = connectUDP("127.0.0.1", port)
            self.assertEqual(ask(client, b"q%d" % number), b"Q%d" % number)

    def waitUntilGone(self, pid: int) -> None:
        """
        Wait until a process does nothing any more.  Who has to bury it may take
        its time.
        """
        for _ in range(PATIENCE * 100):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                return
            if stat.rpartition(")")[2].split()[0] in "ZX":
                return
            time.sleep(0.01)
        self.fail(f"{pid} goes on")

    def waitForWorkers(self, parent: int, but: int) -> list[int]:
        """
        Wait until there are two workers, one in the place of C{but}.
        """
        for _ in range(PATIENCE * 100):
            pids = workersOf(parent)
            if len(pids) == 2 and but not in pids:
                return pids
            time.sleep(0.01)
        self.fail(f"{but} has no successor")


class WorkersTests(WorkersCase):
    """
    Tests for a server with workers.
    """

    def test_answers(self) -> None:
        """
        With each reactor, it says once where it listens, answers there, and says
        the totals of all workers when it is stopped.
        """
        for reactor in "epoll", "select", "poll", "asyncio":
            server = self.start(
                *("twistd", "-n", "-r", reactor, "--pidfile="),
                *("shout", "-p", "0", "-u", "s", "--workers", "3"),
            )
            port = int(self.waitFor(server, r"listening on UDP 0\.0\.0\.0:(\d+)")[1])
            for address in EVERYWHERE[1:]:
                self.waitFor(server, rf"listening on UDP \[{address}\]:{port}")
            self.waitFor(server, f"listening on UNIX {self.folder}/s")
            self.waitFor(server, r"with 3 workers: processes \d+, \d+, \d+$")
            self.waitFor(server, f"try it with: nc -u 127.0.0.1 {port}")
            self.askAll(port)
            self.assertEqual(ask(connectUDP(PAIR[1], port), b"six"), b"SIX")
            path = os.path.join(self.folder, "s")
            self.assertEqual(ask(connectUNIX(path), b"unix"), b"UNIX")
            output = self.finish(server, signal.SIGTERM)
            self.assertIn("received 42, answered 42, dropped 0", output)
            self.assertEqual(output.count("stopped listening"), 1)
            self.assertNotIn("Traceback", output)
            self.assertFalse(os.path.exists(path))

    def test_twist(self) -> None:
        """
        C{twist} runs it as well.
        """
        server = self.start(
            *("twist", "--log-format=text", "shout", "-p", "0", "--workers", "2")
        )
        self.askAll(int(self.waitFor(server, r"nc -u 127\.0\.0\.1 (\d+)")[1]))
        output = self.finish(server, signal.SIGTERM)
        self.assertIn("received 40, answered 40, dropped 0", output)

    def test_options(self) -> None:
        """
        The workers answer as the options say.
        """
        port = self.serve("--unicode")
        client = connectUDP("127.0.0.1", port)
        self.assertEqual(ask(client, "straße".encode()), b"STRASSE")

    def test_oneVoice(self) -> None:
        """
        What all workers leave unanswered for one reason is said once.
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
        What one source gets at most does not grow with the number of workers.
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
        # Two at once, and one more each second.
        self.assertLessEqual(int(found[1]), 2 + took)

    def test_secondServer(self) -> None:
        """
        A second server at the same port is refused, with workers and without,
        whichever of them came first.
        """
        port = str(self.serve())
        for args in ((), ("--workers=2",)):
            self.assertRefused(port, *args)
        self.finish(self.server, signal.SIGTERM)
        [alone] = bindUDP(0, ["127.0.0.1"])
        with alone:
            self.assertRefused(str(alone.getsockname()[1]), "--workers=2")

    def assertRefused(self, port: str, *args: str) -> None:
        """
        A server cannot have a port.
        """
        ended = self.run_("twistd", "-n", "shout", "-p", port, *args)
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, "^shout: UDP .* is already in use; .*\n$")

    def test_killed(self) -> None:
        """
        When workers are killed under load, again and again, every reply is right,
        and what is lost is what they had in hand.
        """
        outcome = kill(4, 2, (0.1, 0.4))
        self.assertEqual(outcome.wrong, [])
        self.assertEqual(outcome.lost, outcome.processing)
        self.assertGreaterEqual(len(outcome.lost), 2)
        self.assertGreater(outcome.answered, 1000)

    def test_waits(self) -> None:
        """
        What arrives while there is no worker at all is answered by the next ones.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(40)]
        before = workersOf(self.server.pid)
        with stopped(self.server.pid):
            for pid in before:
                os.kill(pid, signal.SIGKILL)
                self.waitUntilGone(pid)
            for client in clients:
                client.send(b"waits")
        for client in clients:
            with client:
                client.settimeout(PATIENCE)
                self.assertEqual(client.recv(100), b"WAITS")
        self.waitFor(self.server, r"worker \d \(process \d+\) ended: signal 9")
        self.assertFalse(set(before) & set(workersOf(self.server.pid)))

    def test_parentKilled(self) -> None:
        """
        When the parent is killed no worker goes on, also none that stands still,
        and its port is free.
        """
        port = self.serve()
        pids = workersOf(self.server.pid)
        self.assertEqual(len(pids), 2)
        os.kill(pids[0], signal.SIGSTOP)
        self.finish(self.server, signal.SIGKILL)
        for pid in pids:
            self.waitUntilGone(pid)
        for sock in bindUDP(port, ["127.0.0.1"]):
            sock.close()

    def test_drains(self) -> None:
        """
        When it is told to stop all workers answer what had arrived.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(100)]
        first, second = workersOf(self.server.pid)
        with stopped(first), stopped(second):
            for client in clients:
                client.send(b"waits")
            self.server.send_signal(signal.SIGTERM)
        output = self.server.communicate(timeout=PATIENCE)[0]
        for client in clients:
            with client:
                client.settimeout(PATIENCE)
                self.assertEqual(client.recv(100), b"WAITS")
        self.assertIn("received 100, answered 100, dropped 0", output)

    def test_interrupted(self) -> None:
        """
        An interrupt from the keyboard, which reaches the workers too, stops all of
        them as cleanly.
        """
        port = self.serve()
        clients = [connectUDP("127.0.0.1", port) for _ in range(40)]
        first, second = workersOf(self.server.pid)
        with stopped(first), stopped(second):
            for client in clients:
                client.send(b"waits")
            os.killpg(self.server.pid, signal.SIGINT)
        output = self.server.communicate(timeout=PATIENCE)[0]
        for client in clients:
            with client:
                client.settimeout(PATIENCE)
                self.assertEqual(client.recv(100), b"WAITS")
        self.assertIn("received 40, answered 40, dropped 0", output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("ended", output)

    def test_terminatedAlone(self) -> None:
        """
        A worker that is told to end goes on: its parent decides.
        """
        port = self.serve()
        pids = workersOf(self.server.pid)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        self.askAll(port)
        self.assertEqual(workersOf(self.server.pid), pids)

    def test_status(self) -> None:
        """
        The status shows one sum, which does not go down when workers are killed,
        and says so when a single worker does not answer.
        """
        path = os.path.join(self.folder, "status")
        self.askAll(self.serve("--status", f"unix:{path}"))
        self.assertEqual(received(path), {"ipv4": 40})
        for pid in workersOf(self.server.pid):
            os.kill(pid, signal.SIGKILL)
            self.waitForWorkers(self.server.pid, but=pid)
        self.assertEqual(received(path), {"ipv4": 40})
        self.waitUntilHealthy(path)
        for pid in workersOf(self.server.pid):
            with stopped(pid):
                status, text = get(path, "/healthz")
                self.assertEqual(status, 503)
                self.assertRegex(text, "worker [12] does not answer")
        self.waitUntilHealthy(path)

    def waitUntilHealthy(self, path: str) -> None:
        """
        Wait until all workers answer.
        """
        for _ in range(PATIENCE * 100):
            if get(path, "/healthz") == (200, "every socket answers\n"):
                return
            time.sleep(0.01)
        self.fail("never healthy")


@skipUnless(ISROOT, "privileged ports and other users need root")
class PrivilegesTests(WorkersCase):
    """
    Tests for a server that gives up being root.
    """

    def privilegedPort(self) -> str:
        """
        Return a port that takes a privilege.
        """
        for port in range(1023, 600, -1):
            try:
                sockets = bindUDP(port)
            except BindError:
                continue
            for sock in sockets:
                sock.close()
            return str(port)
        self.fail("no port is free")

    def assertNobody(self, pid: int) -> None:
        """
        Nothing of a process is root's.
        """
        status = Path(f"/proc/{pid}/status").read_text()
        for name in "Uid", "Gid":
            ids = re.search(rf"{name}:\t(.*)\n", status)
            assert ids is not None
            self.assertEqual(set(ids[1].split()), {"65534"})
        groups = re.search(r"Groups:\t(.*)\n", status)
        assert groups is not None
        self.assertNotIn("0", groups[1].split())
        capabilities = re.search(r"CapEff:\t(.*)\n", status)
        assert capabilities is not None
        self.assertEqual(int(capabilities[1], 16), 0)

    def test_daemon(self) -> None:
        """
        In the background, at a privileged port, and as another user it serves,
        and nothing in it is root's, with workers and without; a worker that is
        killed is replaced by one that is no different.
        """
        os.chmod(self.folder, 0o777)
        port = self.privilegedPort()
        for number, workers in enumerate(((), ("--workers", "2"))):
            pidfile = os.path.join(self.folder, f"{number}.pid")
            started = self.run_(
                "twistd",
                f"--pidfile={pidfile}",
                "--uid=65534",
                "--gid=65534",
                "shout",
                "-p",
                port,
                "-i",
                "127.0.0.1",
                *workers,
            )
            self.assertEqual((started.returncode, started.stderr), (0, ""))
            parent = int(Path(pidfile).read_text())
            self.askAll(int(port))
            pids = workersOf(parent)
            self.assertEqual(len(pids), 2 if workers else 0)
            if workers:
                os.kill(pids[0], signal.SIGKILL)
                pids = self.waitForWorkers(parent, but=pids[0])
                self.askAll(int(port))
            for pid in (parent, *pids):
                self.assertNobody(pid)
            os.kill(parent, signal.SIGTERM)
            for pid in (parent, *pids):
                self.waitUntilGone(pid)

    def test_chroot(self) -> None:
        """
        In a root folder that is empty but for a list of users, and so has no
        Python, workers are started and replaced.
        """
        etc = os.path.join(self.folder, "root", "etc")
        os.makedirs(etc)
        Path(etc, "passwd").write_text("nobody:x:65534:65534::/:/bin/false\n")
        root = os.path.dirname(etc)
        privileges = f"--chroot={root}", "--rundir=/", "--uid=65534", "--gid=65534"
        port = self.serve(twistd=privileges)
        pids = workersOf(self.server.pid)
        os.kill(pids[1], signal.SIGKILL)
        for pid in self.waitForWorkers(self.server.pid, but=pids[1]):
            self.assertNobody(pid)
            self.assertEqual(os.readlink(f"/proc/{pid}/root"), root)
        self.askAll(port)
        output = self.finish(self.server, signal.SIGTERM)
        self.assertIn("answered 40, dropped 0", output)
