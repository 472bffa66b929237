"""
Tests for L{shout.measure.hopprobes}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hopprobes import HopProbe, HopProbes
from shout.measure.level import Level
from shout.measure.probe import Probes
from shout.measure.sample import Route
from shout.udp.icmp import TIME_EXCEEDED, ICMPError

_ROUTER = "10.0.0.1"


class HopProbesTests(SynchronousTestCase):
    """
    Tests for L{HopProbes}.
    """

    def setUp(self) -> None:
        self.probes = HopProbes(56)
        self.routes = [Route(0), Route(1)]

    def make(self, ttl: int = 1, flow: int = 0) -> tuple[HopProbe, bytes]:
        """
        Return a probe and its payload.
        """
        level = Level(ttl, self.routes, None)
        return self.probes.make(self.routes[flow], level, False, 0)

    def refuse(
        self, quote: bytes | None, flow: int = 0, reason: str = TIME_EXCEEDED
    ) -> HopProbe | None:
        """
        Return the probe that an ICMP error is about.
        """
        error = ICMPError(reason, _ROUTER, quote)
        answer = self.probes.findError(self.routes[flow], error)
        return None if answer is None else answer.probe

    def test_payloads(self) -> None:
        """
        Each flow and each TTL has payloads of its own.
        """
        made = [self.make(ttl, flow)[1] for ttl in (1, 2, 64) for flow in (0, 1)]
        self.assertEqual(len({*made}), 6)
        self.assertEqual({len(each) for each in made}, {56})
        self.assertEqual(self.probes.sent, 6)

    def test_waiting(self) -> None:
        """
        A probe is in flight until the wait for it ends, and can be answered later.
        """
        probe, datagram = self.make()
        self.assertEqual(self.probes.waiting, {probe.number: probe})
        self.assertEqual(self.routes[0].inFlight, {probe.number})
        self.probes.endWait(probe)
        self.assertEqual(self.probes.waiting, {})
        self.assertEqual(self.routes[0].inFlight, set())
        self.assertEqual(self.refuse(datagram), probe)

    def test_reply(self) -> None:
        """
        A reply in capitals is from the application, and a wrong one is not.
        """
        probe, datagram = self.make()
        answer = self.probes.findReply(0, datagram, "t")
        self.assertEqual(answer, (probe, "t", "echoed unchanged", False))
        probe, datagram = self.make(2)
        answer = self.probes.findReply(0, datagram.upper(), "t")
        self.assertEqual(answer, (probe, "t", "", True))

    def test_otherReply(self) -> None:
        """
        Replies to others, to another flow, second ones and damaged ones have no probe.
        """
        _, datagram = self.make()
        self.assertIsNone(self.probes.findReply(0, Probes(56).make(128001), "t"))
        self.assertIsNone(self.probes.findReply(0, b"", "t"))
        for flow, reply in ((1, datagram), (0, datagram[:15])):
            answer = self.probes.findReply(flow, reply.upper(), "t")
            assert answer is not None
            self.assertIsNone(answer.probe)
        results = [self.probes.findReply(0, datagram.upper(), "t") for _ in range(2)]
        self.assertEqual(
            [each and each.probe is None for each in results], [False, True]
        )

    def test_error(self) -> None:
        """
        An ICMP error has the address of the router, and its reason if it is not that
        the TTL was exceeded.
        """
        for reason, expected in ((TIME_EXCEEDED, ""), ("prohibited", "prohibited")):
            probe, datagram = self.make()
            error = ICMPError(reason, _ROUTER, datagram[:40])
            answer = self.probes.findError(self.routes[0], error)
            self.assertEqual(answer, (probe, _ROUTER, expected, False))

    def test_padding(self) -> None:
        """
        A router may add something to what it quotes.
        """
        probe, datagram = self.make()
        self.assertEqual(self.refuse(datagram + bytes(72)), probe)

    def test_otherError(self) -> None:
        """
        Errors that quote other payloads have no probe, and neither have those of this
        system.
        """
        _, datagram = self.make()
        self.assertIsNone(self.refuse(Probes(56).make(1)))
        # No nonce begins with it.
        self.assertIsNone(self.refuse(b"?"))
        for quote, isOurs in ((datagram, True), (b"", False), (None, False)):
            error = ICMPError("host unreachable", None, quote)
            answer = self.probes.findError(self.routes[0], error)
            self.assertEqual(answer is not None, isOurs)
            self.assertIsNone(answer and answer.probe)

    def test_shortQuote(self) -> None:
        """
        A short quote is about the only probe of the flow in flight that it fits.
        """
        self.make(flow=1)
        self.assertIsNone(self.refuse(b""))
        for length in (0, 5, 12):
            probe, datagram = self.make()
            self.assertEqual(self.refuse(datagram[:length]), probe)
            self.probes.endWait(probe)
        self.assertFalse(self.probes.hasShortQuotes)

    def test_ambiguousQuote(self) -> None:
        """
        A quote that fits several probes of a flow is about none of them.
        """
        probes = [self.make(ttl) for ttl in (1, 2)]
        self.assertIsNone(self.refuse(None))
        self.assertTrue(self.probes.hasShortQuotes)
        self.assertEqual(self.refuse(probes[1][1][:23]), probes[1][0])
