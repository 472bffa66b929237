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

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.icmp import ICMPError, enableErrorQueue, explain, readErrorQueue
from tests.families import LOOPBACK
from tests.properties import untimed


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
            (errno.EHOSTUNREACH, "host unreachable"),
            (errno.EPERM, "operation not permitted"),
        ):
            self.assertEqual(explain(number), expected)


class FakeErrorQueue:
    """
    A socket with queued errors in the form of C{struct sock_extended_err}, and perhaps
    the address of the sender.
    """

    def __init__(
        self,
        family: int,
        *errors: tuple[int, int, int, int],
        info: int = 0,
        sender: bytes = b"",
        number: int = 0,
        stamp: bytes = b"",
    ) -> None:
        """
        @param errors: Error number, origin, type and code of each error.

        @param number: The number of the datagram with a time of sending.

        @param stamp: Its time, as the kernel reports it.
        """
        self.family = family
        self._rest = pack("=II", info, number) + sender
        self._stamp = stamp
        self._errors = list(errors)

    def recvmsg(self, *_: int) -> Any:
        if not self._errors:
            raise BlockingIOError
        kind = (0, 11) if self.family == socket.AF_INET else (41, 25)
        data = pack("IBBBB", *self._errors.pop(0), 0) + self._rest
        return b"x", [(socket.SOL_SOCKET, 37, self._stamp), (*kind, data)], 0, None


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
            (2, unreachable, 3, 1): "host unreachable",
            (2, unreachable, 3, 13): "administratively prohibited",
            (2, unreachable, 11, 0): "time exceeded",
            (2, unreachable, 11, 1): "fragment reassembly time exceeded",
            (3, unreachable, 1, 3): "host unreachable",
            (3, denied, 1, 1): "administratively prohibited",
            (3, denied, 1, 5): "administratively prohibited",
            (3, denied, 1, 6): "administratively prohibited",
            (3, unreachable, 3, 0): "time exceeded",
            (3, unreachable, 3, 1): "fragment reassembly time exceeded",
        }
        for (origin, number, kind, code), reason in reasons.items():
            family = socket.AF_INET if origin == 2 else socket.AF_INET6
            queue: Any = FakeErrorQueue(family, (number, origin, kind, code))
            expected = ICMPError(reason, None, b"x")
            self.assertEqual(readErrorQueue(queue), [expected])

    def test_tooBig(self) -> None:
        """
        An error about a datagram that is too big has the MTU.
        """
        for family, kind, name in (
            (socket.AF_INET, (2, 3, 4), "fragmentation needed"),
            (socket.AF_INET6, (3, 2, 0), "packet too big"),
        ):
            error = errno.EMSGSIZE, *kind
            queue: Any = FakeErrorQueue(family, error, info=1400)
            expected = ICMPError(f"{name} (MTU 1400)", None, b"x", 1400)
            self.assertEqual(readErrorQueue(queue), [expected])

    @untimed
    @given(st.binary(max_size=40))
    def test_anySender(self, sender: bytes) -> None:
        """
        The sender is unknown if there is no address of a known family.
        """
        error = errno.EHOSTUNREACH, 2, 3, 1
        queue: Any = FakeErrorQueue(socket.AF_INET, error, sender=sender)
        (found,) = readErrorQueue(queue)
        if sender[:2] not in (pack("H", socket.AF_INET), pack("H", socket.AF_INET6)):
            self.assertIsNone(found.sender)

    def test_localError(self) -> None:
        """
        Errors of the local system are not ICMP errors.
        """
        queue: Any = FakeErrorQueue(socket.AF_INET, (errno.EMSGSIZE, 1, 0, 0))
        self.assertEqual(readErrorQueue(queue), [])

    def test_sendTimes(self) -> None:
        """
        Times of sending are told apart from ICMP errors in the same queue.
        """
        error = errno.EHOSTUNREACH, 2, 3, 1
        time = errno.ENOMSG, 4, 0, 0
        stamp = pack("6l", 12, 34, 0, 0, 0, 0)
        for data, expected in (
            (stamp, [(7, 12_000_000_034)] * 2),
            (bytes(48), []),
            (b"short", []),
        ):
            for isWanted in (True, False):
                queue: Any = FakeErrorQueue(
                    socket.AF_INET, time, error, time, number=7, stamp=data
                )
                sendTimes: list[tuple[int, int]] = []
                icmpErrors = readErrorQueue(queue, sendTimes if isWanted else None)
                self.assertEqual(sendTimes, expected if isWanted else [])
                self.assertEqual(
                    icmpErrors, [ICMPError("host unreachable", None, b"x")]
                )

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
                    readErrorQueue(sock),
                    [ICMPError("port unreachable", address, each) for each in sent],
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
