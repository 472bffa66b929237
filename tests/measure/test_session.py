"""
Tests for L{shout.measure.session}.
"""

from __future__ import annotations

import errno
import os
import socket
import statistics
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout.measure import resultOf
from shout.measure.result import LATE, LOST, REPLY, Event, Result
from shout.measure.schedule import SECOND, Schedule
from shout.measure.session import PingSession
from shout.measure.target import Target
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


class FakeSocket:
    """
    A socket of a family.
    """

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.family = family


class FakePort:
    """
    A port that keeps what is sent, or fails as a test wants it to.

    @ivar waiting: replies that have arrived and have not been read, and for how
        long they have waited, in nanoseconds.

    @ivar stopped: what L{stopListening} returns.
    """

    maxAtOnce = 8
    hasKernelTimes = True
    kernelDrops = 0

    def __init__(self, sock: Any, protocol: Any, reactor: Any, clock: Any) -> None:
        self.protocol = protocol
        self.clock = clock
        self.sent: list[bytes] = []
        self.error: int | None = None
        self.waiting: list[tuple[bytes, int]] = []
        self.stopped: Deferred[None] = succeed(None)
        self.isListening = False
        self.taken: Callable[[bytes], object] = lambda datagram: None

    def startListening(self) -> None:
        self.isListening = True

    def stopListening(self) -> Any:
        self.isListening = False
        return self.stopped

    def drain(self) -> None:
        waiting, self.waiting = self.waiting, []
        for datagram, delay in waiting:
            self.protocol.timedDatagramReceived(datagram, self.clock(), delay, False)

    def send(self, datagrams: list[bytes]) -> int:
        assert self.isListening
        assert 1 <= len(datagrams) <= self.maxAtOnce
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        for datagram in datagrams:
            self.sent.append(datagram)
            self.taken(datagram)
        return len(datagrams)


class Measured:
    """
    A measurement on a clock, with its port and what it did.
    """

    def __init__(self, family: int = socket.AF_INET, **schedule: Any) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.onEvent: Callable[[Event], object] = self.events.append
        sock: Any = FakeSocket(family)
        self.session = PingSession(
            sock,
            Schedule(**schedule),
            lambda event: self.onEvent(event),
            self.clock,
            lambda: round(self.clock.seconds() * SECOND),
            FakePort,
        )
        self.tracker = self.session.tracker
        self.port: FakePort = self.session._port
        self.done: list[object] = []

    def start(self) -> None:
        self.session.start().addBoth(self.done.append)

    def advance(self, seconds: float) -> None:
        """
        Let time pass, from one call that is due to the next.
        """
        end = self.clock.seconds() + seconds
        while calls := self.clock.getDelayedCalls():
            soonest = max(min(call.getTime() for call in calls), self.clock.seconds())
            if soonest > end:
                break
            self.clock.advance(soonest - self.clock.seconds() + 1e-9)
        self.clock.advance(max(0, end - self.clock.seconds()))

    def answer(self) -> None:
        """
        Have every probe answered, a little later.
        """

        def taken(probe: bytes) -> None:
            self.clock.callLater(1e-6, self.hear, probe.upper())

        self.port.taken = taken

    def hear(self, *replies: bytes) -> None:
        for reply in replies:
            self.session.timedDatagramReceived(reply, self.port.clock(), 0, False)

    def result(self) -> Result:
        return resultOf(Target("h", "192.0.2.1", 9999), self.session)


def _stop(session: PingSession, event: Event) -> None:
    session.stop()


class PingingTests(SynchronousTestCase):
    """
    Tests for L{PingSession}.
    """

    def test_interval(self) -> None:
        """
        The first probe leaves at once, and each of the others an interval after
        the one before.
        """
        measured = Measured(interval=2.0)
        measured.start()
        self.assertEqual(len(measured.port.sent), 1)
        measured.advance(1.99)
        self.assertEqual(len(measured.port.sent), 1)
        measured.advance(0.02)
        self.assertEqual(len(measured.port.sent), 2)
        measured.advance(2)
        self.assertEqual(len(measured.port.sent), 3)
        self.assertEqual(len(set(measured.port.sent)), 3)

    def test_listen(self) -> None:
        """
        The port can be opened before anything is sent.
        """
        measured = Measured()
        measured.session.listen()
        self.assertTrue(measured.port.isListening)
        self.assertEqual(measured.port.sent, [])
        measured.start()
        self.assertEqual(len(measured.port.sent), 1)

    def test_size(self) -> None:
        """
        Each probe has the size wanted.
        """
        measured = Measured(count=3, interval=0.1, size=1400)
        measured.start()
        measured.advance(1)
        self.assertEqual([len(probe) for probe in measured.port.sent], [1400] * 3)

    def test_count(self) -> None:
        """
        After as many as were wanted it ends, once all are answered.
        """
        measured = Measured(count=2)
        measured.answer()
        measured.start()
        measured.advance(5)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.answered), (2, 2))
        self.assertFalse(measured.port.isListening)
        self.assertEqual(measured.clock.getDelayedCalls(), [])

    def test_unanswered(self) -> None:
        """
        Without answers it ends two timeouts after the last probe, so that what
        is late is not taken for lost.
        """
        measured = Measured(count=2, timeout=3.0)
        measured.start()
        measured.advance(6.99)
        self.assertEqual(measured.done, [])
        measured.advance(0.02)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(
            [event[:2] for event in measured.events], [(LOST, 1), (LOST, 2)]
        )

    def test_linger(self) -> None:
        """
        After the last answer it waits for duplicates, three times as long as the
        longest round trip was.
        """
        measured = Measured(count=1)
        measured.start()
        measured.advance(0.1)
        reply = measured.port.sent[0].upper()
        measured.hear(reply)
        measured.advance(0.25)
        self.assertEqual(measured.done, [])
        measured.hear(reply)
        measured.advance(0.1)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(measured.tracker.duplicates, 1)

    def test_lingerDeadline(self) -> None:
        """
        It does not wait for longer than the deadline allows.
        """
        measured = Measured(count=1, deadline=1.0)
        measured.start()
        measured.advance(0.5)
        measured.hear(measured.port.sent[0].upper())
        measured.advance(0.49)
        self.assertEqual(measured.done, [])
        measured.advance(0.02)
        self.assertEqual(measured.done, [measured.tracker])

    def test_lingerLate(self) -> None:
        """
        What is answered late at the end is late, and not lost, however quick the
        others were.
        """
        measured = Measured(count=3, interval=0.01, timeout=1.0)
        measured.start()
        measured.advance(0.03)
        measured.hear(measured.port.sent[0].upper())
        measured.advance(1.3)
        self.assertEqual((measured.tracker.lost, measured.done), (2, []))
        measured.hear(*(probe.upper() for probe in measured.port.sent[1:]))
        measured.advance(1)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.late, measured.tracker.lost), (2, 0))

    def test_pause(self) -> None:
        """
        What arrived while this program was stopped is answered, and is not said
        to be lost before.
        """
        measured = Measured(count=2, interval=0.1, timeout=1.0)
        measured.start()
        measured.advance(0.15)
        first, second = (probe.upper() for probe in measured.port.sent)
        measured.port.waiting = [(first, 2 * SECOND), (second, SECOND // 2)]
        measured.clock.advance(2.5)
        self.assertEqual(
            [event[:2] for event in measured.events], [(REPLY, 1), (LATE, 2)]
        )
        self.assertEqual(measured.tracker.answered, 1)

    def test_deadline(self) -> None:
        """
        It ends at the deadline; the last probe leaves a timeout before, so that
        none is lost for want of time.
        """
        measured = Measured(deadline=5.0, timeout=2.0)
        measured.start()
        measured.advance(4.9)
        self.assertEqual(len(measured.port.sent), 4)
        self.assertEqual(measured.done, [])
        measured.advance(0.2)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.lost), (4, 4))

    def test_shortDeadline(self) -> None:
        """
        Under a deadline shorter than twice the timeout probes leave until half
        of the time is over, and have until the end.
        """
        measured = Measured(deadline=0.5, interval=0.1)
        measured.start()
        measured.advance(0.51)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.lost), (3, 3))

    def test_answeredDeadline(self) -> None:
        """
        Once something was answered, probes leave until the rest of the time is
        three times the longest round trip.
        """
        measured = Measured(deadline=1.0, interval=0.1)
        measured.start()
        measured.advance(0.75)
        self.assertEqual(len(measured.port.sent), 6)
        measured.hear(*(probe.upper() for probe in measured.port.sent))
        self.assertEqual(measured.done, [])
        # These round trips are so long that there is no time for another.
        measured.advance(0.3)
        self.assertEqual((measured.tracker.sent, measured.tracker.answered), (6, 6))

        measured = Measured(deadline=1.0, interval=0.1)
        measured.answer()
        measured.start()
        measured.advance(1.01)
        self.assertEqual((measured.tracker.sent, measured.tracker.answered), (10, 10))
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(measured.session.skipped, 0)

    def test_answeredLate(self) -> None:
        """
        What left when less time seemed enough than there is need of is left out
        at the deadline, and what had its time is lost.
        """
        measured = Measured(deadline=2.0, interval=0.1)

        def taken(probe: bytes) -> None:
            if len(measured.port.sent) % 5:
                delay = 1e-6 if measured.clock.seconds() < 1.45 else 0.45
                measured.clock.callLater(delay, measured.hear, probe.upper())

        measured.port.taken = taken
        measured.start()
        measured.advance(2.01)
        self.assertEqual(len(measured.port.sent), 20)
        tracker = measured.tracker
        self.assertEqual((tracker.sent, tracker.answered, tracker.lost), (15, 13, 2))
        self.assertEqual(measured.session.inFlightAtEnd, 5)

    def test_heldBack(self) -> None:
        """
        An answer that comes when nothing more was to be sent before the deadline
        shows that there is time for more.
        """
        measured = Measured(deadline=1.0, interval=0.1, timeout=1.0)
        measured.start()
        measured.advance(0.55)
        self.assertEqual(len(measured.port.sent), 6)
        measured.hear(measured.port.sent[5].upper())
        measured.advance(0.2)
        self.assertEqual(len(measured.port.sent), 8)

    def test_nothingSkipped(self) -> None:
        """
        After the last probe none is said not to have been sent, however long the
        end takes.
        """
        measured = Measured(count=3, interval=0.05, timeout=1.0)
        measured.start()
        measured.advance(3)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(measured.session.skipped, 0)

    def test_stop(self) -> None:
        """
        Stopped, it counts what has arrived and leaves out what is on its way.
        """
        measured = Measured(interval=0.1)
        measured.start()
        measured.advance(0.25)
        measured.port.waiting = [(measured.port.sent[0].upper(), 0)]
        measured.session.stop()
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.answered), (1, 1))
        self.assertEqual(measured.session.inFlightAtEnd, 2)
        self.assertLess(abs(measured.result().rate - 10), 0.001)
        self.assertEqual(measured.clock.getDelayedCalls(), [])
        measured.session.stop()

    def test_stopFromEvent(self) -> None:
        """
        It can be stopped by whoever is told of an event.
        """
        for error in (None, errno.EPERM):
            measured = Measured(interval=0.1)
            measured.port.error = error
            measured.answer()
            measured.onEvent = partial(_stop, measured.session)
            measured.start()
            measured.advance(1)
            self.assertEqual(measured.done, [measured.tracker])
            self.assertEqual(measured.tracker.sent, 1)
            self.assertEqual(measured.clock.getDelayedCalls(), [])

    def test_stopFromRefusal(self) -> None:
        """
        Stopped by whoever is told of a refusal, it sends nothing of what else is
        due.
        """
        measured = Measured(interval=0.0001)
        measured.start()
        measured.port.error = errno.EPERM
        measured.onEvent = partial(_stop, measured.session)
        measured.clock.advance(0.01)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual((measured.tracker.sent, measured.tracker.refused), (1, 1))

    def test_raisingListener(self) -> None:
        """
        Whoever is told of an event and raises is logged, and the run goes on to
        its end.
        """
        measured = Measured(count=3, interval=0.1, timeout=0.5)

        def onEvent(event: Event) -> None:
            raise RuntimeError("just so")

        measured.onEvent = onEvent
        measured.start()
        measured.hear(measured.port.sent[0].upper())
        measured.session.icmpErrorReceived(None, "port unreachable")
        measured.advance(2)
        self.assertEqual(measured.done, [measured.tracker])
        tracker = measured.tracker
        self.assertEqual((tracker.answered, tracker.refused, tracker.lost), (1, 0, 2))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 4)

    def test_cancel(self) -> None:
        """
        Cancelling what it returns stops it, too, also when the port takes its
        time to close.
        """
        measured = Measured()
        measured.port.stopped = Deferred()
        running = measured.session.start()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertFalse(measured.port.isListening)
        self.assertEqual(measured.clock.getDelayedCalls(), [])
        measured.port.stopped.callback(None)

    def test_fails(self) -> None:
        """
        What goes wrong in a way that nobody has thought of ends it, with the
        error, and does not leave it hanging.
        """
        for delay in (0.0, 1.0):
            measured = Measured()

            def taken(probe: bytes) -> None:
                raise RuntimeError("just so")

            measured.clock.callLater(delay, setattr, measured.port, "taken", taken)
            measured.clock.advance(0)
            measured.start()
            measured.advance(2)
            (failure,) = measured.done
            assert isinstance(failure, Failure)
            failure.trap(RuntimeError)
            self.assertFalse(measured.port.isListening)
            self.assertEqual(measured.clock.getDelayedCalls(), [])

    def test_behind(self) -> None:
        """
        What has become overdue by much is skipped, and the rest is sent without
        a burst of everything.
        """
        measured = Measured(interval=0.01)
        measured.start()
        measured.clock.advance(1)
        measured.advance(0.001)
        sent = len(measured.port.sent)
        self.assertEqual(sent + measured.session.skipped, 101)
        self.assertLess(sent, 10)

    def test_refused(self) -> None:
        """
        A refusal ends the waiting for its probe.
        """
        measured = Measured(count=1)
        measured.start()
        measured.session.icmpErrorReceived(measured.port.sent[0], "port unreachable")
        measured.advance(0.002)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(measured.tracker.refused, 1)

    def test_result(self) -> None:
        """
        The result has what the tally, the port and the measurement know.
        """
        measured = Measured(interval=0.5, size=64)
        measured.clock.advance(7)
        measured.start()
        measured.advance(2.25)
        first, second, third, _, _ = measured.port.sent
        tracker = measured.tracker
        for reply, time in ((first, 0.1), (second, 0.3), (third, 0.4)):
            sent = measured.port.sent.index(reply) * 0.5 + 7
            now = round((sent + time) * SECOND)
            measured.session.timedDatagramReceived(reply.upper(), now, 0, False)
        measured.session.timedDatagramReceived(first, 0, 0, False)
        tracker.outOfWindow = 9
        measured.port.kernelDrops = 3
        measured.session._pacer.skipped = 4
        measured.session.stop()
        result = measured.result()
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

    def test_mistaken(self) -> None:
        """
        So it has how many got wrong replies alone.
        """
        measured = Measured(count=2, interval=0.1)
        measured.start()
        measured.hear(measured.port.sent[0])
        measured.advance(3)
        result = measured.result()
        self.assertEqual((result.lost, result.answeredWrong), (1, 1))

    def test_afterTheEnd(self) -> None:
        """
        What comes after the end is not counted.
        """
        measured = Measured()
        measured.start()
        measured.session.stop()
        measured.hear(measured.port.sent[0].upper())
        measured.session.icmpErrorReceived(None, "port unreachable")
        self.assertEqual(measured.events, [])


class RelayTests(SynchronousTestCase):
    """
    Tests for L{PingSession} against a lossy relay.
    """

    def measure(self, seed: int, weights: dict[str, int]) -> tuple[Result, Relay]:
        measured = Measured(count=1000, interval=0.1, size=64)
        relay = Relay(seed, weights, measured.hear, measured.clock)
        measured.port.taken = relay.take
        measured.start()
        measured.advance(110)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertEqual(sum(relay.done.values()), 1000)
        return measured.result(), relay

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32))
    def test_figures(self, seed: int) -> None:
        """
        Each figure is what the relay has done.
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
        self.assertEqual(result.sent, 1000)
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
        Forged replies that come before right ones hide no losses.
        """
        measured = Measured(count=1000, interval=0.01)
        random = Random(5)
        lost = 0

        def taken(probe: bytes) -> None:
            nonlocal lost
            fate = random.random()
            if fate < 0.05:
                lost += 1
                return
            if fate < 0.1:
                measured.clock.callLater(0.0005, measured.hear, b"forged")
            measured.clock.callLater(0.0006, measured.hear, probe.upper())

        measured.port.taken = taken
        measured.start()
        measured.advance(13)
        self.assertEqual(measured.done, [measured.tracker])
        self.assertLess(30, lost)
        self.assertEqual(
            (measured.tracker.lost, measured.tracker.answeredWrong), (lost, 0)
        )

    def test_clean(self) -> None:
        """
        Where nothing goes wrong, nothing is reported.
        """
        result, _ = self.measure(1, {ANSWER: 1})
        self.assertEqual((result.answered, result.lost, result.wrong), (1000, 0, 0))
        self.assertEqual((result.duplicates, result.late), (0, 0))
