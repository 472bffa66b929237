"""
Tests for the memory of the C extensions over a million datagrams.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchIO
from shout.udp.peer import Peer, decodeRaw
from shout.udp.sockopt import enablePacketInfo
from tests.batches import needsBatches

# From linux/udp.h.
UDP_SEGMENT, UDP_GRO = 103, 104

# Numbers of rounds until the table of peers is full, and thereafter.
WARM_UP, ROUNDS = 300, 2500


@needsBatches
class ReferencesTests(SynchronousTestCase):
    """
    Tests that no reference and no memory is lost, whatever happens to datagrams.  Most
    have 2,500 rounds of 64 datagrams.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(self.sock.close)
        enablePacketInfo(self.sock)
        self.client = connectUDP(*self.sock.getsockname())
        self.addCleanup(self.client.close)
        self.io = BatchIO(self.sock.fileno(), decodeRaw)
        self.client.send(b"x")
        [self.datagram], [self.peer] = self.io.receive(64)

    def checkFlat(
        self, once: Callable[[], object], *watched: object, rounds: int = ROUNDS
    ) -> None:
        """
        Check that no memory is left after many calls of a function, and no reference
        to the objects that it uses.
        """
        objects = [*watched, self.datagram, self.peer, self.peer.rawAddress, self.io]
        objects.append(type(self.io))
        tracemalloc.start()
        try:
            for _ in range(WARM_UP):
                once()
            gc.collect()
            memory, _ = tracemalloc.get_traced_memory()
            references = [sys.getrefcount(each) for each in objects]
            for _ in range(rounds):
                once()
            gc.collect()
            self.assertEqual([sys.getrefcount(each) for each in objects], references)
            # The smallest object has more bytes than one per round.
            now, _ = tracemalloc.get_traced_memory()
            self.assertLess(now - memory, rounds)
        finally:
            tracemalloc.stop()

    def send(self, count: int = 64) -> None:
        """
        Send datagrams to the socket.
        """
        for _ in range(count):
            self.client.send(b"hello")

    def sendBurst(self) -> None:
        """
        Send a message that arrives as 64 datagrams in one piece.
        """
        control = socket.IPPROTO_UDP, UDP_SEGMENT, (50).to_bytes(2, sys.byteorder)
        self.client.sendmsg([bytes(64 * 50)], [control])

    def empty(self) -> None:
        """
        Empty the receive buffer of the client.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                self.client.recv(65535)

    def test_answered(self) -> None:
        """
        Datagrams are received, and sent back.
        """

        def once() -> None:
            self.send()
            datagrams, peers = self.io.receive(64)
            self.assertEqual(self.io.send(datagrams, peers, 0), 64)
            self.empty()
            self.assertIsNone(self.io.receive(64))

        self.checkFlat(once)

    def test_large(self) -> None:
        """
        Datagrams of any size are received, and sent back.
        """
        sizes = cycle([0, 1, 2047, 2048, 2049, 9000, 65507])

        def once() -> None:
            self.client.send(bytes(next(sizes)))
            datagrams, peers = self.io.receive(64)
            self.assertEqual(self.io.send(datagrams, peers, 0), 1)
            self.empty()

        self.checkFlat(once, rounds=10 * ROUNDS)

    def test_coalesced(self) -> None:
        """
        Coalesced datagrams are received, without and with their times.
        """
        self.sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)

        def once() -> None:
            self.sendBurst()
            self.assertEqual(len(self.io.receive(64)[0]), 64)
            self.sendBurst()
            self.assertEqual(len(self.io.receiveTimed(64)[0]), 64)

        self.checkFlat(once)

    def test_unseen(self) -> None:
        """
        Datagrams come from more sources than are remembered.
        """
        hosts = cycle(
            bytes([127, 1, i, j]) for i in range(1, 50) for j in range(1, 200)
        )
        address = self.sock.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:

            def once() -> None:
                for _ in range(64):
                    info = bytes(4) + next(hosts) + bytes(4)
                    control = socket.IPPROTO_IP, 8, info
                    client.sendmsg([b"x"], [control], 0, address)
                _, peers = self.io.receive(64)
                self.assertEqual(len(set(peers)), 64)

            self.checkFlat(once)

    def test_decodeRaises(self) -> None:
        """
        C{decode} raises an exception for one of the datagrams of a batch.
        """
        others = [connectUDP(*self.sock.getsockname()) for _ in range(8)]
        for other in others:
            self.addCleanup(other.close)
        wrong = 0
        ports = cycle(other.getsockname()[1] for other in others)

        def decode(rawAddress: bytes) -> Any:
            peer = decodeRaw(rawAddress)
            if peer[1] == wrong:
                raise ZeroDivisionError()
            return peer

        def once() -> None:
            nonlocal wrong
            wrong = next(ports)
            io = BatchIO(self.sock.fileno(), decode)
            for other in others:
                other.send(b"hello")
            self.assertRaises(ZeroDivisionError, io.receive, 64)
            self.assertIsNone(io.receive(64))

        self.checkFlat(once, decode)

    def test_errors(self) -> None:
        """
        System calls fail.
        """
        closed = BatchIO(-1, decodeRaw)
        datagrams = [self.datagram] * 30 + [bytes(65508)] + [self.datagram] * 33
        peers = [self.peer] * 64

        def once() -> None:
            self.assertEqual(self.io.send(datagrams, peers, 0), 30)
            self.assertRaises(OSError, self.io.send, datagrams, peers, 30)
            self.empty()
            self.assertRaises(OSError, closed.receive, 64)
            self.assertRaises(OSError, closed.receiveTimed, 64)
            self.assertRaises(OSError, closed.send, datagrams, peers, 0)

        self.checkFlat(once, datagrams[30], closed)

    def test_wrongArguments(self) -> None:
        """
        Arguments are wrong, some of them in the middle of a batch.
        """
        text: Any = "text"
        raising = _RaisingPeer()
        raising.rawAddress = self.peer.rawAddress
        good, wrong = [self.datagram] * 64, [*[self.datagram] * 30, text]
        peers = [self.peer] * 64
        arguments: list[tuple[type[Exception], tuple[Any, ...]]] = [
            (TypeError, (wrong, peers, 0)),
            (TypeError, (good, tuple(peers), 0)),
            (TypeError, (good, peers, text)),
            (IndexError, (good, peers[:30], 0)),
            (IndexError, (good, peers, -1)),
            (AttributeError, (good, [*peers[:30], text, *peers[31:]], 0)),
            (ZeroDivisionError, (good, [*peers[:30], *[raising] * 34], 0)),
        ]
        for raw in None, bytes(31):
            peer: Any = Peer(("127.0.0.1", 4000))
            peer.rawAddress = raw
            error = TypeError if raw is None else ValueError
            arguments.append((error, (good, [*peers[:30], *[peer] * 34], 0)))

        def once() -> None:
            for error, each in arguments:
                self.assertRaises(error, self.io.send, *each)
            self.assertRaises(TypeError, self.io.receive, text)

        self.checkFlat(once, text, raising, rounds=1000)

    def test_made(self) -> None:
        """
        Objects are made and collected, also in cycles, with peers in their tables.
        """

        class Owner:
            io: Any

            def decode(self, rawAddress: bytes) -> Any:
                return self, rawAddress

        def once() -> None:
            owner = Owner()
            owner.io = BatchIO(self.sock.fileno(), owner.decode)
            self.send(1)
            owner.io.receive(64)
            del owner
            gc.collect()
            self.assertRaises(TypeError, BatchIO, self.sock.fileno())

        before = _pages()
        self.checkFlat(once, Owner, rounds=500)
        # An object has more than 1,000 pages.
        self.assertLess(_pages() - before, 50_000)

    def test_capitals(self) -> None:
        """
        Batches are converted to capitals, some of them with a wrong one.
        """
        upper = import_module("shout._capitals").upper
        batch = [b"hello" * number for number in range(64)]

        def once() -> None:
            upper(batch, 1 << 20)
            upper(batch, 1000)
            self.assertRaises(TypeError, upper, [*batch, None], 1 << 20)

        self.checkFlat(once, *batch)


class _RaisingPeer:
    """
    A peer of which one attribute raises an exception.
    """

    rawAddress: bytes

    @property
    def maxSegment(self) -> int:
        raise ZeroDivisionError()


def _pages() -> int:
    """
    Return the number of pages of memory that this process has mapped.
    """
    return int(Path("/proc/self/statm").read_text().split()[0])
