"""
Tests for L{shout.measure.sender}.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.result import LOST, OUTSTANDING, REFUSED, REPLY
from shout.udp.icmp import ICMPError
from tests.measure.fakes import FakePing


class SenderTests(SynchronousTestCase):
    """
    Tests for L{Sender<shout.measure.sender.Sender>}, in a session.
    """

    def test_rate(self) -> None:
        """
        A rate above a thousand per second is kept by sending several probes at a
        time, at most a millisecond late.
        """
        ping = FakePing(count=20_000, interval=0.0001)
        leaving: list[float] = []
        ping.port.onSend = lambda probe: leaving.append(ping.clock.seconds())
        ping.start()
        ping.advance(1)
        self.assertLess(abs(len(leaving) - 10_000), 20)
        for number, time in enumerate(leaving):
            self.assertTrue(-1e-6 < time - number * 0.0001 < 0.0011, (number, time))
        self.assertEqual(ping.result().skipped, 0)

    def test_atOnce(self) -> None:
        """
        Several probes are sent in one call, and no more than a millisecond's worth
        before replies are read again.
        """
        ping = FakePing(count=200, interval=0.0001)
        waiting: list[int] = []

        def onSend(probe: bytes) -> None:
            waiting.append(ping.tracker.inFlight)
            ping.clock.callLater(0, ping.receive, probe.upper())

        ping.port.onSend = onSend
        ping.start()
        ping.clock.advance(0.01)
        self.assertEqual(len(ping.port.sent), 101)
        # Of the eleven of a millisecond eight leave first, and three after them.
        self.assertEqual((max(waiting), ping.result().skipped), (8, 0))

    def test_inFlight(self) -> None:
        """
        The number of probes in flight is limited.
        """
        ping = FakePing(interval=0.001, timeout=10.0)
        ping.flow.maxInFlight = 5
        ping.start()
        ping.advance(1)
        self.assertEqual(len(ping.port.sent), 5)
        ping.receive(ping.port.sent[2].upper())
        ping.advance(0.01)
        self.assertEqual(len(ping.port.sent), 6)

    def test_rateInFlight(self) -> None:
        """
        At the limit of probes in flight, due probes are skipped.  The rate is that
        during the time in which probes were due.
        """
        ping = FakePing(interval=0.001, timeout=3.0, deadline=4.0)
        ping.flow.maxInFlight = 500
        ping.start()
        ping.advance(4.01)
        self.assertEqual(ping.done, [ping.session])
        result = ping.result()
        # What is due until half of the time is over is 2001 probes.
        self.assertEqual((result.sent, result.sent + result.skipped), (500, 2001))
        self.assertLess(abs(result.rate - 250), 1)

    def test_fullWindow(self) -> None:
        """
        No probe is sent that would push one in flight out of the window.
        """
        ping = FakePing(interval=0.001, timeout=10.0)
        ping.tracker.window = 16
        ping.start()
        ping.advance(0.1)
        self.assertEqual(len(ping.port.sent), 16)
        ping.receive(ping.port.sent[0].upper())
        ping.advance(0.01)
        self.assertEqual(len(ping.port.sent), 17)

    def test_fullUntilDeadline(self) -> None:
        """
        Probes that cannot be sent until the deadline are skipped.
        """
        ping = FakePing(interval=0.1, timeout=10.0, deadline=5.0)
        ping.flow.maxInFlight = 5
        ping.start()
        ping.advance(5.01)
        self.assertEqual(ping.done, [ping.session])
        # Until half of the time is over 26 are due.
        self.assertEqual((ping.tracker.sent, ping.result().skipped), (5, 21))

    def test_inFlightUNIX(self) -> None:
        """
        For a UNIX socket, the limit of probes in flight is below its queue length.
        """
        ping = FakePing(socket.AF_UNIX, interval=0.001, timeout=10.0)
        ping.start()
        ping.advance(1)
        self.assertEqual(len(ping.port.sent), 8)

    def test_repliesMakeRoom(self) -> None:
        """
        At the limit of probes in flight, due probes are sent as soon as replies
        arrive.
        """
        ping = FakePing(socket.AF_UNIX, interval=0.00005)
        ping.answerAll(0.0001)
        ping.start()
        ping.advance(0.25)
        self.assertLess(abs(len(ping.port.sent) - 5_000), 30)
        self.assertEqual(ping.result().skipped, 0)

    def test_fullBuffer(self) -> None:
        """
        If the send buffer is full, the probe is sent a little later.
        """
        ping = FakePing(count=1)
        ping.port.error = errno.EAGAIN
        ping.start()
        ping.advance(0.1)
        self.assertEqual((ping.tracker.sent, ping.events), (0, []))
        ping.port.error = None
        ping.advance(0.01)
        self.assertEqual(len(ping.port.sent), 1)

    def test_fullBufferAgain(self) -> None:
        """
        However often the send buffer is full, a probe that can be sent within the
        timeout is not refused.
        """
        for number in (errno.ENOBUFS, errno.EAGAIN):
            ping = FakePing(count=3, interval=0.5, timeout=0.5)
            ping.answerAll()
            for begin in (0.0, 0.5, 1.0):
                for time, error in ((begin, number), (begin + 0.4, None)):
                    ping.clock.callLater(time, setattr, ping.port, "error", error)
            ping.clock.advance(0)
            ping.start()
            ping.advance(3)
            tracker = ping.tracker
            self.assertEqual(
                (tracker.sent, tracker.answered, tracker.refused), (3, 3, 0)
            )

    def test_fullBufferUntilTimeout(self) -> None:
        """
        If the send buffer stays full until the timeout, the probe is refused, so that
        the session ends.
        """
        ping = FakePing(count=2, interval=0.1, timeout=0.5)
        ping.port.error = errno.ENOBUFS
        ping.start()
        ping.advance(3)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.refused), (2, 2))

    def test_sendError(self) -> None:
        """
        A probe that the system does not send is refused, and the session continues.
        The reason has the same text as that of an ICMP error, except for UNIX
        sockets.
        """
        for family, number, reason in (
            (socket.AF_INET, errno.EPERM, "operation not permitted"),
            (socket.AF_INET, errno.EMSGSIZE, "too long to send"),
            (socket.AF_INET, errno.ENETUNREACH, "network unreachable"),
            (socket.AF_UNIX, errno.ECONNREFUSED, "connection refused"),
            (socket.AF_UNIX, errno.EMSGSIZE, "too long to send"),
        ):
            ping = FakePing(family, count=2, interval=0.1)
            ping.port.error = number
            ping.start()
            ping.port.error = None
            ping.answerAll()
            ping.advance(1)
            self.assertEqual(ping.done, [ping.session])
            (first, second) = ping.events
            self.assertEqual((first.kind, first.number), (REFUSED, 1))
            self.assertEqual(first.detail, reason)
            self.assertEqual((second.kind, second.number), (REPLY, 2))


class OutstandingTests(SynchronousTestCase):
    """
    Tests for L{PingSession.reportOutstanding
    <shout.measure.session.PingSession.reportOutstanding>}.
    """

    def start(self, **options: Any) -> FakePing:
        """
        Start to send every second, with a timeout of 2.5 s.
        """
        ping = FakePing(interval=1.0, timeout=2.5, **options)
        ping.session.reportOutstanding()
        ping.start()
        return ping

    def outstanding(self, ping: FakePing) -> list[tuple[int | None, int | None]]:
        """
        Return the number and the source port of each probe that was reported.
        """
        return [
            (event.number, event.sourcePort)
            for event in ping.events
            if event.kind == OUTSTANDING
        ]

    def test_outstanding(self) -> None:
        """
        A probe is reported once, when the next one is sent before its reply has
        arrived.
        """
        ping = self.start()
        ping.advance(0.99)
        self.assertEqual(ping.events, [])
        ping.advance(0.02)
        self.assertEqual(self.outstanding(ping), [(1, 40000)])
        ping.receive(ping.port.sent[1].upper())
        ping.advance(1)
        self.assertEqual(self.outstanding(ping), [(1, 40000)])
        ping.advance(1)
        self.assertEqual(self.outstanding(ping), [(1, 40000), (3, 40000)])
        self.assertIn((LOST, 1), [event[:2] for event in ping.events])

    def test_off(self) -> None:
        """
        By default nothing is reported.
        """
        ping = FakePing(interval=1.0, timeout=2.5)
        ping.start()
        ping.advance(2)
        self.assertEqual(ping.events, [])

    def test_unread(self) -> None:
        """
        A reply that has arrived but has not been read counts as a reply.
        """
        ping = self.start()
        ping.port.buffered.append((ping.port.sent[0].upper(), 0))
        ping.advance(1.01)
        self.assertEqual([event.kind for event in ping.events], [REPLY])

    def test_error(self) -> None:
        """
        A probe that ended in an ICMP error, or got a wrong reply, is not outstanding.
        """
        ping = self.start()
        error = ICMPError("port unreachable", quote=ping.port.sent[0])
        ping.flow.icmpErrorReceived(error)
        ping.advance(1.01)
        ping.receive(ping.port.sent[1])
        ping.advance(1)
        self.assertEqual(self.outstanding(ping), [])

    def test_flows(self) -> None:
        """
        The probe before may be that of another flow.
        """
        ping = self.start(flows=2)
        ping.answer(1)
        ping.advance(3.01)
        self.assertEqual(self.outstanding(ping), [(1, 40000), (3, 40000)])

    def test_targets(self) -> None:
        """
        Only probes to the same target count.
        """
        ping = self.start(targets=2)
        ping.advance(0.99)
        self.assertEqual((len(ping.ports[1].sent), self.outstanding(ping)), (1, []))
        ping.advance(0.02)
        self.assertEqual(self.outstanding(ping), [(1, 40000)])

    def test_stop(self) -> None:
        """
        The callback for a reply may stop the measurement.
        """
        ping = self.start()
        ping.onEvent = lambda event: ping.session.stop()
        ping.port.buffered.append((b"wrong", 0))
        ping.advance(1.01)
        self.assertEqual(ping.done, [ping.session])
