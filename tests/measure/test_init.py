"""
Tests for L{shout.measure}.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater

from shout.measure import ping
from shout.request import Refused, UnknownHost
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import hasIPv6, needsIPv6
from tests.peers import PeerCase


class PingTests(PeerCase):
    """
    Tests for L{ping} on the loopback.
    """

    async def test_answered(self) -> None:
        """
        Each datagram that a server answers is counted and reported as an event.
        """
        events: list[Any] = []
        port = self.serveUDP()
        result = await ping(port=port, count=20, interval=0.001, onEvent=events.append)
        self.assertEqual((result.sent, result.answered, result.lost), (20, 20, 0))
        self.assertEqual((result.host, result.port), ("127.0.0.1", port))
        self.assertEqual([event.number for event in events], list(range(1, 21)))
        roundTrips = result.roundTrips
        assert roundTrips is not None
        self.assertLess(0, roundTrips.min)
        self.assertTrue(roundTrips.min <= roundTrips.mean <= roundTrips.max)

    @needsIPv6
    async def test_ipv6(self) -> None:
        """
        The host can be an IPv6 address.
        """
        port = self.serveUDP("::1")
        for size in (1000, 32, 65527):
            result = await ping("::1", port, count=2, interval=0.001, size=size)
            self.assertEqual(result.answered, 2)

    async def test_unix(self) -> None:
        """
        A UNIX socket can be measured, with more probes than its queue holds.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        result = await ping(unix=path, count=100, interval=0.00001)
        self.assertEqual((result.answered, result.port), (100, None))
        self.assertFalse(result.hasKernelTimes)

    async def test_refused(self) -> None:
        """
        If nothing listens, each datagram causes an ICMP error, and the run continues.
        """
        result = await ping(port=self.freePort(), count=5, interval=0.001)
        self.assertEqual((result.sent, result.refused, result.lost), (5, 5, 0))
        self.assertEqual(result.icmpErrors, {("port unreachable", "127.0.0.1"): 5})
        self.assertIsNone(result.roundTrips)

    async def test_unixGone(self) -> None:
        """
        L{ping} fails if the UNIX socket does not exist.
        """
        path = shortDirectory(self) + "/shout"
        await self.assertFailure(Deferred.fromCoroutine(ping(unix=path)), Refused)

    async def test_unknown(self) -> None:
        """
        L{ping} fails if the host has no address.
        """
        session = Deferred.fromCoroutine(ping("a" * 64))
        await self.assertFailure(session, UnknownHost)

    async def test_ranges(self) -> None:
        """
        L{ping} fails if a number is out of range.
        """
        wrong: list[dict[str, Any]] = [
            {"count": None},
            {"count": 0},
            {"port": 0},
            {"interval": 0},
            {"timeout": 0},
            {"deadline": 0},
            {"deadline": math.nan},
            {"interval": math.inf},
            {"timeout": math.inf},
            {"size": 31},
            {"size": 65508},
            {"size": 56.5},
            {"count": 2.5},
        ]
        if hasIPv6:
            wrong += [{"size": size, "host": "::1"} for size in (31, 65528)]
        for options in wrong:
            session = Deferred.fromCoroutine(ping(**options))
            await self.assertFailure(session, ValueError)

    async def test_cancel(self) -> None:
        """
        A measurement can be cancelled at any time, and so given a timeout.
        """
        for limit in (0, 0.05):
            session = Deferred.fromCoroutine(
                ping(port=self.serveUDP(), count=None, deadline=100)
            )
            session.addTimeout(limit, self.reactor)
            await self.assertFailure(session, TimeoutError)
            await deferLater(self.reactor, 0.01)
