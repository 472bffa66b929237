"""
Tests for L{shout.measure.tracker}.
"""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

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
from shout.measure.tracker import ProbeTracker


class SmallTally(ProbeTracker):
    """
    A tally that remembers little.
    """

    window = 16


class TallyCase(SynchronousTestCase):
    """
    Makes a L{ProbeTracker} whose timeout is 100.
    """

    kind: ClassVar[type[ProbeTracker]] = ProbeTracker

    def setUp(self) -> None:
        self.probes = Probes(56, b"abcdefghij")
        self.tracker = self.kind(self.probes, 100)

    def send(self, *times: int) -> list[bytes]:
        """
        Send a probe at each of the times, and return the right replies.
        """
        replies = []
        for time in times:
            (probe,) = self.tracker.next()
            replies.append(probe.upper())
            self.tracker.hasSent(time)
        return replies

    def check(self, **expected: int) -> None:
        """
        Check the fates, of which those not named are 0.
        """
        fates = ["answered", "late", "lost", "refused", "answeredWrong", "inFlight"]
        names = ["sent", "duplicates", "outOfOrder", "outOfWindow", *fates]
        counts = {name: getattr(self.tracker, name) for name in names}
        self.assertEqual(counts, dict.fromkeys(names, 0) | expected)
        self.assertEqual(counts["sent"], sum(counts[name] for name in fates))


class TallyTests(TallyCase):
    """
    Tests for L{ProbeTracker}.
    """

    def test_answered(self) -> None:
        """
        A right reply in time is an answer, with its round trip.
        """
        (reply,) = self.send(10)
        self.check(sent=1, inFlight=1)
        event = self.tracker.received(reply, 25)
        self.assertEqual(event, Event(REPLY, 1, 56, 15))
        self.check(sent=1, answered=1)
        self.assertEqual(self.tracker.histogram.total, 15)

    def test_delay(self) -> None:
        """
        How long a reply has lain waiting is not part of its round trip, unless
        that cannot be: then the clock was set meanwhile.
        """
        replies = self.send(0, 0, 0, 0)
        times = [
            self.tracker.received(reply, 90, delay).roundTrip
            for reply, delay in zip(replies, (30, 90, 91, -1))
        ]
        self.assertEqual(times, [60, 0, 90, 90])

    def test_lateByDelay(self) -> None:
        """
        A reply that arrived in time, but was read after its probe was given up,
        is an answer.
        """
        (reply,) = self.send(0)
        self.tracker.expire(150)
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.received(reply, 150, 60).kind, REPLY)
        self.check(sent=1, answered=1)

    def test_lost(self) -> None:
        """
        What has waited for longer than the timeout is lost, the oldest first.
        """
        self.send(0, 10, 50)
        self.assertEqual(self.tracker.oldestDue(), 100)
        self.assertEqual(self.tracker.expire(100), [])
        events = self.tracker.expire(111)
        self.assertEqual([event[:2] for event in events], [(LOST, 1), (LOST, 2)])
        self.check(sent=3, lost=2, inFlight=1)
        self.assertEqual(self.tracker.oldestDue(), 150)

    def test_late(self) -> None:
        """
        A right reply after the timeout is late, and its probe not lost.
        """
        (reply,) = self.send(0)
        self.tracker.expire(101)
        self.assertEqual(self.tracker.received(reply, 120)[:4], (LATE, 1, 56, 120))
        self.check(sent=1, late=1)
        self.assertEqual(self.tracker.histogram.count, 0)
        self.assertIsNone(self.tracker.oldestDue())

    def test_lateUnexpired(self) -> None:
        """
        A reply after the timeout is late also when its probe was not yet given
        up.
        """
        (reply,) = self.send(0)
        self.assertEqual(self.tracker.received(reply, 101).kind, LATE)
        self.check(sent=1, late=1)
        self.assertEqual(self.tracker.expire(300), [])

    def test_duplicate(self) -> None:
        """
        A right reply that comes again is a duplicate, also of a late one, and
        changes no round trip.
        """
        first, second = self.send(0, 0)
        self.tracker.received(first, 10)
        self.assertEqual(self.tracker.received(first, 90).kind, DUPLICATE)
        self.tracker.received(second, 150)
        self.assertEqual(self.tracker.received(second, 151).kind, DUPLICATE)
        self.check(sent=2, answered=1, late=1, duplicates=2)
        self.assertEqual(self.tracker.histogram.total, 10)

    def test_outOfOrder(self) -> None:
        """
        A right reply after that to a later probe is out of order; its duplicate
        does not count again.
        """
        first, second, third = self.send(0, 1, 2)
        order = [third, first, first, second]
        events = [self.tracker.received(reply, 50) for reply in order]
        self.assertEqual(
            [event.isOutOfOrder for event in events], [False, True, False, True]
        )
        self.check(sent=3, answered=3, outOfOrder=2, duplicates=1)

    def test_jitter(self) -> None:
        """
        The variation is that between successive probes that were both answered,
        in whatever order the replies come.
        """
        replies = self.send(0, 0, 0, 0)
        for number, time in ((1, 30), (0, 10), (3, 99)):
            self.tracker.received(replies[number], time)
        self.assertEqual((self.tracker.variation, self.tracker.variations), (20, 1))
        self.tracker.received(replies[2], 40)
        self.assertEqual(self.tracker.variation, 20 + 10 + 59)
        self.assertEqual(self.tracker.variations, 3)

    def test_echoed(self) -> None:
        """
        A probe that comes back as it was is a wrong reply, and its probe is not
        lost.
        """
        self.send(0)
        event = self.tracker.received(self.probes.make(1), 5)
        self.assertEqual(event, Event(WRONG, 1, 56, detail="echoed unchanged"))
        self.check(sent=1, inFlight=1)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=1, answeredWrong=1)
        self.assertEqual(self.tracker.wrong, {ECHOED: 1})

    def test_wrongThenRight(self) -> None:
        """
        A probe that gets a wrong and a right reply is answered.
        """
        (reply,) = self.send(0)
        self.tracker.received(self.probes.make(1), 5)
        self.tracker.received(reply, 6)
        self.tracker.expire(200)
        self.check(sent=1, answered=1)

    def test_wrongTooLate(self) -> None:
        """
        A probe whose wrong reply comes after the timeout is not lost either.
        """
        self.send(0)
        self.tracker.expire(101)
        self.tracker.received(self.probes.make(1), 150)
        self.check(sent=1, answeredWrong=1)

    def test_unclaimed(self) -> None:
        """
        A wrong reply that does not tell its probe is that to one that waits in
        vain, which is not lost.
        """
        replies = self.send(0, 0, 0)
        self.tracker.received(b"go away", 5)
        self.tracker.received(replies[0], 6)
        events = self.tracker.expire(101)
        self.assertEqual([event[:2] for event in events], [(LOST, 3)])
        self.check(sent=3, answered=1, answeredWrong=1, lost=1)
        self.assertEqual(self.tracker.wrong, {GARBAGE: 1})

    def test_unclaimedMany(self) -> None:
        """
        More wrong replies than there are probes take the blame from none that
        is sent later.
        """
        self.send(0)
        for _ in range(5):
            self.tracker.received(b"go away", 5)
        self.tracker.expire(101)
        self.send(200)
        self.tracker.expire(301)
        self.check(sent=2, answeredWrong=1, lost=1)
        self.assertEqual(self.tracker.wrong, {GARBAGE: 5})

    def test_unclaimedLapsed(self) -> None:
        """
        Once all that had left before a wrong reply are answered, it takes the
        blame from none that is lost later; nor does a refusal.
        """
        for come in (
            lambda: self.tracker.received(b"go away", 5),
            lambda: self.tracker.refuse(None, "port unreachable", 5),
        ):
            self.setUp()
            replies = self.send(0)
            come()
            replies += self.send(*[6] * 9)
            for reply in replies:
                self.tracker.received(reply, 7)
            self.send(8)
            self.assertEqual(len(self.tracker.expire(200)), 1)
            self.check(sent=11, answered=10, lost=1)

    def test_unclaimedAtOnce(self) -> None:
        """
        A wrong reply can be that to a probe that left at the same time, and to none
        that left later, whatever the clock of the arrival says.
        """
        self.send(5)
        self.tracker.received(b"go away", 5)
        self.tracker.expire(200)
        self.check(sent=1, answeredWrong=1)
        (reply,) = self.send(300)
        self.tracker.received(b"go away", 301, -1)
        self.tracker.received(reply, 302)
        self.send(302)
        self.tracker.expire(500)
        self.check(sent=3, answeredWrong=1, answered=1, lost=1)

    def test_unclaimedNear(self) -> None:
        """
        Once it is known how long round trips take, a wrong reply is put down to
        none of which the reply would have come long before; that it was read
        late does not matter.
        """
        replies = self.send(0, 40, 60)
        self.tracker.received(replies[1], 50)
        self.tracker.received(b"go away", 99, 34)
        self.tracker.giveUp(1)
        self.check(sent=3, answered=1, lost=1, inFlight=1)
        self.tracker.giveUp(100)
        self.check(sent=3, answered=1, lost=1, answeredWrong=1)

    def test_refusedNear(self) -> None:
        """
        Nor is a refusal.
        """
        replies = self.send(0, 40)
        self.tracker.received(replies[1], 50)
        self.tracker.refuse(None, "port unreachable", 31)
        self.tracker.giveUp(100)
        self.check(sent=2, answered=1, lost=1)
        self.send(200)
        self.tracker.refuse(None, "port unreachable", 230)
        self.tracker.giveUp(300)
        self.check(sent=3, answered=1, lost=1, refused=1)

    def test_wrongBeforeRefused(self) -> None:
        """
        Wrong replies claim probes before refusals do, and each claims one.
        """
        self.send(0, 0, 0)
        self.tracker.refuse(None, "port unreachable", 0)
        self.tracker.received(b"go away", 5)
        self.tracker.giveUp(1)
        self.check(sent=3, answeredWrong=1, refused=1, lost=1)

    def test_wrongTooLateThenRight(self) -> None:
        """
        A probe that gets a wrong reply after the timeout, and then the right
        one, is late and nothing else.
        """
        (reply,) = self.send(0)
        self.tracker.expire(101)
        self.tracker.received(self.probes.make(1), 150)
        self.tracker.received(reply, 160)
        self.check(sent=1, late=1)

    def test_wrongThenLate(self) -> None:
        """
        So is one whose wrong reply came in time.
        """
        (reply,) = self.send(0)
        self.tracker.received(self.probes.make(1), 5)
        self.tracker.expire(101)
        self.tracker.received(reply, 160)
        self.check(sent=1, late=1)

    def test_refusedThenRight(self) -> None:
        """
        A probe that is refused and then gets the right reply is answered.
        """
        (reply,) = self.send(0)
        self.tracker.refuse(self.probes.make(1), "no route to host", 5)
        self.tracker.received(reply, 10)
        self.check(sent=1, answered=1)

    def test_refusedTooLate(self) -> None:
        """
        A probe whose refusal comes after the timeout is refused, and not lost.
        """
        self.send(0)
        self.tracker.expire(101)
        self.tracker.refuse(self.probes.make(1), "no route to host", 150)
        self.check(sent=1, refused=1)

    def test_justInTime(self) -> None:
        """
        A reply that takes as long as the timeout is in time.
        """
        (reply,) = self.send(0)
        self.assertEqual(self.tracker.received(reply, 100).kind, REPLY)

    def test_unclaimedLate(self) -> None:
        """
        When the probe that waited in vain is answered late after all, another
        one was that with the wrong reply.
        """
        replies = self.send(0, 1, 2)
        self.tracker.received(b"go away", 5)
        self.tracker.expire(103)
        self.check(sent=3, answeredWrong=1, lost=2)
        self.tracker.received(replies[0], 150)
        self.check(sent=3, answeredWrong=1, lost=1, late=1)
        self.tracker.received(replies[1], 150)
        self.tracker.received(replies[2], 150)
        self.check(sent=3, late=3)

    def test_unclaimedGivenBack(self) -> None:
        """
        That other one may still be waiting then.
        """
        replies = self.send(0, 90)
        self.tracker.received(b"go away", 95)
        self.tracker.expire(101)
        self.check(sent=2, answeredWrong=1, inFlight=1)
        self.tracker.received(replies[0], 150)
        self.check(sent=2, late=1, inFlight=1)
        self.assertEqual(self.tracker.expire(191), [])
        self.check(sent=2, late=1, answeredWrong=1)

    def test_refusedUnclaimedLate(self) -> None:
        """
        The same holds for refusals.
        """
        replies = self.send(0, 1)
        self.tracker.refuse(None, "port unreachable", 5)
        self.tracker.expire(103)
        self.tracker.received(replies[0], 150)
        self.check(sent=2, refused=1, late=1)
        self.tracker.received(replies[1], 150)
        self.check(sent=2, late=2)

    def test_otherRun(self) -> None:
        """
        A reply to another run is counted, and leaves our probes as they are.
        """
        self.send(0)
        other = Probes(56, b"zzzzzzzzzz").make(1).upper()
        self.assertEqual(self.tracker.received(other, 5).kind, WRONG)
        self.tracker.expire(101)
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.wrong, {OTHER_RUN: 1})

    def test_future(self) -> None:
        """
        A reply to a probe that was not sent yet is garbage.
        """
        self.send(0)
        for number in (0, 2):
            event = self.tracker.received(self.probes.make(number).upper(), 5)
            self.assertEqual(event.detail, f"answers probe {number}, not sent")
        self.assertEqual(self.tracker.wrong, {GARBAGE: 2})

    def test_corrupted(self) -> None:
        """
        A corrupted reply is wrong.
        """
        (reply,) = self.send(0)
        event = self.tracker.received(reply[:-1] + b"?", 5)
        self.assertEqual(event[:2], (WRONG, 1))
        self.assertEqual(self.tracker.wrong, {CORRUPTED: 1})

    def test_refused(self) -> None:
        """
        A refusal that quotes its probe is the fate of that probe.
        """
        self.send(0, 0)
        event = self.tracker.refuse(self.probes.make(2), "port unreachable", 5)
        self.assertEqual(event[:2], (REFUSED, 2))
        self.check(sent=2, refused=1, inFlight=1)
        self.tracker.expire(101)
        self.check(sent=2, refused=1, lost=1)
        self.assertEqual(self.tracker.icmpErrors, {"port unreachable": 1})

    def test_refusedUnclaimed(self) -> None:
        """
        A refusal that quotes nothing is the fate of a probe that waits in vain.
        """
        first, _ = self.send(0, 0)
        self.assertIsNone(self.tracker.refuse(None, "port unreachable", 5).number)
        self.tracker.received(first, 10)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=2, answered=1, refused=1)

    def test_refusedOtherRun(self) -> None:
        """
        A refusal that quotes a probe of another run is not counted.
        """
        self.send(0)
        other = Probes(56, b"zzzzzzzzzz").make(1)
        event = self.tracker.refuse(other, "port unreachable", 5)
        self.assertEqual(event[:2], (REFUSED, None))
        self.assertIn("another run", event.detail)
        self.assertEqual([event.kind for event in self.tracker.expire(101)], [LOST])
        self.check(sent=1, lost=1)
        self.assertEqual(self.tracker.icmpErrors, {})

    def test_refusedTwice(self) -> None:
        """
        A second refusal of the same probe does not make two of it, and one of
        what was answered makes none, so that the same reply is a duplicate.
        """
        first, _ = self.send(0, 0)
        self.tracker.received(first, 5)
        for number in (1, 2, 2):
            self.tracker.refuse(self.probes.make(number), "port unreachable", 5)
        self.check(sent=2, answered=1, refused=1)
        self.assertEqual(self.tracker.icmpErrors, {"port unreachable": 3})
        self.assertEqual(self.tracker.received(first, 6).kind, DUPLICATE)

    def test_refusedMistaken(self) -> None:
        """
        A probe that gets a wrong reply and then a refusal is refused.
        """
        self.send(0)
        self.tracker.received(self.probes.make(1), 5)
        self.tracker.refuse(self.probes.make(1), "port unreachable", 6)
        self.check(sent=1, refused=1)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=1, refused=1)

    def test_patience(self) -> None:
        """
        A reply is expected to take three times the longest round trip at the
        most, and never more than the timeout.
        """
        replies = self.send(0, 0, 0)
        self.assertEqual(self.tracker.patience, 100)
        for reply, time, patience in zip(replies, (10, 5, 60), (30, 30, 100)):
            self.tracker.received(reply, time)
            self.assertEqual(self.tracker.patience, patience)

    def test_unclaimedFlood(self) -> None:
        """
        However many wrong replies come, no more are held than there are probes
        that wait.
        """
        for reply in self.send(*[0] * 9):
            self.tracker.received(reply, 1)
        self.send(2, 2)
        for _ in range(100):
            self.tracker.received(b"go away", 5)
            self.tracker.refuse(None, "port unreachable", 5)
        for claims in (self.tracker._strayReplies, self.tracker._strayRefusals):
            self.assertEqual(len(claims._held), 2)

    def test_giveUp(self) -> None:
        """
        At the end of its time, what waits is lost.
        """
        self.send(0, 99)
        self.assertEqual(len(self.tracker.giveUp(1 << 62)), 2)
        self.check(sent=2, lost=2)

    def test_withdraw(self) -> None:
        """
        When it is stopped, what waits is left out; what has a wrong reply is
        not.
        """
        replies = self.send(0, 1, 2, 3, 4)
        self.tracker.received(replies[0], 5)
        self.tracker.received(self.probes.make(2), 5)
        self.tracker.received(b"go away", 5)
        self.assertEqual(self.tracker.withdraw(), 2)
        self.check(sent=3, answered=1, answeredWrong=2)
        self.assertIsNone(self.tracker.oldestDue())


class SmallTallyTests(TallyTests):
    """
    Tests for L{ProbeTracker} with a window of 16.
    """

    kind = SmallTally

    def test_old(self) -> None:
        """
        A reply to a probe that is out of the window is old, whatever became of
        the probe.
        """
        replies = self.send(*[0] * 16)
        self.tracker.received(replies[0], 5)
        self.tracker.expire(101)
        self.send(200)
        self.assertEqual(self.tracker.received(replies[0], 210).kind, OUT_OF_WINDOW)
        self.assertEqual(self.tracker.received(replies[1], 210).kind, LATE)
        self.check(sent=17, answered=1, late=1, lost=14, outOfWindow=1, inFlight=1)

    def test_oldMistakes(self) -> None:
        """
        A wrong reply to a probe that is out of the window, or a refusal of it,
        is not that of another one.
        """
        self.send(*[0] * 16)
        self.tracker.expire(101)
        self.send(200)
        self.tracker.received(self.probes.make(1), 210)
        self.tracker.refuse(self.probes.make(1), "no route to host", 210)
        self.check(sent=17, lost=16, inFlight=1)
        self.tracker.expire(301)
        self.check(sent=17, lost=17)
        self.assertEqual(self.tracker.wrong, {ECHOED: 1})

    def test_jitterAtTheEdge(self) -> None:
        """
        The oldest that is remembered has no neighbour before it, nor the latest
        one after it.
        """
        replies = self.send(*[0] * 17)
        self.tracker.received(replies[16], 50)
        self.tracker.received(replies[1], 10)
        self.assertEqual((self.tracker.variation, self.tracker.variations), (0, 0))
        self.tracker.received(replies[2], 40)
        self.assertEqual((self.tracker.variation, self.tracker.variations), (30, 1))

        self.tracker = self.kind(self.probes, 100)
        replies = self.send(*[0] * 16)
        self.tracker.received(replies[0], 10)
        self.tracker.received(replies[15], 50)
        self.assertEqual((self.tracker.variation, self.tracker.variations), (0, 0))

    def test_room(self) -> None:
        """
        There is room for as many probes as push out none that waits.
        """
        self.assertEqual(self.tracker.room, 16)
        replies = self.send(*[0] * 15)
        for reply in replies[1:]:
            self.tracker.received(reply, 5)
        self.assertEqual(self.tracker.room, 1)
        self.send(0)
        self.assertEqual(self.tracker.room, 0)
        self.tracker.received(replies[0], 5)
        self.assertEqual(self.tracker.room, 15)

    def test_withdrawAll(self) -> None:
        """
        Each probe of a full window that waits is left out once.
        """
        replies = self.send(*[0] * 16)
        self.tracker.received(replies[0], 5)
        self.assertEqual(self.tracker.room, 1)
        self.send(10)
        self.assertEqual(self.tracker.withdraw(), 16)
        self.check(sent=1, answered=1)


class LongTests(TallyCase):
    """
    Tests for L{ProbeTracker} in runs much longer than it remembers.
    """

    def run_(self, count: int) -> None:
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
                self.tracker.received(reply, now + number % 7)
            if number % 100 == 1:
                self.tracker.received(reply, now + 9)
            self.tracker.expire(now)
        self.tracker.giveUp(1 << 62)
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
        The counters are exact and the memory stays what it was, however little
        is remembered.
        """
        self.tracker = SmallTally(self.probes, 100)
        self.run_(100_000)

    def test_many(self) -> None:
        """
        So they are over many probes: C{SHOUT_PROBES} of them.
        """
        self.run_(int(os.environ.get("SHOUT_PROBES", 200_000)))

    test_many.timeout = 600  # type: ignore[attr-defined]
