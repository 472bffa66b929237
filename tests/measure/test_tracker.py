"""
Tests for L{shout.measure.tracker}.
"""

from __future__ import annotations

import os
import sys

from shout.measure.probe import CORRUPTED, ECHOED, GARBAGE, OTHER_RUN, Probes
from shout.measure.result import (
    DUPLICATE,
    LATE,
    LOST,
    OUT_OF_WINDOW,
    REFUSED,
    REPLY,
    WRONG,
    Event,
)
from shout.udp.icmp import ICMPError
from tests.measure.trackers import SmallTracker, TrackerCase


class TrackerTests(TrackerCase):
    """
    Tests for L{ProbeTracker<shout.measure.tracker.ProbeTracker>}.
    """

    def test_answered(self) -> None:
        """
        A right reply in time answers its probe, and has a round trip.
        """
        (reply,) = self.send(10)
        self.check(sent=1, inFlight=1)
        event = self.tracker.replyReceived(reply, 25)
        self.assertEqual(event, Event(REPLY, 1, 56, 15))
        self.check(sent=1, answered=1)
        self.assertEqual(self.tracker.histogram.total, 15)

    def test_delay(self) -> None:
        """
        The time between arrival and reading is not part of the round trip.  An
        impossible delay, after the wall clock was set, is ignored.
        """
        replies = self.send(0, 0, 0, 0)
        times = [
            self.tracker.replyReceived(reply, 90, delay).roundTrip
            for reply, delay in zip(replies, (30, 90, 91, -1))
        ]
        self.assertEqual(times, [60, 0, 90, 90])

    def test_readLate(self) -> None:
        """
        A reply that arrived in time answers its probe, even if it is read after the
        probe timed out.
        """
        (reply,) = self.send(0)
        self.tracker.expire(150)
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.replyReceived(reply, 150, 60).kind, REPLY)
        self.check(sent=1, answered=1)

    def test_lost(self) -> None:
        """
        Probes in flight for longer than the timeout are lost, the oldest first.
        """
        self.send(0, 10, 50)
        self.assertEqual(self.tracker.nextTimeout(), 100)
        self.assertEqual(self.tracker.expire(100), [])
        events = self.tracker.expire(111)
        self.assertEqual([event[:2] for event in events], [(LOST, 1), (LOST, 2)])
        self.check(sent=3, lost=2, inFlight=1)
        self.assertEqual(self.tracker.nextTimeout(), 150)

    def test_late(self) -> None:
        """
        A right reply after the timeout is late, and its probe is not lost.
        """
        (reply,) = self.send(0)
        self.tracker.expire(101)
        self.assertEqual(self.tracker.replyReceived(reply, 120)[:4], (LATE, 1, 56, 120))
        self.check(sent=1, late=1)
        self.assertEqual(self.tracker.histogram.count, 0)
        self.assertIsNone(self.tracker.nextTimeout())

    def test_lateInFlight(self) -> None:
        """
        A right reply after the timeout is late even if its probe is still in flight.
        """
        (reply,) = self.send(0)
        self.assertEqual(self.tracker.replyReceived(reply, 101).kind, LATE)
        self.check(sent=1, late=1)
        self.assertEqual(self.tracker.expire(300), [])

    def test_duplicate(self) -> None:
        """
        A repeated right reply is a duplicate, also of a late one, and adds no round
        trip.
        """
        first, second = self.send(0, 0)
        self.tracker.replyReceived(first, 10)
        self.assertEqual(self.tracker.replyReceived(first, 90).kind, DUPLICATE)
        self.tracker.replyReceived(second, 150)
        self.assertEqual(self.tracker.replyReceived(second, 151).kind, DUPLICATE)
        self.check(sent=2, answered=1, late=1, duplicates=2)
        self.assertEqual(self.tracker.histogram.total, 10)

    def test_outOfOrder(self) -> None:
        """
        A right reply after that to a later probe is out of order.  A duplicate of it
        is not counted again.
        """
        first, second, third = self.send(0, 1, 2)
        order = [third, first, first, second]
        events = [self.tracker.replyReceived(reply, 50) for reply in order]
        self.assertEqual(
            [event.isOutOfOrder for event in events], [False, True, False, True]
        )
        self.check(sent=3, answered=3, outOfOrder=2, duplicates=1)

    def test_jitter(self) -> None:
        """
        The jitter is the mean difference between successive probes that were both
        answered, in any order of the replies.
        """
        replies = self.send(0, 0, 0, 0)
        for number, time in ((1, 30), (0, 10), (3, 99)):
            self.tracker.replyReceived(replies[number], time)
        self.checkJitter(20, 1)
        self.tracker.replyReceived(replies[2], 40)
        self.checkJitter(20 + 10 + 59, 3)

    def test_echoed(self) -> None:
        """
        A probe that is echoed unchanged is answered wrong, and not lost.
        """
        self.send(0)
        event = self.tracker.replyReceived(self.probes.make(1), 5)
        self.assertEqual(event, Event(WRONG, 1, 56, detail="echoed unchanged"))
        self.check(sent=1, inFlight=1)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=1, answeredWrong=1)
        self.assertEqual(self.tracker.wrong, {ECHOED: 1})

    def test_wrongThenRight(self) -> None:
        """
        A probe with a wrong reply and then the right one is answered.
        """
        (reply,) = self.send(0)
        self.tracker.replyReceived(self.probes.make(1), 5)
        self.tracker.replyReceived(reply, 6)
        self.tracker.expire(200)
        self.check(sent=1, answered=1)

    def test_wrongTooLate(self) -> None:
        """
        A probe with a wrong reply after the timeout is answered wrong, and not lost.
        """
        self.send(0)
        self.tracker.expire(101)
        self.tracker.replyReceived(self.probes.make(1), 150)
        self.check(sent=1, answeredWrong=1)

    def test_wrongTooLateThenRight(self) -> None:
        """
        A probe with a wrong reply after the timeout and then the right one is late.
        """
        (reply,) = self.send(0)
        self.tracker.expire(101)
        self.tracker.replyReceived(self.probes.make(1), 150)
        self.tracker.replyReceived(reply, 160)
        self.check(sent=1, late=1)

    def test_wrongThenLate(self) -> None:
        """
        A probe with a wrong reply in time and the right one after the timeout is late.
        """
        (reply,) = self.send(0)
        self.tracker.replyReceived(self.probes.make(1), 5)
        self.tracker.expire(101)
        self.tracker.replyReceived(reply, 160)
        self.check(sent=1, late=1)

    def test_errorThenRight(self) -> None:
        """
        A probe with an ICMP error and then the right reply is answered.
        """
        (reply,) = self.send(0)
        self.tracker.icmpErrorReceived(
            ICMPError("no route to host", quote=self.probes.make(1)), 5
        )
        self.tracker.replyReceived(reply, 10)
        self.check(sent=1, answered=1)

    def test_errorTooLate(self) -> None:
        """
        A probe with an ICMP error after the timeout is refused, and not lost.
        """
        self.send(0)
        self.tracker.expire(101)
        self.tracker.icmpErrorReceived(
            ICMPError("no route to host", quote=self.probes.make(1)), 150
        )
        self.check(sent=1, refused=1)

    def test_justInTime(self) -> None:
        """
        A round trip as long as the timeout is in time.
        """
        (reply,) = self.send(0)
        self.assertEqual(self.tracker.replyReceived(reply, 100).kind, REPLY)

    def test_otherRun(self) -> None:
        """
        A reply to another run is counted, and changes the state of no probe.
        """
        self.send(0)
        other = Probes(56, b"zzzzzzzzzz").make(1).upper()
        self.assertEqual(self.tracker.replyReceived(other, 5).kind, WRONG)
        self.tracker.expire(101)
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.wrong, {OTHER_RUN: 1})

    def test_notSent(self) -> None:
        """
        A reply to a probe that has not been sent is garbage.
        """
        self.send(0)
        for number in (0, 2):
            event = self.tracker.replyReceived(self.probes.make(number).upper(), 5)
            self.assertEqual(event.detail, f"answers probe {number}, not sent")
        self.assertEqual(self.tracker.wrong, {GARBAGE: 2})

    def test_corrupted(self) -> None:
        """
        A corrupted reply is wrong.
        """
        (reply,) = self.send(0)
        event = self.tracker.replyReceived(reply[:-1] + b"?", 5)
        self.assertEqual(event[:2], (WRONG, 1))
        self.assertEqual(self.tracker.wrong, {CORRUPTED: 1})

    def test_error(self) -> None:
        """
        A probe that an ICMP error quotes is refused.
        """
        self.send(0, 0)
        event = self.tracker.icmpErrorReceived(
            ICMPError("port unreachable", quote=self.probes.make(2)), 5
        )
        self.assertEqual(event[:2], (REFUSED, 2))
        self.check(sent=2, refused=1, inFlight=1)
        self.tracker.expire(101)
        self.check(sent=2, refused=1, lost=1)
        self.assertEqual(self.tracker.icmpErrors, {("port unreachable", None): 1})

    def test_errorOtherRun(self) -> None:
        """
        An ICMP error that quotes a probe of another run is not counted.
        """
        self.send(0)
        other = Probes(56, b"zzzzzzzzzz").make(1)
        event = self.tracker.icmpErrorReceived(
            ICMPError("port unreachable", quote=other), 5
        )
        self.assertEqual(event[:2], (REFUSED, None))
        self.assertIn("another run", event.detail)
        self.assertEqual([event.kind for event in self.tracker.expire(101)], [LOST])
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.icmpErrors, {})

    def test_errorTwice(self) -> None:
        """
        A second ICMP error for a probe, or one for an answered probe, changes no state:
        the same reply is a duplicate.
        """
        first, _ = self.send(0, 0)
        self.tracker.replyReceived(first, 5)
        for number in (1, 2, 2):
            self.tracker.icmpErrorReceived(
                ICMPError("port unreachable", quote=self.probes.make(number)), 5
            )
        self.check(sent=2, answered=1, refused=1)
        self.assertEqual(self.tracker.icmpErrors, {("port unreachable", None): 3})
        self.assertEqual(self.tracker.replyReceived(first, 6).kind, DUPLICATE)

    def test_errorAfterWrong(self) -> None:
        """
        A probe with a wrong reply and then an ICMP error is refused.
        """
        self.send(0)
        self.tracker.replyReceived(self.probes.make(1), 5)
        self.tracker.icmpErrorReceived(
            ICMPError("port unreachable", quote=self.probes.make(1)), 6
        )
        self.check(sent=1, refused=1)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=1, refused=1)

    def test_replyWait(self) -> None:
        """
        A reply is expected within three times the longest round trip, and never later
        than the timeout.
        """
        replies = self.send(0, 0, 0)
        self.assertEqual(self.tracker.replyWait, 100)
        for reply, time, replyWait in zip(replies, (10, 5, 60), (30, 30, 100)):
            self.tracker.replyReceived(reply, time)
            self.assertEqual(self.tracker.replyWait, replyWait)

    def test_expireSentBefore(self) -> None:
        """
        Probes in flight that were sent before a given time are lost.
        """
        self.send(0, 99)
        self.assertEqual(len(self.tracker.expireSentBefore(1 << 62)), 2)
        self.check(sent=2, lost=2)

    def test_removeInFlight(self) -> None:
        """
        At the end, probes in flight are removed, except for those with a wrong reply.
        """
        replies = self.send(0, 1, 2, 3, 4)
        self.tracker.replyReceived(replies[0], 5)
        self.tracker.replyReceived(self.probes.make(2), 5)
        self.tracker.replyReceived(b"go away", 5)
        self.assertEqual(self.tracker.removeInFlight(), 2)
        self.check(sent=3, answered=1, answeredWrong=2)
        self.assertIsNone(self.tracker.nextTimeout())


class SmallTrackerTests(TrackerTests):
    """
    The same tests, and more, with a window of 16.
    """

    kind = SmallTracker

    def test_outOfWindow(self) -> None:
        """
        A right reply to a probe out of the window is counted as such, whatever the
        state of the probe was.
        """
        replies = self.send(*[0] * 16)
        self.tracker.replyReceived(replies[0], 5)
        self.tracker.expire(101)
        self.send(200)
        self.assertEqual(
            self.tracker.replyReceived(replies[0], 210).kind, OUT_OF_WINDOW
        )
        self.assertEqual(self.tracker.replyReceived(replies[1], 210).kind, LATE)
        self.check(sent=17, answered=1, late=1, lost=14, outOfWindow=1, inFlight=1)

    def test_wrongOutOfWindow(self) -> None:
        """
        A wrong reply to a probe out of the window, or an ICMP error for one, is not
        matched with another.
        """
        self.send(*[0] * 16)
        self.tracker.expire(101)
        self.send(200)
        self.tracker.replyReceived(self.probes.make(1), 210)
        self.tracker.icmpErrorReceived(
            ICMPError("no route to host", quote=self.probes.make(1)), 210
        )
        self.check(sent=17, lost=16, inFlight=1)
        self.tracker.expire(301)
        self.check(sent=17, lost=17)
        self.assertEqual(self.tracker.wrong, {ECHOED: 1})

    def test_jitterAtTheEdge(self) -> None:
        """
        The oldest probe in the window has no predecessor, and the latest no successor.
        """
        replies = self.send(*[0] * 17)
        self.tracker.replyReceived(replies[16], 50)
        self.tracker.replyReceived(replies[1], 10)
        self.assertEqual(self.tracker.variations, 0)
        self.tracker.replyReceived(replies[2], 40)
        self.checkJitter(30, 1)

        self.tracker = self.kind(self.probes, 100)
        replies = self.send(*[0] * 16)
        self.tracker.replyReceived(replies[0], 10)
        self.tracker.replyReceived(replies[15], 50)
        self.assertEqual(self.tracker.variations, 0)

    def test_freeSlots(self) -> None:
        """
        The number of free slots is that of probes that push none in flight out of the
        window.
        """
        self.assertEqual(self.tracker.freeSlots, 16)
        replies = self.send(*[0] * 15)
        for reply in replies[1:]:
            self.tracker.replyReceived(reply, 5)
        self.assertEqual(self.tracker.freeSlots, 1)
        self.send(0)
        self.assertEqual(self.tracker.freeSlots, 0)
        self.tracker.replyReceived(replies[0], 5)
        self.assertEqual(self.tracker.freeSlots, 15)

    def test_removeAllInFlight(self) -> None:
        """
        Each probe in flight in a full window is removed once.
        """
        replies = self.send(*[0] * 16)
        self.tracker.replyReceived(replies[0], 5)
        self.assertEqual(self.tracker.freeSlots, 1)
        self.send(10)
        self.assertEqual(self.tracker.removeInFlight(), 16)
        self.check(sent=1, answered=1)


class LongTests(TrackerCase):
    """
    Tests for L{ProbeTracker<shout.measure.tracker.ProbeTracker>} in long runs.
    """

    def checkRun(self, count: int) -> None:
        """
        Check a run in which every tenth probe is lost, and every hundredth
        answered twice.
        """

        def size() -> int:
            return sum(map(sys.getsizeof, vars(self.tracker).values()))

        before = size()
        for number in range(count):
            now = 10 * number
            (reply,) = self.send(now)
            if number % 10:
                self.tracker.replyReceived(reply, now + number % 7)
            if number % 100 == 1:
                self.tracker.replyReceived(reply, now + 9)
            self.tracker.expire(now)
        self.tracker.expireSentBefore(1 << 62)
        tenth, hundredth = count // 10, count // 100
        self.check(sent=count, answered=9 * tenth, lost=tenth, duplicates=hundredth)
        answered = [number % 7 for number in range(count) if number % 10]
        histogram = self.tracker.histogram
        self.assertEqual((histogram.count, histogram.total), (9 * tenth, sum(answered)))
        self.assertEqual(histogram.squares, sum(each * each for each in answered))
        # Integers grow by some bytes with what they count.
        self.assertLess(size(), before + 500)

    def test_small(self) -> None:
        """
        The counts are exact and memory does not grow in a run much longer than the
        window.
        """
        self.tracker = SmallTracker(self.probes, 100)
        self.checkRun(10_000)

    def test_many(self) -> None:
        """
        The counts are exact over many probes, by default 20,000.  Set SHOUT_PROBES
        for more of them.
        """
        self.checkRun(int(os.environ.get("SHOUT_PROBES", 20_000)))

    test_many.timeout = 600  # type: ignore[attr-defined]
