"""
Tests for L{shout.measure.sender}.
"""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.result import REFUSED, REPLY
from tests.measure.test_session import Measured


class SendingTests(SynchronousTestCase):
    """
    Tests for L{Sender<shout.measure.sender.Sender>}, in a measurement.
    """

    def test_rate(self) -> None:
        """
        A rate above a thousand per second is kept by sending several at a time,
        never more than a millisecond's worth too late.
        """
        measured = Measured(count=20_000, interval=0.0001)
        leaving: list[float] = []
        measured.port.taken = lambda probe: leaving.append(measured.clock.seconds())
        measured.start()
        measured.advance(1)
        self.assertLess(abs(len(leaving) - 10_000), 20)
        for number, time in enumerate(leaving):
            self.assertTrue(-1e-6 < time - number * 0.0001 < 0.0011, (number, time))
        self.assertEqual(measured.session.skipped, 0)

    def test_atOnce(self) -> None:
        """
        Several leave with one call, and no more than a millisecond's worth
        before the replies are read again.
        """
        measured = Measured(count=200, interval=0.0001)
        waiting: list[int] = []

        def taken(probe: bytes) -> None:
            waiting.append(measured.tracker.inFlight)
            measured.clock.callLater(0, measured.hear, probe.upper())

        measured.port.taken = taken
        measured.start()
        measured.clock.advance(0.01)
        self.assertEqual(len(measured.port.sent), 101)
        # Of the eleven of a millisecond eight leave first, and three after them.
        self.assertEqual((max(waiting), measured.session.skipped), (8, 0))

    def test_inFlight(self) -> None:
        """
        No more than a bounded number of probes wait at a time.
        """
        measured = Measured(interval=0.001, timeout=10.0)
        measured.session._sender.maxInFlight = 5
        measured.start()
        measured.advance(1)
        self.assertEqual(len(measured.port.sent), 5)
        measured.hear(measured.port.sent[2].upper())
        measured.advance(0.01)
        self.assertEqual(len(measured.port.sent), 6)

    def test_rateInFlight(self) -> None:
        """
        When no more may wait, what is due is skipped, and the rate is that of
        all the time in which something was due.
        """
        measured = Measured(interval=0.001, timeout=3.0, deadline=4.0)
        measured.session._sender.maxInFlight = 500
        measured.start()
        measured.advance(4.01)
        self.assertEqual(measured.done, [measured.tracker])
        result = measured.result()
        # What is due until half of the time is over is 2001 probes.
        self.assertEqual((result.sent, result.sent + result.skipped), (500, 2001))
        self.assertLess(abs(result.rate - 250), 1)

    def test_full(self) -> None:
        """
        Nothing is sent that would push out of the tally's memory what still
        waits.
        """
        measured = Measured(interval=0.001, timeout=10.0)
        measured.tracker.window = 16
        measured.start()
        measured.advance(0.1)
        self.assertEqual(len(measured.port.sent), 16)
        measured.hear(measured.port.sent[0].upper())
        measured.advance(0.01)
        self.assertEqual(len(measured.port.sent), 17)

    def test_fullToTheEnd(self) -> None:
        """
        What is held up until the deadline is skipped.
        """
        measured = Measured(interval=0.1, timeout=10.0, deadline=5.0)
        measured.session._sender.maxInFlight = 5
        measured.start()
        measured.advance(5.01)
        self.assertEqual(measured.done, [measured.tracker])
        # Until half of the time is over 26 are due.
        self.assertEqual((measured.tracker.sent, measured.session.skipped), (5, 21))

    def test_inFlightUNIX(self) -> None:
        """
        At a UNIX socket fewer wait than its queue has room for.
        """
        measured = Measured(socket.AF_UNIX, interval=0.001, timeout=10.0)
        measured.start()
        measured.advance(1)
        self.assertEqual(len(measured.port.sent), 8)

    def test_answersMakeRoom(self) -> None:
        """
        Where no more may wait, what is due leaves as soon as answers make room
        for it.
        """
        measured = Measured(socket.AF_UNIX, interval=0.00005)

        def taken(probe: bytes) -> None:
            measured.clock.callLater(0.0001, measured.hear, probe.upper())

        measured.port.taken = taken
        measured.start()
        measured.advance(1)
        self.assertLess(abs(len(measured.port.sent) - 20_000), 30)
        self.assertEqual(measured.session.skipped, 0)

    def test_noRoom(self) -> None:
        """
        What the system has no room for is sent a little later.
        """
        measured = Measured(count=1)
        measured.port.error = errno.EAGAIN
        measured.start()
        measured.advance(0.1)
        self.assertEqual((measured.tracker.sent, measured.events), (0, []))
        measured.port.error = None
        measured.advance(0.01)
        self.assertEqual(len(measured.port.sent), 1)

    def test_littleRoom(self) -> None:
        """
        However often the system has no room, what it takes within the timeout is
        not refused.
        """
        for number in (errno.ENOBUFS, errno.EAGAIN):
            measured = Measured(count=3, interval=0.5, timeout=0.5)
            measured.answer()
            for begin in (0.0, 0.5, 1.0):
                for time, error in ((begin, number), (begin + 0.4, None)):
                    measured.clock.callLater(
                        time, setattr, measured.port, "error", error
                    )
            measured.clock.advance(0)
            measured.start()
            measured.advance(3)
            tracker = measured.tracker
            self.assertEqual(
                (tracker.sent, tracker.answered, tracker.refused), (3, 3, 0)
            )

    def test_neverRoom(self) -> None:
        """
        What the system has no room for until the timeout is refused, so that a
        run ends.
        """
        measured = Measured(count=2, interval=0.1, timeout=0.5)
        measured.port.error = errno.ENOBUFS
        measured.start()
        measured.advance(3)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.refused), (2, 2))

    def test_notLetOut(self) -> None:
        """
        What the system does not let out is refused, and the run goes on.  The
        reason has the name that it has when the network says it, except at UNIX
        sockets, to which there is no network.
        """
        for family, number, reason in (
            (socket.AF_INET, errno.EPERM, "operation not permitted"),
            (socket.AF_INET, errno.EMSGSIZE, "too long to send"),
            (socket.AF_INET, errno.ENETUNREACH, "network unreachable"),
            (socket.AF_UNIX, errno.ECONNREFUSED, "connection refused"),
            (socket.AF_UNIX, errno.EMSGSIZE, "too long to send"),
        ):
            measured = Measured(family, count=2, interval=0.1)
            measured.port.error = number
            measured.start()
            measured.port.error = None
            measured.answer()
            measured.advance(1)
            self.assertEqual(measured.done, [measured.tracker])
            (first, second) = measured.events
            self.assertEqual((first.kind, first.number), (REFUSED, 1))
            self.assertEqual(first.detail, reason)
            self.assertEqual((second.kind, second.number), (REPLY, 2))
