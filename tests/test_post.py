"""
Tests for L{shout.processes.post}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.figures import Figures
from shout.processes.backoff import Backoff
from shout.processes.post import Post
from tests.spawning import Spawner


class Employer:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []

    def workerReady(self, post: Post) -> None:
        self.told.append("ready")

    def workerCounted(self, new: Figures) -> None:
        self.told.append(new)

    def workerSaid(self, post: Post, level: str, text: str) -> None:
        self.told.append((level, text))

    def workerEnded(self, post: Post, what: str, wait: float | None) -> None:
        self.told.append((what, wait))

    def workerNotStarted(self, post: Post, why: str, wait: float | None) -> None:
        self.told.append(("not started", why, wait))


class PostTests(SynchronousTestCase):
    """
    Tests for L{Post}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.spawner = Spawner()
        self.employer = Employer()
        self.post = Post(1, self.spawner, self.employer, self.clock)

    def told(self) -> list[Any]:
        """
        Return what the employer was told since this was called last.
        """
        told, self.employer.told = self.employer.told, []
        return told

    def test_fill(self) -> None:
        """
        A worker is started, and when it says that it is ready, the employer is
        told.
        """
        self.assertIs(self.post.pid, None)
        self.post.fill()
        [worker] = self.spawner.workers
        self.assertEqual(self.post.pid, worker.pid)
        self.assertEqual(self.told(), [])
        worker.says("ready")
        self.assertEqual(self.told(), ["ready"])

    def test_successor(self) -> None:
        """
        When a worker ends, it is reaped and the employer is told how; another
        starts at once.
        """
        self.post.fill()
        first = self.spawner.workers[0]
        first.says("ready")
        self.clock.advance(Backoff.while_)
        self.told()
        first.ends("signal 9")
        self.assertTrue(first.isReaped)
        what = f"worker 1 (process {first.pid}) ended: signal 9"
        self.assertEqual(self.told(), [(what, 0)])
        self.assertIs(self.post.pid, None)
        self.clock.advance(0)
        self.assertEqual(self.post.pid, self.spawner.workers[1].pid)

    def test_keepsEnding(self) -> None:
        """
        Where workers keep ending, the next one is waited for ever longer, until
        one has been ready a while.
        """
        waits = []
        self.post.fill()
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
        self.post.fill()
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
        self.post.fill()
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
        self.post.fill()
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
        self.assertEqual(self.post.pid, second.pid)
        self.clock.advance(Post.attention)
        what = f"worker 1 (process {first.pid}) ended: not known how, "
        what += "while something such as a debugger keeps it"
        self.assertEqual(self.told(), [(what, 0)])
        first.letGo()
        self.assertEqual(self.told(), [])
        stopped = self.post.stop()
        second.says("stopped")
        second.ends("exit status 0")
        self.successResultOf(stopped)

    def test_notReapedWhenStopped(self) -> None:
        """
        When it stops meanwhile, that waits until it is told how the worker before has
        ended: there is nothing to tell afterwards.
        """
        self.post.fill()
        first = self.spawner.workers[0]
        first.isHeld = True
        first.ends("signal 9")
        self.clock.advance(0)
        self.told()
        second = self.spawner.workers[1]
        stopped = self.post.stop()
        second.says("stopped")
        second.ends("exit status 0")
        self.assertNoResult(stopped)
        self.clock.advance(Post.attention)
        self.assertEqual(len(self.told()), 1)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cannotStart(self) -> None:
        """
        Where the system starts no process, that counts as an end.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.post.fill()
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
        self.post.fill()
        figures = Figures(received={"ipv4": 3}, replies=2, dropped={"loop": 1})
        self.spawner.workers[0].says("figures", figures.toJSON())
        self.assertEqual(self.told(), [figures])

    def test_ask(self) -> None:
        """
        A worker that is ready can be asked for its figures.
        """
        self.post.fill()
        [worker] = self.spawner.workers
        self.assertFalse(self.successResultOf(self.post.ask()))
        worker.says("ready")
        asked = self.post.ask()
        self.assertEqual(worker.told(), [["figures"]])
        self.assertNoResult(asked)
        worker.says("figures", Figures(replies=2).toJSON())
        self.assertTrue(self.successResultOf(asked))
        self.assertEqual(self.told()[-1], Figures(replies=2))

    def test_askInVain(self) -> None:
        """
        A worker that does not tell its figures in time, or ends, is not waited
        for.
        """
        self.post.fill()
        [worker] = self.spawner.workers
        worker.says("ready")
        late = self.post.ask()
        self.clock.advance(Post.attention)
        self.assertFalse(self.successResultOf(late))
        # It is not asked again before it has answered.
        self.assertEqual(worker.told(), [["figures"]])
        asked = self.post.ask()
        self.clock.advance(Post.attention)
        self.assertFalse(self.successResultOf(asked))
        self.assertEqual(worker.told(), [])
        worker.says("figures", Figures().toJSON())
        ended = self.post.ask()
        worker.ends("signal 9")
        self.assertFalse(self.successResultOf(ended))

    def test_said(self) -> None:
        """
        What a worker would have logged the employer is told.
        """
        self.post.fill()
        self.spawner.workers[0].says("event", "warn", "mind")
        self.assertEqual(self.told(), [("warn", "mind")])

    def test_stop(self) -> None:
        """
        A worker is told to stop, and is not replaced when it has ended.
        """
        self.post.fill()
        [worker] = self.spawner.workers
        stopped = self.post.stop()
        self.assertEqual(worker.told(), [["stop"]])
        self.assertNoResult(stopped)
        again = self.post.stop()
        self.assertEqual(worker.told(), [])
        worker.says("figures", Figures(replies=2).toJSON())
        worker.says("stopped")
        worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told(), [Figures(replies=2)])
        self.successResultOf(self.post.stop())

    def test_doesNotStop(self) -> None:
        """
        A worker that does not end in time is killed, which the employer is told.
        """
        self.post.fill()
        [worker] = self.spawner.workers
        stopped = self.post.stop()
        self.clock.advance(Post.patience - 0.1)
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
        self.post.fill()
        [worker] = self.spawner.workers
        worker.isHeld = True
        worker.ends("signal 11")
        self.clock.advance(Post.attention / 2)
        worker.letGo()
        what = f"worker 1 (process {worker.pid}) ended: signal 11"
        self.assertEqual(self.told(), [(what, 0)])

    def test_killedAndNotReaped(self) -> None:
        """
        A worker that has ended while it was to stop, and cannot be reaped, is not
        waited for for long.
        """
        for hasStopped in (False, True):
            post = Post(2, self.spawner, self.employer, self.clock)
            post.fill()
            worker = self.spawner.workers[-1]
            worker.isHeld = True
            stopped = post.stop()
            if hasStopped:
                worker.says("stopped")
            worker.ends("signal 9")
            self.assertNoResult(stopped)
            self.assertNoResult(post.stop())
            self.clock.advance(Post.attention)
            self.successResultOf(stopped)
            self.successResultOf(post.stop())
            self.assertEqual(self.clock.getDelayedCalls(), [])
        [(what, wait)] = self.told()
        self.assertIn("something such as a debugger keeps it", what)
        self.assertIs(wait, None)

    def test_stopMeanwhile(self) -> None:
        """
        Between two workers the next one starts at once, to answer what has
        arrived, and is told to stop.
        """
        self.post.fill()
        for _ in range(2):
            self.spawner.workers[-1].ends("exit status 1")
            self.clock.advance(0)
        stopped = self.post.stop()
        worker = self.spawner.workers[-1]
        self.assertEqual((worker.pid, worker.told()), (self.post.pid, [["stop"]]))
        worker.says("stopped")
        worker.ends("exit status 0")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopInVain(self) -> None:
        """
        Where none can be started then, that is told, and it has stopped.
        """
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.post.fill()
        self.told()
        self.successResultOf(self.post.stop())
        self.assertEqual(
            self.told(),
            [("not started", "Resource temporarily unavailable", None)],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
