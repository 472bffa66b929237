"""
Tests for L{shout.measure.rounds}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.rounds import INTERVAL, Rounds


class RoundsTests(SynchronousTestCase):
    """
    Tests for L{Rounds}.
    """

    def setUp(self) -> None:
        self.rounds = Rounds()
        self.now = 0

    def finishRound(self, answered: int) -> tuple[int, set[int]]:
        """
        Send a round of probes, which ends now.

        @param answered: Number of probes that are answered.

        @return: The size of the round, and the flows of one without answers.
        """
        sent = 0
        while self.rounds.isOpen(self.now):
            self.rounds.probeSent(self.now)
            sent += 1
        for flow in range(sent):
            silent = self.rounds.probeEnded(flow, flow < answered)
        return sent, silent

    def test_allAnswered(self) -> None:
        """
        While all probes are answered the next round is twice as large and begins at
        once, up to 64 probes.
        """
        sizes = [self.finishRound(answered=1000)[0] for _ in range(6)]
        self.assertEqual(sizes, [6, 12, 24, 48, 64, 64])
        self.assertFalse(self.rounds.isLimited)

    def test_limited(self) -> None:
        """
        After a round with few answers there is a round a second, as large as the number
        of answers to the last.
        """
        self.finishRound(6)
        self.assertEqual(self.finishRound(2), (12, set()))
        self.assertTrue(self.rounds.isLimited)
        self.assertFalse(self.rounds.isOpen(self.now + INTERVAL - 1))
        self.now += INTERVAL
        self.assertEqual(self.finishRound(1), (2, set()))
        self.now += INTERVAL
        self.assertEqual(self.finishRound(1), (1, set()))

    def test_loss(self) -> None:
        """
        After a round of which less than half lacks answers, the next one is as large.
        """
        for answered, size in ((4, 6), (4, 6), (3, 6), (2, 3), (1, 3), (1, 1)):
            self.assertEqual(self.finishRound(answered), (size, set()))
            self.assertTrue(self.rounds.isLimited)
            self.assertFalse(self.rounds.isOpen(self.now))
            self.now += INTERVAL

    def test_grows(self) -> None:
        """
        At the slower pace, too, a round of which all probes are answered makes the next
        one twice as large.
        """
        self.finishRound(2)
        sizes = []
        for _ in range(3):
            self.assertFalse(self.rounds.isOpen(self.now + INTERVAL - 1))
            self.now += INTERVAL
            sizes.append(self.finishRound(1000)[0])
        self.assertEqual(sizes, [2, 4, 8])

    def test_silent(self) -> None:
        """
        A round without any answer returns its flows.  After a pause the next one is
        larger.
        """
        self.assertEqual(self.finishRound(0), (6, {*range(6)}))
        self.assertFalse(self.rounds.isOpen(self.now + INTERVAL - 1))
        self.now += INTERVAL
        self.assertEqual(self.finishRound(0), (12, {*range(12)}))
        self.assertFalse(self.rounds.isLimited)

    def test_flows(self) -> None:
        """
        Until the end of a round it is known which flows got no answer, and when it
        began.
        """
        self.now = 5
        for _ in range(3):
            self.rounds.probeSent(self.now)
            self.now += 1
        self.assertEqual(self.rounds.began, 5)
        self.rounds.probeEnded(1, False)
        self.assertTrue(self.rounds.hasMissed(1))
        self.assertFalse(self.rounds.hasMissed(2))
        self.rounds.probeEnded(2, True)
        self.rounds.probeEnded(3, False)
        self.assertFalse(self.rounds.hasMissed(1))

    def test_random(self) -> None:
        """
        The time to the next round varies.
        """
        numbers = [0.0, 1.0]
        self.rounds = Rounds(random=lambda: numbers.pop())
        self.finishRound(0)
        self.assertFalse(self.rounds.isOpen(INTERVAL))
        self.assertTrue(self.rounds.isOpen(INTERVAL + INTERVAL // 2))
        self.now += INTERVAL + INTERVAL // 2
        self.finishRound(0)
        self.assertTrue(self.rounds.isOpen(self.now + INTERVAL))

    def test_interval(self) -> None:
        """
        The next round is due a second after the beginning of the last, and not after
        its end.
        """
        self.rounds.probeSent(7)
        self.rounds.probeSent(8)
        for flow in range(2):
            self.rounds.probeEnded(flow, False)
        self.assertFalse(self.rounds.isOpen(INTERVAL + 6))
        self.assertTrue(self.rounds.isOpen(INTERVAL + 7))

    def test_size(self) -> None:
        """
        A larger first round is not made smaller.
        """
        self.rounds = Rounds(100)
        sizes = [self.finishRound(1000)[0] for _ in range(2)]
        self.assertEqual(sizes, [100, 100])
