"""
Tests for L{PingSession<shout.measure.session.PingSession>} with a tracer.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hops import Hop
from shout.measure.result import REFUSED, REPLY
from shout.udp.icmp import ICMPError
from tests.measure.fakes import FakePing


class FakeTracer:
    """
    A tracer that takes what contains its word.

    @ivar taken: The flow of each reply and error that it has taken.
    """

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.done: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        return self.done

    def hops(self) -> dict[int, list[Hop]]:
        return {40001: [Hop(1, "192.0.2.1")]}

    def stop(self) -> None:
        if not self.done.called:
            self.done.callback(None)

    def datagramReceived(self, flow: int, datagram: bytes, *_: Any) -> bool:
        return self._take(flow, datagram)

    def icmpErrorReceived(self, flow: int, error: ICMPError, now: int) -> bool:
        return self._take(flow, error.quote or b"")

    def _take(self, flow: int, datagram: bytes) -> bool:
        if b"hop" not in datagram.lower():
            return False
        self.taken.append(flow)
        return True


class TracingTests(SynchronousTestCase):
    """
    Tests for C{PingSession.tracer}.
    """

    def start(self, **options: Any) -> tuple[FakePing, FakeTracer]:
        """
        Start a measurement whose probes are answered, and a tracer.
        """
        ping = FakePing(flows=2, interval=0.1, **options)
        ping.answerAll()
        ping.session.tracer = tracer = FakeTracer()
        ping.start()
        return ping, tracer

    def test_untilTraced(self) -> None:
        """
        Without a count and a deadline, the measurement ends after all flows are traced
        and the probes are answered.
        """
        ping, tracer = self.start()
        ping.advance(60)
        self.assertEqual(ping.done, [])
        tracer.stop()
        sent = ping.result().sent
        self.assertGreater(sent, 500)
        ping.advance(2)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.result().sent, ping.result().answered), (sent, sent))

    def test_count(self) -> None:
        """
        After the last probe the measurement waits for the tracer.
        """
        ping, tracer = self.start(count=4)
        ping.advance(60)
        result = ping.result()
        self.assertEqual((ping.done, result.answered), ([], 4))
        hops = [flow.hops for flow in result.flows]
        self.assertEqual(hops, [None, [Hop(1, "192.0.2.1")]])
        tracer.stop()
        self.assertEqual(ping.done, [ping.session])

    def test_tracedEarly(self) -> None:
        """
        A tracer that ends earlier than the probes does not end the measurement.
        """
        ping, tracer = self.start(count=40)
        tracer.stop()
        ping.advance(3)
        self.assertEqual(ping.done, [])
        ping.advance(2)
        self.assertEqual((ping.done, ping.result().answered), ([ping.session], 40))

    def test_stopped(self) -> None:
        """
        Stopping the measurement, and its deadline, stop the tracer.
        """
        ping, tracer = self.start()
        ping.session.stop()
        self.assertTrue(tracer.done.called)
        self.assertEqual(ping.done, [ping.session])
        ping, tracer = self.start(deadline=3)
        ping.advance(3.1)
        self.assertTrue(tracer.done.called)
        self.assertEqual(ping.done, [ping.session])

    def test_taken(self) -> None:
        """
        Replies and ICMP errors that are for the tracer are not counted.
        """
        ping, tracer = self.start(count=2)
        error = ICMPError("time exceeded", "192.0.2.7", b"hop")
        for index, flow in enumerate(ping.session.flows):
            ping.receive(b"HOP", flow=index)
            flow.icmpErrorReceived(error)
        self.assertEqual(tracer.taken, [0, 0, 1, 1])
        ping.session.flows[1].icmpErrorReceived(error._replace(quote=b"other"))
        ping.advance(1)
        kinds = [event.kind for event in ping.events]
        self.assertEqual(kinds, [REFUSED, REPLY, REPLY])

    def test_send(self) -> None:
        """
        A flow sends a datagram with a TTL of its own.
        """
        ping, _ = self.start(count=1)
        flow = ping.session.flows[1]
        flow.send(b"hop", 3)
        self.assertEqual(ping.ports[1].sent, [b"hop"])
        self.assertEqual(ping.ports[1].ttls, [3])
        self.assertEqual(flow.sourcePort, 40001)
