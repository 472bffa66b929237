"""
Tests for L{shout.workers.slot}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.counters import Snapshot
from shout.workers.backoff import Backoff
from shout.workers.slot import WorkerSlot
from tests.spawning import Spawner


class ISupervisor:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []

    def workerReady(self, slot: WorkerSlot) -> None:
        self.told.append("ready")

    def workerCounted(self, new: Snapshot) -> None:
        self.told.append(new)

    def workerSaid(self, slot: WorkerSlot, level: str, text: str) -> None:
        self.told.append((level, text))

    def workerEnded(self, slot: WorkerSlot, what: str, wait: float | None) -> None:
        self.told.append((what, wait))

    def workerNotStarted(self, slot: WorkerSlot, why: str, wait: float | None) -> None:
        self.told.append(("not started", why, wait))


class PostTests(SynchronousTestCase):
    """
    Tests for L{WorkerSlot}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = Spawner()
        self.supervisor = ISupervisor()
        self.slot = WorkerSlot(1, self.spawner, self.supervisor, self.clock)

    def told(self) -> list[Any]:
        """
        Return what the employer was told since this was called last.
        """
        told, self.supervisor.told = self.supervisor.told, []
        return told

    def test_fill(self) -> None:
        """
        A worker is started, and when it says that it is ready, the employer is
        told.
        """
        self.assertIs(self.slot.pid, None)
        self.slot.startWorker()
        [worker] = self.spawner.workers
        self.assertEqual(self.slot.pid, worker.pid)
        self.assertEqual(self.told(), [])
        worker.says("ready")
        self.assertEqual(self.told(), ["ready"])

    def test_successor(self) -> None:
        """
        When a worker ends, it is reaped and the employer is told how; another
        starts at once.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.says("ready")
        self.clock.advance(Backoff.while_)
        self.told()
        first.ends("signal 9")
        self.assertTrue(first.isReaped)
        what = f"worker 1 (process {first.pid}) ended: signal 9"
        self.assertEqual(self.told(), [(what, 0)])
        self.assertIs(self.slot.pid, None)
        self.clock.advance(0)
        self.assertEqual(self.slot.pid, self.spawner.workers[1].pid)

    def test_keepsEnding(self) -> None:
        """
        Where workers keep ending, the next one is waited for ever longer, until
        one has been ready a while.
        """
        waits = []
        self.slot.startWorker()
        for _ in range(12):
            before = self.clock.seconds()
            count = len(self.spawner.workers)
            self.spawner.workers[-1].ends("exit status 1")
            while len(self.spawner.workers) == count:
                self.clock.advance(0.05)
            waits.append(self.clock.seconds() - before)
        self.assertEqual(waits, sorted(waits))
        self.assertLess(waits[0], 0.1)
        self.assertGreater(waits[-1], 30)
        self.spawner.workers[-1].says("ready")
        self.clock.advance(Backoff.while_)
        self.told()
        self.spawner.workers[-1].ends("exit status 1")
        self.assertEqual(self.told()[-1][1], 0)

    def test_slowToBeReady(self) -> None:
        """
        The time until a worker is ready does not count as life.
        """
        self.slot.startWorker()
        for wait in (0, Backoff.least):
            self.clock.advance(100)
            self.told()
            self.spawner.workers[-1].ends("exit status 1")
            self.assertEqual(self.told()[-1][1], wait)
            self.clock.advance(wait)

    def test_successorSlowToBeReady(self) -> None:
        """
        Neither does the life of the one before it.
        """
        self.slot.startWorker()
        self.spawner.workers[0].says("ready")
        self.clock.advance(100)
        for wait in (0, Backoff.least, 2 * Backoff.least):
            self.told()
            self.spawner.workers[-1].ends("exit status 1")
            self.assertEqual(self.told()[-1][1], wait)
            self.clock.advance(wait)
            self.clock.advance(100)

    def test_notReaped(self) -> None:
        """
        A worker that has ended and cannot be reaped, as when somebody debugs it, is
        killed and replaced all the same, and that is told a little later.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.says("ready")
        self.clock.advance(Backoff.while_)
        first.isHeld = True
        self.told()
        first.ends("signal 9")
        self.assertTrue(first.isKilled)
        self.assertEqual(self.told(), [])
        self.clock.advance(0)
        second = self.spawner.workers[1]
        self.assertEqual(self.slot.pid, second.pid)
        self.clock.advance(WorkerSlot.attention)
        what = f"worker 1 (process {first.pid}) ended: not known how, "
        what += "while something such as a debugger keeps it"
        self.assertEqual(self.told(), [(what, 0)])
        first.letGo()
        self.assertEqual(self.told(), [])
        stopped = self.slot.stop()
        second.says("stopped")
        second.ends("exit status 0")
        self.successResultOf(stopped)

    def test_notReapedWhenStopped(self) -> None:
        """
        When it stops meanwhile, that waits until it is told how the worker before has
        ended: there is nothing to tell afterwards.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.isHeld = True
        first.ends("signal 9")
        self.clock.advance(0)
        self.told()
        second = self.spawner.workers[1]
        stopped = self.slot.stop()
        second.says("stopped")
        second.ends("exit status 0")
        self.assertNoResult(stopped)
        self.clock.advance(WorkerSlot.attention)
        self.assertEqual(len(self.told()), 1)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cannotStart(self) -> None:
        """
        Where the system starts no process, that counts as an end.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.slot.startWorker()
        self.assertEqual(
            self.told(),
            [("not started", "Resource temporarily unavailable", 0)],
        )
        self.spawner.error = None
        self.clock.advance(0)
        self.assertEqual(len(self.spawner.workers), 1)

    def test_figures(self) -> None:
        """
        What a worker has done the employer is told.
        """
        self.slot.startWorker()
        snapshot = Snapshot(received={"ipv4": 3}, replies=2, dropped={"loop": 1})
        self.spawner.workers[0].says("snapshot", snapshot.toJSON())
        self.assertEqual(self.told(), [snapshot])

    def test_ask(self) -> None:
        """
        A worker that is ready can be asked for its figures.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        self.assertFalse(self.successResultOf(self.slot.ask()))
        worker.says("ready")
        asked = self.slot.ask()
        self.assertEqual(worker.told(), [["snapshot"]])
        self.assertNoResult(asked)
        worker.says("snapshot", Snapshot(replies=2).toJSON())
        self.assertTrue(self.successResultOf(asked))
        self.assertEqual(self.told()[-1], Snapshot(replies=2))

    def test_askInVain(self) -> None:
        """
        A worker that does not tell its figures in time, or ends, is not waited
        for.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        worker.says("ready")
        late = self.slot.ask()
        self.clock.advance(WorkerSlot.attention)
        self.assertFalse(self.successResultOf(late))
        # It is not asked again before it has answered.
        self.assertEqual(worker.told(), [["snapshot"]])
        asked = self.slot.ask()
        self.clock.advance(WorkerSlot.attention)
        self.assertFalse(self.successResultOf(asked))
        self.assertEqual(worker.told(), [])
        worker.says("snapshot", Snapshot().toJSON())
        ended = self.slot.ask()
        worker.ends("signal 9")
        self.assertFalse(self.successResultOf(ended))

    def test_said(self) -> None:
        """
        What a worker would have logged the employer is told.
        """
        self.slot.startWorker()
        self.spawner.workers[0].says("event", "warn", "mind")
        self.assertEqual(self.told(), [("warn", "mind")])

    def test_stop(self) -> None:
        """
        A worker is told to stop, and is not replaced when it has ended.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        stopped = self.slot.stop()
        self.assertEqual(worker.told(), [["stop"]])
        self.assertNoResult(stopped)
        again = self.slot.stop()
        self.assertEqual(worker.told(), [])
        worker.says("snapshot", Snapshot(replies=2).toJSON())
        worker.says("stopped")
        worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told(), [Snapshot(replies=2)])
        self.successResultOf(self.slot.stop())

    def test_doesNotStop(self) -> None:
        """
        A worker that does not end in time is killed, which the employer is told.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        stopped = self.slot.stop()
        self.clock.advance(WorkerSlot.patience - 0.1)
        self.assertFalse(worker.isKilled)
        self.clock.advance(0.1)
        self.assertTrue(worker.isKilled)
        worker.ends("signal 9")
        self.successResultOf(stopped)
        what = f"worker 1 (process {worker.pid}) ended: signal 9"
        self.assertEqual(self.told()[-1], (what, None))

    def test_reapedLater(self) -> None:
        """
        How a worker ended is told when it can be reaped, which may take a moment.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        worker.isHeld = True
        worker.ends("signal 11")
        self.clock.advance(WorkerSlot.attention / 2)
        worker.letGo()
        what = f"worker 1 (process {worker.pid}) ended: signal 11"
        self.assertEqual(self.told(), [(what, 0)])

    def test_killedAndNotReaped(self) -> None:
        """
        A worker that has ended while it was to stop, and cannot be reaped, is not
        waited for for long.
        """
        for hasStopped in (False, True):
            slot = WorkerSlot(2, self.spawner, self.supervisor, self.clock)
            slot.startWorker()
            worker = self.spawner.workers[-1]
            worker.isHeld = True
            stopped = slot.stop()
            if hasStopped:
                worker.says("stopped")
            worker.ends("signal 9")
            self.assertNoResult(stopped)
            self.assertNoResult(slot.stop())
            self.clock.advance(WorkerSlot.attention)
            self.successResultOf(stopped)
            self.successResultOf(slot.stop())
            self.assertEqual(self.clock.getDelayedCalls(), [])
        [(what, wait)] = self.told()
        self.assertIn("something such as a debugger keeps it", what)
        self.assertIs(wait, None)

    def test_stopMeanwhile(self) -> None:
        """
        Between two workers the next one starts at once, to answer what has
        arrived, and is told to stop.
        """
        self.slot.startWorker()
        for _ in range(2):
            self.spawner.workers[-1].ends("exit status 1")
            self.clock.advance(0)
        stopped = self.slot.stop()
        worker = self.spawner.workers[-1]
        self.assertEqual((worker.pid, worker.told()), (self.slot.pid, [["stop"]]))
        worker.says("stopped")
        worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopInVain(self) -> None:
        """
        Where none can be started then, that is told, and it has stopped.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.slot.startWorker()
        self.told()
        self.successResultOf(self.slot.stop())
        self.assertEqual(
            self.told(),
            [("not started", "Resource temporarily unavailable", None)],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
