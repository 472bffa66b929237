"""
Tests for L{shout.measure.flow}, in a session.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.probe import GARBAGE
from shout.measure.result import LOST, REFUSED, REPLY, WRONG
from shout.measure.schedule import SECOND
from shout.measure.target import Target
from shout.udp.icmp import ICMPError
from tests.measure.fakes import FakePing
from tests.properties import untimed


def _call(function: Callable[[], None], _: bytes) -> None:
    function()


class FlowTests(SynchronousTestCase):
    """
    Tests for L{Flow<shout.measure.flow.Flow>}.
    """

    def test_inTurn(self) -> None:
        """
        The flows of a target send in turn, at the interval, and the probes are numbered
        over all of them.
        """
        ping = FakePing(flows=3, count=7, interval=0.1)
        leaving: list[tuple[int, int]] = []

        def left(index: int, probe: bytes) -> None:
            leaving.append((index, round(ping.clock.seconds() * 1000)))

        for index, port in enumerate(ping.ports):
            port.onSend = partial(left, index)
        ping.start()
        ping.advance(0.65)
        self.assertEqual(leaving, [(i % 3, 100 * i) for i in range(7)])
        numbers = [int(probe.split()[1]) for port in ping.ports for probe in port.sent]
        self.assertEqual(numbers, [1, 4, 7, 2, 5, 3, 6])

    def test_order(self) -> None:
        """
        In each round the flows have another order, in which each target has its turn
        before the next flow.
        """
        ping = FakePing(targets=2, flows=3, count=6, interval=0.1)
        leaving: list[int] = []

        def left(index: int, probe: bytes) -> None:
            leaving.append(index)

        for index, port in enumerate(ping.ports):
            port.onSend = partial(left, index)

        def rotate(flows: list[Any]) -> None:
            flows.append(flows.pop(0))

        ping.session._sender.shuffle = rotate
        ping.start()
        ping.advance(1)
        # The ports of an index are neighbours.
        self.assertEqual(leaving, [2, 3, 4, 5, 0, 1, 4, 5, 0, 1, 2, 3])

    def test_count(self) -> None:
        """
        The count is that of a target over all its flows.
        """
        ping = FakePing(targets=2, flows=3, count=8, interval=0.01)
        ping.answerAll()
        ping.start()
        ping.advance(1)
        self.assertEqual(ping.done, [ping.session])
        for index in (0, 1):
            result = ping.result(index)
            self.assertEqual((result.sent, result.answered), (8, 8))
            self.assertEqual([flow.sent for flow in result.flows], [3, 3, 2])

    def test_total(self) -> None:
        """
        The targets have figures together, too.
        """
        ping = FakePing(targets=3, count=4, interval=0.1, timeout=0.1)
        ping.answer(0)
        ping.answer(1)
        ping.start()
        ping.advance(1)
        total = ping.session.total(Target("all", "all", None))
        self.assertEqual((total.sent, total.answered, total.lost), (12, 8, 4))
        self.assertEqual((total.host, total.sourcePort), ("all", None))

    def test_spread(self) -> None:
        """
        The targets have their turns within the interval.
        """
        ping = FakePing(targets=4, count=2, interval=1.0)
        leaving = []
        for port in ping.ports:
            port.onSend = lambda probe: leaving.append(round(ping.clock.seconds(), 3))
        ping.start()
        ping.advance(1.8)
        self.assertEqual(leaving, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75])

    def test_silentFlow(self) -> None:
        """
        Each flow has its own figures, whose sums are those of the target.
        """
        ping = FakePing(flows=3, count=9, interval=0.1)
        ping.answer(0, 0.01)
        ping.answer(2, 0.03)
        ping.start()
        ping.advance(5)
        self.assertEqual(ping.done, [ping.session])
        result = ping.result()
        flows = result.flows
        self.assertEqual([flow.sourcePort for flow in flows], [40000, 40001, 40002])
        self.assertEqual([flow.answered for flow in flows], [3, 0, 3])
        self.assertEqual([flow.lost for flow in flows], [0, 3, 0])
        self.assertEqual((result.sent, result.answered, result.lost), (9, 6, 3))
        self.assertIsNone(result.sourcePort)
        assert result.roundTrips is not None
        trips = [flow.roundTrips for flow in flows if flow.roundTrips]
        self.assertEqual(result.roundTrips.min, trips[0].min)
        self.assertEqual(result.roundTrips.max, trips[1].max)
        # Successive probes of one flow are compared.
        self.assertLess(result.jitter or 0, 1_000_000)
        lost = [event[:2] for event in ping.events if event.kind == LOST]
        self.assertEqual(lost, [(LOST, 2), (LOST, 5), (LOST, 8)])
        ports = {event.sourcePort for event in ping.events if event.kind == LOST}
        self.assertEqual(ports, {40001})

    def test_otherFlow(self) -> None:
        """
        The reply to a probe of another flow is garbage.
        """
        ping = FakePing(flows=2, interval=0.1)
        ping.start()
        ping.advance(0.15)
        ping.receive(ping.ports[0].sent[0].upper(), flow=1)
        self.assertEqual(ping.events[-1].kind, WRONG)
        self.assertEqual(ping.events[-1].detail, "answers a probe of another flow")
        self.assertEqual(ping.result().kinds, {GARBAGE: 1})

    def test_icmpError(self) -> None:
        """
        An ICMP error is counted for its flow, with its sender.
        """
        ping = FakePing(flows=2, interval=0.1)
        ping.start()
        ping.advance(0.15)
        quote = ping.ports[1].sent[0]
        error = ICMPError("administratively prohibited", "192.0.2.7", quote)
        ping.session.flows[1].icmpErrorReceived(error)
        event = ping.events[-1]
        self.assertEqual((event.kind, event.number, event.error), (REFUSED, 2, error))
        expected = {("administratively prohibited", "192.0.2.7"): 1}
        result = ping.result()
        self.assertEqual(result.icmpErrors, expected)
        self.assertEqual([flow.refused for flow in result.flows], [0, 1])

    def test_blocked(self) -> None:
        """
        A flow that cannot send misses its turn, which is counted, and does not delay
        the others.
        """
        ping = FakePing(targets=3, count=5, interval=0.3)
        ping.answerAll()
        ping.ports[1].error = errno.EAGAIN
        ping.start()
        ping.advance(10)
        self.assertEqual(ping.done, [ping.session])
        results = [ping.result(index) for index in range(3)]
        self.assertEqual([result.sent for result in results], [5, 0, 5])
        self.assertEqual([result.skipped for result in results], [0, 5, 0])

    def test_unix(self) -> None:
        """
        At most eight probes are in flight to a UNIX socket.
        """
        ping = FakePing(family=socket.AF_UNIX, targets=2, count=20, interval=0.02)
        ping.start()
        ping.advance(0.5)
        self.assertEqual([len(port.sent) for port in ping.ports], [8, 8])
        self.assertEqual(ping.result(1).skipped, 12)

    def test_stopped(self) -> None:
        """
        The probes in flight at the end are removed from the figures of their flows.
        """
        ping = FakePing(flows=2, interval=0.1)
        ping.answer(0)
        ping.start()
        ping.advance(0.35)
        ping.session.stop()
        result = ping.result()
        self.assertEqual((result.sent, result.inFlightAtEnd), (2, 2))
        self.assertEqual([flow.inFlightAtEnd for flow in result.flows], [0, 2])

    def test_sendTimes(self) -> None:
        """
        A round trip begins at the time at which the kernel sent the probe, whether that
        is known before the probe counts as sent or later.
        """
        for isEarly in (True, False):
            ping = FakePing(count=2, interval=1.0, hasSendTimes=True)
            ping.start()
            ping.flow.send(b"hop", 3)
            port, sent = ping.port, ping.clock.seconds() + 1
            time = round((sent + 0.2) * SECOND)
            receive = partial(ping.flow.sendTimeReceived, 2, time)
            if isEarly:
                port.onSend = partial(_call, receive)
            ping.advance(1.3)
            if not isEarly:
                receive()
            # That of the hop probe, and that of one that was answered, have no effect.
            ping.flow.sendTimeReceived(1, time)
            ping.receive(port.sent[-1].upper())
            ping.flow.sendTimeReceived(2, time + 1)
            self.assertAlmostEqual(ping.events[-1].roundTrip, 100_000_000, delta=10**6)

    def test_noSendTimes(self) -> None:
        """
        At a thousand probes per second and more, and for a system without them, there
        are no send times.
        """
        for interval, hasThem in ((0.001, True), (1, False)):
            ping = FakePing(interval=interval, hasSendTimes=hasThem)
            ping.start()
            self.assertFalse(ping.flow.hasSendTimes)

    def test_sendTimesMissing(self) -> None:
        """
        Probes without a send time do not pile up.
        """
        ping = FakePing(count=3000, interval=0.002, hasSendTimes=True)
        ping.answerAll()
        ping.start()
        ping.advance(10)
        self.assertEqual((ping.done, len(ping.flow._untimed)), ([ping.session], 1024))

    @untimed
    @given(
        st.integers(1, 3),
        st.integers(1, 4),
        st.integers(1, 30),
        st.sets(st.integers(0, 11)),
        st.sampled_from([0.0001, 0.001, 0.3]),
    )
    def test_sums(
        self, targets: int, flows: int, count: int, silent: set[int], interval: float
    ) -> None:
        """
        With any number of targets and flows, of which some are silent, each probe is
        counted once, and lost at its timeout.
        """
        ping = FakePing(
            targets=targets, flows=flows, count=count, interval=interval, timeout=0.2
        )
        for index in set(range(targets * flows)) - silent:
            ping.answer(index, 0.01)
        ping.start()
        ping.advance(interval * count + 1)
        self.assertEqual(ping.done, [ping.session])
        kinds = {event.kind for event in ping.events}
        self.assertLessEqual(kinds, {REPLY, LOST})
        for target in range(targets):
            result = ping.result(target)
            self.assertEqual(result.sent + result.skipped, count)
            self.assertEqual(result.sent, result.answered + result.lost)
            for index, flow in enumerate(result.flows):
                isSilent = index * targets + target in silent
                self.assertEqual(flow.lost if isSilent else flow.answered, flow.sent)
