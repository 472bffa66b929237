"""
Tests for L{shout.cli.resolving}.
"""

from __future__ import annotations

import socket
from threading import current_thread

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout.cli import resolving
from shout.cli.pingoptions import parse
from shout.cli.resolving import LookUps, resolveTargets
from shout.measure.target import Target
from shout.request import UnknownHost
from shout.sockets.resolve import resolve
from tests.peers import PeerCase


class LookUpsTests(PeerCase):
    """
    Tests for L{LookUps}.
    """

    async def test_threads(self) -> None:
        """
        Names are looked up in threads that do not delay the end of the process.
        """
        threads = []

        def getaddrinfo(*args: object) -> list[object]:
            threads.append(current_thread())
            address = ("192.0.2.1", 9)
            return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", address)]

        lookUps = LookUps(self.reactor, getaddrinfo)
        addresses = await resolve("example.com", 9, socket.AF_UNSPEC, lookUps)
        self.assertEqual(addresses, ["192.0.2.1"])
        self.assertTrue(threads[0].daemon)


class ResolveTargetsTests(SynchronousTestCase):
    """
    Tests for L{resolveTargets}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting: dict[str, Deferred[Target]] = {}
        self.errors: list[str] = []

        async def resolveTarget(host: str, *_: object) -> Target:
            self.waiting[host] = Deferred()
            return await self.waiting[host]

        self.patch(resolving, "resolveTarget", resolveTarget)

    def resolve(self, *hosts: str) -> Deferred[resolving.Targets]:
        """
        Start to look up hosts.
        """
        coroutine = resolveTargets(parse(hosts), self.errors.append, self.clock)
        return Deferred.fromCoroutine(coroutine)

    def test_sideBySide(self) -> None:
        """
        Names are looked up side by side, a bounded number at a time, and the targets
        keep their order.
        """
        found = self.resolve(*(f"h{number}" for number in range(25)))
        self.assertEqual(len(self.waiting), 20)
        for number in reversed(range(20)):
            self.waiting[f"h{number}"].callback(Target(f"h{number}", "192.0.2.1", 9))
        for number in range(20, 25):
            self.waiting[f"h{number}"].errback(Failure(UnknownHost("unknown")))
        targets = self.successResultOf(found)
        hosts = [target.host for target in targets.found]
        self.assertEqual(hosts, [f"h{number}" for number in range(20)])
        self.assertEqual(len(targets.failures), 5)
        self.assertEqual((targets.status, self.errors), (2, ["unknown"] * 5))

    def test_turns(self) -> None:
        """
        A look-up without an answer soon goes on beside the next ones.
        """
        found = self.resolve(*(f"h{number}" for number in range(50)))
        for expected in (40, 50, 50):
            self.clock.advance(0.25)
            self.assertEqual(len(self.waiting), expected)
        for host, waiting in self.waiting.items():
            waiting.callback(Target(host, "192.0.2.1", 9))
        self.assertEqual(len(self.successResultOf(found).found), 50)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """
        A name without an answer does not hold up the others for long.
        """
        found = self.resolve("slow", "fast")
        self.waiting["fast"].callback(Target("fast", "192.0.2.1", 9))
        self.assertNoResult(found)
        self.clock.advance(10)
        targets = self.successResultOf(found)
        self.assertEqual([target.host for target in targets.found], ["fast"])
        self.assertEqual(self.errors, ["the look-up of 'slow' took more than 10 s"])
        self.assertEqual(targets.status, 2)

    def test_bug(self) -> None:
        """
        Any other exception is raised.
        """
        found = self.resolve("a")
        self.waiting["a"].errback(Failure(CancelledError()))
        self.failureResultOf(found, CancelledError)
