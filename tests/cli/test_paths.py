"""
Tests for L{shout.cli.paths}, and for the options C{--trace} and C{--names}.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.names.dns import PTR, Record_PTR, RRHeader
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.paths import hopLines, withNames
from shout.measure.hops import Hop
from tests.cli.command import CommandCase
from tests.measure.fakes import RESULT

HOPS = [Hop(1, "192.0.2.1", 1_000_000), Hop(2), Hop(3, "192.0.2.9", 2_000_000)]
FLOW = replace(RESULT, sourcePort=40001, hops=HOPS)


class HopTests(SynchronousTestCase):
    """
    Tests for L{hopLines} and L{withNames}.
    """

    def test_notTraced(self) -> None:
        """
        Without C{--trace} there are no lines.
        """
        self.assertEqual(hopLines([RESULT]), [])

    def test_names(self) -> None:
        """
        Each address is looked up once, and the hops have the names that were found.
        """
        asked: list[str] = []

        def lookupPointer(pointer: str, timeout: object) -> Deferred[Any]:
            asked.append(pointer)
            found = [RRHeader(payload=Record_PTR("r1.example"), type=PTR)]
            return succeed((found if pointer.startswith("1.") else [], [], []))

        result = replace(RESULT, flows=[FLOW, replace(FLOW, sourcePort=40002)])
        running = Deferred.fromCoroutine(withNames(result, lookupPointer))
        named = self.successResultOf(running)
        self.assertEqual(asked, [f"{n}.2.0.192.in-addr.arpa" for n in (1, 9)])
        for flow in named.flows:
            names = [hop.name for hop in flow.hops or ()]
            self.assertEqual(names, ["r1.example", None, None])
        lines = hopLines(named.flows)
        self.assertIn("r1.example (192.0.2.1)", lines[1])


class TraceTests(CommandCase):
    """
    Tests for C{shoutping --trace}.
    """

    async def test_loopback(self) -> None:
        """
        On the loopback the application is the first hop of each flow.  The measurement
        ends when all flows are traced.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        status, result = await self.measure(target, "--trace", "--flows", "3")
        self.assertEqual(status, 0)
        for flow in result["flows"]:
            (hop,) = flow["hops"]
            self.assertGreater(hop.pop("rtt_ns"), 0)
            self.assertEqual(
                hop,
                {
                    "ttl": 1,
                    "address": "127.0.0.1",
                    "name": None,
                    "reason": None,
                    "target": True,
                },
            )

    async def test_text(self) -> None:
        """
        The text shows the hops.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        _, out, _ = await self.ping(target, "--trace", "-q", "-c", "3", "-i", "0.01")
        self.assertIn("application answered", out)
