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
from tests.properties import untimed


class CountersTests(TestCase):
    """
    Tests for L{Counters}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        # A monotonic clock rarely starts at 0.
        self.clock.advance(1000)
        self.counters = Counters(self.clock.seconds)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.seen = 0

    def logged(self) -> list[tuple[str, int]]:
        """
        Return the reasons and counts logged since the last call.
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
        Datagrams are counted by address family.
        """
        self.counters.count("ipv4", 2, 1)
        self.counters.count("unix", 1, 1)
        self.assertEqual(self.counters.families, {"ipv4": 2, "unix": 1})
        self.assertEqual(self.counters.received, 3)
        self.assertEqual(self.counters.answered, 2)

    def test_fail(self) -> None:
        """
        A reply that could not be sent moves from the answered to the dropped datagrams
        and the send errors.
        """
        self.counters.count("ipv4", 2, 2)
        self.counters.fail("ENOBUFS", 1)
        self.assertEqual(self.counters.answered, 1)
        self.assertEqual(self.counters.sendErrors, {"ENOBUFS": 1})
        self.assertEqual(self.counters.dropped, {"ENOBUFS": 1})
        self.assertEqual(self.logged(), [("ENOBUFS", 1)])

    def test_text(self) -> None:
        """
        The counters are one line of text, with the reasons in alphabetical order.
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
snapshots = st.builds(Snapshot, byName, counts, counts, counts, byName, byName, counts)


class SnapshotTests(SynchronousTestCase):
    """
    Tests for L{Snapshot}.
    """

    def test_of(self) -> None:
        """
        A snapshot has the present counters.  Every datagram is in the replies, the
        drops or the send errors.
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
                ports[-1].drain()
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

    @untimed
    @given(st.lists(snapshots, max_size=4))
    def test_sum(self, several: list[Snapshot]) -> None:
        """
        Snapshots are added field by field.  A missing name counts as 0.
        """
        total = sum(several, Snapshot())
        self.assertEqual(total.replies, sum(each.replies for each in several))
        for name in "abc":
            self.assertEqual(
                total.received.get(name, 0),
                sum(each.received.get(name, 0) for each in several),
            )

    @untimed
    @given(snapshots, snapshots)
    def test_order(self, one: Snapshot, other: Snapshot) -> None:
        """
        Addition is commutative, and does not change its operands.
        """
        before = one.toJSON(), other.toJSON()
        self.assertEqual(one + other, other + one)
        self.assertEqual((one.toJSON(), other.toJSON()), before)

    @untimed
    @given(snapshots, snapshots)
    def test_difference(self, one: Snapshot, other: Snapshot) -> None:
        """
        Subtraction is the inverse of addition.
        """
        self.assertEqual(one + other - one + one, one + other)

    def test_zeros(self) -> None:
        """
        A difference has every name, also with a value of 0.
        """
        snapshot = Snapshot(received={"ipv4": 0, "ipv6": 3})
        self.assertEqual(snapshot - Snapshot(), snapshot)
        self.assertEqual(snapshot - snapshot, Snapshot(received={"ipv4": 0, "ipv6": 0}))

    @untimed
    @given(snapshots)
    def test_JSON(self, original: Snapshot) -> None:
        """
        A snapshot is the same after a round trip through JSON.
        """
        text = json.dumps(original.toJSON())
        self.assertEqual(Snapshot.fromJSON(json.loads(text)), original)
