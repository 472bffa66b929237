"""
Tests for L{shout.workers.slot}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout.counters import Snapshot
from shout.workers.backoff import Backoff
from shout.workers.slot import ISupervisor, WorkerSlot
from tests.workers.fakes import FakeSpawner, FakeSupervisor


class WorkerSlotTests(SynchronousTestCase):
    """
    Tests for L{WorkerSlot}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = FakeSpawner()
        self.supervisor = FakeSupervisor()
        self.slot = WorkerSlot(1, self.spawner, self.supervisor, self.clock)

    def calls(self) -> list[Any]:
        """
        Return the callbacks of the supervisor since the last call.
        """
        calls, self.supervisor.calls = self.supervisor.calls, []
        return calls

    def test_interface(self) -> None:
        """
        The supervisor of these tests provides the interface.
        """
        verifyObject(ISupervisor, self.supervisor)

    def test_startWorker(self) -> None:
        """
        A worker is started, and reported when it is ready.
        """
        self.assertIs(self.slot.pid, None)
        self.slot.startWorker()
        [worker] = self.spawner.workers
        self.assertEqual(self.slot.pid, worker.pid)
        self.assertEqual(self.calls(), [])
        worker.send("ready")
        self.assertEqual(self.calls(), ["ready"])

    def test_successor(self) -> None:
        """
        A worker that exits is reaped and reported with its status, and a successor
        starts at once.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.send("ready")
        self.clock.advance(Backoff.minUptime)
        self.calls()
        first.exit("signal 9")
        self.assertTrue(first.isReaped)
        self.assertEqual(self.calls(), [("exited", first.pid, "signal 9", 0)])
        self.assertIs(self.slot.pid, None)
        self.clock.advance(0)
        self.assertEqual(self.slot.pid, self.spawner.workers[1].pid)

    def test_keepsExiting(self) -> None:
        """
        While workers keep exiting, each successor starts later than the one before,
        until a worker has been ready for a while.
        """
        delays = []
        self.slot.startWorker()
        for _ in range(12):
            before = self.clock.seconds()
            count = len(self.spawner.workers)
            self.spawner.workers[-1].exit("exit status 1")
            while len(self.spawner.workers) == count:
                self.clock.advance(0.05)
            delays.append(self.clock.seconds() - before)
        self.assertEqual(delays, sorted(delays))
        self.assertLess(delays[0], 0.1)
        self.assertGreater(delays[-1], 30)
        self.spawner.workers[-1].send("ready")
        self.clock.advance(Backoff.minUptime)
        self.calls()
        self.spawner.workers[-1].exit("exit status 1")
        self.assertEqual(self.calls()[-1][-1], 0)

    def test_slowToBeReady(self) -> None:
        """
        The time until a worker is ready does not count as uptime.
        """
        self.slot.startWorker()
        for delay in (0, Backoff.minDelay):
            self.clock.advance(100)
            self.calls()
            self.spawner.workers[-1].exit("exit status 1")
            self.assertEqual(self.calls()[-1][-1], delay)
            self.clock.advance(delay)

    def test_successorSlowToBeReady(self) -> None:
        """
        The uptime of its predecessor does not count for a worker that is not ready.
        """
        self.slot.startWorker()
        self.spawner.workers[0].send("ready")
        self.clock.advance(100)
        for delay in (0, Backoff.minDelay, 2 * Backoff.minDelay):
            self.calls()
            self.spawner.workers[-1].exit("exit status 1")
            self.assertEqual(self.calls()[-1][-1], delay)
            self.clock.advance(delay)
            self.clock.advance(100)

    def test_notReaped(self) -> None:
        """
        A worker that has exited and cannot be reaped, as in a debugger, is killed and
        replaced, and reported a little later with an unknown status.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.send("ready")
        self.clock.advance(Backoff.minUptime)
        first.isHeld = True
        self.calls()
        first.exit("signal 9")
        self.assertTrue(first.isKilled)
        self.assertEqual(self.calls(), [])
        self.clock.advance(0)
        second = self.spawner.workers[1]
        self.assertEqual(self.slot.pid, second.pid)
        self.clock.advance(WorkerSlot.reapTimeout)
        status = "status unknown, a debugger may hold the process"
        self.assertEqual(self.calls(), [("exited", first.pid, status, 0)])
        first.reap()
        self.assertEqual(self.calls(), [])
        stopped = self.slot.stop()
        second.send("stopped")
        second.exit("exit status 0")
        self.successResultOf(stopped)

    def test_notReapedWhenStopped(self) -> None:
        """
        The slot has not stopped before the exit of each earlier worker is reported:
        nothing is reported afterwards.
        """
        self.slot.startWorker()
        first = self.spawner.workers[0]
        first.isHeld = True
        first.exit("signal 9")
        self.clock.advance(0)
        self.calls()
        second = self.spawner.workers[1]
        stopped = self.slot.stop()
        second.send("stopped")
        second.exit("exit status 0")
        self.assertNoResult(stopped)
        self.clock.advance(WorkerSlot.reapTimeout)
        self.assertEqual(len(self.calls()), 1)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_startFails(self) -> None:
        """
        A process that the system cannot start is reported, and counts as an exit.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.slot.startWorker()
        self.assertEqual(
            self.calls(),
            [("start failed", "Resource temporarily unavailable", 0)],
        )
        self.assertIs(self.slot.pid, None)
        self.spawner.error = None
        self.clock.advance(0)
        self.assertEqual(len(self.spawner.workers), 1)

    def test_snapshot(self) -> None:
        """
        The snapshots of a worker reach the supervisor.
        """
        self.slot.startWorker()
        snapshot = Snapshot(received={"ipv4": 3}, replies=2, dropped={"loop": 1})
        self.spawner.workers[0].send("snapshot", snapshot.toJSON())
        self.assertEqual(self.calls(), [("snapshot", snapshot)])

    def test_requestSnapshot(self) -> None:
        """
        A worker that is ready sends a snapshot on request.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        self.assertFalse(self.successResultOf(self.slot.requestSnapshot()))
        worker.send("ready")
        requested = self.slot.requestSnapshot()
        self.assertEqual(worker.received(), [["snapshot"]])
        self.assertNoResult(requested)
        worker.send("snapshot", Snapshot(replies=2).toJSON())
        self.assertTrue(self.successResultOf(requested))
        self.assertEqual(self.calls()[-1], ("snapshot", Snapshot(replies=2)))

    def test_noSnapshot(self) -> None:
        """
        A request fails if the worker does not respond in time, or exits.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        worker.send("ready")
        late = self.slot.requestSnapshot()
        self.clock.advance(WorkerSlot.replyTimeout)
        self.assertFalse(self.successResultOf(late))
        self.assertEqual(worker.received(), [["snapshot"]])
        # No second request is sent before the first is answered.
        again = self.slot.requestSnapshot()
        self.clock.advance(WorkerSlot.replyTimeout)
        self.assertFalse(self.successResultOf(again))
        self.assertEqual(worker.received(), [])
        worker.send("snapshot", Snapshot().toJSON())
        last = self.slot.requestSnapshot()
        worker.exit("signal 9")
        self.assertFalse(self.successResultOf(last))

    def test_event(self) -> None:
        """
        The log events of a worker reach the supervisor.
        """
        self.slot.startWorker()
        self.spawner.workers[0].send("event", "warn", "mind")
        self.assertEqual(self.calls(), [("event", "warn", "mind")])

    def test_stop(self) -> None:
        """
        A worker is asked once to stop, and has no successor.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        stopped = self.slot.stop()
        self.assertEqual(worker.received(), [["stop"]])
        self.assertNoResult(stopped)
        again = self.slot.stop()
        self.assertEqual(worker.received(), [])
        worker.send("snapshot", Snapshot(replies=2).toJSON())
        worker.send("stopped")
        worker.exit("exit status 0")
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.calls(), [("snapshot", Snapshot(replies=2))])
        self.successResultOf(self.slot.stop())

    def test_stopTimeout(self) -> None:
        """
        A worker that does not stop in time is killed and reported.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        stopped = self.slot.stop()
        self.clock.advance(WorkerSlot.stopTimeout - 0.1)
        self.assertFalse(worker.isKilled)
        self.clock.advance(0.1)
        self.assertTrue(worker.isKilled)
        worker.exit("signal 9")
        self.successResultOf(stopped)
        self.assertEqual(self.calls()[-1], ("exited", worker.pid, "signal 9", None))

    def test_reapedLater(self) -> None:
        """
        The exit of a worker is reported when it is reaped, which may take a moment.
        """
        self.slot.startWorker()
        [worker] = self.spawner.workers
        worker.isHeld = True
        worker.exit("signal 11")
        self.clock.advance(WorkerSlot.reapTimeout / 2)
        worker.reap()
        self.assertEqual(self.calls(), [("exited", worker.pid, "signal 11", 0)])

    def test_notReapedInTime(self) -> None:
        """
        A slot has stopped a little after its worker has exited, even if the worker
        cannot be reaped.
        """
        for hasStopped in (False, True):
            slot = WorkerSlot(2, self.spawner, self.supervisor, self.clock)
            slot.startWorker()
            worker = self.spawner.workers[-1]
            worker.isHeld = True
            stopped = slot.stop()
            if hasStopped:
                worker.send("stopped")
            worker.exit("signal 9")
            self.assertNoResult(stopped)
            self.assertNoResult(slot.stop())
            self.clock.advance(WorkerSlot.reapTimeout)
            self.successResultOf(stopped)
            self.successResultOf(slot.stop())
            self.assertEqual(self.clock.getDelayedCalls(), [])
        [(_, _, status, delay)] = self.calls()
        self.assertIn("status unknown", status)
        self.assertIs(delay, None)

    def test_stopBetweenWorkers(self) -> None:
        """
        If no worker is there, one is started at once to answer the datagrams that have
        arrived, and is asked to stop.
        """
        self.slot.startWorker()
        for _ in range(2):
            self.spawner.workers[-1].exit("exit status 1")
            self.clock.advance(0)
        stopped = self.slot.stop()
        worker = self.spawner.workers[-1]
        self.assertEqual((worker.pid, worker.received()), (self.slot.pid, [["stop"]]))
        worker.send("stopped")
        worker.exit("exit status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopWithoutWorker(self) -> None:
        """
        If no worker can be started then, that is reported, and the slot has stopped.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.slot.startWorker()
        self.calls()
        self.successResultOf(self.slot.stop())
        self.assertEqual(
            self.calls(),
            [("start failed", "Resource temporarily unavailable", None)],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
