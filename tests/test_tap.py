"""
Tests for L{shout.tap}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from errno import EMFILE
from io import StringIO
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any
from unittest import skipIf, skipUnless

from twisted.application.service import IServiceMaker, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout.options import Options
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets.address import describe
from shout.sockets.bind import bindUDP
from shout.sockets.notify import Notifier
from shout.sockets.unix import bindUNIX
from shout.status import health
from shout.tap import makeService
from shout.workers.reuseport import hasReusePortBalancing
from shout.workers.supervisor import Supervisor
from tests import hosts
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR
from tests.parsing import parse


class MakeServiceTests(SynchronousTestCase):
    """
    Tests for L{makeService}.
    """

    def protocols(self, *args: str) -> list[Any]:
        """
        Make and start a service, stop it again, and return its protocols.
        """
        reactor = MemoryReactorClock()
        service = makeService(parse(*args), reactor)
        assert isinstance(service, ShoutService)
        service.startService()
        protocols = [port.protocol for port in service.ports]
        stopped = service.stopService()
        reactor.advance(0)
        self.successResultOf(stopped)
        return protocols

    def failure(self, *args: str) -> str:
        """
        Fail to make a service, and return the error, which is one line.
        """
        error = self.assertRaises(SystemExit, self.protocols, *args)
        self.assertIsInstance(error.code, str)
        self.assertNotIn("\n", error.code)
        self.assertTrue(error.code.startswith("shout: "))
        return str(error.code)

    def test_unicode(self) -> None:
        """
        C{--unicode} selects the protocol.
        """
        [protocol] = self.protocols("-p", "0", "-i", "127.0.0.1")
        self.assertIs(type(protocol), Shout)
        [protocol] = self.protocols("-p", "0", "-i", "127.0.0.1", "--unicode")
        self.assertIs(type(protocol), UnicodeShout)

    def test_guarded(self) -> None:
        """
        All protocols share one guard, with the rules of the options.
        """
        protocols = self.protocols(
            *("-p", "0", "-i", PAIR[0], "-i", PAIR[1]),
            *("--allow", "192.0.2.0/24", "--limit", "1"),
        )
        allowed, other = ("192.0.2.1", 40000), ("198.51.100.1", 40000)
        replies = [
            protocol.answer([b"a"], [addr])
            for protocol in protocols
            for addr in (allowed, other, ("192.0.2.2", 7))
        ]
        self.assertEqual(replies, [[b"A"], [None], [None]] * 2)
        self.assertEqual(protocols[0].answer([b"a"], [allowed]), [None])

    def test_workers(self) -> None:
        """
        C{--workers} selects the service that supervises workers.
        """
        service = makeService(parse("-p", "0", "--workers", "1"), MemoryReactorClock())
        assert isinstance(service, Supervisor)
        self.assertEqual(len(service.socketSets), 1)
        self.successResultOf(service.stopService())

    def test_notifies(self) -> None:
        """
        If C{NOTIFY_SOCKET} is set, there is a service that notifies systemd.
        """
        path = os.path.join(shortDirectory(self), "notify")
        with bindUNIX(path):
            self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": path})
            services = makeService(parse("-p", "0"), MemoryReactorClock())
        assert isinstance(services, MultiService)
        self.assertEqual(
            [type(service) for service in services], [ShoutService, Notifier]
        )
        for service in services:
            self.successResultOf(service.stopService())

    def test_status(self) -> None:
        """
        With C{--status} there is another service, which listens at once.  The guard
        answers its health checks, and no other source that is refused.
        """
        reactor = MemoryReactorClock()
        options = parse("-p", "0", "--allow", "192.0.2.0/24", "--status", "tcp:9990")
        services = makeService(options, reactor)
        assert isinstance(services, MultiService)
        servers: list[Any] = reactor.tcpServers
        [(port, site, *_)] = servers
        self.assertEqual(port, 9990)
        services.startService()
        found = site.resource._source.check()
        readers = reactor.getReaders()
        for reader in [*readers, *readers]:
            reader.doRead()
        troubles, notCounted = self.successResultOf(found)
        self.assertEqual(troubles, [])
        self.assertEqual(len(notCounted), len(EVERYWHERE) - len(LOOPBACK))
        for reader in readers:
            if isinstance(reader.protocol, Shout):
                answers = reader.protocol.answer([b"a"], [("127.0.0.1", 4000)])
                self.assertEqual(answers, [None])
        stopped = services.stopService()
        reactor.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(reactor.getReaders(), [])

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_familyOff(self) -> None:
        """
        If IPv6 is off, there is a warning for an IPv6 address that was given, and none
        for the default addresses.
        """
        namespaces = hosts.Namespaces(self, "a")
        with namespaces.on("a"):
            namespaces.switchIPv6("a", False)
            for args, warnings in ((("-i", "::", "-i", "0.0.0.0"), 1), ((), 0)):
                self.patch(sys, "stderr", stderr := StringIO())
                self.assertEqual(len(self.protocols("-p", "0", *args)), 2)
                self.assertEqual(stderr.getvalue().count("IPv6 is off"), warnings)

    def healthChecks(self) -> list[Any]:
        """
        Return a list to which the health checks of later services are added; each has
        its addresses in C{addresses}.
        """
        made: list[Any] = []

        class RecordedHealth(health.Health):
            def __init__(self, sockets: Iterable[Any], *args: Any) -> None:
                super().__init__(sockets, *args)
                self.addresses = list(map(describe, sockets))
                made.append(self)

        self.patch(health, "Health", RecordedHealth)
        return made

    def healthCheck(self, *args: str) -> Any:
        """
        Return the health check of a service.
        """
        made = self.healthChecks()
        options = parse(*args, "--status", "tcp:9990")
        services = makeService(options, MemoryReactorClock())
        self.successResultOf(services.stopService())
        return made.pop()

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_statusChecksEveryLink(self) -> None:
        """
        A link-local address on two interfaces is checked on both.
        """
        pair = hosts.Hosts(self)
        pair.ip("a", "link add vc type veth peer name vd")
        pair.ip("a", "link set vc up")
        pair.ip("a", "link set vd up")
        pair.ip("a", "address add fe80::1/64 dev vc nodad")
        with pair.on("a"):
            check = self.healthCheck(
                "-p", "9999", "-i", "fe80::1%va", "-i", "fe80::1%vc"
            )
        self.assertEqual(
            check.addresses, ["UDP [fe80::1%va]:9999", "UDP [fe80::1%vc]:9999"]
        )

    @skipUnless(hasReusePortBalancing, "more than one worker needs Linux")
    def test_statusChecksEveryWorker(self) -> None:
        """
        The UNIX socket of each worker is checked once.  A UDP address is checked from
        eight sources per worker, but from at most 64, and 256 for all addresses.
        """
        directory = shortDirectory(self)
        first, second = os.path.join(directory, "a"), os.path.join(directory, "b")
        local = "-p", "0", "-i", "127.0.0.1"
        check = self.healthCheck(*local, "-u", first, "-u", second, "--workers", "2")
        self.assertEqual(len(check.addresses), 3)
        self.assertLessEqual({f"UNIX {first}", f"UNIX {second}"}, {*check.addresses})
        self.assertEqual(len(check.sources), 16 + 2)
        for workers, sources in (("1", 1), ("9", 64)):
            check = self.healthCheck(*local, "--workers", workers)
            self.assertEqual(len(check.sources), sources)
        many = [f"-i127.0.0.{number}" for number in range(2, 20)]
        check = self.healthCheck(*local, *many, "--workers", "4")
        self.assertEqual(len(check.sources), 19 * 13)

    def test_statusFails(self) -> None:
        """
        If the status cannot be served, the error is one line, and all sockets are
        closed.
        """
        path = os.path.join(shortDirectory(self), "s")
        local = "-p", "0", "-i", "127.0.0.1"
        made = self.healthChecks()
        message = self.failure(*local, "-u", path, "--status", "x")
        self.assertIn("--status: 'x'", message)
        self.assertFalse(os.path.exists(path))
        [source] = (each for each in made[0].sources if isinstance(each, tuple))
        with socket(AF_INET, SOCK_DGRAM) as sock:
            sock.bind(source)

    def test_statusNeedsDescriptors(self) -> None:
        """
        If there are too few file descriptors for the health checks, the error is one
        line, and all sockets are closed.
        """

        def fail(*args: Any) -> None:
            raise OSError(EMFILE, os.strerror(EMFILE))

        self.patch(health, "Health", fail)
        path = os.path.join(shortDirectory(self), "s")
        message = self.failure("-u", path, "--status", "tcp:9990")
        self.assertIn("--status needs more file descriptors", message)
        self.assertFalse(os.path.exists(path))

    def test_inUse(self) -> None:
        """
        If a port is in use, the error is one line.
        """
        [taken] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(taken.close)
        port = str(taken.getsockname()[1])
        self.assertIn("in use", self.failure("-p", port, "-i", "127.0.0.1"))

    def test_notAnAddress(self) -> None:
        """
        If an interface is not an address, the error is one line.
        """
        self.assertIn("'localhost'", self.failure("-i", "localhost"))


class PluginTests(SynchronousTestCase):
    """
    Tests for the plugin of C{twistd} and C{twist}.
    """

    def plugin(self) -> Any:
        """
        Find the plugin as C{twistd} does.
        """
        [found] = [p for p in getPlugins(IServiceMaker) if p.tapname == "shout"]
        return found

    def test_interfaces(self) -> None:
        """
        It provides the interfaces of a plugin that makes a service.
        """
        verifyObject(IServiceMaker, self.plugin())
        verifyObject(IPlugin, self.plugin())

    def test_module(self) -> None:
        """
        Its options and its C{makeService} are those of L{shout.tap}.
        """
        self.assertIs(self.plugin().options, Options)
        self.assertIs(self.plugin().makeService, makeService)
