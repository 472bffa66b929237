"""
Tests for L{shout.workers.supervisor}, with workers that are no processes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from twisted.application.service import IService
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from shout import bindUDP, bindUNIX
from shout.counters import Snapshot
from shout.sockets.bind import connectUDP
from shout.udp import sockopt
from shout.udp.sockopt import kernelDrops
from shout.workers.channel import Channel
from shout.workers.reuseport import bindReusePortGroup
from shout.workers.supervisor import Supervisor
from tests.directory import shortDirectory
from tests.spawning import FakeWorker, Spawner


class WorkersServiceTests(TestCase):
    """
    Tests for L{Supervisor}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.spawner = Spawner()
        self.given: list[Sequence[socket.socket]] = []
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def spawn(self, sockets: Sequence[socket.socket], channel: Channel) -> FakeWorker:
        """
        Start a worker.
        """
        self.given.append(sockets)
        return self.spawner(channel)

    def service(self, *sockets: socket.socket, count: int = 2) -> Supervisor:
        """
        Start a service.
        """
        socketSets = bindReusePortGroup(sockets, count)
        for each in [sock for one in socketSets for sock in one]:
            self.addCleanup(each.close)
        service = Supervisor(socketSets, reactor=self.reactor, spawn=self.spawn)
        service.startService()
        self.reactor.run()
        return service

    def sockets(self, count: int = 2) -> list[socket.socket]:
        """
        Bind UNIX sockets, which can be shared everywhere.
        """
        folder = shortDirectory(self)
        return [bindUNIX(os.path.join(folder, str(n))) for n in range(count)]

    def messages(self) -> list[str]:
        """
        Return what was logged, as text.
        """
        return [event["log_format"].format(**event) for event in self.log]

    def test_interface(self) -> None:
        """
        It is a service.
        """
        verifyObject(IService, Supervisor([]))

    def test_starts(self) -> None:
        """
        When the reactor runs one worker is started for each share, and given its
        sockets.
        """
        first, second = self.sockets()
        service = Supervisor(
            [[first], [second]], reactor=self.reactor, spawn=self.spawn
        )
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        service.startService()
        self.assertEqual(self.given, [])
        self.reactor.run()
        self.assertEqual(self.given, [[first], [second]])

    def test_announces(self) -> None:
        """
        Once all workers are ready, and not before, every address is logged once,
        and a command to try it with; a successor is not announced.
        """
        first, second = self.sockets()
        listening = self.service(first, second).whenListening()
        self.spawner.workers[0].says("ready")
        self.assertNoResult(listening)
        self.assertEqual(self.messages(), [])
        self.spawner.workers[1].says("ready")
        self.successResultOf(listening)
        paths = first.getsockname(), second.getsockname()
        expected = [
            f"listening on UNIX {paths[0]}",
            f"listening on UNIX {paths[1]}",
            "with 2 workers: processes 1001, 1002",
            f"try it with: shout --unix {paths[0]} hello",
        ]
        self.assertEqual(self.messages(), expected)
        self.spawner.workers[0].ends("signal 9")
        self.reactor.advance(0)
        self.spawner.workers[2].says("ready")
        self.assertEqual(len(self.messages()), len(expected) + 1)

    def test_endsAreLoggedSeldom(self) -> None:
        """
        Of the workers that end one is logged in 30 seconds, and then how many
        more there were.
        """
        self.service(*self.sockets(1))
        for _ in range(5):
            self.spawner.workers[-1].ends("signal 11")
            self.reactor.advance(1)
        [message] = self.messages()
        self.assertEqual(
            message, "worker 1 (process 1001) ended: signal 11; another starts at once"
        )
        self.reactor.advance(25)
        self.assertRegex(
            self.messages()[-1], r"in \d\.\d s; 3 more since the last such line$"
        )
        self.reactor.advance(60)
        self.spawner.workers[-1].ends("signal 11")
        self.assertRegex(self.messages()[-1], r"starts in \d\.\d s$|starts at once$")
        self.assertEqual(len(self.messages()), 3)

    def test_failuresAreLoggedSeldom(self) -> None:
        """
        That a worker cannot be started is another matter: it is logged as seldom,
        but also where it comes soon after an end.
        """
        self.service(*self.sockets(1))
        self.spawner.error = OSError(24, "Too many open files")
        self.spawner.workers[-1].ends("signal 11")
        self.reactor.advance(0)
        what = "worker 1 cannot be started: Too many open files; tried again "
        self.assertEqual(self.messages()[1:], [what + "in 0.1 s"])
        self.reactor.pump([0.1] * 40)
        self.assertEqual(len(self.messages()), 2)
        self.reactor.advance(26)
        self.assertEqual(
            self.messages()[2:], [what + "in 6.4 s; 5 more since the last such line"]
        )

    def test_endsAreLoggedBeforeItStops(self) -> None:
        """
        What was only counted is logged when the service stops, and nothing after
        that.
        """
        service = self.service(*self.sockets(1))
        for _ in range(3):
            self.spawner.workers[-1].ends("signal 11")
            self.reactor.advance(1)
        self.spawner.error = OSError(24, "Too many open files")
        self.spawner.workers[-1].ends("signal 6")
        self.reactor.pump([0.1] * 20)
        count = len(self.messages())
        self.successResultOf(service.stopService())
        what = "worker 1 cannot be started: Too many open files; "
        messages = self.messages()[count:]
        self.assertEqual(messages[0], what + "what has arrived for it is lost")
        self.assertRegex(
            messages[1],
            r"^worker 1 .* ended: signal 6; .*; 2 more since the last such line$",
        )
        self.assertRegex(messages[2], f"^{what}tried again in .* s")
        self.assertIn("stopped listening", messages[3])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_dropsAreLoggedOnce(self) -> None:
        """
        What several workers do not answer for one reason is one line, as if they
        were one, and one sum.
        """
        service = self.service(*self.sockets())
        for worker in self.spawner.workers:
            snapshot = Snapshot(
                received={"ipv4": 5},
                replies=2,
                dropped={"loop": 1},
                sendErrors={"EPERM": 2},
            )
            worker.says("snapshot", snapshot.toJSON())
        self.assertEqual(
            self.messages(), ["not answered: 1 loop", "not answered: 2 EPERM"]
        )
        self.assertEqual(
            str(service.counters),
            "received 10, answered 4, dropped 6 (4 EPERM, 2 loop)",
        )

    def test_events(self) -> None:
        """
        What a worker would have logged is logged, with which of them it was.
        """
        self.service(*self.sockets())
        self.spawner.workers[1].says("event", "critical", "{all} is lost")
        self.assertEqual(self.messages(), ["worker 2: {all} is lost"])
        [event] = self.log
        self.assertEqual(event["log_level"].name, "critical")

    def test_figures(self) -> None:
        """
        The figures are the sum over all workers, asked anew, and over those that
        have ended.
        """
        service = self.service(*self.sockets())
        first, second = self.spawner.workers
        first.says("snapshot", Snapshot(replies=1).toJSON())
        first.ends("signal 9")
        second.says("ready")
        asked = service.snapshot()
        self.assertEqual(second.told(), [["snapshot"]])
        self.assertNoResult(asked)
        second.says("snapshot", Snapshot(replies=10).toJSON())
        self.assertEqual(self.successResultOf(asked), Snapshot(replies=11))

    def test_tellsWhatIsNew(self) -> None:
        """
        Each time a worker tells its figures they are what is new; what it takes to
        count them has nothing to do with how many workers and sockets there are,
        and so the kernel is not asked then.
        """
        asked: list[socket.socket] = []

        def kernelDrops(sock: socket.socket) -> int:
            asked.append(sock)
            return 0

        self.patch(sockopt, "kernelDrops", kernelDrops)
        service = self.service(*self.sockets())
        asked.clear()
        for worker in [*self.spawner.workers] * 2:
            new = Snapshot(received={"unix": 3}, replies=1, dropped={"loop": 2})
            worker.says("snapshot", new.toJSON())
        self.assertEqual(asked, [])
        self.assertEqual(
            str(service.counters), "received 12, answered 4, dropped 8 (8 loop)"
        )
        total = self.successResultOf(service.snapshot())
        self.assertEqual(len(asked), 2)
        self.assertEqual(
            total, Snapshot(received={"unix": 12}, replies=4, dropped={"loop": 8})
        )

    def test_missing(self) -> None:
        """
        A worker that is not ready, has ended or does not answer is missing.
        """
        service = self.service(*self.sockets(3), count=3)
        lines = [f"worker {number} does not answer" for number in (1, 2, 3)]
        self.assertEqual(self.successResultOf(service.missing()), lines)
        for worker in self.spawner.workers:
            worker.says("ready")
        missing = service.missing()
        self.spawner.workers[0].ends("signal 9")
        self.spawner.workers[1].says("snapshot", Snapshot().toJSON())
        self.assertNoResult(missing)
        self.reactor.advance(1)
        self.assertEqual(self.successResultOf(missing), [lines[0], lines[2]])

    def test_kernelDrops(self) -> None:
        """
        What the kernel has dropped is counted here, where the sockets outlive the
        workers, and still known when they are closed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        service = self.service(sock, count=1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
        [worker] = self.spawner.workers
        worker.says("snapshot", Snapshot(kernelDrops=7).toJSON())
        before = self.successResultOf(service.snapshot())
        if before.kernelDrops == 0:
            self.skipTest("the system does not tell")
        self.assertGreater(before.kernelDrops, 7)
        stopped = service.stopService()
        worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(service.snapshot()), before)
        drops = f"{before.kernelDrops} datagrams dropped by the kernel"
        self.assertEqual(self.messages()[-1], f"{drops}: receive buffer full")

    def test_earlierKernelDrops(self) -> None:
        """
        What the kernel had dropped before the service had the sockets is not
        counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
            if not kernelDrops(sock):
                self.skipTest("the system does not tell")
            service = self.service(sock, count=1)
            self.assertEqual(self.successResultOf(service.snapshot()), Snapshot())
            client.send(bytes(100))
        snapshot = self.successResultOf(service.snapshot())
        self.assertEqual(snapshot.kernelDrops, 1)
        stopped = service.stopService()
        self.spawner.workers[0].ends("signal 9")
        self.successResultOf(stopped)
        self.assertIn(
            "1 datagrams dropped by the kernel: receive buffer full", self.messages()
        )

    def test_stop(self) -> None:
        """
        All workers are told to stop; when they have, the sockets are closed and
        the totals logged.
        """
        sockets = self.sockets()
        paths = [sock.getsockname() for sock in sockets]
        service = self.service(*sockets)
        stopped = service.stopService()
        for worker in self.spawner.workers:
            self.assertEqual(worker.told(), [["stop"]])
            self.assertNoResult(stopped)
            self.assertTrue(all(map(os.path.exists, paths)))
            worker.says("snapshot", Snapshot(received={"unix": 2}, replies=2).toJSON())
            worker.says("stopped")
            worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.successResultOf(service.stopService())
        self.assertFalse(any(map(os.path.exists, paths)))
        self.assertEqual(
            self.messages(),
            [
                f"stopped listening on UNIX {paths[0]}, UNIX {paths[1]}: "
                "received 4, answered 4, dropped 0"
            ],
        )

    def test_lostWhenStopping(self) -> None:
        """
        A worker that ends before it has answered what had arrived is logged.
        """
        service = self.service(*self.sockets(1))
        stopped = service.stopService()
        self.spawner.workers[0].ends("signal 9")
        self.successResultOf(stopped)
        self.assertEqual(
            self.messages()[0],
            "worker 1 (process 1001) ended: signal 9; what it had in hand is lost",
        )

    def test_startedAgain(self) -> None:
        """
        A service that was stopped cannot be started again, and says so; nor does
        it start workers when the reactor runs only after that.
        """
        service = Supervisor([self.sockets(1)], reactor=self.reactor, spawn=self.spawn)
        service.startService()
        self.successResultOf(service.stopService())
        self.reactor.run()
        self.assertEqual(self.given, [])
        self.assertRaises(RuntimeError, service.startService)

    def test_neverStarted(self) -> None:
        """
        A service that is stopped before it was started closes its sockets, too.
        """
        sockets = self.sockets(1)
        self.successResultOf(Supervisor([sockets]).stopService())
        self.assertEqual(sockets[0].fileno(), -1)
        self.assertEqual(self.messages(), [])
