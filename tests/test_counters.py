"""
Tests for L{shout.counters}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from shout import Shout, bindUDP, listen
from shout.counters import Counters, Snapshot
from shout.sockets.bind import connectUDP
from tests.families import PAIR


class CountersTests(TestCase):
    """
    Tests for L{Counters}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        # An uptime is not near 0.
        self.clock.advance(1000)
        self.counters = Counters(self.clock.seconds)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.seen = 0

    def logged(self) -> list[tuple[str, int]]:
        """
        Return what has been logged since the last call.
        """
        events = self.events[self.seen :]
        self.seen = len(self.events)
        return [(event["reason"], event["count"]) for event in events]

    def test_firstDropIsLogged(self) -> None:
        """
        The first drop for each reason is logged at once.
        """
        self.counters.drop("one")
        self.counters.drop("other", 5)
        self.assertEqual(self.logged(), [("one", 1), ("other", 5)])

    def test_quiet(self) -> None:
        """
        A reason is logged at most once in 30 seconds, with the number of drops
        since the last line.
        """
        self.counters.drop("reason")
        self.logged()
        for _ in range(239):
            self.clock.advance(0.125)
            self.counters.drop("reason")
        self.assertEqual(self.logged(), [])
        self.clock.advance(0.125)
        self.counters.drop("reason")
        self.assertEqual(self.logged(), [("reason", 240)])
        self.assertEqual(self.counters.dropped, {"reason": 241})

    def test_count(self) -> None:
        """
        What arrives is counted for its family.
        """
        self.counters.count("ipv4", 2, 1)
        self.counters.count("unix", 1, 1)
        self.assertEqual(self.counters.families, {"ipv4": 2, "unix": 1})
        self.assertEqual(self.counters.received, 3)
        self.assertEqual(self.counters.answered, 2)

    def test_fail(self) -> None:
        """
        A reply that could not be sent is no longer among those that were, but
        among what was dropped and, by its error, what could not be sent.
        """
        self.counters.count("ipv4", 2, 2)
        self.counters.fail("ENOBUFS", 1)
        self.assertEqual(self.counters.answered, 1)
        self.assertEqual(self.counters.sendErrors, {"ENOBUFS": 1})
        self.assertEqual(self.counters.dropped, {"ENOBUFS": 1})
        self.assertEqual(self.logged(), [("ENOBUFS", 1)])

    def test_text(self) -> None:
        """
        The totals read as one line, with the reasons in alphabetical order.
        """
        self.assertEqual(str(self.counters), "received 0, answered 0, dropped 0")
        self.counters.count("ipv4", 6, 4)
        self.counters.count("unix", 4, 3)
        for reason in ("b", "a", "b"):
            self.counters.drop(reason)
        self.assertEqual(
            str(self.counters), "received 10, answered 7, dropped 3 (1 a, 2 b)"
        )


counts = st.integers(0, 2**63)
byName = st.dictionaries(st.sampled_from(["a", "b", "c"]), counts)
snapshot = st.builds(Snapshot, byName, counts, counts, counts, byName, byName, counts)


class FiguresTests(SynchronousTestCase):
    """
    Tests for L{Snapshot}.
    """

    def test_of(self) -> None:
        """
        What counters hold is taken as it is now; every datagram is a reply, or
        was dropped, or could not be answered because of an error.
        """
        counters = Counters()
        counters.count("ipv4", 3, 2)
        counters.drop("loop")
        counters.fail("ENOBUFS", 1)
        reactor = MemoryReactorClock()
        ports = []
        for sock in bindUDP(0, PAIR):
            protocol = Shout()
            ports.append(listen(sock, protocol, reactor))
            with connectUDP(*sock.getsockname()[:2]) as client:
                client.send(b"12bytes long")
                ports[-1].doRead()
                for text in (b"short", b"HELLO", b"longer"):
                    client.send(text)
                ports[-1].doRead()
        taken = Snapshot.of(counters, ports)
        counters.count("ipv4", 1, 0)
        for port in ports:
            port.stopListening()
        reactor.advance(0)
        self.assertEqual(
            taken,
            Snapshot(
                received={"ipv4": 3},
                receivedBytes=56,
                replies=1,
                replyBytes=56,
                dropped={"loop": 1},
                sendErrors={"ENOBUFS": 1},
            ),
        )

    @given(st.lists(snapshot))
    def test_sum(self, several: list[Snapshot]) -> None:
        """
        Figures add up, each with its like; a name that some do not have counts
        as 0 there.
        """
        total = sum(several, Snapshot())
        self.assertEqual(total.replies, sum(each.replies for each in several))
        for name in "abc":
            self.assertEqual(
                total.received.get(name, 0),
                sum(each.received.get(name, 0) for each in several),
            )

    @given(snapshot, snapshot)
    def test_order(self, one: Snapshot, other: Snapshot) -> None:
        """
        In which order they are added does not matter, and what is added stays as
        it was.
        """
        before = one.toJSON(), other.toJSON()
        self.assertEqual(one + other, other + one)
        self.assertEqual((one.toJSON(), other.toJSON()), before)

    @given(snapshot, snapshot)
    def test_difference(self, one: Snapshot, other: Snapshot) -> None:
        """
        What is new since then adds up with what was then to what is now.
        """
        self.assertEqual(one + other - one + one, one + other)

    def test_nothingNew(self) -> None:
        """
        A name of which there is nothing new, or nothing at all, is still told.
        """
        snapshot = Snapshot(received={"ipv4": 0, "ipv6": 3})
        self.assertEqual(snapshot - Snapshot(), snapshot)
        self.assertEqual(snapshot - snapshot, Snapshot(received={"ipv4": 0, "ipv6": 0}))

    @given(snapshot)
    def test_JSON(self, original: Snapshot) -> None:
        """
        Figures come back from JSON as they were.
        """
        text = json.dumps(original.toJSON())
        self.assertEqual(Snapshot.fromJSON(json.loads(text)), original)
