"""
Tests for L{shout.udp.sockopt}.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.sockopt import (
    allowForeignSource,
    allowFragments,
    enablePacketInfo,
    kernelDrops,
    omitFlowLabel,
    raiseReceiveBuffer,
    setTOS,
    setTTL,
)
from shout.udp.timestamps import IPHeader, TimedIO, enableHeaders
from tests.families import LOOPBACK, needsIPv6, needsIPv6Sockets

# From asm-generic/socket.h; Python does not have it.
SO_RCVBUFFORCE = 33

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class UnprivilegedSocket(socket.socket):
    """
    A socket of a process that may not exceed the limit of the system.
    """

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if (level, option) == (socket.SOL_SOCKET, SO_RCVBUFFORCE):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().setsockopt(level, option, *value)


class RaiseReceiveBufferTests(SynchronousTestCase):
    """
    Tests for L{raiseReceiveBuffer}.
    """

    def raised(self, kind: type[socket.socket], before: int, size: int) -> int:
        """
        Raise the size of a buffer, and return the difference.
        """
        with kind(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, before)
            had = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            raiseReceiveBuffer(sock, size)
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) - had

    def test_raises(self) -> None:
        """
        The size of a small buffer is raised, with privileges and without.
        """
        for kind in (socket.socket, UnprivilegedSocket):
            self.assertGreater(self.raised(kind, 10_000, 50_000), 0)

    def test_neverLowers(self) -> None:
        """
        The size of a large buffer is unchanged.
        """
        for kind in (socket.socket, UnprivilegedSocket):
            self.assertEqual(self.raised(kind, 100_000, 50_000), 0)

    @skipUnless(ISROOT, "exceeding the limit of the system needs root")
    def test_aboveTheLimit(self) -> None:
        """
        Without privileges, a size above the limit of the system is unchanged, also if
        it is below the wanted size.
        """
        with UnprivilegedSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            super(UnprivilegedSocket, sock).setsockopt(
                socket.SOL_SOCKET, SO_RCVBUFFORCE, 300 << 20
            )
            raiseReceiveBuffer(sock, 400 << 20)
            size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(size, 600 << 20)


class SendOptionTests(SynchronousTestCase):
    """
    Tests for the options for sending.
    """

    def test_unix(self) -> None:
        """
        A UNIX socket has no fragments, and no flow label.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    @needsIPv6Sockets
    def test_unsupported(self) -> None:
        """
        If the system does not support an option, the socket works without it.
        """

        class OldSocket(socket.socket):
            """
            A socket of a system that has no options.
            """

            def setsockopt(self, *_: Any) -> None:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")

        with OldSocket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    def test_notLinux(self) -> None:
        """
        Elsewhere than on Linux no option is set by its number there.
        """

        class ForeignSocket(socket.socket):
            """
            A socket of a system whose options are numbered otherwise.
            """

            def setsockopt(self, *_: Any) -> None:
                raise AssertionError

        self.patch(sys, "platform", "darwin")
        with ForeignSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            enablePacketInfo(sock)
            allowForeignSource(sock)
            omitFlowLabel(sock)
            self.assertFalse(allowFragments(sock, False))
            self.assertEqual(kernelDrops(sock), 0)

    def test_header(self) -> None:
        """
        Datagrams leave with the TTL or hop limit and the type of service or traffic
        class that were set.
        """
        for address in LOOPBACK:
            (server,) = bindUDP(0, [address])
            with server, connectUDP(address, server.getsockname()[1]) as sock:
                enableHeaders(server)
                setTTL(sock, 9)
                setTOS(sock, 0xB8)
                sock.send(b"x")
                received = TimedIO(server).receiveTimed(1)
                self.assertEqual(received, ([b"x"], [0], [IPHeader(9, 0xB8)]))

    @needsIPv6Sockets
    def test_rejected(self) -> None:
        """
        A number that the system does not accept raises, and so does a UNIX socket.
        """
        for family in socket.AF_INET, socket.AF_INET6:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                self.assertRaises(OSError, setTTL, sock, 256)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            self.assertRaises(OSError, setTTL, sock, 9)
            self.assertRaises(OSError, setTOS, sock, 9)

    if sys.platform != "linux":
        test_header.skip = "only Linux reports both"  # type: ignore[attr-defined]

    @needsIPv6
    def test_flowLabel(self) -> None:
        """
        Datagrams of a connected IPv6 socket have a flow label, unless it is omitted.
        """
        (server,) = bindUDP(0, ["::1"])
        self.addCleanup(server.close)
        # IPV6_FLOWINFO: a datagram without a label has no such control message.
        server.setsockopt(socket.IPPROTO_IPV6, 11, 1)
        for isOmitted in (False, True):
            with connectUDP("::1", server.getsockname()[1]) as sock:
                if isOmitted:
                    omitFlowLabel(sock)
                sock.send(b"x")
            _, ancillary, _, _ = server.recvmsg(1, 128)
            labels = [data for _, kind, data in ancillary if kind == 11]
            self.assertEqual(len(labels), 0 if isOmitted else 1)

    if sys.platform != "linux":
        test_flowLabel.skip = "only Linux draws flow labels"  # type: ignore[attr-defined]
