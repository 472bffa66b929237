"""
Tests for L{shout.listening}.
"""

from __future__ import annotations

import os
import sys
from io import StringIO
from socket import AF_UNIX, SOCK_DGRAM, socket
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP, listening
from shout.listening import openSockets, warnUnreachable
from shout.options import DEFAULT_PORT
from shout.sockets.address import describe
from shout.workers.reuseport import bindReusePortGroup, hasReusePortBalancing
from tests import hosts
from tests.directory import shortDirectory
from tests.families import EVERYWHERE
from tests.parsing import parse
from tests.ports import freePort

needsBalancing = skipUnless(hasReusePortBalancing, "more than one worker needs Linux")

LOCAL = ("-p", "0", "-i", "127.0.0.1")


class OpenSocketsTests(SynchronousTestCase):
    """
    Tests for L{openSockets}.
    """

    def open(self, *args: str) -> list[list[str]]:
        """
        Open the sockets for a command line, close them, and return their addresses.
        """
        addresses = []
        for socketSet in openSockets(parse(*args)):
            addresses.append([describe(sock) for sock in socketSet])
            for sock in socketSet:
                sock.close()
        return addresses

    def path(self) -> str:
        """
        Return a path for a UNIX socket.
        """
        return os.path.join(shortDirectory(self), "s")

    def freePort(self) -> int:
        """
        Make the default port one that is free, and return it.
        """
        port = freePort()
        self.patch(listening, "DEFAULT_PORT", port)
        return port

    def test_everywhere(self) -> None:
        """
        Without an address all IPv4 and IPv6 addresses are bound.
        """
        [addresses] = self.open("-p", "0")
        self.assertEqual(len(addresses), len(EVERYWHERE))
        for address, host in zip(addresses, (r"0\.0\.0\.0", r"\[::\]")):
            self.assertRegex(address, rf"^UDP {host}:\d+$")

    def test_defaultPort(self) -> None:
        """
        The default port is 9999.
        """
        self.assertEqual(DEFAULT_PORT, 9999)
        port = self.freePort()
        self.assertEqual(self.open("-i", "127.0.0.1"), [[f"UDP 127.0.0.1:{port}"]])

    def test_UNIXAlone(self) -> None:
        """
        With only a UNIX socket there is no UDP socket.
        """
        path = self.path()
        self.assertEqual(self.open("-u", path), [[f"UNIX {path}"]])

    def test_UNIXAndUDP(self) -> None:
        """
        With a UNIX socket and a port or an interface there are UDP sockets too.
        """
        path = self.path()
        [addresses] = self.open("-u", path, "-p", "0")
        self.assertEqual(len(addresses), 1 + len(EVERYWHERE))
        port = self.freePort()
        [addresses] = self.open("-u", path, "-u", path, "-i", "127.0.0.1")
        self.assertEqual(addresses, [f"UDP 127.0.0.1:{port}", f"UNIX {path}"])

    def test_oneWorker(self) -> None:
        """
        One worker has all sockets.  On systems other than Linux C{auto} is one worker.
        """
        self.assertEqual(len(self.open(*LOCAL, "--workers", "1")), 1)
        self.patch(listening, "hasReusePortBalancing", False)
        self.assertEqual(len(self.open(*LOCAL, "--workers", "auto")), 1)

    @needsBalancing
    def test_workers(self) -> None:
        """
        There is a set of sockets for each worker, and C{auto} is one worker for each
        core that the process may use.
        """
        for limit in (), ("--limit", "1"):
            socketSets = self.open(*LOCAL, "--workers", "3", *limit)
            self.assertEqual(len(socketSets), 3)
            self.assertEqual(socketSets, [socketSets[0]] * 3)
        self.patch(os, "sched_getaffinity", lambda pid: set(range(5)))
        self.assertEqual(len(self.open(*LOCAL, "--workers", "auto")), 5)

    def test_nothingIsLeft(self) -> None:
        """
        If one address cannot be bound, the others are released.
        """
        path = self.path()
        self.assertRaises(BindError, self.open, "-u", path, "-u", "/nowhere/s")
        self.assertFalse(os.path.exists(path))

    def test_inheritedAlone(self) -> None:
        """
        Inherited sockets are used instead of the default addresses.
        """
        [sock] = self.inherit(1)
        self.assertEqual(self.open(), [[describe(sock)]])

    def inherit(self, count: int) -> list[socket]:
        """
        Have the next sockets opened find inherited ones, at one address.
        """
        [sockets] = zip(*bindReusePortGroup(bindUDP(0, ["127.0.0.1"]), count))
        for sock in sockets:
            self.addCleanup(sock.close)
        self.patch(listening, "inheritedSockets", lambda: [s.dup() for s in sockets])
        return list(sockets)

    def test_inheritedAndAddresses(self) -> None:
        """
        With inherited sockets no addresses can be given, and the sockets are closed.
        """
        path = self.path()
        for args in (("-p", "0"), ("-i", "127.0.0.1"), ("-u", path)):
            inherited = socket(AF_UNIX, SOCK_DGRAM)
            self.patch(listening, "inheritedSockets", lambda: [inherited])  # noqa: B023
            error = self.assertRaises(BindError, self.open, *args)
            self.assertIn("leave them out", str(error))
            self.assertEqual(inherited.fileno(), -1)
        self.assertFalse(os.path.exists(path))

    @needsBalancing
    def test_inheritedAndWorkers(self) -> None:
        """
        Inherited sockets are distributed to as many workers, which C{auto} selects.
        """
        [address, _] = map(describe, self.inherit(2))
        for workers in "2", "auto":
            self.assertEqual(self.open("--workers", workers), [[address], [address]])

    @needsBalancing
    def test_tooFewForWorkers(self) -> None:
        """
        More workers than inherited sockets for an address are an error.
        """
        self.inherit(1)
        error = self.assertRaises(BindError, self.open, "--workers", "2")
        self.assertIn("--workers 2 needs 2 sockets for UDP ", str(error))


class WarnUnreachableTests(SynchronousTestCase):
    """
    Tests for L{warnUnreachable}.
    """

    @skipIf(hosts.whyNot, hosts.whyNot)
    def test_familyOff(self) -> None:
        """
        There is one warning for all IPv6 addresses while IPv6 is off, and none while it
        is on.
        """
        namespaces = hosts.Namespaces(self, "a")
        with namespaces.on("a"):
            sockets = bindUDP()
            for sock in sockets:
                self.addCleanup(sock.close)
            for isOn, warnings in ((False, 1), (True, 0)):
                namespaces.switchIPv6("a", isOn)
                self.patch(sys, "stderr", stderr := StringIO())
                warnUnreachable(sockets)
                lines = stderr.getvalue().splitlines()
                self.assertEqual(len(lines), warnings)
                for line in lines:
                    self.assertRegex(
                        line, r"^shout: warning: UDP \[::\]:\d+ .* IPv6 is off"
                    )
