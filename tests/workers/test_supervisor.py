"""
Tests for L{shout.workers.supervisor}, with fake workers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from twisted.application.service import IService
from twisted.internet.defer import Deferred
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
from shout.workers.slot import ISupervisor
from shout.workers.supervisor import Supervisor
from tests.directory import shortDirectory
from tests.workers.fakes import FakeSpawner, FakeWorker


class SupervisorTests(TestCase):
    """
    Tests for L{Supervisor}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.spawner = FakeSpawner()
        self.given: list[Sequence[socket.socket]] = []
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def spawn(self, sockets: Sequence[socket.socket], channel: Channel) -> FakeWorker:
        """
        Start a fake worker.
        """
        self.given.append(sockets)
        return self.spawner(channel)

    def service(self, *sockets: socket.socket, count: int = 2) -> Supervisor:
        """
        Start a service.
        """
        socketSets = bindReusePortGroup(sockets, count)
        for each in [sock for these in socketSets for sock in these]:
            self.addCleanup(each.close)
        service = Supervisor(socketSets, reactor=self.reactor, spawn=self.spawn)
        service.startService()
        self.reactor.run()
        return service

    def sockets(self, count: int = 2) -> list[socket.socket]:
        """
        Bind UNIX sockets, which can be distributed on every system.
        """
        directory = shortDirectory(self)
        return [bindUNIX(os.path.join(directory, str(n))) for n in range(count)]

    def messages(self) -> list[str]:
        """
        Return the text of the log events.
        """
        return [event["log_format"].format(**event) for event in self.log]

    def test_interface(self) -> None:
        """
        It is a service, and the supervisor of worker slots.
        """
        verifyObject(IService, Supervisor([]))
        verifyObject(ISupervisor, Supervisor([]))

    def test_starts(self) -> None:
        """
        When the reactor runs, one worker is started for each socket set.
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
        Once all workers are ready, and not before, every address is logged once, with
        an example command.  A successor is not announced.
        """
        first, second = self.sockets()
        listening = self.service(first, second).whenListening()
        self.spawner.workers[0].send("ready")
        self.assertNoResult(listening)
        self.assertEqual(self.messages(), [])
        self.spawner.workers[1].send("ready")
        self.successResultOf(listening)
        paths = first.getsockname(), second.getsockname()
        expected = [
            f"listening on UNIX {paths[0]}",
            f"listening on UNIX {paths[1]}",
            "started 2 workers: processes 1001, 1002",
            f"try it with: shout --unix {paths[0]} hello",
        ]
        self.assertEqual(self.messages(), expected)
        self.spawner.workers[0].exit("signal 9")
        self.reactor.advance(0)
        self.spawner.workers[2].send("ready")
        self.assertEqual(len(self.messages()), len(expected) + 1)

    def test_exitsAreRateLimited(self) -> None:
        """
        One exit is logged in 30 seconds, with the number of the others.
        """
        self.service(*self.sockets(1))
        for _ in range(5):
            self.spawner.workers[-1].exit("signal 11")
            self.reactor.advance(1)
        [message] = self.messages()
        self.assertEqual(
            message, "worker 1 (process 1001) exited: signal 11; another starts at once"
        )
        self.reactor.advance(25)
        self.assertRegex(
            self.messages()[-1], r"in \d\.\d s; 3 more since the last such line$"
        )
        self.reactor.advance(60)
        self.spawner.workers[-1].exit("signal 11")
        self.assertRegex(self.messages()[-1], r"starts in \d\.\d s$|starts at once$")
        self.assertEqual(len(self.messages()), 3)

    def test_startFailuresAreRateLimited(self) -> None:
        """
        A failure to start a worker is logged in the same way, but also soon after an
        exit.
        """
        self.service(*self.sockets(1))
        self.spawner.error = OSError(24, "Too many open files")
        self.spawner.workers[-1].exit("signal 11")
        self.reactor.advance(0)
        what = "worker 1 cannot be started: Too many open files; next attempt "
        self.assertEqual(self.messages()[1:], [what + "in 0.1 s"])
        self.reactor.pump([0.1] * 40)
        self.assertEqual(len(self.messages()), 2)
        self.reactor.advance(26)
        self.assertEqual(
            self.messages()[2:], [what + "in 6.4 s; 5 more since the last such line"]
        )

    def test_exitsAreLoggedWhenStopped(self) -> None:
        """
        Exits and failures that were only counted are logged when the service stops,
        and nothing after that.
        """
        service = self.service(*self.sockets(1))
        for _ in range(3):
            self.spawner.workers[-1].exit("signal 11")
            self.reactor.advance(1)
        self.spawner.error = OSError(24, "Too many open files")
        self.spawner.workers[-1].exit("signal 6")
        self.reactor.pump([0.1] * 20)
        count = len(self.messages())
        self.successResultOf(service.stopService())
        what = "worker 1 cannot be started: Too many open files; "
        messages = self.messages()[count:]
        self.assertEqual(
            messages[0], what + "datagrams that have arrived for it are lost"
        )
        self.assertRegex(
            messages[1],
            r"^worker 1 .* exited: signal 6; .*; 2 more since the last such line$",
        )
        self.assertRegex(messages[2], f"^{what}next attempt in .* s")
        self.assertIn("stopped listening", messages[3])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_dropsAreLoggedOnce(self) -> None:
        """
        Drops of several workers for one reason are one line, as those of a single
        process, and one sum.
        """
        service = self.service(*self.sockets())
        for worker in self.spawner.workers:
            snapshot = Snapshot(
                received={"ipv4": 5},
                replies=2,
                dropped={"loop": 1},
                sendErrors={"EPERM": 2},
            )
            worker.send("snapshot", snapshot.toJSON())
        self.assertEqual(
            self.messages(), ["not answered: 1 loop", "not answered: 2 EPERM"]
        )
        self.assertEqual(
            str(service.counters),
            "received 10, answered 4, dropped 6 (4 EPERM, 2 loop)",
        )

    def test_events(self) -> None:
        """
        The log events of a worker are logged, with its number.
        """
        self.service(*self.sockets())
        self.spawner.workers[1].send("event", "critical", "{all} is lost")
        self.assertEqual(self.messages(), ["worker 2: {all} is lost"])
        [event] = self.log
        self.assertEqual(event["log_level"].name, "critical")

    def test_snapshot(self) -> None:
        """
        The snapshot is the sum over all workers, up to now, and over those that have
        exited.
        """
        service = self.service(*self.sockets())
        first, second = self.spawner.workers
        first.send("snapshot", Snapshot(replies=1).toJSON())
        first.exit("signal 9")
        second.send("ready")
        requested = service.snapshot()
        self.assertEqual(second.received(), [["snapshot"]])
        self.assertNoResult(requested)
        second.send("snapshot", Snapshot(replies=10).toJSON())
        self.assertEqual(self.successResultOf(requested), Snapshot(replies=11))

    def test_snapshotsAreCheap(self) -> None:
        """
        The snapshot of a worker is added to the totals without a system call, so that
        its cost does not depend on the number of workers and sockets.
        """
        read: list[socket.socket] = []

        def kernelDrops(sock: socket.socket) -> int:
            read.append(sock)
            return 0

        self.patch(sockopt, "kernelDrops", kernelDrops)
        service = self.service(*self.sockets())
        read.clear()
        for worker in [*self.spawner.workers] * 2:
            new = Snapshot(received={"unix": 3}, replies=1, dropped={"loop": 2})
            worker.send("snapshot", new.toJSON())
        self.assertEqual(read, [])
        self.assertEqual(
            str(service.counters), "received 12, answered 4, dropped 8 (8 loop)"
        )
        total = self.successResultOf(service.snapshot())
        self.assertEqual(len(read), 2)
        self.assertEqual(
            total, Snapshot(received={"unix": 12}, replies=4, dropped={"loop": 8})
        )

    def test_checkWorkers(self) -> None:
        """
        There is a line for each worker that is not ready, has exited or does not
        respond.
        """
        service = self.service(*self.sockets(3), count=3)
        lines = [f"worker {number} does not respond" for number in (1, 2, 3)]
        self.assertEqual(self.successResultOf(service.checkWorkers()), lines)
        for worker in self.spawner.workers:
            worker.send("ready")
        checked = Deferred.fromCoroutine(service.checkWorkers())
        self.spawner.workers[0].exit("signal 9")
        self.spawner.workers[1].send("snapshot", Snapshot().toJSON())
        self.assertNoResult(checked)
        self.reactor.advance(1)
        self.assertEqual(self.successResultOf(checked), [lines[0], lines[2]])

    def test_kernelDrops(self) -> None:
        """
        The drops of the kernel are counted in this process, where the sockets outlive
        the workers, and remain known after the sockets are closed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        service = self.service(sock, count=1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
        [worker] = self.spawner.workers
        worker.send("snapshot", Snapshot(kernelDrops=7).toJSON())
        before = self.successResultOf(service.snapshot())
        if before.kernelDrops == 0:
            self.skipTest("the system does not count drops")
        self.assertGreater(before.kernelDrops, 7)
        stopped = service.stopService()
        worker.exit("exit status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(service.snapshot()), before)
        drops = f"{before.kernelDrops} datagrams dropped by the kernel"
        self.assertEqual(self.messages()[-1], f"{drops}: receive buffer full")

    def test_earlierKernelDrops(self) -> None:
        """
        The drops of the kernel before the service had the sockets are not counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
            if not kernelDrops(sock):
                self.skipTest("the system does not count drops")
            service = self.service(sock, count=1)
            self.assertEqual(self.successResultOf(service.snapshot()), Snapshot())
            client.send(bytes(100))
        snapshot = self.successResultOf(service.snapshot())
        self.assertEqual(snapshot.kernelDrops, 1)
        stopped = service.stopService()
        self.spawner.workers[0].exit("signal 9")
        self.successResultOf(stopped)
        self.assertIn(
            "1 datagrams dropped by the kernel: receive buffer full", self.messages()
        )

    def test_stop(self) -> None:
        """
        All workers are asked to stop.  When they have stopped, the sockets are closed
        and the totals are logged.
        """
        sockets = self.sockets()
        paths = [sock.getsockname() for sock in sockets]
        service = self.service(*sockets)
        stopped = service.stopService()
        for worker in self.spawner.workers:
            self.assertEqual(worker.received(), [["stop"]])
            self.assertNoResult(stopped)
            self.assertTrue(all(map(os.path.exists, paths)))
            worker.send("snapshot", Snapshot(received={"unix": 2}, replies=2).toJSON())
            worker.send("stopped")
            worker.exit("exit status 0")
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
        A worker that exits before it has stopped is logged.
        """
        service = self.service(*self.sockets(1))
        stopped = service.stopService()
        self.spawner.workers[0].exit("signal 9")
        self.successResultOf(stopped)
        self.assertEqual(
            self.messages()[0],
            "worker 1 (process 1001) exited: signal 9; datagrams that it had received "
            "may be unanswered",
        )

    def test_startedAgain(self) -> None:
        """
        A service that was stopped cannot be started again, and starts no workers when
        the reactor runs only after that.
        """
        service = Supervisor([self.sockets(1)], reactor=self.reactor, spawn=self.spawn)
        service.startService()
        self.successResultOf(service.stopService())
        self.reactor.run()
        self.assertEqual(self.given, [])
        self.assertRaises(RuntimeError, service.startService)

    def test_neverStarted(self) -> None:
        """
        A service that is stopped before it was started closes its sockets.
        """
        sockets = self.sockets(1)
        self.successResultOf(Supervisor([sockets]).stopService())
        self.assertEqual(sockets[0].fileno(), -1)
        self.assertEqual(self.messages(), [])
