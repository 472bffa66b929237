"""
Tests for L{shout.measure.session}.
"""

from __future__ import annotations

import errno
import statistics
from functools import partial
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.result import LATE, LOST, REPLY, Event, Result
from shout.measure.schedule import SECOND
from shout.measure.session import PingSession
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader
from tests.measure.fakes import FakePing
from tests.properties import untimed
from tests.relay import (
    ANSWER,
    CORRUPT,
    DELAY,
    DROP,
    DUPLICATE,
    ECHO,
    GARBAGE,
    REORDER,
    Relay,
)


def _stop(session: PingSession, event: Event) -> None:
    session.stop()


class PingSessionTests(SynchronousTestCase):
    """
    Tests for L{PingSession}.
    """

    def test_interval(self) -> None:
        """
        The first probe is sent at once, and each other one an interval after the one
        before.
        """
        ping = FakePing(interval=2.0)
        ping.start()
        self.assertEqual(len(ping.port.sent), 1)
        ping.advance(1.99)
        self.assertEqual(len(ping.port.sent), 1)
        ping.advance(0.02)
        self.assertEqual(len(ping.port.sent), 2)
        ping.advance(2)
        self.assertEqual(len(ping.port.sent), 3)
        self.assertEqual(len(set(ping.port.sent)), 3)

    def test_listen(self) -> None:
        """
        The port can be opened before anything is sent.
        """
        ping = FakePing()
        ping.session.listen()
        self.assertTrue(ping.port.isListening)
        self.assertEqual(ping.port.sent, [])
        ping.start()
        self.assertEqual(len(ping.port.sent), 1)

    def test_size(self) -> None:
        """
        Each probe has the given size.
        """
        ping = FakePing(count=3, interval=0.1, size=1400)
        ping.start()
        ping.advance(1)
        self.assertEqual([len(probe) for probe in ping.port.sent], [1400] * 3)

    def test_count(self) -> None:
        """
        After the given number of probes the session ends, once all are answered.
        """
        ping = FakePing(count=2)
        ping.answerAll()
        ping.start()
        ping.advance(5)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.answered), (2, 2))
        self.assertFalse(ping.port.isListening)
        self.assertEqual(ping.clock.getDelayedCalls(), [])

    def test_unanswered(self) -> None:
        """
        Without replies the session ends two timeouts after the last probe, so that late
        replies are counted.
        """
        ping = FakePing(count=2, timeout=3.0)
        ping.start()
        ping.advance(6.99)
        self.assertEqual(ping.done, [])
        ping.advance(0.02)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual([event[:2] for event in ping.events], [(LOST, 1), (LOST, 2)])

    def test_linger(self) -> None:
        """
        After the last reply the session waits for duplicates, for three times the
        longest round trip.
        """
        ping = FakePing(count=1)
        ping.start()
        ping.advance(0.1)
        reply = ping.port.sent[0].upper()
        ping.receive(reply)
        ping.advance(0.25)
        self.assertEqual(ping.done, [])
        ping.receive(reply)
        ping.advance(0.1)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual(ping.tracker.duplicates, 1)

    def test_lingerDeadline(self) -> None:
        """
        The session does not wait for duplicates beyond the deadline.
        """
        ping = FakePing(count=1, deadline=1.0)
        ping.start()
        ping.advance(0.5)
        ping.receive(ping.port.sent[0].upper())
        ping.advance(0.49)
        self.assertEqual(ping.done, [])
        ping.advance(0.02)
        self.assertEqual(ping.done, [ping.session])

    def test_lingerLate(self) -> None:
        """
        If probes are lost, the session waits a timeout for late replies, however short
        the round trips were.
        """
        ping = FakePing(count=3, interval=0.01, timeout=1.0)
        ping.start()
        ping.advance(0.03)
        ping.receive(ping.port.sent[0].upper())
        ping.advance(1.3)
        self.assertEqual((ping.tracker.lost, ping.done), (2, []))
        ping.receive(*(probe.upper() for probe in ping.port.sent[1:]))
        ping.advance(1)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.late, ping.tracker.lost), (2, 0))

    def test_pause(self) -> None:
        """
        Replies that arrived while this program was paused are counted before their
        probes time out.
        """
        ping = FakePing(count=2, interval=0.1, timeout=1.0)
        ping.start()
        ping.advance(0.15)
        first, second = (probe.upper() for probe in ping.port.sent)
        ping.port.buffered = [(first, 2 * SECOND), (second, SECOND // 2)]
        ping.clock.advance(2.5)
        self.assertEqual([event[:2] for event in ping.events], [(REPLY, 1), (LATE, 2)])
        self.assertEqual(ping.tracker.answered, 1)

    def test_deadline(self) -> None:
        """
        The session ends at the deadline.  The last probe is sent a timeout before, so
        that its reply has time.
        """
        ping = FakePing(deadline=5.0, timeout=2.0)
        ping.start()
        ping.advance(4.9)
        self.assertEqual(len(ping.port.sent), 4)
        self.assertEqual(ping.done, [])
        ping.advance(0.2)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.lost), (4, 4))

    def test_shortDeadline(self) -> None:
        """
        If the deadline is shorter than two timeouts, probes are sent during the first
        half of the time.
        """
        ping = FakePing(deadline=0.5, interval=0.1)
        ping.start()
        ping.advance(0.51)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.lost), (3, 3))

    def test_answeredDeadline(self) -> None:
        """
        Once a probe is answered, probes are sent until three times the longest round
        trip before the deadline.
        """
        ping = FakePing(deadline=1.0, interval=0.1)
        ping.start()
        ping.advance(0.75)
        self.assertEqual(len(ping.port.sent), 6)
        ping.receive(*(probe.upper() for probe in ping.port.sent))
        self.assertEqual(ping.done, [])
        # These round trips are so long that there is no time for another.
        ping.advance(0.3)
        self.assertEqual((ping.tracker.sent, ping.tracker.answered), (6, 6))

        ping = FakePing(deadline=1.0, interval=0.1)
        ping.answerAll()
        ping.start()
        ping.advance(1.01)
        self.assertEqual((ping.tracker.sent, ping.tracker.answered), (10, 10))
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual(ping.result().skipped, 0)

    def test_slowerAtEnd(self) -> None:
        """
        Of the probes in flight at the deadline, those that had enough time are lost,
        and the others are removed.
        """
        ping = FakePing(deadline=2.0, interval=0.1)

        def onSend(probe: bytes) -> None:
            if len(ping.port.sent) % 5:
                delay = 1e-6 if ping.clock.seconds() < 1.45 else 0.45
                ping.clock.callLater(delay, ping.receive, probe.upper())

        ping.port.onSend = onSend
        ping.start()
        ping.advance(2.01)
        self.assertEqual(len(ping.port.sent), 20)
        tracker = ping.tracker
        self.assertEqual((tracker.sent, tracker.answered, tracker.lost), (15, 13, 2))
        self.assertEqual(ping.result().inFlightAtEnd, 5)

    def test_moreTime(self) -> None:
        """
        If a reply shows that there is time for more probes before the deadline, they
        are sent.
        """
        ping = FakePing(deadline=1.0, interval=0.1, timeout=1.0)
        ping.start()
        ping.advance(0.55)
        self.assertEqual(len(ping.port.sent), 6)
        ping.receive(ping.port.sent[5].upper())
        ping.advance(0.2)
        self.assertEqual(len(ping.port.sent), 8)

    def test_nothingSkipped(self) -> None:
        """
        After the last probe none is counted as skipped, however long the session waits.
        """
        ping = FakePing(count=3, interval=0.05, timeout=1.0)
        ping.start()
        ping.advance(3)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual(ping.result().skipped, 0)

    def test_stop(self) -> None:
        """
        When the session is stopped, replies in the receive buffer are counted, and
        probes in flight are removed.
        """
        ping = FakePing(interval=0.1)
        ping.start()
        ping.advance(0.25)
        ping.port.buffered = [(ping.port.sent[0].upper(), 0)]
        ping.session.stop()
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.answered), (1, 1))
        self.assertEqual(ping.result().inFlightAtEnd, 2)
        self.assertLess(abs(ping.result().rate - 10), 0.001)
        self.assertEqual(ping.clock.getDelayedCalls(), [])
        ping.session.stop()

    def test_stopFromCallback(self) -> None:
        """
        The callback for an event can stop the session.
        """
        for error in (None, errno.EPERM):
            ping = FakePing(interval=0.1)
            ping.port.error = error
            ping.answerAll()
            ping.onEvent = partial(_stop, ping.session)
            ping.start()
            ping.advance(1)
            self.assertEqual(ping.done, [ping.session])
            self.assertEqual(ping.tracker.sent, 1)
            self.assertEqual(ping.clock.getDelayedCalls(), [])

    def test_stopFromSendError(self) -> None:
        """
        If the callback stops the session while probes are being sent, no more are sent.
        """
        ping = FakePing(interval=0.0001)
        ping.start()
        ping.port.error = errno.EPERM
        ping.onEvent = partial(_stop, ping.session)
        ping.clock.advance(0.01)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual((ping.tracker.sent, ping.tracker.refused), (1, 1))

    def test_callbackRaises(self) -> None:
        """
        An exception in the callback is logged, and the session continues.
        """
        ping = FakePing(count=3, interval=0.1, timeout=0.5)

        def onEvent(event: Event) -> None:
            raise RuntimeError("deliberate")

        ping.onEvent = onEvent
        ping.start()
        ping.receive(ping.port.sent[0].upper())
        ping.flow.icmpErrorReceived(ICMPError("port unreachable"))
        ping.advance(2)
        self.assertEqual(ping.done, [ping.session])
        tracker = ping.tracker
        self.assertEqual((tracker.answered, tracker.refused, tracker.lost), (1, 0, 2))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 4)

    def test_cancel(self) -> None:
        """
        Cancelling the L{Deferred} stops the session, also if the port takes time to
        close.
        """
        ping = FakePing()
        ping.port.stopped = Deferred()
        running = ping.session.start()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertFalse(ping.port.isListening)
        self.assertEqual(ping.clock.getDelayedCalls(), [])
        ping.port.stopped.callback(None)

    def test_unexpectedError(self) -> None:
        """
        An unexpected error ends the session, and the L{Deferred} fails.
        """
        for delay in (0.0, 1.0):
            ping = FakePing()

            def onSend(probe: bytes) -> None:
                raise RuntimeError("deliberate")

            ping.clock.callLater(delay, setattr, ping.port, "onSend", onSend)
            ping.clock.advance(0)
            ping.start()
            ping.advance(2)
            (failure,) = ping.done
            assert isinstance(failure, Failure)
            failure.trap(RuntimeError)
            self.assertFalse(ping.port.isListening)
            self.assertEqual(ping.clock.getDelayedCalls(), [])

    def test_behind(self) -> None:
        """
        Probes long overdue are skipped, and the rest is sent without a burst.
        """
        ping = FakePing(interval=0.01)
        ping.start()
        ping.clock.advance(1)
        ping.advance(0.001)
        sent = len(ping.port.sent)
        self.assertEqual(sent + ping.result().skipped, 101)
        self.assertLess(sent, 10)

    def test_error(self) -> None:
        """
        An ICMP error ends the wait for a reply to its probe.
        """
        ping = FakePing(count=1)
        ping.start()
        error = ICMPError("port unreachable", quote=ping.port.sent[0])
        ping.flow.icmpErrorReceived(error)
        ping.advance(0.002)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual(ping.tracker.refused, 1)

    def test_result(self) -> None:
        """
        The result has the figures of the tracker, the port and the session.
        """
        ping = FakePing(interval=0.5, size=64)
        ping.clock.advance(7)
        ping.start()
        ping.advance(2.25)
        first, second, third, _, _ = ping.port.sent
        tracker = ping.tracker
        for reply, time in ((first, 0.1), (second, 0.3), (third, 0.4)):
            sent = ping.port.sent.index(reply) * 0.5 + 7
            now = round((sent + time) * SECOND)
            ping.flow.timedDatagramReceived(reply.upper(), now, 0, IPHeader())
        ping.flow.timedDatagramReceived(first, 0, 0, IPHeader())
        tracker.outOfWindow = 9
        ping.port.kernelDrops = 3
        ping.session._pacer.skipped = 4
        ping.session.stop()
        result = ping.result()
        self.assertEqual(
            (result.sent, result.answered, result.inFlightAtEnd), (3, 3, 2)
        )
        self.assertEqual(
            (result.outOfWindow, result.kernelDrops, result.skipped), (9, 3, 4)
        )
        self.assertEqual((result.wrong, result.answeredWrong), (1, 0))
        assert result.jitter is not None
        self.assertLess(abs(result.jitter - SECOND * 0.15), 1000)
        self.assertLess(abs(result.duration - 2 * SECOND), 1000)
        self.assertTrue(result.hasKernelTimes)

    def test_answeredWrong(self) -> None:
        """
        The result has the number of probes with wrong replies only.
        """
        ping = FakePing(count=2, interval=0.1)
        ping.start()
        ping.receive(ping.port.sent[0])
        ping.advance(3)
        result = ping.result()
        self.assertEqual((result.lost, result.answeredWrong), (1, 1))

    def test_afterTheEnd(self) -> None:
        """
        Replies and ICMP errors after the end are not counted.
        """
        ping = FakePing()
        ping.start()
        ping.session.stop()
        ping.receive(ping.port.sent[0].upper())
        ping.flow.icmpErrorReceived(ICMPError("port unreachable"))
        self.assertEqual(ping.events, [])


class RelayTests(SynchronousTestCase):
    """
    Tests for L{PingSession} against a lossy relay.
    """

    def measure(self, seed: int, weights: dict[str, int]) -> tuple[Result, Relay]:
        ping = FakePing(count=400, interval=0.1, size=64)
        relay = Relay(seed, weights, ping.receive, ping.clock)
        ping.port.onSend = relay.take
        ping.start()
        ping.advance(50)
        self.assertEqual(ping.done, [ping.session])
        self.assertEqual(sum(relay.done.values()), 400)
        return ping.result(), relay

    @settings(untimed, max_examples=15)
    @given(st.integers(0, 2**32))
    def test_figures(self, seed: int) -> None:
        """
        Each figure is the number of times that the relay did it.
        """
        result, relay = self.measure(
            seed,
            {
                ANSWER: 60,
                DROP: 10,
                DUPLICATE: 5,
                DELAY: 5,
                REORDER: 10,
                CORRUPT: 4,
                ECHO: 3,
                GARBAGE: 3,
            },
        )
        done = relay.done
        wrong = done[CORRUPT] + done[ECHO] + done[GARBAGE]
        self.assertEqual(result.sent, 400)
        self.assertEqual(
            result.answered, done[ANSWER] + done[DUPLICATE] + done[REORDER]
        )
        self.assertEqual(result.lost, done[DROP])
        self.assertEqual(result.duplicates, done[DUPLICATE])
        self.assertEqual(result.late, done[DELAY])
        self.assertEqual(result.outOfOrder, relay.overtaken)
        self.assertEqual((result.wrong, result.answeredWrong), (wrong, wrong))
        kinds = {"corrupted": CORRUPT, "echoed": ECHO, "garbage": GARBAGE}
        self.assertEqual(
            result.kinds,
            {kind: done[action] for kind, action in kinds.items() if done[action]},
        )
        self.assertEqual(result.refused, 0)

        times = list(relay.roundTrips.values())
        histogram = result.roundTrips
        assert histogram is not None
        # The clock of the test adds floats.
        self.assertLess(abs(histogram.min - min(times)), 1000)
        self.assertLess(abs(histogram.max - max(times)), 1000)
        self.assertLess(abs(histogram.mean - statistics.mean(times)), 1000)
        self.assertLess(abs(histogram.stddev - statistics.pstdev(times)), 1000)
        pairs = [
            abs(time - relay.roundTrips[number + 1])
            for number, time in relay.roundTrips.items()
            if number + 1 in relay.roundTrips
        ]
        assert result.jitter is not None
        self.assertLess(abs(result.jitter - statistics.mean(pairs)), 2000)

    def test_forged(self) -> None:
        """
        Forged replies do not hide losses.
        """
        ping = FakePing(count=1000, interval=0.01)
        random = Random(5)
        lost = 0

        def onSend(probe: bytes) -> None:
            nonlocal lost
            chance = random.random()
            if chance < 0.05:
                lost += 1
                return
            if chance < 0.1:
                ping.clock.callLater(0.0005, ping.receive, b"forged")
            ping.clock.callLater(0.0006, ping.receive, probe.upper())

        ping.port.onSend = onSend
        ping.start()
        ping.advance(13)
        self.assertEqual(ping.done, [ping.session])
        self.assertLess(30, lost)
        self.assertEqual((ping.tracker.lost, ping.tracker.answeredWrong), (lost, 0))

    def test_clean(self) -> None:
        """
        Without interference every probe is answered.
        """
        result, _ = self.measure(1, {ANSWER: 1})
        self.assertEqual((result.answered, result.lost, result.wrong), (400, 0, 0))
        self.assertEqual((result.duplicates, result.late), (0, 0))
