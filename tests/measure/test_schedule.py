"""
Tests for L{shout.measure.schedule}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.schedule import SECOND, Pacer, Schedule
from tests.properties import untimed


class PacerTests(SynchronousTestCase):
    """
    Tests for L{Pacer}, which begins at 0 here.
    """

    def send(self, pacer: Pacer, now: float, replyWait: float = 0) -> int:
        """
        Send the probes that are due, and return their number.
        """
        count = pacer.due(round(now * SECOND), round(replyWait * SECOND))
        pacer.advance(count)
        return count

    def test_interval(self) -> None:
        """
        The first probe is due at once, and each other one an interval after the one
        before.
        """
        pacer = Pacer(Schedule(interval=0.5), 0)
        times = [0, 0.4, 0.5, 0.9, 1.0, 1.4, 1.5]
        self.assertEqual(
            [self.send(pacer, now) for now in times], [1, 0, 1, 0, 1, 0, 1]
        )
        self.assertEqual(pacer.nextDue, 2 * SECOND)

    @untimed
    @given(st.lists(st.floats(0, 0.04), max_size=50))
    def test_all(self, waits: list[float]) -> None:
        """
        A caller that calls often enough sends all probes, none of them too early.
        """
        pacer = Pacer(Schedule(interval=0.003), 0)
        now, sent = 0.0, self.send(pacer, 0)
        for wait in waits:
            now += wait
            sent += self.send(pacer, now)
            self.assertEqual(sent, round(now * SECOND) // 3_000_000 + 1)
        self.assertEqual(pacer.skipped, 0)

    def test_shortestInterval(self) -> None:
        """
        The shortest interval is a nanosecond.
        """
        pacer = Pacer(Schedule(interval=1e-12), 0)
        self.assertEqual(self.send(pacer, 5e-9), 6)

    def test_overdue(self) -> None:
        """
        Probes more than 50 ms overdue are skipped, and the others are sent.
        """
        pacer = Pacer(Schedule(interval=0.01), 0)
        sent = self.send(pacer, 1)
        self.assertEqual((sent, pacer.skipped), (5, 96))

    def test_overdueAlone(self) -> None:
        """
        A probe that is due alone is sent however late it is.
        """
        pacer = Pacer(Schedule(interval=1), 0)
        self.assertEqual(self.send(pacer, 0.9), 1)
        self.assertEqual(pacer.skipped, 0)

    def test_hasten(self) -> None:
        """
        A probe can be due earlier, and the later ones keep their interval from it.
        """
        pacer = Pacer(Schedule(interval=1), 0)
        self.assertEqual(self.send(pacer, 0), 1)
        pacer.hasten(SECOND // 4)
        pacer.hasten(SECOND // 2)
        self.assertEqual(self.send(pacer, 0.24), 0)
        self.assertEqual(self.send(pacer, 0.25), 1)
        self.assertEqual(pacer.nextDue, SECOND * 5 // 4)

    def test_count(self) -> None:
        """
        After the given number of probes none is due or skipped.
        """
        pacer = Pacer(Schedule(count=3, interval=0.01), 0)
        self.assertEqual(self.send(pacer, 0.05), 3)
        self.assertTrue(pacer.isFinished(0))
        self.assertEqual(self.send(pacer, 5), 0)
        self.assertEqual(pacer.skipped, 0)

    def test_deadline(self) -> None:
        """
        The last probe is due early enough for its reply, and none after it is
        skipped.
        """
        pacer = Pacer(Schedule(interval=1, deadline=5), 0)
        sent = [self.send(pacer, now, 1.5) for now in range(4)]
        self.assertEqual(sent, [1, 1, 1, 1])
        self.assertTrue(pacer.isFinished(round(1.5 * SECOND)))
        self.assertEqual(self.send(pacer, 4.9, 1.5), 0)
        self.assertEqual(pacer.skipped, 0)
        # With a shorter wait for replies more probes are due.
        self.assertFalse(pacer.isFinished(SECOND // 2))
        self.assertEqual(self.send(pacer, 4.9, 0.5), 1)

    def test_shortDeadline(self) -> None:
        """
        The first probe is sent even if the deadline is too short for its reply.
        """
        pacer = Pacer(Schedule(interval=1, deadline=0.1), 0)
        self.assertEqual(self.send(pacer, 0.05, 1), 1)

    @untimed
    @given(
        st.integers(1, 100),
        st.floats(0.001, 1),
        st.floats(0.01, 10),
        st.lists(st.floats(0, 1), max_size=20),
    )
    def test_bounds(
        self, count: int, interval: float, deadline: float, waits: list[float]
    ) -> None:
        """
        No more probes than the count are sent, and those sent or skipped were due
        before the deadline.
        """
        schedule: Any = Schedule(count, interval, deadline=deadline)
        pacer = Pacer(schedule, 0)
        now, sent = 0.0, 0
        for wait in waits:
            now += wait
            sent += self.send(pacer, now)
        self.assertLessEqual(sent, count)
        most = min(now, deadline) * SECOND // round(interval * SECOND) + 2
        self.assertLessEqual(sent + pacer.skipped, most)
