"""
Tests for L{shout.measure.trace} between hosts that are network namespaces.
"""

from __future__ import annotations

import time

from shout.measure.hops import FlowHops
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import SocketOptions, Target, openSockets
from shout.measure.trace import Tracer
from tests.hosts import Path
from tests.measure.paths import PathCase

_ROUTERS = ["2001:db8::2", "2001:db8:1::2", "2001:db8:2::2"]
_TARGET = "2001:db8:3::2"


class TraceTests(PathCase):
    """
    Tests for L{Tracer} on a path with three routers.
    """

    async def trace(self, hosts: Path, target: Target, flows: int) -> FlowHops:
        """
        Trace flows from the first host.
        """
        with hosts.on("a"):
            sockets = openSockets([target], [0] * flows, SocketOptions())
        schedule = Schedule(interval=0.1)
        session = PingSession(sockets, schedule, lambda *event: None, self.reactor)
        session.tracer = tracer = Tracer(
            session.flows, target.address, self.reactor, time.monotonic_ns
        )
        await session.start()
        return tracer.hops()

    async def test_hops(self) -> None:
        """
        Each flow has all routers and the application, although the routers limit the
        errors that they send.
        """
        hosts = Path(self, *[1500] * 4)
        target = self.serveOn(hosts, "e", _TARGET)
        hops = await self.trace(hosts, target, 16)
        self.assertEqual(len(hops), 16)
        for path in hops.values():
            self.assertEqual([hop.address for hop in path], [*_ROUTERS, _TARGET])
            self.assertTrue(path[-1].isTarget)
            self.assertGreater(path[-1].roundTrip or 0, 0)

    async def test_noServer(self) -> None:
        """
        A host without a server is the last hop, but no application.
        """
        hosts = Path(self, *[1500] * 4)
        hops = await self.trace(hosts, Target(_TARGET, _TARGET, 22950), 2)
        for path in hops.values():
            self.assertEqual([hop.address for hop in path], [*_ROUTERS, _TARGET])
            self.assertEqual(path[-1].reason, "port unreachable")
            self.assertFalse(path[-1].isTarget)

    async def test_noRoute(self) -> None:
        """
        A router without a route is the last hop.
        """
        hosts = Path(self, *[1500] * 4)
        target = self.serveOn(hosts, "e", _TARGET)
        hosts.ip("c", "-6 route replace unreachable 2001:db8:3::/64")
        hops = await self.trace(hosts, target, 2)
        for path in hops.values():
            self.assertEqual(path[-1].address, _ROUTERS[1])
            self.assertIn("unreachable", path[-1].reason)
