"""
Tests for L{shout.sockets.bind}.
"""

from __future__ import annotations

import os
import socket
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP
from shout.sockets.bind import connectUDP
from tests.families import EVERYWHERE, LOOPBACK, PAIR, needsIPv6, needsIPv6Sockets

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class BindUDPTests(SynchronousTestCase):
    """
    Tests for L{bindUDP}.
    """

    def bind(self, *args: Any, **kwargs: Any) -> list[socket.socket]:
        """
        Bind sockets that are closed when the test ends.
        """
        sockets = bindUDP(*args, **kwargs)
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def failure(self, *args: Any, **kwargs: Any) -> str:
        """
        Fail to bind, and return the error, which is one line.
        """
        message = str(self.assertRaises(BindError, self.bind, *args, **kwargs))
        self.assertNotIn("\n", message)
        return message

    @needsIPv6Sockets
    def test_everywhere(self) -> None:
        """
        By default all IPv4 and IPv6 addresses are bound, with the same port.
        """
        v4, v6 = self.bind(0)
        self.assertEqual(v4.getsockname()[0], "0.0.0.0")
        self.assertEqual(v6.getsockname()[0], "::")
        self.assertEqual(v4.getsockname()[1], v6.getsockname()[1])
        self.assertNotEqual(v4.getsockname()[1], 0)

    def test_nonBlocking(self) -> None:
        """
        The sockets are non-blocking and close-on-exec.
        """
        for sock in self.bind(0):
            self.assertFalse(sock.getblocking())
            self.assertFalse(sock.get_inheritable())

    def test_oneAddress(self) -> None:
        """
        Only the given interface is bound, and only once if it is given twice.
        """
        [sock] = self.bind(0, ["127.0.0.1", "127.0.0.1"])
        self.assertEqual(sock.getsockname()[0], "127.0.0.1")

    def test_severalAddresses(self) -> None:
        """
        Every given interface is bound.
        """
        sockets = self.bind(0, PAIR)
        self.assertEqual([sock.getsockname()[0] for sock in sockets], list(PAIR))

    def test_withoutIPv6(self) -> None:
        """
        If the host has no IPv6, only IPv4 is bound by default.  An IPv6 interface is an
        error.
        """
        for number in (EAFNOSUPPORT, EADDRNOTAVAIL):

            class NoIPv6(socket.socket):
                def bind(self, address: Any) -> None:
                    if self.family == socket.AF_INET6:
                        raise OSError(number, os.strerror(number))  # noqa: B023
                    super().bind(address)

            self.patch(socket, "socket", NoIPv6)
            [sock] = self.bind(0)
            self.assertEqual(sock.family, socket.AF_INET)
            self.assertIn("::", self.failure(0, ["::"]))

    def test_freeEverywhere(self) -> None:
        """
        With port 0 a port is found that is free at all addresses.
        """
        [taken] = self.bind(0, [PAIR[1]])
        number = taken.getsockname()[1]
        attempts = []

        class First(socket.socket):
            def bind(self, address: Any) -> None:
                if address[:2] == ("127.0.0.1", 0):
                    attempts.append(address)
                    if len(attempts) == 1:
                        address = ("127.0.0.1", number)
                super().bind(address)

        self.patch(socket, "socket", First)
        first, second = self.bind(0, PAIR)
        self.assertEqual(len(attempts), 2)
        self.assertEqual(first.getsockname()[1], second.getsockname()[1])

    @needsIPv6
    def test_otherSpelling(self) -> None:
        """
        An address that is written in two ways is bound once.
        """
        [sock] = self.bind(0, ["::1", "0:0:0:0:0:0:0:1"])
        self.assertEqual(sock.getsockname()[0], "::1")

    @needsIPv6Sockets
    def test_linkLocal(self) -> None:
        """
        A link-local address without a scope is an error, with an example.
        """
        self.assertIn("add the interface", self.failure(0, ["fe80::1"]))

    def test_inUse(self) -> None:
        """
        If a port is in use, the sockets that have been bound are closed.
        """
        [taken] = self.bind(0, ["127.0.0.1"])
        port = taken.getsockname()[1]
        message = self.failure(port, ["127.0.0.2", "127.0.0.1"])
        self.assertIn(f"127.0.0.1:{port} is already in use", message)
        self.bind(port, ["127.0.0.2"])

    def test_outOfRange(self) -> None:
        """
        A port that is not a number of 16 bits is out of range.
        """
        for port in (-1, 65536):
            self.assertIn("out of range", self.failure(port))

    def test_notAnAddress(self) -> None:
        """
        A host name is refused without a look-up.
        """
        for text in ("localhost", "", "1", "127.1", "fe80::1%no-such-interface"):
            self.assertIn("is not an IP address", self.failure(0, [text]))

    def test_notOfThisHost(self) -> None:
        """
        The address of another host is refused.  (RFC 5737 and RFC 3849 reserve these
        addresses for documentation.)
        """
        for address in ("192.0.2.77", "2001:db8::77")[: len(EVERYWHERE)]:
            message = self.failure(0, [address])
            self.assertIn(f"{address} is not an address of this host", message)

    @skipUnless(ISROOT, "dropping privileges needs root")
    def test_privilegedPort(self) -> None:
        """
        A privileged port is refused without privileges.
        """
        limit = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        if os.path.exists(limit):
            with open(limit) as f:
                if int(f.read()) < 2:
                    self.skipTest("no port is privileged here")
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertIn("no permission", self.failure(1, ["127.0.0.1"]))


class ConnectUDPTests(SynchronousTestCase):
    """
    Tests for L{connectUDP}.
    """

    def test_peer(self) -> None:
        """
        A connected socket receives only from its peer.
        """
        for address in LOOPBACK:
            server, stranger = bindUDP(0, [address]) + bindUDP(0, [address])
            client = connectUDP(*server.getsockname()[:2])
            for sock in (server, stranger, client):
                self.addCleanup(sock.close)
            stranger.sendto(b"forged", client.getsockname())
            server.sendto(b"reply", client.getsockname())
            self.assertEqual(client.recv(100), b"reply")
            self.assertRaises(BlockingIOError, client.recv, 100)

    def test_receivedEarlier(self) -> None:
        """
        Datagrams that arrived before the socket was connected are discarded.
        """
        [server, other] = bindUDP(0, ["127.0.0.1"]) + bindUDP(0, ["127.0.0.1"])

        class EarlySocket(socket.socket):
            def connect(self, address: Any) -> None:
                self.bind(("127.0.0.1", 0))
                other.sendto(b"forged", self.getsockname())
                super().connect(address)

        self.patch(socket, "socket", EarlySocket)
        client = connectUDP(*server.getsockname())
        for sock in (server, other, client):
            self.addCleanup(sock.close)
        self.assertRaises(BlockingIOError, client.recv, 100)
