"""
Tests for L{shout.udp.icmp}.
"""

from __future__ import annotations

import errno
import select
import socket
import sys
from struct import pack
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.icmp import enableErrorQueue, explain, readErrorQueue
from tests.families import LOOPBACK


class ExplainTests(SynchronousTestCase):
    """
    Tests for L{explain}.
    """

    def test_descriptions(self) -> None:
        """
        Errors that ICMP names have that name, and others that of the system.
        """
        for number, expected in (
            (errno.ECONNREFUSED, "port unreachable"),
            (errno.ENETUNREACH, "network unreachable"),
            (errno.EHOSTUNREACH, "no route to host"),
            (errno.EPERM, "operation not permitted"),
        ):
            self.assertEqual(explain(number), expected)


class FakeErrorQueue:
    """
    A socket with queued errors in the form of C{struct sock_extended_err}.
    """

    def __init__(self, family: int, *errors: tuple[int, int, int, int]) -> None:
        """
        @param errors: Error number, origin, type and code of each error.
        """
        self.family = family
        self._errors = list(errors)

    def recvmsg(self, *_: int) -> Any:
        if not self._errors:
            raise BlockingIOError
        kind = (0, 11) if self.family == socket.AF_INET else (41, 25)
        return b"x", [(*kind, pack("IBBBB8x", *self._errors.pop(0), 0))], 0, None


class ErrorQueueTests(SynchronousTestCase):
    """
    Tests for L{enableErrorQueue} and L{readErrorQueue}.
    """

    if sys.platform != "linux":
        skip = "only Linux queues ICMP errors"

    def test_reasons(self) -> None:
        """
        ICMP errors with the same error number have different descriptions.
        """
        unreachable, denied = errno.EHOSTUNREACH, errno.EACCES
        reasons = {
            (2, unreachable, 3, 1): "no route to host",
            (2, unreachable, 3, 13): "administratively prohibited",
            (2, unreachable, 11, 0): "time to live exceeded",
            (2, unreachable, 11, 1): "fragment reassembly time exceeded",
            (3, unreachable, 1, 3): "no route to host",
            (3, denied, 1, 1): "administratively prohibited",
            (3, denied, 1, 5): "administratively prohibited",
            (3, denied, 1, 6): "administratively prohibited",
            (3, unreachable, 3, 0): "time to live exceeded",
            (3, unreachable, 3, 1): "fragment reassembly time exceeded",
        }
        for (origin, number, kind, code), reason in reasons.items():
            family = socket.AF_INET if origin == 2 else socket.AF_INET6
            queue: Any = FakeErrorQueue(family, (number, origin, kind, code))
            self.assertEqual(readErrorQueue(queue), [(b"x", reason)])

    def test_localError(self) -> None:
        """
        Errors of the local system are not ICMP errors.
        """
        queue: Any = FakeErrorQueue(socket.AF_INET, (errno.EMSGSIZE, 1, 0, 0))
        self.assertEqual(readErrorQueue(queue), [])

    def test_quotes(self) -> None:
        """
        All errors are returned once, each with the payload that it quotes.
        """
        for address in LOOPBACK:
            (server,) = bindUDP(0, [address])
            port = server.getsockname()[1]
            server.close()
            with connectUDP(address, port) as sock:
                enableErrorQueue(sock)
                sent = [b"one", b"", b"x" * 100]
                for datagram in sent:
                    while True:
                        try:
                            sock.send(datagram)
                        except ConnectionRefusedError:
                            continue
                        break
                select.select([sock], [], [], 5)
                self.assertEqual(
                    readErrorQueue(sock), [(each, "port unreachable") for each in sent]
                )
                self.assertEqual(readErrorQueue(sock), [])

    def test_unix(self) -> None:
        """
        A UNIX socket has no error queue.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            enableErrorQueue(ours)
            self.assertEqual(readErrorQueue(ours), [])
