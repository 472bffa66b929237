"""
Tests for L{shout.figures}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import Shout, bindUDP, listen
from shout.counters import Counters
from shout.figures import Figures
from shout.sockets import connectUDP
from tests.families import PAIR

counts = st.integers(0, 2**63)
byName = st.dictionaries(st.sampled_from(["a", "b", "c"]), counts)
figures = st.builds(Figures, byName, counts, counts, counts, byName, byName, counts)


class FiguresTests(SynchronousTestCase):
    """
    Tests for L{Figures}.
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
        taken = Figures.of(counters, ports)
        counters.count("ipv4", 1, 0)
        for port in ports:
            port.stopListening()
        reactor.advance(0)
        self.assertEqual(
            taken,
            Figures(
                received={"ipv4": 3},
                receivedBytes=56,
                replies=1,
                replyBytes=56,
                dropped={"loop": 1},
                sendErrors={"ENOBUFS": 1},
            ),
        )

    @given(st.lists(figures))
    def test_sum(self, several: list[Figures]) -> None:
        """
        Figures add up, each with its like; a name that some do not have counts
        as 0 there.
        """
        total = sum(several, Figures())
        self.assertEqual(total.replies, sum(each.replies for each in several))
        for name in "abc":
            self.assertEqual(
                total.received.get(name, 0),
                sum(each.received.get(name, 0) for each in several),
            )

    @given(figures, figures)
    def test_order(self, one: Figures, other: Figures) -> None:
        """
        In which order they are added does not matter, and what is added stays as
        it was.
        """
        before = one.toJSON(), other.toJSON()
        self.assertEqual(one + other, other + one)
        self.assertEqual((one.toJSON(), other.toJSON()), before)

    @given(figures, figures)
    def test_difference(self, one: Figures, other: Figures) -> None:
        """
        What is new since then adds up with what was then to what is now.
        """
        self.assertEqual(one + other - one + one, one + other)

    def test_nothingNew(self) -> None:
        """
        A name of which there is nothing new, or nothing at all, is still told.
        """
        figures = Figures(received={"ipv4": 0, "ipv6": 3})
        self.assertEqual(figures - Figures(), figures)
        self.assertEqual(figures - figures, Figures(received={"ipv4": 0, "ipv6": 0}))

    @given(figures)
    def test_JSON(self, original: Figures) -> None:
        """
        Figures come back from JSON as they were.
        """
        text = json.dumps(original.toJSON())
        self.assertEqual(Figures.fromJSON(json.loads(text)), original)
