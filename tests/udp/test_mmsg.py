"""
Tests for the C extension C{shout.udp._mmsg}.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
import weakref
from typing import Any
from unittest import SkipTest

from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, one_of, tuples
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchIO
from shout.udp.peer import Peer, decodeRaw
from shout.udp.sockopt import enablePacketInfo
from tests.batches import needsBatches
from tests.properties import untimed

# From linux/udp.h.
UDP_SEGMENT, UDP_GRO = 103, 104

SIZES = (0, 1, 2047, 2048, 2049, 4096, 65507)


class MmsgCase(SynchronousTestCase):
    """
    Makes a C{BatchIO} and a client that is connected to its socket.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        enablePacketInfo(self.sock)
        self.sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self.client = self.connect()
        self.addCleanup(self.sock.close)
        self.decoded: list[bytes] = []
        self.io = BatchIO(self.sock.fileno(), self.decode)

    def connect(self) -> socket.socket:
        """
        Return another client.
        """
        client = connectUDP(*self.sock.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.addCleanup(client.close)
        return client

    def decode(self, rawAddress: bytes) -> Any:
        """
        Decode a raw address, and record it.
        """
        self.decoded.append(rawAddress)
        return decodeRaw(rawAddress)

    def receiveAll(self) -> tuple[list[bytes], list[Any]]:
        """
        Return the datagrams that have arrived, and their peers.
        """
        datagrams: list[bytes] = []
        peers: list[Any] = []
        while batch := self.io.receive(64):
            datagrams += batch[0]
            peers += batch[1]
        return datagrams, peers

    def peer(self) -> Peer:
        """
        Return the peer of the client.
        """
        self.client.send(b"x")
        _, [peer] = self.receiveAll()
        self.assertIsInstance(peer, Peer)
        found: Peer = peer
        return found


@needsBatches
class ReceiveTests(MmsgCase):
    """
    Tests for C{receive}.
    """

    def test_sizes(self) -> None:
        """
        Datagrams of any size arrive whole and in order.
        """
        sent = [os.urandom(size) for size in SIZES]
        for datagram in sent:
            self.client.send(datagram)
        self.assertEqual(self.receiveAll()[0], sent)
        self.assertEqual(self.io.totalBytes(), (sum(SIZES), 0))

    def test_limit(self) -> None:
        """
        At most as many datagrams as asked for are received, and never more than 64.
        C{None} is returned when nothing has arrived.
        """
        for limit, expected in (1, 1), (3, 3), (64, 64), (0, 64), (1000, 64):
            for _ in range(70):
                self.client.send(b"x")
            batch = self.io.receive(limit)
            assert batch is not None
            self.assertEqual(len(batch[0]), expected)
            self.receiveAll()
            self.assertIsNone(self.io.receive(limit))

    def test_remembered(self) -> None:
        """
        A peer is decoded once, and is the same object again.
        """
        clients = [self.connect() for _ in range(200)]
        for _ in range(3):
            for client in clients:
                client.send(b"x")
        _, peers = self.receiveAll()
        self.assertEqual(peers, [client.getsockname() for client in clients] * 3)
        self.assertEqual(len(self.decoded), 200)
        self.assertEqual(len(set(map(id, peers))), 200)

    def test_bounded(self) -> None:
        """
        The number of peers that are remembered is bounded.
        """

        class Source:
            pass

        alive: weakref.WeakSet[Source] = weakref.WeakSet()

        def decode(rawAddress: bytes) -> Source:
            alive.add(source := Source())
            return source

        io = BatchIO(self.sock.fileno(), decode)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for last in range(1, 4000):
                client.sendmsg([b"x"], [_from(last)], 0, self.sock.getsockname())
                self.assertIsNotNone(io.receive(64))
        self.assertGreater(len(alive), 1000)
        self.assertLessEqual(len(alive), 2048)

    def test_coalesced(self) -> None:
        """
        A burst that the kernel has coalesced is split again.
        """
        for size, length in (640, 10), (637, 10), (64 * 900, 900), (5000, 4999):
            burst = os.urandom(size)
            control = socket.IPPROTO_UDP, UDP_SEGMENT, length.to_bytes(2, "little")
            self.client.sendmsg([burst], [control])
            self.client.send(b"alone")
            expected = [burst[i : i + length] for i in range(0, size, length)]
            datagrams, peers = self.receiveAll()
            self.assertEqual(datagrams, [*expected, b"alone"])
            self.assertEqual(len(set(map(id, peers))), 1)
        self.assertEqual(len(self.decoded), 1)

    def test_longBurst(self) -> None:
        """
        A burst can have more datagrams than a call receives messages.
        """
        self.client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 3)
        try:
            self.client.send(b"abc" * 100)
        except OSError:
            raise SkipTest("the kernel sends no more than 64 segments") from None
        batch = self.io.receive(1)
        assert batch is not None
        self.assertEqual(batch[0], [b"abc"] * 100)

    def test_oddMessages(self) -> None:
        """
        Datagrams with many control messages, and with more than fit into the buffer,
        arrive like others.
        """
        # IP_RECVTTL, IP_RECVORIGDSTADDR, IP_RECVOPTS, IP_RETOPTS
        for option in socket.IP_RECVTOS, 12, 20, 6, 7:
            self.sock.setsockopt(socket.IPPROTO_IP, option, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, 29, 1)  # SO_TIMESTAMP
        for options in b"", b"\x01" * 40:
            self.client.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
            for _ in range(2):
                self.client.send(b"x")
            datagrams, peers = self.receiveAll()
            self.assertEqual(datagrams, [b"x"] * 2)
            self.assertEqual(peers, [self.client.getsockname()] * 2)
            self.assertEqual(self.io.send(datagrams, peers, 0), 2)
            self.assertEqual([self.client.recv(9) for _ in peers], datagrams)

    def test_otherMessages(self) -> None:
        """
        Control messages that other code has enabled are part of the raw address.
        """
        for option in socket.IP_RECVTOS, 12:  # IP_RECVTTL
            self.sock.setsockopt(socket.IPPROTO_IP, option, 1)
        for tos in 0, 8, 0, 8:
            self.client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            self.client.send(b"x")
        _, peers = self.receiveAll()
        self.assertEqual(len(self.decoded), 2)
        self.assertIs(peers[0], peers[2])
        self.assertIs(peers[1], peers[3])
        self.assertIsNot(peers[0], peers[1])

    def test_decodeRaises(self) -> None:
        """
        An exception of C{decode} is raised, and the next call works.
        """

        def decode(rawAddress: bytes) -> Any:
            if not self.decoded:
                self.decoded.append(rawAddress)
                raise ZeroDivisionError()
            return decodeRaw(rawAddress)

        io = BatchIO(self.sock.fileno(), decode)
        for _ in range(2):
            self.client.send(b"x")
        self.assertRaises(ZeroDivisionError, io.receive, 1)
        self.assertIsNotNone(io.receive(1))

    def test_anyPeer(self) -> None:
        """
        C{decode} may return any object.
        """
        peers: tuple[Any, ...] = None, 5, [], "peer"
        for peer in peers:
            io = BatchIO(self.sock.fileno(), lambda rawAddress, peer=peer: peer)
            self.client.send(b"x")
            self.assertEqual(io.receive(64), ([b"x"], [peer]))
        wrong: Any = None
        io = BatchIO(self.sock.fileno(), wrong)
        self.client.send(b"x")
        self.assertRaises(TypeError, io.receive, 64)

    def test_notReentrant(self) -> None:
        """
        C{decode} cannot receive.
        """
        io: Any = BatchIO(self.sock.fileno(), lambda rawAddress: io.receive(64))
        self.client.send(b"x")
        self.assertRaises(RuntimeError, io.receive, 64)

    def test_error(self) -> None:
        """
        An error of the system call is raised.
        """
        io = BatchIO(-1, decodeRaw)
        error = self.assertRaises(OSError, io.receive, 64)
        self.assertEqual(error.errno, errno.EBADF)
        self.assertRaises(TypeError, io.receive, "64")

    def test_collected(self) -> None:
        """
        A cycle through C{decode} is collected.
        """

        class Owner:
            def decode(self, rawAddress: bytes) -> Any:
                return self, rawAddress

        owner: Any = Owner()
        owner.io = BatchIO(self.sock.fileno(), owner.decode)
        self.client.send(b"x")
        self.assertIsNotNone(owner.io.receive(64))
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertIsNone(gone())


@needsBatches
class SendTests(MmsgCase):
    """
    Tests for C{send}.
    """

    def test_roundTrip(self) -> None:
        """
        Datagrams reach their peers whole and in order.
        """
        clients = [self.client, self.connect(), self.connect()]
        for client in clients:
            client.send(b"x")
        _, peers = self.receiveAll()
        payload = one_of(binary(max_size=20), integers(0, 5000).map(bytes))

        @settings(untimed, max_examples=100)
        @given(lists(tuples(payload, integers(0, 2)), max_size=150))
        def check(pairs: list[tuple[bytes, int]]) -> None:
            datagrams = [datagram for datagram, _ in pairs]
            recipients = [peers[number] for _, number in pairs]
            start = 0
            while start < len(pairs):
                sent = self.io.send(datagrams, recipients, start)
                self.assertEqual(sent, min(64, len(pairs) - start))
                start += sent
            for datagram, number in pairs:
                self.assertEqual(clients[number].recv(65535), datagram)

        check()

    def test_segments(self) -> None:
        """
        Neighbours of one length to one peer leave as one message, up to the largest
        segment of the peer.
        """
        self.client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        peer = self.peer()
        datagrams = [b"a" * 10] * 5 + [b"b" * 11] + [b"c" * 12] * 2 + [b""] * 2
        for maxSegment, expected in (
            (65000, [50, 11, 24, 0, 0]),
            (11, [50, 11, 12, 12, 0, 0]),
            (0, [10] * 5 + [11, 12, 12, 0, 0]),
            (-1, [10] * 5 + [11, 12, 12, 0, 0]),
        ):
            peer.maxSegment = maxSegment
            self.assertEqual(self.io.send(datagrams, [peer] * 10, 0), 10)
            self.assertEqual([len(self.client.recv(99)) for _ in expected], expected)
        large = [bytes(30_000)] * 3
        peer.maxSegment = 65000
        self.assertEqual(self.io.send(large, [peer] * 3, 0), 3)
        lengths = [len(self.client.recv(65535)) for _ in range(2)]
        self.assertEqual(lengths, [60_000, 30_000])

    def test_stops(self) -> None:
        """
        Sending stops at a message that cannot be sent.  The error is raised if that is
        the first one.
        """
        peer = self.peer()
        datagrams = [b"a", bytes(70_000), b"c"]
        self.assertEqual(self.io.send(datagrams, [peer] * 3, 0), 1)
        error = self.assertRaises(OSError, self.io.send, datagrams, [peer] * 3, 1)
        self.assertEqual(error.errno, errno.EMSGSIZE)
        self.assertEqual(self.io.send(datagrams, [peer] * 3, 2), 1)
        self.assertEqual(self.io.send(datagrams, [peer] * 3, 3), 0)
        self.assertEqual(self.io.totalBytes(), (1, 2))

    def test_wrongArguments(self) -> None:
        """
        Wrong arguments raise exceptions, and nothing is sent.
        """
        peer, send = self.peer(), self.io.send
        for datagrams, peers, start, expected in (
            (["text"], [peer], 0, TypeError),
            ([bytearray(1)], [peer], 0, TypeError),
            ([b"x", None], [peer] * 2, 0, TypeError),
            ((b"x",), [peer], 0, TypeError),
            ([b"x"], (peer,), 0, TypeError),
            ([b"x"], [peer], "0", TypeError),
            ([b"x"], [], 0, IndexError),
            ([b"x", b"x"], [peer], 0, IndexError),
            ([b"x"], [peer], -1, IndexError),
            ([b"x"], [("127.0.0.1", 4000)], 0, AttributeError),
        ):
            arguments: Any = datagrams, peers, start
            self.assertRaises(expected, send, *arguments)
        for raw, error in (
            (None, TypeError),
            (bytes(31), ValueError),
            (bytes(200), ValueError),
            (bytes(72), OSError),
        ):
            wrong: Any = Peer(("127.0.0.1", 4000))
            wrong.rawAddress = raw
            self.assertRaises(error, send, [b"x"], [wrong], 0)
        wrong = Peer(("127.0.0.1", 4000))
        wrong.rawAddress, wrong.maxSegment = peer.rawAddress, "large"
        self.assertRaises(TypeError, send, [b"x", b"x"], [wrong] * 2, 0)
        self.assertRaises(BlockingIOError, self.client.recv, 99)

    def test_changedMeanwhile(self) -> None:
        """
        Lists that change while they are read do no harm.
        """
        valid = self.peer().rawAddress
        for rawAddress, expected in (bytes(31), ValueError), (valid, IndexError):
            datagrams, peers = [b"x" * 1000, b"y" * 1000], list[Any]()
            peers += [_Clearing(rawAddress, datagrams, peers) for _ in range(2)]
            self.assertRaises(expected, self.io.send, datagrams, peers, 0)
        self.assertRaises(BlockingIOError, self.client.recv, 99)

    def test_sendNotReentrant(self) -> None:
        """
        An attribute of a peer cannot send.
        """
        io, peer = self.io, self.peer()

        class Sending:
            @property
            def rawAddress(self) -> bytes:
                io.send([b"inner"], [peer], 0)
                return peer.rawAddress

        self.assertRaises(RuntimeError, io.send, [b"outer"], [Sending()], 0)
        self.assertEqual(io.send([b"x"], [peer], 0), 1)
        self.assertEqual(self.client.recv(99), b"x")

    def test_connected(self) -> None:
        """
        Without peers, datagrams are sent to the peer of a connected socket.
        """
        io = BatchIO(self.client.fileno(), decodeRaw)
        self.assertEqual(io.send([b"one", b"two"], None, 0), 2)
        self.assertEqual(self.receiveAll()[0], [b"one", b"two"])


class _Clearing:
    """
    A peer that clears lists when its address is read.
    """

    def __init__(self, rawAddress: bytes, *lists: list[Any]) -> None:
        self._rawAddress = rawAddress
        self._lists = lists

    @property
    def rawAddress(self) -> bytes:
        for each in self._lists:
            each.clear()
        return self._rawAddress


def _from(number: int) -> tuple[int, int, bytes]:
    """
    Return a control message that sends from one of the addresses of the loopback.
    """
    address = bytes([127, 1, number // 250, number % 250 + 1])
    return socket.IPPROTO_IP, 8, bytes(4) + address + bytes(4)
