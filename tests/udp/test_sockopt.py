"""
Tests for L{shout.udp.sockopt}.
"""

from __future__ import annotations

import os
import socket
from errno import EPERM
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout.udp.sockopt import raiseReceiveBuffer

# From asm-generic/socket.h; Python does not have it.
SO_RCVBUFFORCE = 33

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class UnprivilegedSocket(socket.socket):
    """
    A socket of a process that may not exceed the limit of the system.
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
