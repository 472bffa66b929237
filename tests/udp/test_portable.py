"""
Tests for L{shout.udp.portable}.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.peer import decode
from shout.udp.portable import UDPIO
from shout.udp.sockopt import enablePacketInfo


class UDPIOTests(SynchronousTestCase):
    """
    Tests for L{UDPIO}.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        enablePacketInfo(self.sock)
        self.client = connectUDP(*self.sock.getsockname())
        for each in self.sock, self.client:
            self.addCleanup(each.close)
        self.decoded = 0
        self.io = UDPIO(self.sock, self.decode)

    def decode(self, *address: Any) -> Any:
        """
        Count and decode an address.
        """
        self.decoded += 1
        return decode(*address)

    def test_limit(self) -> None:
        """
        At most as many datagrams as asked for are received, in order, and C{None} when
        nothing has arrived.
        """
        for limit in 1, 2, 5, 64:
            for number in range(7):
                self.client.send(b"%d" % number)
            received: list[bytes] = []
            while limit > 1 or len(received) < 7:
                batch = self.io.receive(limit)
                if batch is None:
                    break
                self.assertLessEqual(len(batch[0]), limit)
                received += batch[0]
            self.assertEqual(received, [b"%d" % number for number in range(7)])
            self.assertIsNone(self.io.receive(limit))

    def test_remembered(self) -> None:
        """
        A peer is decoded once, and is the same object again.
        """
        peers = []
        for _ in range(3):
            self.client.send(b"x")
            _, received = self.io.receive(64) or ([], [])
            peers += received
        self.assertEqual(peers, [self.client.getsockname()] * 3)
        self.assertEqual((len(set(map(id, peers))), self.decoded), (1, 1))

    def test_bounded(self) -> None:
        """
        The number of peers that are remembered is bounded.
        """
        self.io.limit = 3
        for _ in range(10):
            with connectUDP(*self.sock.getsockname()) as client:
                client.send(b"x")
            self.assertIsNotNone(self.io.receive(64))
            self.assertLessEqual(len(self.io._peers), 3)

    def test_sendStops(self) -> None:
        """
        Sending stops at a datagram that cannot be sent.  The error is raised if that is
        the first one.
        """
        self.client.send(b"x")
        _, [peer] = self.io.receive(1) or ([], [])
        datagrams = [b"a", b"b", bytes(70_000), b"c"]
        self.assertEqual(self.io.send(datagrams, [peer] * 4, 1), 1)
        error = self.assertRaises(OSError, self.io.send, datagrams, [peer] * 4, 2)
        self.assertEqual(error.errno, errno.EMSGSIZE)
        self.assertEqual(self.io.send(datagrams, [peer] * 4, 3), 1)
        self.assertEqual([self.client.recv(9), self.client.recv(9)], [b"b", b"c"])

    def test_errorAfterDatagrams(self) -> None:
        """
        An error after some datagrams is raised by the next call.
        """

        def receive(*sizes: int) -> Any:
            if not results:
                raise OSError(errno.ENOMEM, "no memory")
            return results.pop()

        results: list[Any] = [(b"x", [], 0, ("127.0.0.1", 4000))] * 5
        self.io._recvmsg = receive
        self.patch(self.io, "_isReadable", lambda timeout: [(0, 0)])
        self.assertEqual((self.io.receive(64) or ([], []))[0], [b"x"] * 5)
        error = self.assertRaises(OSError, self.io.receive, 64)
        self.assertEqual(error.errno, errno.ENOMEM)

    def test_closed(self) -> None:
        """
        A closed socket raises C{OSError}.
        """
        self.sock.close()
        self.assertRaises(OSError, self.io.receive, 1)
        self.assertEqual(self.sock.type, socket.SOCK_DGRAM)
