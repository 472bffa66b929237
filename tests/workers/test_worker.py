"""
Tests for L{shout.workers.worker}.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout import Shout, ShoutService, bindUNIX
from shout.counters import Snapshot
from shout.sockets.unix import connectUNIX
from shout.workers import worker
from shout.workers.channel import Channel
from shout.workers.worker import Worker, spawnWorker
from tests.directory import shortDirectory


class WorkerTests(SynchronousTestCase):
    """
    Tests for L{Worker}, with a fake reactor.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.running = True
        self.path = os.path.join(shortDirectory(self), "s")
        self.sock = bindUNIX(self.path)
        self.addCleanup(self.sock.close)
        self.service = ShoutService([self.sock], reactor=self.reactor)
        self.worker = Worker(self.service, self.reactor)
        self.transport = StringTransport()
        self.worker.makeConnection(self.transport)
        self.log = self.logger("tests")

    def logger(self, namespace: str, worker: Worker | None = None) -> Logger:
        """
        Return a logger that the worker observes.
        """
        observer: Any = (worker or self.worker).observe
        return Logger(namespace, observer=LogPublisher(observer))

    def sent(self) -> list[Any]:
        """
        Return the messages of the worker since the last call.
        """
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [json.loads(line) for line in lines]

    def send(self, name: str) -> None:
        """
        Send a message to the worker.
        """
        self.worker.dataReceived(json.dumps([name]).encode() + b"\n")

    def ask(self) -> bytes:
        """
        Send a datagram to the service, and return the reply.
        """
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            for reader in self.reactor.getReaders():
                reader.doRead()
            return client.recv(100)

    def disconnect(self) -> None:
        """
        Close the connection, and run the calls that are due.
        """
        self.worker.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(0)

    def test_ready(self) -> None:
        """
        The worker begins to answer, and then reports that it is ready.
        """
        self.assertEqual(self.sent(), [["ready"]])
        self.assertEqual(self.ask(), b"HELLO")

    def test_cannotAnswer(self) -> None:
        """
        If the service does not start, the worker reports the reason, disconnects and
        exits.
        """

        def fail() -> None:
            raise RuntimeError("no way")

        self.patch(self.service, "startService", fail)
        failed = Worker(self.service, self.reactor)
        self.transport = StringTransport()
        self.patch(Worker, "_log", self.logger("tests", failed))
        failed.makeConnection(self.transport)
        [(name, level, text)] = self.sent()
        self.assertEqual((name, level), ("event", "critical"))
        self.assertIn("cannot start the service", text)
        self.assertIn("RuntimeError: no way", text)
        self.assertTrue(self.transport.disconnecting)
        self.assertIs(self.transport.producer, None)
        self.assertTrue(self.reactor.running)
        failed.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.reactor.running)

    def test_snapshot(self) -> None:
        """
        The worker sends the counts since its last snapshot on request, and at intervals
        if they have changed.
        """
        self.sent()
        self.send("snapshot")
        self.assertEqual(self.sent(), [["snapshot", self.service.snapshot().toJSON()]])
        self.reactor.advance(Worker.interval)
        self.assertEqual(self.sent(), [])
        self.ask()
        self.assertEqual(self.sent(), [])
        self.reactor.advance(Worker.interval)
        [[_, values]] = self.sent()
        self.assertEqual(Snapshot.fromJSON(values).replies, 1)
        self.reactor.advance(Worker.interval)
        self.assertEqual(self.sent(), [])
        self.ask()
        self.send("snapshot")
        self.send("snapshot")
        (_, values), (_, again) = self.sent()
        new = Snapshot(received={"unix": 1}, receivedBytes=5, replies=1, replyBytes=5)
        self.assertEqual(Snapshot.fromJSON(values), new)
        self.assertEqual(Snapshot.fromJSON(again), Snapshot(received={"unix": 0}))

    def test_paused(self) -> None:
        """
        While the supervisor does not read, nothing is buffered for it.
        """
        self.sent()
        self.worker.pauseProducing()
        self.ask()
        self.reactor.advance(Worker.interval)
        self.log.warn("not sent")
        self.assertEqual(self.sent(), [])
        self.worker.resumeProducing()
        self.reactor.advance(Worker.interval)
        self.assertEqual([name for name, _ in self.sent()], ["snapshot"])

    def test_events(self) -> None:
        """
        The worker sends its log events, with their tracebacks, except those for
        debugging.
        """
        self.sent()
        self.log.debug("a detail")
        self.log.warn("mind the {what}", what="gap")
        try:
            raise ValueError("sudden")
        except ValueError:
            self.log.failure("what now?")
        (_, level, text), (_, failed, why) = self.sent()
        self.assertEqual((level, text), ("warn", "mind the gap"))
        self.assertEqual(failed, "critical")
        self.assertTrue(why.startswith("what now?\nTraceback"))
        self.assertIn("ValueError: sudden", why)

    def test_longEvent(self) -> None:
        """
        The beginning of a long event is sent, and fits in a message, whatever the
        characters.
        """
        self.sent()
        received: list[tuple[str, str]] = []

        class EventChannel(Channel):
            def handleEvent(self, level: str, text: str) -> None:
                received.append((level, text))

        self.log.warn("{text}", text="\N{PILE OF POO}" * 200_000)
        self.log.warn("the next")
        channel, transport = EventChannel(), StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(self.transport.value())
        self.assertFalse(transport.disconnecting)
        (_, long), last = received
        self.assertEqual(set(long), {"\N{PILE OF POO}"})
        self.assertGreater(len(long), 10_000)
        self.assertEqual(last, ("warn", "the next"))

    def test_supervisorsEvents(self) -> None:
        """
        Events that the supervisor logs for all workers are not sent.
        """
        self.sent()
        for namespace in ("shout.service.ShoutService", "shout.counters.Counters"):
            self.logger(namespace).warn("not answered: 1 loop")
        self.assertEqual(self.sent(), [])

    def test_stop(self) -> None:
        """
        On request the worker answers the datagrams that have arrived, sends its last
        counts, disconnects and exits.
        """
        self.sent()
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            self.send("stop")
            self.send("stop")
            self.assertEqual(client.recv(100), b"HELLO")
        self.reactor.advance(0)
        [[_, values], [last]] = self.sent()
        self.assertEqual(last, "stopped")
        self.assertEqual(Snapshot.fromJSON(values).replies, 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertTrue(self.reactor.running)
        self.disconnect()
        self.assertFalse(self.reactor.running)

    def test_supervisorExits(self) -> None:
        """
        When the supervisor has exited, the worker answers the datagrams that have
        arrived, and exits.
        """
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            self.disconnect()
            self.assertEqual(client.recv(100), b"HELLO")
        self.assertFalse(self.reactor.running)
        self.log.warn("not sent")

    def test_supervisorExitsMeanwhile(self) -> None:
        """
        When the supervisor exits while the worker stops, the worker exits when it has
        stopped.
        """
        stopping: Deferred[None] = Deferred()
        self.patch(self.service, "stopService", lambda: stopping)
        self.send("stop")
        self.worker.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.reactor.running)
        stopping.callback(None)
        self.assertFalse(self.reactor.running)


class SpawnWorkerTests(SynchronousTestCase):
    """
    Tests for L{spawnWorker} with errors of the system.
    """

    def setUp(self) -> None:
        self.pair = socket.socketpair()
        for sock in self.pair:
            self.addCleanup(sock.close)
        self.patch(socket, "socketpair", lambda: self.pair)
        self.error = OSError(24, "Too many open files")

    def spawn(self) -> None:
        """
        Fail to start a worker, and leave no socket open.
        """
        error = self.error

        class Failing(Channel):
            def open(self, sock: socket.socket, reactor: object) -> None:
                with sock:
                    raise error

        raised = self.assertRaises(
            OSError, spawnWorker, Shout, MemoryReactorClock(), [], Failing()
        )
        self.assertIs(raised, error)
        self.assertEqual([sock.fileno() for sock in self.pair], [-1, -1])

    def test_noProcess(self) -> None:
        """
        If no process can be started, both ends of the channel are closed.
        """

        def fork(run: object, keep: object) -> None:
            raise self.error

        self.patch(worker, "fork", fork)
        self.spawn()

    def test_noChannel(self) -> None:
        """
        If the channel cannot be opened, the process is killed and reaped.
        """
        calls: list[str] = []

        class FakeProcess:
            def kill(self) -> None:
                calls.append("kill")

            def wait(self, clock: MemoryReactorClock) -> None:
                calls.append("wait")

        self.patch(worker, "fork", lambda run, keep: FakeProcess())
        self.spawn()
        self.assertEqual(calls, ["kill", "wait"])
