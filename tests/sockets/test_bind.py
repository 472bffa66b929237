"""
Tests for L{shout.sockets.bind}.
"""

from __future__ import annotations

import os
import socket
from errno import EADDRNOTAVAIL, EAFNOSUPPORT, EPERM
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.sockopt import raiseReceiveBuffer
from tests.families import EVERYWHERE, LOOPBACK, PAIR, needsIPv6, needsIPv6Sockets

# From asm-generic/socket.h; Python does not have it.
SO_RCVBUFFORCE = 33

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

    def explanation(self, *args: Any, **kwargs: Any) -> str:
        """
        Fail to bind, and return the one line that says why.
        """
        message = str(self.assertRaises(BindError, self.bind, *args, **kwargs))
        self.assertNotIn("\n", message)
        return message

    @needsIPv6Sockets
    def test_everywhere(self) -> None:
        """
        Without interfaces, all IPv4 and all IPv6 addresses are bound, at one
        port.
        """
        v4, v6 = self.bind(0)
        self.assertEqual(v4.getsockname()[0], "0.0.0.0")
        self.assertEqual(v6.getsockname()[0], "::")
        self.assertEqual(v4.getsockname()[1], v6.getsockname()[1])
        self.assertNotEqual(v4.getsockname()[1], 0)

    def test_doesNotBlock(self) -> None:
        """
        The sockets do not block, and are not inherited by child processes.
        """
        for sock in self.bind(0):
            self.assertFalse(sock.getblocking())
            self.assertFalse(sock.get_inheritable())

    def test_oneAddress(self) -> None:
        """
        An interface is bound alone; one that is named twice, once.
        """
        [sock] = self.bind(0, ["127.0.0.1", "127.0.0.1"])
        self.assertEqual(sock.getsockname()[0], "127.0.0.1")

    def test_severalAddresses(self) -> None:
        """
        Every interface that is named is bound.
        """
        sockets = self.bind(0, PAIR)
        self.assertEqual([sock.getsockname()[0] for sock in sockets], list(PAIR))

    def test_withoutIPv6(self) -> None:
        """
        Where the host has no IPv6, everywhere is all of IPv4; asked for by its
        address, IPv6 is an error.
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
            self.assertIn("::", self.explanation(0, ["::"]))

    def test_freeEverywhere(self) -> None:
        """
        Where any port will do, one is found that is free at all addresses.
        """
        [taken] = self.bind(0, [PAIR[1]])
        number = taken.getsockname()[1]
        asked = []

        class First(socket.socket):
            def bind(self, address: Any) -> None:
                if address[:2] == ("127.0.0.1", 0):
                    asked.append(address)
                    if len(asked) == 1:
                        address = ("127.0.0.1", number)
                super().bind(address)

        self.patch(socket, "socket", First)
        first, second = self.bind(0, PAIR)
        self.assertEqual(len(asked), 2)
        self.assertEqual(first.getsockname()[1], second.getsockname()[1])

    @needsIPv6
    def test_otherSpelling(self) -> None:
        """
        An address that is spelled in two ways is bound once.
        """
        [sock] = self.bind(0, ["::1", "0:0:0:0:0:0:0:1"])
        self.assertEqual(sock.getsockname()[0], "::1")

    @needsIPv6Sockets
    def test_linkLocal(self) -> None:
        """
        A link-local address wants to know of which interface.
        """
        self.assertIn("on which interface", self.explanation(0, ["fe80::1"]))

    def test_inUse(self) -> None:
        """
        A port in use is said to be, and what was bound before it is released.
        """
        [taken] = self.bind(0, ["127.0.0.1"])
        port = taken.getsockname()[1]
        message = self.explanation(port, ["127.0.0.2", "127.0.0.1"])
        self.assertIn(f"127.0.0.1:{port} is already in use", message)
        self.bind(port, ["127.0.0.2"])

    def test_outOfRange(self) -> None:
        """
        A port number beyond 16 bits is out of range.
        """
        for port in (-1, 65536):
            self.assertIn("out of range", self.explanation(port))

    def test_notAnAddress(self) -> None:
        """
        Anything but an IP address is not one, and no name server is asked.
        """
        for text in ("localhost", "", "1", "127.1", "fe80::1%no-such-interface"):
            self.assertIn("is not an IP address", self.explanation(0, [text]))

    def test_notOfThisHost(self) -> None:
        """
        The address of another host cannot be bound (192.0.2.0/24 and 2001:db8::/32
        are for documentation: RFC 5737, RFC 3849).
        """
        for address in ("192.0.2.77", "2001:db8::77")[: len(EVERYWHERE)]:
            message = self.explanation(0, [address])
            self.assertIn(f"{address} is not an address of this host", message)

    @skipUnless(ISROOT, "shedding privileges needs root")
    def test_privilegedPort(self) -> None:
        """
        A privileged port without the privilege is said to want one.
        """
        limit = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        if os.path.exists(limit):
            with open(limit) as f:
                if int(f.read()) < 2:
                    self.skipTest("no port is privileged here")
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertIn("no permission", self.explanation(1, ["127.0.0.1"]))


class ConnectUDPTests(SynchronousTestCase):
    """
    Tests for L{connectUDP}.
    """

    def test_hearsFromThePeerAlone(self) -> None:
        """
        A connected socket receives from its peer and from nobody else.
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


class Unprivileged(socket.socket):
    """
    A socket of a process that may not exceed the system's limit.
    """

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, SO_RCVBUFFORCE):
            raise PermissionError(EPERM, os.strerror(EPERM))
        super().setsockopt(level, option, *value)


class RaiseReceiveBufferTests(SynchronousTestCase):
    """
    Tests for L{raiseReceiveBuffer}.
    """

    def raised(self, kind: type[socket.socket], before: int, size: int) -> int:
        """
        Raise a buffer, and return by how much it has grown.
        """
        with kind(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, before)
            had = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            raiseReceiveBuffer(sock, size)
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) - had

    def test_raises(self) -> None:
        """
        A buffer that is too small is raised, with privileges and without.
        """
        for kind in (socket.socket, Unprivileged):
            self.assertGreater(self.raised(kind, 10_000, 50_000), 0)

    def test_neverLowers(self) -> None:
        """
        One that is large enough stays as it is.
        """
        for kind in (socket.socket, Unprivileged):
            self.assertEqual(self.raised(kind, 100_000, 50_000), 0)

    @skipUnless(ISROOT, "to exceed the system's limit needs root")
    def test_aboveTheLimit(self) -> None:
        """
        Without privileges one that is larger than the system's limit, though
        not as large as is wanted, stays as it is.
        """
        with Unprivileged(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            super(Unprivileged, sock).setsockopt(
                socket.SOL_SOCKET, SO_RCVBUFFORCE, 300 << 20
            )
            raiseReceiveBuffer(sock, 400 << 20)
            size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(size, 600 << 20)
