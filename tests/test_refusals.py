"""
Tests for L{shout.measurement.refusals}.
"""

from __future__ import annotations

import errno
import select
import socket
import sys

from twisted.trial.unittest import SynchronousTestCase

from shout.measurement.refusals import explain, keepRefusals, takeRefusals
from shout.sockets import bindUDP, connectUDP


class ExplainTests(SynchronousTestCase):
    """
    Tests for L{explain}.
    """

    def test_words(self) -> None:
        """
        What the network says has the name that it has there, and what this
        system says the one that it has here.
        """
        for number, expected in (
            (errno.ECONNREFUSED, "port unreachable"),
            (errno.ENETUNREACH, "network unreachable"),
            (errno.EHOSTUNREACH, "no route to host"),
            (errno.EPERM, "operation not permitted"),
        ):
            self.assertEqual(explain(number), expected)


class QueueTests(SynchronousTestCase):
    """
    Tests for L{keepRefusals} and L{takeRefusals}.
    """

    if sys.platform != "linux":
        skip = "only Linux keeps ICMP errors"

    def test_quotes(self) -> None:
        """
        All refusals are kept, with what each refused, and taken once.
        """
        for address in ("127.0.0.1", "::1"):
            (server,) = bindUDP(0, [address])
            port = server.getsockname()[1]
            server.close()
            with connectUDP(address, port) as sock:
                keepRefusals(sock)
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
                    takeRefusals(sock), [(each, "port unreachable") for each in sent]
                )
                self.assertEqual(takeRefusals(sock), [])

    def test_unix(self) -> None:
        """
        A UNIX socket has no such queue.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            keepRefusals(ours)
            self.assertEqual(takeRefusals(ours), [])
