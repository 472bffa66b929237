"""
Tests for what C{shout.udp._mmsg} does without memory.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchIO
from shout.udp.peer import Peer
from tests.batches import needsBatches

try:
    import _testcapi as testcapi  # type: ignore[import-not-found]
except ImportError:
    testcapi = None


@needsBatches
@skipIf(testcapi is None, "this Python has no _testcapi")
class NoMemoryTests(SynchronousTestCase):
    """
    Tests for allocations that fail.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        self.client = connectUDP(*self.sock.getsockname())
        self.addCleanup(self.sock.close)
        self.addCleanup(self.client.close)
        self.peer: Any = Peer(("127.0.0.1", 9))
        self.io = self.make()

    def make(self) -> Any:
        """
        Make an object whose peers are decoded without an allocation.
        """
        return BatchIO(self.sock.fileno(), self.peer.count)

    def failEach(self, call: Callable[..., object], *args: object) -> int:
        """
        Call a function again and again, in which one allocation after another fails.

        @return: Number of allocations that failed.
        """
        for number in range(1, 1000):
            testcapi.set_nomemory(number, number + 1)
            try:
                call(*args)
            except MemoryError:
                continue
            finally:
                testcapi.remove_mem_hooks()
            return number - 1
        self.fail("no call succeeded")

    def test_make(self) -> None:
        """
        An object that cannot be made raises C{MemoryError}.
        """
        self.assertGreater(self.failEach(self.make), 1)

    def test_receive(self) -> None:
        """
        Datagrams that cannot be received raise C{MemoryError}, and those that arrive
        later are received.
        """
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for receive in self.io.receive, self.io.receiveTimed:
            for _ in range(3000):
                self.client.send(bytes(600))
            failures = self.failEach(receive, 3)
            # Those for the datagrams, at least.
            self.assertGreaterEqual(failures, 3)
            while (batch := receive(64)) is not None:
                self.assertLessEqual({*batch[0]}, {bytes(600)})

    def test_send(self) -> None:
        """
        What cannot be sent raises C{MemoryError}, and is sent at the next attempt.
        """
        self.client.send(b"x")
        io = BatchIO(self.sock.fileno(), bytes)
        _, [self.peer.rawAddress] = io.receive(64)
        datagrams, peers = [b"hello"] * 1000, [self.peer] * 1000
        self.failEach(self.io.send, datagrams, peers, 0)
        self.assertEqual(self.io.send(datagrams, peers, 900), 64)
