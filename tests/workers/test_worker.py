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
from shout.workers.worker import Worker, start
from tests.directory import shortDirectory


class WorkerTests(SynchronousTestCase):
    """
    Tests for L{Worker}, in a reactor that does nothing by itself.
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

    def said(self) -> list[Any]:
        """
        Return what the worker has said since this was called last.
        """
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [json.loads(line) for line in lines]

    def hear(self, word: str) -> None:
        """
        Tell the worker something.
        """
        self.worker.dataReceived(json.dumps([word]).encode() + b"\n")

    def ask(self) -> bytes:
        """
        Ask its service, and return the reply.
        """
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            for reader in self.reactor.getReaders():
                reader.doRead()
            return client.recv(100)

    def hangUp(self) -> None:
        """
        Let the connection be lost, and do what is due.
        """
        self.worker.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(0)

    def test_ready(self) -> None:
        """
        It begins to answer, and then says that it is ready.
        """
        self.assertEqual(self.said(), [["ready"]])
        self.assertEqual(self.ask(), b"HELLO")

    def test_cannotAnswer(self) -> None:
        """
        Where the service does not start, it says why and not that it is ready,
        hangs up and ends.
        """

        def fail() -> None:
            raise RuntimeError("no way")

        self.patch(self.service, "startService", fail)
        failed = Worker(self.service, self.reactor)
        self.transport = StringTransport()
        self.patch(Worker, "_log", self.logger("tests", failed))
        failed.makeConnection(self.transport)
        [(word, level, text)] = self.said()
        self.assertEqual((word, level), ("event", "critical"))
        self.assertIn("cannot answer", text)
        self.assertIn("RuntimeError: no way", text)
        self.assertTrue(self.transport.disconnecting)
        self.assertIs(self.transport.producer, None)
        self.assertTrue(self.reactor.running)
        failed.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.reactor.running)

    def test_figures(self) -> None:
        """
        It tells what is new in its figures when it is asked, and otherwise when
        there is something.
        """
        self.said()
        self.hear("snapshot")
        self.assertEqual(self.said(), [["snapshot", self.service.snapshot().toJSON()]])
        self.reactor.advance(Worker.interval)
        self.assertEqual(self.said(), [])
        self.ask()
        self.assertEqual(self.said(), [])
        self.reactor.advance(Worker.interval)
        [[_, told]] = self.said()
        self.assertEqual(Snapshot.fromJSON(told).replies, 1)
        self.reactor.advance(Worker.interval)
        self.assertEqual(self.said(), [])
        self.ask()
        self.hear("snapshot")
        self.hear("snapshot")
        (_, told), (_, again) = self.said()
        new = Snapshot(received={"unix": 1}, receivedBytes=5, replies=1, replyBytes=5)
        self.assertEqual(Snapshot.fromJSON(told), new)
        self.assertEqual(Snapshot.fromJSON(again), Snapshot(received={"unix": 0}))

    def test_noRoom(self) -> None:
        """
        While the parent does not listen, nothing piles up for it.
        """
        self.said()
        self.worker.pauseProducing()
        self.ask()
        self.reactor.advance(Worker.interval)
        self.log.warn("unheard")
        self.assertEqual(self.said(), [])
        self.worker.resumeProducing()
        self.reactor.advance(Worker.interval)
        self.assertEqual([word for word, _ in self.said()], ["snapshot"])

    def test_events(self) -> None:
        """
        It tells what it would have logged, with the traceback if there is one,
        and no details.
        """
        self.said()
        self.log.debug("a detail")
        self.log.warn("mind the {what}", what="gap")
        try:
            raise ValueError("sudden")
        except ValueError:
            self.log.failure("what now?")
        (_, level, text), (_, failed, why) = self.said()
        self.assertEqual((level, text), ("warn", "mind the gap"))
        self.assertEqual(failed, "critical")
        self.assertTrue(why.startswith("what now?\nTraceback"))
        self.assertIn("ValueError: sudden", why)

    def test_longEvent(self) -> None:
        """
        Of a long event it tells as much as the other end of the channel takes,
        whatever the characters.
        """
        self.said()
        heard: list[tuple[str, str]] = []

        class Parent(Channel):
            def handleEvent(self, level: str, text: str) -> None:
                heard.append((level, text))

        self.log.warn("{text}", text="\N{PILE OF POO}" * 200_000)
        self.log.warn("the next")
        parent, transport = Parent(), StringTransport()
        parent.makeConnection(transport)
        parent.dataReceived(self.transport.value())
        self.assertFalse(transport.disconnecting)
        (_, long), last = heard
        self.assertEqual(set(long), {"\N{PILE OF POO}"})
        self.assertGreater(len(long), 10_000)
        self.assertEqual(last, ("warn", "the next"))

    def test_parentsEvents(self) -> None:
        """
        What the parent says for all workers it does not tell.
        """
        self.said()
        for namespace in ("shout.service.ShoutService", "shout.counters.Counters"):
            self.logger(namespace).warn("not answered: 1 loop")
        self.assertEqual(self.said(), [])

    def test_stop(self) -> None:
        """
        Told to stop, it answers what has arrived, tells the last figures, hangs
        up and ends.
        """
        self.said()
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            self.hear("stop")
            self.hear("stop")
            self.assertEqual(client.recv(100), b"HELLO")
        self.reactor.advance(0)
        [[_, told], [last]] = self.said()
        self.assertEqual(last, "stopped")
        self.assertEqual(Snapshot.fromJSON(told).replies, 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertTrue(self.reactor.running)
        self.hangUp()
        self.assertFalse(self.reactor.running)

    def test_leftAlone(self) -> None:
        """
        When the parent has gone, it answers what has arrived, and ends.
        """
        with connectUNIX(self.path) as client:
            client.send(b"hello")
            self.hangUp()
            self.assertEqual(client.recv(100), b"HELLO")
        self.assertFalse(self.reactor.running)
        self.log.warn("nobody hears this")

    def test_leftAloneWhileStopping(self) -> None:
        """
        When the parent goes while the worker stops, it ends all the same.
        """
        stopping: Deferred[None] = Deferred()
        self.patch(self.service, "stopService", lambda: stopping)
        self.hear("stop")
        self.worker.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.reactor.running)
        stopping.callback(None)
        self.assertFalse(self.reactor.running)


class StartTests(SynchronousTestCase):
    """
    Tests for L{start} where the system refuses something.
    """

    def setUp(self) -> None:
        self.pair = socket.socketpair()
        for sock in self.pair:
            self.addCleanup(sock.close)
        self.patch(socket, "socketpair", lambda: self.pair)
        self.error = OSError(24, "Too many open files")

    def start(self) -> None:
        """
        Try to start a worker, in vain, and keep nothing of it.
        """
        error = self.error

        class Closed(Channel):
            def open(self, sock: socket.socket, reactor: object) -> None:
                with sock:
                    raise error

        raised = self.assertRaises(
            OSError, start, Closed(), [], Shout, MemoryReactorClock()
        )
        self.assertIs(raised, error)
        self.assertEqual([sock.fileno() for sock in self.pair], [-1, -1])

    def test_noProcess(self) -> None:
        """
        Where no process can be started, both ends of the channel are closed.
        """

        def fork(work: object, keep: object) -> None:
            raise self.error

        self.patch(worker, "fork", fork)
        self.start()

    def test_noChannel(self) -> None:
        """
        Where the channel cannot be opened, the process is ended and reaped.
        """
        did: list[str] = []

        class Child:
            def kill(self) -> None:
                did.append("kill")

            def wait(self, clock: MemoryReactorClock) -> None:
                did.append("wait")

        self.patch(worker, "fork", lambda work, keep: Child())
        self.start()
        self.assertEqual(did, ["kill", "wait"])
