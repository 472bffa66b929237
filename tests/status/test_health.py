"""
Tests for L{shout.status.health}.
"""

from __future__ import annotations

import os
import socket
import sys
from errno import EADDRINUSE, EMFILE, EPERM
from functools import partial
from ipaddress import ip_network
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from unittest import skipIf, skipUnless

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import Guard, Shout, ShoutService, bindUDP, bindUNIX
from shout.guard import Limit
from shout.sockets.bind import FAMILY_OFF, connectUDP
from shout.sources import Allow
from shout.status import health
from shout.status.health import Health, Report
from shout.workers.reuseport import (
    attachSourceHash,
    bindReusePortGroup,
    hasReusePortBalancing,
)
from tests import hosts
from tests.directory import shortDirectory
from tests.families import LOOPBACK, eachFamily


class HealthTests(SynchronousTestCase):
    """
    Tests for L{Health}, with a fake reactor.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def loopback(self, *interfaces: str) -> list[socket.socket]:
        """
        Bind sockets on the loopback, by default on 127.0.0.1.
        """
        sockets = bindUDP(0, interfaces or ["127.0.0.1"])
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def serve(
        self, sockets: list[socket.socket], guard: Guard | None = None
    ) -> ShoutService:
        """
        Start a service, which is stopped when the test ends.
        """
        service = ShoutService(sockets, partial(Shout, guard), self.reactor)
        service.startService()
        self.addCleanup(lambda: self.settle(service.stopService()))
        return service

    def settle(self, result: object) -> None:
        """
        Run the calls that are due.
        """
        self.reactor.advance(0)

    def health(self, sockets: list[socket.socket], sources: int = 1) -> Health:
        """
        Start a health check, which is stopped when the test ends.
        """
        health = Health(sockets, sources)
        health.start(self.reactor)
        self.addCleanup(lambda: self.settle(health.stop()))
        return health

    def visit(self) -> None:
        """
        Let each port read twice, as a reactor does.
        """
        for _ in range(2):
            for reader in self.reactor.getReaders():
                reader.doRead()

    def check(self, health: Health) -> list[str]:
        """
        Return the problems of a check that has all the time it may take.
        """
        return self.report(health).problems

    def report(self, health: Health) -> Report:
        """
        Return the report of a check that has all the time it may take.
        """
        checked = health.check()
        for _ in range(health.tries):
            self.visit()
            self.reactor.advance(health.timeout)
        return self.successResultOf(checked)

    def test_everyKindOfSocket(self) -> None:
        """
        Sockets of each family, at wildcard addresses and at UNIX paths are healthy if
        they answer.
        """
        everywhere = eachFamily("0.0.0.0", "::")
        sockets = [*bindUDP(0, everywhere), *bindUDP(0, ["127.0.0.2", *LOOPBACK])]
        sockets.append(bindUNIX(os.path.join(shortDirectory(self), "s")))
        service = self.serve(sockets)
        self.assertEqual(self.check(self.health(sockets)), [])
        self.assertEqual(service.counters.answered, len(sockets))

    @skipUnless(sys.platform == "linux", "only Linux has abstract names")
    def test_abstract(self) -> None:
        """
        A UNIX socket with an abstract name is checked.
        """
        sockets = [bindUNIX(f"@shout-test-{os.getpid()}")]
        self.serve(sockets)
        self.assertEqual(self.check(self.health(sockets)), [])

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_linkLocal(self) -> None:
        """
        A socket at a link-local address is checked there, although the guard refuses
        all other sources.
        """
        with hosts.Hosts(self).on("a"):
            sockets = bindUDP(0, ["fe80::1%va", "192.0.2.1"])
            health = self.health(sockets)
            guard = Guard(sources=[Allow([])])
            guard.exempt.update(health.sources)
            self.serve(sockets, guard)
            self.assertEqual(self.check(health), [])

    def test_silent(self) -> None:
        """
        There is a line for a socket that does not answer within a second, and none for
        one that does.
        """
        silent, good = self.loopback("127.0.0.1", "127.0.0.2")
        self.serve([good])
        [line] = self.check(self.health([silent, good]))
        self.assertIn(f"UDP 127.0.0.1:{silent.getsockname()[1]}", line)
        self.assertTrue(line.endswith("4 tries in 1.0 seconds"), line)

    def test_extraChecks(self) -> None:
        """
        The lines of further checks are in the report.
        """

        async def extraChecks() -> list[str]:
            return ["one", "two"]

        sockets = self.loopback()
        self.serve(sockets)
        health = Health(sockets, extraChecks=extraChecks)
        health.start(self.reactor)
        self.addCleanup(lambda: self.settle(health.stop()))
        self.assertEqual(self.check(health), ["one", "two"])

    def test_refused(self) -> None:
        """
        A closed socket is reported at once.
        """
        [sock] = self.loopback()
        health = self.health([sock])
        sock.close()
        checked = health.check()
        self.visit()
        [line] = self.successResultOf(checked).problems
        self.assertIn("nothing is listening", line)

    def test_lostOnce(self) -> None:
        """
        A single lost datagram is no problem.
        """
        sockets = self.loopback()
        checked = self.health(sockets).check()
        sockets[0].recv(100)
        self.serve(sockets)
        self.reactor.advance(Health.timeout)
        self.visit()
        self.assertEqual(self.successResultOf(checked).problems, [])

    def test_forgedReplies(self) -> None:
        """
        A socket that answers is healthy, even if forged replies arrive before.
        """
        sockets = self.loopback()
        health = self.health(sockets)
        checked = health.check()
        [source] = health.sources
        for forged in (b"\xffgarbage", b"shout asks itself", b"GOODBYE", b""):
            sockets[0].sendto(forged, source)
        self.visit()
        self.assertNoResult(checked)
        self.serve(sockets)
        self.visit()
        self.assertEqual(self.successResultOf(checked).problems, [])

    def test_onlyForgedReplies(self) -> None:
        """
        A socket that sends wrong replies alone is not healthy.
        """
        sockets = self.loopback()
        health = self.health(sockets)
        checked = health.check()
        [source] = health.sources
        sockets[0].sendto(b"GOODBYE", source)
        self.visit()
        self.reactor.pump([health.timeout] * health.tries)
        [line] = self.successResultOf(checked).problems
        self.assertIn("answered 'GOODBYE' instead of 'SHOUT ASKS ITSELF", line)

    def test_sharedCheck(self) -> None:
        """
        Calls during a check share its report and send nothing; the next call starts a
        new check.
        """
        sockets = self.loopback()
        service = self.serve(sockets)
        health = self.health(sockets)
        several = [health.check() for _ in range(50)]
        self.visit()
        for checked in several:
            self.assertEqual(self.successResultOf(checked).problems, [])
        self.assertEqual(service.counters.received, 1)
        self.assertEqual(self.check(health), [])
        self.assertEqual(service.counters.received, 2)

    def test_cancelled(self) -> None:
        """
        If one of the callers cancels, the others still receive the report.
        """
        sockets = self.loopback()
        self.serve(sockets)
        health = self.health(sockets)
        first, second = health.check(), health.check()
        first.addErrback(lambda failure: None)
        first.cancel()
        self.visit()
        self.assertEqual(self.successResultOf(second).problems, [])

    def test_guard(self) -> None:
        """
        A guard that exempts the sources answers each of their requests, and refuses
        other sources as before.
        """
        sockets = self.loopback()
        nobody = Allow([ip_network("10.0.0.0/8")])
        guard = Guard(sources=[nobody], rules=[Limit(1)])
        health = self.health(sockets)
        service = self.serve(sockets, guard)
        self.assertEqual(len(self.check(health)), 1)
        guard.exempt.update(health.sources)
        for _ in range(5):
            self.assertEqual(self.check(health), [])
        dropped = service.counters.dropped["not allowed"]
        other = connectUDP(*sockets[0].getsockname())
        self.addCleanup(other.close)
        other.send(b"me too")
        self.visit()
        self.assertEqual(service.counters.dropped["not allowed"], dropped + 1)

    def test_limit(self) -> None:
        """
        A guard that exempts the sources does not limit them at a UNIX socket.
        """
        sockets = [bindUNIX(os.path.join(shortDirectory(self), "s"))]
        guard = Guard(rules=[Limit(1)])
        health = self.health(sockets)
        guard.exempt.update(health.sources)
        self.serve(sockets, guard)
        for _ in range(5):
            self.assertEqual(self.check(health), [])

    def test_sources(self) -> None:
        """
        An address can be checked from several ports, and the report has the number of
        those without a reply.
        """
        sockets = self.loopback(LOOPBACK[-1])
        health = self.health(sockets, 4)
        self.assertEqual(len(health.sources), 4)
        refused = sorted(health.sources)[:3]
        guard = Guard(sources=[lambda addr: "test" if addr in refused else None])
        self.serve(sockets, guard)
        [line] = self.check(health)
        self.assertIn("(from 3 of 4 sources)", line)
        guard.exempt.update(refused)
        self.assertEqual(self.check(health), [])

    def test_twoSources(self) -> None:
        """
        The report has the number if one of two sources has no reply.
        """
        sockets = self.loopback()
        health = self.health(sockets, 2)
        refused = min(health.sources)
        self.serve(sockets, Guard([lambda addr: "no" if addr == refused else None]))
        [line] = self.check(health)
        self.assertIn("(from 1 of 2 sources)", line)

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_sourceHash(self) -> None:
        """
        Requests from 32 sources reach all of four sockets that share an address, even
        if the kernel chooses among them by the source address alone.
        """
        for interface in ("127.0.0.1", "0.0.0.0"):
            socketSets = bindReusePortGroup(self.loopback(interface), 4)
            for [sock] in socketSets:
                self.addCleanup(sock.close)
            attachSourceHash(socketSets)
            self.health([sock], 32).check()
            for [sock] in socketSets:
                self.assertIn(b"shout asks itself", sock.recv(100))

    def test_UNIXOnce(self) -> None:
        """
        A UNIX socket has one source, because it is not shared.
        """
        sockets = [bindUNIX(os.path.join(shortDirectory(self), "s"))]
        self.addCleanup(sockets[0].close)
        self.assertEqual(len(self.health(sockets, 4).sources), 1)

    def test_notRunning(self) -> None:
        """
        Nothing is healthy before the start and after the stop.
        """
        health = Health(self.loopback())
        [line] = self.successResultOf(health.check()).problems
        self.assertIn("is not being checked", line)
        health.start(self.reactor)
        self.settle(health.stop())
        [line] = self.successResultOf(health.check()).problems
        self.assertIn("is not being checked", line)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_stopped(self) -> None:
        """
        A stop closes the sockets and ends a check.
        """
        health = Health(self.loopback())
        health.start(self.reactor)
        checked = health.check()
        self.settle(stopped := health.stop())
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])
        [line] = self.successResultOf(checked).problems
        self.assertIn("was closed", line)

    def test_neverStarted(self) -> None:
        """
        A stop without a start closes the sockets.
        """
        health = Health(self.loopback())
        [address] = health.sources
        self.successResultOf(health.stop())
        # A socket that is collected before it is closed gives a warning.
        self.assertEqual(self.flushWarnings(), [])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(address)

    @skipUnless(sys.platform == "linux", "others do not bind such addresses")
    def test_unreachable(self) -> None:
        """
        There is a line for a socket that cannot be reached.
        """
        sockets = self.loopback("255.255.255.255")
        [line] = self.check(self.health(sockets))
        self.assertRegex(line, r"^UDP 255\.255\.255\.255:\d+ cannot be reached: \w")

    def test_unreachableLater(self) -> None:
        """
        A socket at a wildcard address that cannot be reached any more is a problem,
        unless its family is switched off.  Then it is skipped.
        """
        numbers = [EPERM, min(FAMILY_OFF)]

        def fail(host: str, port: int) -> None:
            raise OSError(numbers[0], os.strerror(numbers[0]))

        self.patch(health, "parse", fail)
        sockets = self.loopback("0.0.0.0")
        name = f"UDP 0.0.0.0:{sockets[0].getsockname()[1]}"
        checked = self.health(sockets)
        reason = os.strerror(EPERM)
        self.assertEqual(
            self.report(checked), ([f"{name} cannot be reached: {reason}"], [])
        )
        del numbers[0]
        reason = os.strerror(numbers[0])
        line = f"{name} is skipped: IPv4 is off on this host ({reason})"
        self.assertEqual(self.report(checked).skipped, [line])

    def test_mayNotBind(self) -> None:
        """
        If the process may not bind the source addresses, the sources differ in their
        ports.
        """

        def refuse(host: str, port: int, source: str = "") -> socket.socket:
            if source:
                raise PermissionError(EPERM, os.strerror(EPERM))
            return connectUDP(host, port)

        self.patch(health, "connectUDP", refuse)
        sockets = self.loopback()
        self.serve(sockets)
        checked = self.health(sockets, 16)
        self.assertEqual(len(checked.sources), 16)
        self.assertEqual({host for host, _ in checked.sources}, {"127.0.0.1"})
        self.assertEqual(self.check(checked), [])

    def test_addressInUse(self) -> None:
        """
        A source address that is in use is replaced by another port.
        """

        def refuse(host: str, port: int, source: str = "") -> socket.socket:
            if source == "127.0.0.2":
                raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
            return connectUDP(host, port, source)

        self.patch(health, "connectUDP", refuse)
        sockets = self.loopback()
        self.serve(sockets)
        checked = self.health(sockets, 4)
        hosts = sorted(host for host, _ in checked.sources)
        self.assertEqual(hosts, ["127.0.0.1", "127.0.0.1", "127.0.0.3", "127.0.0.4"])
        self.assertEqual(self.check(checked), [])

    def test_tooFewDescriptors(self) -> None:
        """
        If the process may not open as many sockets, that is an error, and none stays
        open.
        """
        sockets = self.loopback("127.0.0.1", "127.0.0.2")
        with socket.socket() as free:
            first = free.fileno()
        limits = getrlimit(RLIMIT_NOFILE)
        setrlimit(RLIMIT_NOFILE, (first + 6, limits[1]))
        try:
            error = self.assertRaises(OSError, Health, sockets, 4)
        finally:
            setrlimit(RLIMIT_NOFILE, limits)
        self.assertEqual(error.errno, EMFILE)
        with socket.socket() as free:
            self.assertEqual(free.fileno(), first)

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_device(self) -> None:
        """
        A socket that is bound to a wildcard address and a device is checked at the
        address of the device.
        """
        with hosts.Hosts(self).on("a"):
            sockets = bindUDP(0)
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"va")
            self.serve(sockets)
            checked = self.health(sockets)
            self.assertEqual(
                {host for host, _ in checked.sources}, {"192.0.2.1", "fe80::1%va"}
            )
            self.assertEqual(self.check(checked), [])

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_withoutIPv6(self) -> None:
        """
        The IPv6 wildcard address is skipped while IPv6 is off, and checked once IPv6 is
        on, even if a guard refuses all other sources.
        """
        host = hosts.Namespaces(self, "a")
        host.switchIPv6("a", False)
        with host.on("a"):
            sockets = bindUDP(0)
            port = sockets[1].getsockname()[1]
            health = self.health(sockets, 4)
            guard = Guard(sources=[Allow([])])
            guard.exempt.update(health.sources)
            service = self.serve(sockets, guard)
            for _ in range(2):
                host.switchIPv6("a", False)
                problems, [line] = self.report(health)
                self.assertEqual(problems, [])
                expected = f"UDP [::]:{port} is skipped: IPv6 is off on this host"
                self.assertIn(expected, line)
                before = service.counters.families["ipv6"]
                host.switchIPv6("a", True)
                self.assertEqual(self.report(health), ([], []))
                self.assertEqual(service.counters.families["ipv6"], before + 4)

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_nothingReached(self) -> None:
        """
        A service is not healthy if this host can reach none of its sockets.
        """
        host = hosts.Namespaces(self, "a")
        host.switchIPv6("a", False)
        with host.on("a"):
            sockets = bindUDP(0, ["::"])
            self.serve(sockets)
            problems, skipped = self.report(self.health(sockets))
            self.assertEqual(problems, ["no socket can be reached from this host"])
            self.assertEqual(len(skipped), 1)
