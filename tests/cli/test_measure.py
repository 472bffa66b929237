"""
Tests for L{shout.cli.measure}, as its users run it.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.measure import checkTargets
from shout.cli.options import parse
from shout.cli.usage import UsageError
from shout.measure.schedule import Schedule
from shout.measure.target import Target
from shout.sockets.bind import connectUDP
from tests.cli.test_ping import MeasureCase


class Elsewhere(Target):
    """
    A server on another host.
    """

    @property
    def isLocal(self) -> bool:
        return False


class CheckTests(SynchronousTestCase):
    """
    Tests for L{check}.
    """

    def check(self, hosts: int, interval: float, *flood: str) -> None:
        """
        Check that so many hosts elsewhere can be measured.
        """
        targets = [Elsewhere("h", "192.0.2.1", 9999)] * hosts
        checkTargets(targets, Schedule(interval=interval), parse(["--ping", *flood]))

    def test_flood(self) -> None:
        """
        A thousand per second in all go without C{--flood}, also where that many
        cannot be told exactly, and no more.
        """
        for hosts in range(1, 40):
            self.check(hosts, hosts / 1000)
            self.assertRaises(UsageError, self.check, hosts, hosts / 1001)
        self.check(1, 0.000_01, "--flood")


class UsageTests(MeasureCase):
    """
    Tests for mistakes.
    """

    async def refuse(self, *arguments: str) -> str:
        """
        Return the one line about a mistake.
        """
        status, out, (line,) = await self.run_(*arguments)
        self.assertEqual((status, out), (2, b""))
        return line

    async def test_flood(self) -> None:
        """
        More than a thousand per second to another host takes C{--flood}.
        """
        try:
            connectUDP("192.0.2.1", 9999).close()
        except OSError:
            self.skipTest("this host has no route to others")
        for pace in ("--rate 1001", "-i 0.0009"):
            line = await self.refuse("--ping", "-H", "192.0.2.1", *pace.split())
            self.assertIn("--flood", line)

    async def test_unknown(self) -> None:
        """
        A host without an address cannot be measured.
        """
        line = await self.refuse("--ping", "-H", "a" * 64)
        self.assertIn("no address is known", line)

    async def test_descriptors(self) -> None:
        """
        Without descriptors for all of the hosts none is measured.
        """
        hosts = [f"-H127.0.0.{number}" for number in range(1, 31)]
        status, out, (line,) = await self.run_(
            "--ping", "-c", "1", *hosts, shell='ulimit -n 24; "$@"'
        )
        self.assertEqual((status, out), (1, b""))
        self.assertIn("cannot open a socket", line)

    async def test_size(self) -> None:
        """
        What does not fit in a datagram over IPv4 is refused.
        """
        line = await self.refuse("--ping", "-s", "65508")
        self.assertIn("65507", line)


class OrdinaryTests(MeasureCase):
    """
    Tests for C{shout} without C{--ping}.
    """

    async def test_options(self) -> None:
        """
        Options that measure go with C{--ping}.
        """
        status, _, (line,) = await self.run_("-c", "3", "hello")
        self.assertEqual((status, line), (2, "shout: --count goes with --ping"))
