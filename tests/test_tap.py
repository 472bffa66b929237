"""
Tests for L{shout.tap}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from errno import EMFILE
from io import StringIO
from ipaddress import ip_network
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any
from unittest import skipIf, skipUnless

from twisted.application.service import IServiceMaker, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin, getPlugins
from twisted.python.usage import Options as ParentOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import shout
from shout import Shout, ShoutService, UnicodeShout, listening, tap
from shout.options import AUTO, DEFAULT_PORT, Options
from shout.sockets.address import describe
from shout.sockets.bind import bindUDP
from shout.sockets.notify import Notifier
from shout.sockets.unix import bindUNIX
from shout.status.health import Health
from shout.tap import makeService
from shout.workers.reuseport import hasReusePortBalancing
from shout.workers.supervisor import Supervisor
from tests import hosts
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR


def parse(*args: str) -> Options:
    """
    Parse a command line.
    """
    options = Options()
    options.parseOptions(args)
    return options


class OptionsTests(SynchronousTestCase):
    """
    Tests for L{Options}.
    """

    def test_defaults(self) -> None:
        """
        Without options nothing in particular is asked for.
        """
        options = parse()
        self.assertEqual(
            (options["port"], options["interfaces"], options["unix"]), (None, [], [])
        )
        self.assertFalse(options["unicode"])

    def test_shortAndLong(self) -> None:
        """
        Short and long names mean the same, and addresses can be repeated.
        """
        for port, interface, unix in (
            ("--port", "--interface", "--unix"),
            ("-p", "-i", "-u"),
        ):
            options = parse(
                port, "4000", interface, "127.0.0.1", interface, "::1", unix, "a",
                unix, "b",
            )  # fmt: skip
            self.assertEqual(options["port"], 4000)
            self.assertEqual(options["interfaces"], ["127.0.0.1", "::1"])
            self.assertEqual(options["unix"], ["a", "b"])

    def test_instancesAreApart(self) -> None:
        """
        One command line leaves nothing behind for the next.
        """
        parse("-i", "127.0.0.1")
        self.assertEqual(parse()["interfaces"], [])

    def test_badPort(self) -> None:
        """
        A port is a decimal number of 16 bits.
        """
        for text in ("x", "", "-1", "65536", "1e3", "٤٢", "9" * 5000, " 1"):
            error = self.assertRaises(UsageError, parse, "--port", text)
            self.assertIn("0 to 65535", str(error))

    def test_guard(self) -> None:
        """
        Networks to allow and a limit are read; what is neither is an error that
        says why.
        """
        options = parse("--allow", "192.0.2.0/24", "--allow", "::1", "--limit", "10")
        self.assertEqual(
            options["allow"], [ip_network("192.0.2.0/24"), ip_network("::1")]
        )
        self.assertEqual(options["limit"], 10)
        for text in ("", "x", "192.0.2.1/24", "192.0.2.0/33", "localhost"):
            error = self.assertRaises(UsageError, parse, "--allow", text)
            self.assertIn("192.0.2.0/24", str(error))
        for text in ("", "x", "0", "-1", "1.5", "9" * 5000):
            error = self.assertRaises(UsageError, parse, "--limit", text)
            self.assertIn("from 1", str(error))

    def test_workers(self) -> None:
        """
        A number of workers is read, or that there are to be as many as there is
        use for.
        """
        self.assertIs(parse()["workers"], None)
        self.assertEqual(parse("--workers", "1")["workers"], 1)
        self.assertEqual(parse("--workers", "auto")["workers"], AUTO)
        for text in ("", "x", "0", "-1", "257", "1.5", "9" * 5000):
            error = self.assertRaises(UsageError, parse, "--workers", text)
            self.assertIn("1 to 256, or auto", str(error))

    def test_workersElsewhere(self) -> None:
        """
        Where the system does not deal datagrams out, one worker is the most.
        """
        self.patch(shout.options, "hasReusePortBalancing", False)
        error = self.assertRaises(UsageError, parse, "--workers", "2")
        self.assertIn("only Linux", str(error))
        self.assertEqual(parse("--workers", "1")["workers"], 1)
        self.assertEqual(parse("--workers", "auto")["workers"], AUTO)

    def test_unexpectedArgument(self) -> None:
        """
        Arguments besides the options are an error that names the first.
        """
        error = self.assertRaises(UsageError, parse, "9999")
        self.assertIn("'9999'", str(error))

    def test_oneLineUnderTwistd(self) -> None:
        """
        As the options of a subcommand, what is wrong ends the process with one
        line that also says how to get help.
        """

        class Parent(ParentOptions):
            subCommands = [("shout", None, Options, "")]

        for args in (["-p", "x"], ["--nonsense"], ["word"], ["-p"]):
            error = self.assertRaises(
                SystemExit, Parent().parseOptions, ["shout", *args]
            )
            self.assertIsInstance(error.code, str)
            self.assertNotIn("\n", error.code)
            self.assertTrue(error.code.startswith("shout: "))
            self.assertIn("--help", error.code)

    def test_help(self) -> None:
        """
        The help names every option, says what the defaults are, gives examples
        and fits a terminal.
        """
        text = str(Options())
        for option in ("--port", "--interface", "--unix", "--unicode", "--workers"):
            self.assertIn(option, text)
        self.assertIn("[default: 9999]", " ".join(text.split()))
        self.assertIn("twistd -n shout -p 4000 -i 127.0.0.1", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_version(self) -> None:
        """
        The version is printed, and the process ends well.
        """
        self.patch(sys, "stdout", output := StringIO())
        error = self.assertRaises(SystemExit, parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertIn(f"shout {shout.__version__} ", output.getvalue())


class MakeServiceTests(SynchronousTestCase):
    """
    Tests for L{makeService}.
    """

    def listening(self, *args: str) -> list[str]:
        """
        Make and start a service, stop it again, and return what it had bound.
        """
        reactor = MemoryReactorClock()
        service = makeService(parse(*args), reactor)
        assert isinstance(service, ShoutService)
        service.startService()
        addresses = [describe(port.socket) for port in service.ports]
        self.protocols = [port.protocol for port in service.ports]
        stopped = service.stopService()
        reactor.advance(0)
        self.successResultOf(stopped)
        return addresses

    def failure(self, *args: str) -> str:
        """
        Fail to make a service, and return the one line that says why.
        """
        error = self.assertRaises(SystemExit, self.listening, *args)
        self.assertIsInstance(error.code, str)
        self.assertNotIn("\n", error.code)
        self.assertTrue(error.code.startswith("shout: "))
        return str(error.code)

    def test_everywhere(self) -> None:
        """
        UDP is served everywhere unless an address is given.
        """
        addresses = self.listening("-p", "0")
        self.assertEqual(len(addresses), len(EVERYWHERE))
        for address, host in zip(addresses, (r"0\.0\.0\.0", r"\[::\]")):
            self.assertRegex(address, rf"^UDP {host}:\d+$")

    def test_defaultPort(self) -> None:
        """
        The port is 9999 unless another is given.
        """
        self.assertEqual(DEFAULT_PORT, 9999)
        port = self.freePort()
        self.patch(listening, "DEFAULT_PORT", port)
        addresses = self.listening("-i", "127.0.0.1")
        self.assertEqual(addresses, [f"UDP 127.0.0.1:{port}"])

    def freePort(self) -> int:
        """
        Return the number of a port where nothing listens.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        with sock:
            return int(sock.getsockname()[1])

    def test_UNIXAlone(self) -> None:
        """
        With a UNIX socket alone no UDP is served.
        """
        path = os.path.join(shortDirectory(self), "s")
        self.assertEqual(self.listening("-u", path), [f"UNIX {path}"])

    def test_UNIXAndUDP(self) -> None:
        """
        With a port or an interface besides, UDP is served too.
        """
        path = os.path.join(shortDirectory(self), "s")
        addresses = self.listening("-u", path, "-p", "0")
        self.assertEqual(len(addresses), 1 + len(EVERYWHERE))
        port = self.freePort()
        self.patch(listening, "DEFAULT_PORT", port)
        addresses = self.listening("-u", path, "-u", path, "-i", "127.0.0.1")
        udp = f"UDP 127.0.0.1:{port}"
        self.assertEqual(addresses, [udp, f"UNIX {path}"])

    def test_unicode(self) -> None:
        """
        C{--unicode} chooses the protocol.
        """
        self.listening("-p", "0", "-i", "127.0.0.1")
        self.assertEqual([type(p) for p in self.protocols], [Shout])
        self.listening("-p", "0", "-i", "127.0.0.1", "--unicode")
        self.assertEqual([type(p) for p in self.protocols], [UnicodeShout])

    def test_guarded(self) -> None:
        """
        What the options say of sources holds for all protocols together.
        """
        self.listening(
            *("-p", "0", "-i", PAIR[0], "-i", PAIR[1]),
            *("--allow", "192.0.2.0/24", "--limit", "1"),
        )
        allowed, other = ("192.0.2.1", 40000), ("198.51.100.1", 40000)
        replies = [
            protocol.answer([b"a"] * 3, [allowed, other, ("192.0.2.2", 7)])
            for protocol in self.protocols
        ]
        self.assertEqual(replies, [[b"A", None, None]] * 2)
        self.assertEqual(self.protocols[0].answer([b"a"], [allowed]), [None])

    def workers(self, *args: str) -> int:
        """
        Return for how many workers a service is made.
        """
        service = makeService(parse(*args), MemoryReactorClock())
        assert isinstance(service, Supervisor)
        count = len(service.socketSets)
        self.successResultOf(service.stopService())
        return count

    def test_workers(self) -> None:
        """
        One worker answers everywhere; where the system does not deal datagrams
        out, C{auto} is one.
        """
        local = "-p", "0", "-i", "127.0.0.1"
        self.assertEqual(self.workers(*local, "--workers", "1"), 1)
        self.patch(listening, "hasReusePortBalancing", False)
        self.assertEqual(self.workers(*local, "--workers", "auto"), 1)

    @skipUnless(hasReusePortBalancing, "more than one worker takes Linux")
    def test_severalWorkers(self) -> None:
        """
        With C{--workers} there are so many, and with C{auto} one for each core
        that the process may use.
        """
        local = "-p", "0", "-i", "127.0.0.1"
        self.assertEqual(self.workers(*local, "--workers", "3"), 3)
        self.assertEqual(self.workers(*local, "--workers", "3", "--limit", "1"), 3)
        self.patch(os, "sched_getaffinity", lambda pid: set(range(5)))
        self.assertEqual(self.workers(*local, "--workers", "auto"), 5)

    def test_notifies(self) -> None:
        """
        Where the environment asks for it, systemd is told beside.
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
        With a status there is one service more, which listens from the beginning;
        the guard answers what it asks, and nobody else who is refused.
        """
        reactor = MemoryReactorClock()
        options = parse("-p", "0", "--allow", "192.0.2.0/24", "--status", "tcp:9990")
        services = makeService(options, reactor)
        assert isinstance(services, MultiService)
        servers: list[Any] = reactor.tcpServers
        [(port, site, *_)] = servers
        self.assertEqual(port, 9990)
        services.startService()
        found = site.resource._watched.check()
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
        There is one warning for all IPv6 addresses if they are asked for where IPv6
        is off, and none if they are not, or IPv6 is on.
        """
        host = hosts.Namespaces(self, "a")
        everywhere = ("-i", "::", "-i", "0.0.0.0", "-p", "0")
        with host.on("a"):
            for isOn, args, warnings in (
                (False, everywhere, 1),
                (False, ("-p", "0"), 0),
                (True, everywhere, 0),
            ):
                host.switchIPv6("a", isOn)
                stderr = StringIO()
                self.patch(sys, "stderr", stderr)
                self.assertEqual(len(self.listening(*args)), 2)
                lines = stderr.getvalue().splitlines()
                self.assertEqual(len(lines), warnings)
                for line in lines:
                    self.assertRegex(
                        line, r"^shout: warning: UDP \[::\]:\d+ .* IPv6 is off"
                    )

    def healths(self) -> list[Any]:
        """
        Return what will ask the services that are made from now on; each has the
        addresses that it asks in C{asked}.
        """
        made: list[Any] = []

        class Kept(Health):
            def __init__(self, sockets: Iterable[Any], *args: Any) -> None:
                super().__init__(sockets, *args)
                self.asked = list(map(describe, sockets))
                made.append(self)

        self.patch(tap, "Health", Kept)
        return made

    def asked(self, *args: str) -> Any:
        """
        Return what asks a service.
        """
        made = self.healths()
        options = parse(*args, "--status", "tcp:9990")
        services = makeService(options, MemoryReactorClock())
        self.successResultOf(services.stopService())
        [health] = made
        return health

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_statusAsksEveryLink(self) -> None:
        """
        One link-local address on two interfaces is asked on both.
        """
        pair = hosts.Hosts(self)
        pair.ip("a", "link add vc type veth peer name vd")
        pair.ip("a", "link set vc up")
        pair.ip("a", "link set vd up")
        pair.ip("a", "address add fe80::1/64 dev vc nodad")
        with pair.on("a"):
            health = self.asked("-p", "9999", "-i", "fe80::1%va", "-i", "fe80::1%vc")
            expected = ["UDP [fe80::1%va]:9999", "UDP [fe80::1%vc]:9999"]
        self.assertEqual(health.asked, expected)

    @skipUnless(hasReusePortBalancing, "more than one worker takes Linux")
    def test_statusAsksEveryWorker(self) -> None:
        """
        The UNIX sockets of all workers are asked, once each, and a UDP address
        once from each of eight sources for each worker, 64 at most and 256 in all.
        """
        folder = shortDirectory(self)
        first, second = os.path.join(folder, "a"), os.path.join(folder, "b")
        local = "-p", "0", "-i", "127.0.0.1"
        health = self.asked(*local, "-u", first, "-u", second, "--workers", "2")
        self.assertEqual(len(health.asked), 3)
        self.assertLessEqual({f"UNIX {first}", f"UNIX {second}"}, {*health.asked})
        self.assertEqual(len(health.sources), 16 + 2)
        for workers, sources in (("1", 1), ("9", 64)):
            health = self.asked(*local, "--workers", workers)
            self.assertEqual(len(health.sources), sources)
        many = [f"-i127.0.0.{number}" for number in range(2, 20)]
        health = self.asked(*local, *many, "--workers", "4")
        self.assertEqual(len(health.sources), 19 * 13)

    def test_statusFails(self) -> None:
        """
        When the status cannot be shown one line says so, and what was bound is
        released.
        """
        path = os.path.join(shortDirectory(self), "s")
        local = "-p", "0", "-i", "127.0.0.1"
        made = self.healths()
        message = self.failure(*local, "-u", path, "--status", "x")
        self.assertIn("--status: 'x'", message)
        self.assertFalse(os.path.exists(path))
        [source] = (each for each in made[0].sources if isinstance(each, tuple))
        with socket(AF_INET, SOCK_DGRAM) as sock:
            sock.bind(source)

    def test_statusTakesDescriptors(self) -> None:
        """
        When there are too few descriptors to ask the sockets from one line says
        so, and what was bound is released.
        """

        class Greedy(Health):
            def __init__(self, *args: Any) -> None:
                raise OSError(EMFILE, os.strerror(EMFILE))

        self.patch(tap, "Health", Greedy)
        path = os.path.join(shortDirectory(self), "s")
        message = self.failure("-u", path, "--status", "tcp:9990")
        self.assertIn("--status takes more descriptors", message)
        self.assertFalse(os.path.exists(path))

    def test_inUse(self) -> None:
        """
        A port in use ends the process with one line.
        """
        [taken] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(taken.close)
        port = str(taken.getsockname()[1])
        self.assertIn("in use", self.failure("-p", port, "-i", "127.0.0.1"))

    def test_nothingIsLeft(self) -> None:
        """
        When one address cannot be bound, what was bound before is released.
        """
        path = os.path.join(shortDirectory(self), "s")
        self.failure("-u", path, "-u", "/nowhere/s")
        self.assertFalse(os.path.exists(path))

    def test_notAnAddress(self) -> None:
        """
        An interface that is no address ends the process with one line.
        """
        self.assertIn("'localhost'", self.failure("-i", "localhost"))


class PluginTests(SynchronousTestCase):
    """
    Tests for the plugin.
    """

    def plugin(self) -> Any:
        """
        Find the plugin as C{twistd} does.
        """
        [found] = [p for p in getPlugins(IServiceMaker) if p.tapname == "shout"]
        return found

    def test_interfaces(self) -> None:
        """
        It is a plugin that makes a service.
        """
        verifyObject(IServiceMaker, self.plugin())
        verifyObject(IPlugin, self.plugin())

    def test_leadsToTheTap(self) -> None:
        """
        Its options and its service are those of L{shout.tap}.
        """
        self.assertIs(self.plugin().options, Options)
        self.assertIs(self.plugin().makeService, makeService)
