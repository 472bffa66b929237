"""
Tests for L{shout.measure.tracker}: replies and ICMP errors without a probe.
"""

from __future__ import annotations

from shout.measure.probe import GARBAGE
from shout.measure.result import LOST
from shout.udp.icmp import ICMPError
from tests.measure.trackers import SmallTracker, TrackerCase


class UnmatchedTests(TrackerCase):
    """
    Tests for wrong replies without a number, and ICMP errors without a quote.
    """

    def test_reply(self) -> None:
        """
        A wrong reply without a number is matched with a probe that times out, which is
        then not lost.
        """
        replies = self.send(0, 0, 0)
        self.tracker.replyReceived(b"go away", 5)
        self.tracker.replyReceived(replies[0], 6)
        events = self.tracker.expire(101)
        self.assertEqual([event[:2] for event in events], [(LOST, 3)])
        self.check(sent=3, answered=1, answeredWrong=1, lost=1)
        self.assertEqual(self.tracker.wrong, {GARBAGE: 1})

    def test_manyReplies(self) -> None:
        """
        Surplus wrong replies are not matched with probes sent later.
        """
        self.send(0)
        for _ in range(5):
            self.tracker.replyReceived(b"go away", 5)
        self.tracker.expire(101)
        self.send(200)
        self.tracker.expire(301)
        self.check(sent=2, answeredWrong=1, lost=1)
        self.assertEqual(self.tracker.wrong, {GARBAGE: 5})

    def test_allAnswered(self) -> None:
        """
        Once all probes sent before a wrong reply or an ICMP error are answered, it is
        not matched with a later one.
        """
        for receive in (
            lambda: self.tracker.replyReceived(b"go away", 5),
            lambda: self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 5),
        ):
            self.setUp()
            replies = self.send(0)
            receive()
            replies += self.send(*[6] * 9)
            for reply in replies:
                self.tracker.replyReceived(reply, 7)
            self.send(8)
            self.assertEqual(len(self.tracker.expire(200)), 1)
            self.check(sent=11, answered=10, lost=1)

    def test_sameTime(self) -> None:
        """
        A wrong reply can be matched with a probe sent at the same time, but with none
        sent later, even if its arrival time is in the future.
        """
        self.send(5)
        self.tracker.replyReceived(b"go away", 5)
        self.tracker.expire(200)
        self.check(sent=1, answeredWrong=1)
        (reply,) = self.send(300)
        self.tracker.replyReceived(b"go away", 301, -1)
        self.tracker.replyReceived(reply, 302)
        self.send(302)
        self.tracker.expire(500)
        self.check(sent=3, answeredWrong=1, answered=1, lost=1)

    def test_expectedEarlier(self) -> None:
        """
        Once round trips are known, a wrong reply is not matched with a probe whose
        reply was expected much earlier.  Its arrival counts, not the time of reading.
        """
        replies = self.send(0, 40, 60)
        self.tracker.replyReceived(replies[1], 50)
        self.tracker.replyReceived(b"go away", 99, 34)
        self.tracker.expireSentBefore(1)
        self.check(sent=3, answered=1, lost=1, inFlight=1)
        self.tracker.expireSentBefore(100)
        self.check(sent=3, answered=1, lost=1, answeredWrong=1)

    def test_errorExpectedEarlier(self) -> None:
        """
        The same is true for an ICMP error.
        """
        replies = self.send(0, 40)
        self.tracker.replyReceived(replies[1], 50)
        self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 31)
        self.tracker.expireSentBefore(100)
        self.check(sent=2, answered=1, lost=1)
        self.send(200)
        self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 230)
        self.tracker.expireSentBefore(300)
        self.check(sent=3, answered=1, lost=1, refused=1)

    def test_replyBeforeError(self) -> None:
        """
        Wrong replies are matched before ICMP errors, and each with one probe.
        """
        self.send(0, 0, 0)
        self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 0)
        self.tracker.replyReceived(b"go away", 5)
        self.tracker.expireSentBefore(1)
        self.check(sent=3, answeredWrong=1, refused=1, lost=1)

    def test_answeredLate(self) -> None:
        """
        If a matched probe is answered late after all, the wrong reply is matched with
        another one.
        """
        replies = self.send(0, 1, 2)
        self.tracker.replyReceived(b"go away", 5)
        self.tracker.expire(103)
        self.check(sent=3, answeredWrong=1, lost=2)
        self.tracker.replyReceived(replies[0], 150)
        self.check(sent=3, answeredWrong=1, lost=1, late=1)
        self.tracker.replyReceived(replies[1], 150)
        self.tracker.replyReceived(replies[2], 150)
        self.check(sent=3, late=3)

    def test_restored(self) -> None:
        """
        That other probe may still be in flight.
        """
        replies = self.send(0, 90)
        self.tracker.replyReceived(b"go away", 95)
        self.tracker.expire(101)
        self.check(sent=2, answeredWrong=1, inFlight=1)
        self.tracker.replyReceived(replies[0], 150)
        self.check(sent=2, late=1, inFlight=1)
        self.assertEqual(self.tracker.expire(191), [])
        self.check(sent=2, late=1, answeredWrong=1)

    def test_errorAnsweredLate(self) -> None:
        """
        The same is true for an ICMP error.
        """
        replies = self.send(0, 1)
        self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 5)
        self.tracker.expire(103)
        self.tracker.replyReceived(replies[0], 150)
        self.check(sent=2, refused=1, late=1)
        self.tracker.replyReceived(replies[1], 150)
        self.check(sent=2, late=2)

    def test_error(self) -> None:
        """
        An ICMP error that quotes nothing is matched with a probe that times out.
        """
        first, _ = self.send(0, 0)
        self.assertIsNone(
            self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 5).number
        )
        self.tracker.replyReceived(first, 10)
        self.assertEqual(self.tracker.expire(101), [])
        self.check(sent=2, answered=1, refused=1)

    def test_flood(self) -> None:
        """
        No more wrong replies and ICMP errors are kept than there are probes in flight.
        """
        for reply in self.send(*[0] * 9):
            self.tracker.replyReceived(reply, 1)
        self.send(2, 2)
        for _ in range(100):
            self.tracker.replyReceived(b"go away", 5)
            self.tracker.icmpErrorReceived(ICMPError("port unreachable"), 5)
        tracker = self.tracker
        for unmatched in (tracker._unmatchedReplies, tracker._unmatchedErrors):
            self.assertEqual(len(unmatched._arrivals), 2)


class SmallUnmatchedTests(UnmatchedTests):
    """
    The same tests with a window of 16.
    """

    kind = SmallTracker
