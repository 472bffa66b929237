"""
Tests for adaptive measurements of L{shout.measure.session}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.udp.icmp import ICMPError
from tests.measure.fakes import FakePing


class AdaptiveTests(SynchronousTestCase):
    """
    Tests for L{PingSession<shout.measure.session.PingSession>} with an adaptive
    schedule.
    """

    def ping(self, **options: Any) -> FakePing:
        """
        Make a measurement that keeps the times of sending in C{self.times}.
        """
        ping = FakePing(isAdaptive=True, **options)
        self.times: list[float] = []
        for port in ping.ports:
            port.onSend = lambda probe: self.times.append(ping.clock.seconds())
        return ping

    def answer(self, ping: FakePing, delay: float, flow: int = 0) -> None:
        """
        Answer each probe of a flow after a delay in seconds.
        """

        def onSend(probe: bytes) -> None:
            self.times.append(ping.clock.seconds())
            ping.clock.callLater(delay, ping.receive, probe.upper(), flow=flow)

        ping.ports[flow].onSend = onSend

    def check(self, *expected: float) -> None:
        """
        Check the times of the first probes.
        """
        self.assertGreaterEqual(len(self.times), len(expected))
        for time, expectedTime in zip(self.times, expected):
            self.assertAlmostEqual(time, expectedTime, 5)

    def test_replies(self) -> None:
        """
        A probe is sent as soon as the one before is answered.
        """
        ping = self.ping(interval=1.0)
        self.answer(ping, 0.25)
        ping.start()
        ping.advance(1.01)
        self.check(0, 0.25, 0.5, 0.75, 1.0)
        self.assertEqual(len(self.times), 5)
        self.assertEqual(ping.result().skipped, 0)

    def test_quiet(self) -> None:
        """
        That makes no difference if nothing is called with the events.
        """
        ping = self.ping(interval=1.0)
        ping.session.isQuiet = True
        self.answer(ping, 0.25)
        ping.start()
        ping.advance(0.51)
        self.check(0, 0.25, 0.5)
        self.assertEqual(ping.events, [])

    def test_fast(self) -> None:
        """
        However fast the replies are, probes are at least a millisecond apart.
        """
        ping = self.ping(interval=1.0)
        self.answer(ping, 0.00001)
        ping.start()
        ping.advance(1)
        gaps = [after - before for before, after in zip(self.times, self.times[1:])]
        self.assertGreaterEqual(min(gaps), 0.001)
        self.assertGreater(len(self.times), 900)

    def test_slow(self) -> None:
        """
        If the replies are slower than the interval, probes are sent at the interval.
        """
        ping = self.ping(interval=0.25)
        self.answer(ping, 0.6)
        ping.start()
        ping.advance(1.01)
        self.check(0, 0.25, 0.5, 0.75, 1.0)
        self.assertEqual(len(self.times), 5)

    def test_loss(self) -> None:
        """
        After a probe that is not answered, the next one is sent at the interval, and
        its reply counts again.
        """
        ping = self.ping(interval=0.25)
        ping.start()
        ping.advance(0.1)
        self.answer(ping, 0.01)
        ping.advance(0.175)
        self.check(0, 0.25, 0.26, 0.27)

    def test_refused(self) -> None:
        """
        Neither an ICMP error nor a wrong or repeated reply lets the next probe leave
        sooner.
        """
        ping = self.ping(interval=0.25)
        ping.start()
        probe = ping.port.sent[0]
        ping.flow.icmpErrorReceived(ICMPError("port unreachable", quote=probe))
        ping.receive(probe, b"wrong")
        ping.advance(0.26)
        self.check(0, 0.25)
        ping.receive(ping.port.sent[1].upper())
        ping.receive(ping.port.sent[1].upper())
        self.assertEqual(len(self.times), 3)
        ping.receive(ping.port.sent[1].upper())
        ping.advance(0.2)
        self.assertEqual(len(self.times), 3)

    def test_flows(self) -> None:
        """
        Flows take turns; a silent one delays the others by an interval.
        """
        ping = self.ping(interval=0.25, flows=2)
        self.answer(ping, 0.01, 1)
        ping.start()
        ping.advance(0.6)
        self.check(0, 0.25, 0.26, 0.51, 0.52)

    def test_count(self) -> None:
        """
        The measurement ends after the last reply, as usual.
        """
        ping = self.ping(interval=1.0, count=3)
        self.answer(ping, 0.1)
        ping.start()
        ping.advance(0.5)
        self.assertEqual(ping.done, [])
        ping.advance(0.11)
        self.assertEqual(ping.done, [ping.session])
        result = ping.result()
        self.assertEqual((result.sent, result.answered), (3, 3))
        self.assertAlmostEqual(result.rate, 10, 3)

    def test_deadline(self) -> None:
        """
        Probes are sent until there is no time for another reply.
        """
        ping = self.ping(interval=1.0, deadline=2.0)
        self.answer(ping, 0.1)
        ping.start()
        ping.advance(2.1)
        self.assertEqual(ping.done, [ping.session])
        self.assertTrue(1.55 < self.times[-1] < 1.71)
        self.assertEqual(ping.result().lost, 0)
