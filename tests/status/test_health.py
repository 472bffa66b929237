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
from tests.families import LOOPBACK, eachFamily
from tests.folder import shortFolder


class HealthTests(SynchronousTestCase):
    """
    Tests for L{Health}, with a reactor that does nothing by itself.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def loopback(self, *interfaces: str) -> list[socket.socket]:
        """
        Return sockets on the loopback, by default on 127.0.0.1.
        """
        sockets = bindUDP(0, interfaces or ["127.0.0.1"])
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def serve(
        self, sockets: list[socket.socket], guard: Guard | None = None
    ) -> ShoutService:
        """
        Start a service; it is stopped when the test ends.
        """
        service = ShoutService(sockets, partial(Shout, guard), self.reactor)
        service.startService()
        self.addCleanup(lambda: self.settle(service.stopService()))
        return service

    def settle(self, result: object) -> None:
        """
        Do what the reactor has been asked to do soon.
        """
        self.reactor.advance(0)

    def health(self, sockets: list[socket.socket], sources: int = 1) -> Health:
        """
        Be ready to ask sockets; that ends when the test does.
        """
        health = Health(sockets, sources)
        health.start(self.reactor)
        self.addCleanup(lambda: self.settle(health.stop()))
        return health

    def visit(self) -> None:
        """
        Do what a reactor does when something has arrived.
        """
        for _ in range(2):
            for reader in self.reactor.getReaders():
                reader.doRead()

    def check(self, health: Health) -> list[str]:
        """
        Return the troubles that a check finds, with all the time that it may take.
        """
        return self.report(health).troubles

    def report(self, health: Health) -> Report:
        """
        Return the report of a check, with all the time that it may take.
        """
        found = health.check()
        for _ in range(health.tries):
            self.visit()
            self.reactor.advance(health.timeout)
        return self.successResultOf(found)

    def test_everyKindOfSocket(self) -> None:
        """
        Nothing is wrong with sockets that answer: those of each family, those
        bound to all addresses, and those of UNIX with a path.
        """
        everywhere = eachFamily("0.0.0.0", "::")
        sockets = [*bindUDP(0, everywhere), *bindUDP(0, ["127.0.0.2", *LOOPBACK])]
        sockets.append(bindUNIX(os.path.join(shortFolder(self), "s")))
        service = self.serve(sockets)
        self.assertEqual(self.check(self.health(sockets)), [])
        self.assertEqual(service.counters.answered, len(sockets))

    @skipUnless(sys.platform == "linux", "only Linux has abstract names")
    def test_abstract(self) -> None:
        """
        A UNIX socket with an abstract name is asked, too.
        """
        sockets = [bindUNIX(f"@shout-test-{os.getpid()}")]
        self.serve(sockets)
        self.assertEqual(self.check(self.health(sockets)), [])

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_linkLocal(self) -> None:
        """
        A socket at a link-local address is asked there, whatever the guard has
        to say to others.
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
        There is a line for a socket that does not answer in a second, and none
        for one that does.
        """
        silent, good = self.loopback("127.0.0.1", "127.0.0.2")
        self.serve([good])
        [line] = self.check(self.health([silent, good]))
        self.assertIn(f"UDP 127.0.0.1:{silent.getsockname()[1]}", line)
        self.assertTrue(line.endswith("4 tries in 1.0 seconds"), line)

    def test_also(self) -> None:
        """
        What else is wrong comes with that.
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
        A socket that is closed is said to refuse, at once.
        """
        [sock] = self.loopback()
        health = self.health([sock])
        sock.close()
        found = health.check()
        self.visit()
        [line] = self.successResultOf(found).troubles
        self.assertIn("nothing is listening", line)

    def test_lostOnce(self) -> None:
        """
        One datagram that gets lost is no trouble.
        """
        sockets = self.loopback()
        found = self.health(sockets).check()
        sockets[0].recv(100)
        self.serve(sockets)
        self.reactor.advance(Health.timeout)
        self.visit()
        self.assertEqual(self.successResultOf(found).troubles, [])

    def test_forgedReplies(self) -> None:
        """
        A socket that answers is healthy, whatever somebody has sent in its name
        before the answer.
        """
        sockets = self.loopback()
        health = self.health(sockets)
        found = health.check()
        [source] = health.sources
        for forged in (b"\xffgarbage", b"shout asks itself", b"GOODBYE", b""):
            sockets[0].sendto(forged, source)
        self.visit()
        self.assertNoResult(found)
        self.serve(sockets)
        self.visit()
        self.assertEqual(self.successResultOf(found).troubles, [])

    def test_onlyForgedReplies(self) -> None:
        """
        A socket that sends nothing but wrong replies is not healthy.
        """
        sockets = self.loopback()
        health = self.health(sockets)
        found = health.check()
        [source] = health.sources
        sockets[0].sendto(b"GOODBYE", source)
        self.visit()
        self.reactor.pump([health.timeout] * health.tries)
        [line] = self.successResultOf(found).troubles
        self.assertIn("answered 'GOODBYE' instead of 'SHOUT ASKS ITSELF", line)

    def test_oneCheckForAll(self) -> None:
        """
        Who asks while a check is under way is told its outcome, and nothing is
        sent for that; the next one asks anew.
        """
        sockets = self.loopback()
        service = self.serve(sockets)
        health = self.health(sockets)
        several = [health.check() for _ in range(50)]
        self.visit()
        for found in several:
            self.assertEqual(self.successResultOf(found).troubles, [])
        self.assertEqual(service.counters.received, 1)
        self.assertEqual(self.check(health), [])
        self.assertEqual(service.counters.received, 2)

    def test_givenUp(self) -> None:
        """
        When one of those who wait goes away the others are told all the same.
        """
        sockets = self.loopback()
        self.serve(sockets)
        health = self.health(sockets)
        first, second = health.check(), health.check()
        first.addErrback(lambda failure: None)
        first.cancel()
        self.visit()
        self.assertEqual(self.successResultOf(second).troubles, [])

    def test_guard(self) -> None:
        """
        A guard that is told the sources answers them although it would refuse
        them, as often as they ask, and nobody else.
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

    def test_UNIXIsLimited(self) -> None:
        """
        A limit that holds for the peers of UNIX sockets does not hold for it.
        """
        sockets = [bindUNIX(os.path.join(shortFolder(self), "s"))]
        guard = Guard(rules=[Limit(1)])
        health = self.health(sockets)
        guard.exempt.update(health.sources)
        self.serve(sockets, guard)
        for _ in range(5):
            self.assertEqual(self.check(health), [])

    def test_sources(self) -> None:
        """
        An address can be asked from several ports, and it is said how many of
        them got no answer.
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
        So it is when one of two got no answer.
        """
        sockets = self.loopback()
        health = self.health(sockets, 2)
        refused = min(health.sources)
        self.serve(sockets, Guard([lambda addr: "no" if addr == refused else None]))
        [line] = self.check(health)
        self.assertIn("(from 1 of 2 sources)", line)

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_sourcesKeptTogether(self) -> None:
        """
        From 32 sources it asks all of four sockets that share an address of the
        loopback, or all addresses, also where all from one address goes to the
        same.
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
        Nobody shares a UNIX socket, so it is asked once.
        """
        sockets = [bindUNIX(os.path.join(shortFolder(self), "s"))]
        self.addCleanup(sockets[0].close)
        self.assertEqual(len(self.health(sockets, 4).sources), 1)

    def test_notRunning(self) -> None:
        """
        Before it is started and when it is stopped nothing is said to be well.
        """
        health = Health(self.loopback())
        [line] = self.successResultOf(health.check()).troubles
        self.assertIn("is not being asked", line)
        health.start(self.reactor)
        self.settle(health.stop())
        [line] = self.successResultOf(health.check()).troubles
        self.assertIn("is not being asked", line)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_stopped(self) -> None:
        """
        When it is stopped it closes its sockets, and a check under way ends.
        """
        health = Health(self.loopback())
        health.start(self.reactor)
        found = health.check()
        self.settle(stopped := health.stop())
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])
        [line] = self.successResultOf(found).troubles
        self.assertIn("was closed", line)

    def test_neverStarted(self) -> None:
        """
        When it is stopped before it was started it leaves no socket open.
        """
        health = Health(self.loopback())
        [address] = health.sources
        self.successResultOf(health.stop())
        # A socket that is left to be collected gives a warning.
        self.assertEqual(self.flushWarnings(), [])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(address)

    @skipUnless(sys.platform == "linux", "others do not bind such addresses")
    def test_cannotBeAsked(self) -> None:
        """
        There is a line for a socket that there is no way to.
        """
        sockets = self.loopback("255.255.255.255")
        [line] = self.check(self.health(sockets))
        self.assertRegex(line, r"^UDP 255\.255\.255\.255:\d+ cannot be asked: \w")

    def test_cannotBeAskedAnyMore(self) -> None:
        """
        So there is for one at all addresses that there is no way to now, unless its
        family is off: then it is not counted.
        """
        numbers = [EPERM, min(FAMILY_OFF)]

        def fail(host: str, port: int) -> None:
            raise OSError(numbers[0], os.strerror(numbers[0]))

        self.patch(health, "parse", fail)
        sockets = self.loopback("0.0.0.0")
        name = f"UDP 0.0.0.0:{sockets[0].getsockname()[1]}"
        found = self.health(sockets)
        reason = os.strerror(EPERM)
        self.assertEqual(
            self.report(found), ([f"{name} cannot be asked: {reason}"], [])
        )
        del numbers[0]
        reason = os.strerror(numbers[0])
        line = f"{name} is not counted: IPv4 is off on this host ({reason})"
        self.assertEqual(self.report(found).notCounted, [line])

    def test_mayNotBind(self) -> None:
        """
        Where it may not choose the addresses that it asks from it asks from as many
        ports.
        """

        def refuse(host: str, port: int, source: str = "") -> socket.socket:
            if source:
                raise PermissionError(EPERM, os.strerror(EPERM))
            return connectUDP(host, port)

        self.patch(health, "connectUDP", refuse)
        sockets = self.loopback()
        self.serve(sockets)
        found = self.health(sockets, 16)
        self.assertEqual(len(found.sources), 16)
        self.assertEqual({host for host, _ in found.sources}, {"127.0.0.1"})
        self.assertEqual(self.check(found), [])

    def test_addressInUse(self) -> None:
        """
        Where it cannot have one of the addresses that it asks from, a port has to do
        in its place.
        """

        def refuse(host: str, port: int, source: str = "") -> socket.socket:
            if source == "127.0.0.2":
                raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
            return connectUDP(host, port, source)

        self.patch(health, "connectUDP", refuse)
        sockets = self.loopback()
        self.serve(sockets)
        found = self.health(sockets, 4)
        hosts = sorted(host for host, _ in found.sources)
        self.assertEqual(hosts, ["127.0.0.1", "127.0.0.1", "127.0.0.3", "127.0.0.4"])
        self.assertEqual(self.check(found), [])

    def test_tooFewDescriptors(self) -> None:
        """
        Where the process may not have so many sockets that is an error, and none
        stays open.
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
        A socket at all addresses of one device is asked at the device's address.
        """
        with hosts.Hosts(self).on("a"):
            sockets = bindUDP(0)
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"va")
            self.serve(sockets)
            found = self.health(sockets)
            self.assertEqual(
                {host for host, _ in found.sources}, {"192.0.2.1", "fe80::1%va"}
            )
            self.assertEqual(self.check(found), [])

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_withoutIPv6(self) -> None:
        """
        All IPv6 addresses are not counted as long as IPv6 is off, and are asked once
        it is on, also where a guard answers nobody else.
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
                troubles, [line] = self.report(health)
                self.assertEqual(troubles, [])
                wanted = f"UDP [::]:{port} is not counted: IPv6 is off on this host"
                self.assertIn(wanted, line)
                before = service.counters.families["ipv6"]
                host.switchIPv6("a", True)
                self.assertEqual(self.report(health), ([], []))
                self.assertEqual(service.counters.families["ipv6"], before + 4)

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_nothingReached(self) -> None:
        """
        A service is not healthy where this host can reach none of its sockets.
        """
        host = hosts.Namespaces(self, "a")
        host.switchIPv6("a", False)
        with host.on("a"):
            sockets = bindUDP(0, ["::"])
            self.serve(sockets)
            troubles, notCounted = self.report(self.health(sockets))
            self.assertEqual(troubles, ["no socket can be reached from this host"])
            self.assertEqual(len(notCounted), 1)
