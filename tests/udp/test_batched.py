"""
Tests for L{shout.udp.batched}.
"""

from __future__ import annotations

import errno
import os
import socket
from importlib.util import find_spec, module_from_spec
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.udp import batched, listening
from shout.udp.batched import BatchedPort, available
from shout.udp.listening import listen
from shout.udp.port import SLOTS, DatagramPort
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.udp.fakes import FakeIO
from tests.udp.portcase import PortCase
from tests.udp.reactors import ICMPErrorTestsBuilder
from tests.udp.socketbehaviour import SocketPortBehaviour


@needsBatches
class BatchedPortTests(SocketPortBehaviour, PortCase):
    """
    Tests for L{BatchedPort}.
    """

    portType = BatchedPort

    def test_repliesFillSlots(self) -> None:
        """
        As soon as replies fill the slots of a batch, they are sent.
        """
        port = self.echo()
        client = self.client(port)
        early: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            for _ in range(SLOTS):
                port.write(datagram, addr)
            early.extend(self.receiveAll(client))

        self.protocol.react = react
        self.assertEqual(self.exchange(client, port, [b"a", b"b"]), [])
        self.assertEqual(early, [b"a"] * SLOTS + [b"b"] * SLOTS)

    def test_oneCall(self) -> None:
        """
        The replies to a batch are sent in one call.
        """
        port = self.echo()
        clients = [self.client(port) for _ in range(8)]
        io = FakeIO(port)
        for client in clients * 4:
            client.send(b"x")
        port.doRead()
        self.assertEqual(io.counts, [32])
        for client in clients:
            self.assertEqual(self.receiveAll(client), [b"x"] * 4)

    def test_partial(self) -> None:
        """
        If a call sends only some of the replies, another call sends the rest.
        """
        port = self.echo()
        io = FakeIO(port)
        io.limit = 3
        datagrams = [b"x" * i for i in range(10)]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(io.counts, [3, 3, 3, 1])

    def test_singleAtOnce(self) -> None:
        """
        The reply to a datagram that has arrived alone is sent at once.
        """
        port = self.echo()
        client = self.client(port)
        arrived: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            arrived.extend(self.receiveAll(client))

        self.protocol.react = react
        self.exchange(client, port, [b"x"])
        self.assertEqual(arrived, [b"x"])


@needsBatches
class SegmentTests(PortCase):
    """
    Tests for L{BatchedPort} with replies that leave as segments of one message.
    """

    portType = BatchedPort

    def test_segments(self) -> None:
        """
        Neighbours of one length to one peer leave as one message.
        """
        port = self.echo()
        client = self.client(port)
        # From linux/udp.h: UDP_GRO, so that the message is received in one piece.
        client.setsockopt(socket.IPPROTO_UDP, 104, 1)
        replies = self.exchange(client, port, [b"aa", b"bb", b"c", b"dd"])
        self.assertEqual(replies, [b"aabb", b"c", b"dd"])

    def test_anySizes(self) -> None:
        """
        All replies arrive as they were written.
        """
        port = self.echo()
        for datagrams in (
            [b"aa", b"bb", b"c", b"dd", b"", b"", b"e"],
            [bytes([i]) * 1400 for i in range(60)],
            [bytes([i]) * 40000 for i in range(3)],
            [bytes([i]) for i in range(64)],
        ):
            replies = self.exchange(self.client(port), port, datagrams)
            self.assertEqual(replies, datagrams)

    def test_rejected(self) -> None:
        """
        If the path rejects segments, the replies are sent without an error, and
        segments of that length are not tried again with that peer.
        """
        for number, maxSegment in (
            (errno.EINVAL, 4),
            (errno.EMSGSIZE, 4),
            (errno.EIO, 0),
        ):
            port = self.echo()
            io = FakeIO(port)
            io.failures = [number]
            datagrams = [b"%05d" % i for i in range(10)]
            self.assertEqual(
                self.exchange(self.client(port), port, datagrams), datagrams
            )
            self.assertEqual(io.counts, [0, 1, 9])
            self.assertEqual(port.sendErrors, {})
            self.exchange(self.client(port), port, [b"x"])
            (_, peer), *_, (_, other) = self.protocol.received
            self.assertEqual(peer.maxSegment, maxSegment)
            self.assertEqual(other.maxSegment, 65000)

    def test_rejectedInTheMiddle(self) -> None:
        """
        If a group in the middle is rejected, the datagrams before and after it are sent
        in order.
        """
        port = self.echo()
        io = FakeIO(port)
        io.limit = 2
        io.failures = [0, errno.EINVAL]
        datagrams = [b"aa", b"bb", b"ccc", b"ddd", b"e", b"f"]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(io.counts, [2, 0, 1, 2, 1])
        self.assertEqual(port.sendErrors, {})

    def test_pathFails(self) -> None:
        """
        If the replies cannot be sent one by one either, segments are tried again.
        """
        port = self.echo()
        io = FakeIO(port)
        io.unsendable = {b"abc": errno.EINVAL}
        client = self.client(port)
        self.assertEqual(self.exchange(client, port, [b"abc"] * 3), [])
        self.assertEqual(port.sendErrors, {errno.EINVAL: 3})
        # The first two are tried alone, too.
        self.assertEqual(io.counts, [0] * 5)
        self.assertEqual(self.protocol.received[0][1].maxSegment, 65000)

    def test_otherErrors(self) -> None:
        """
        After any other error, and for the last datagram to a peer, sending is not
        tried again.
        """
        for number, datagrams, sent in (
            (errno.ENOBUFS, [b"a", b"b", b"c"], [b"b", b"c"]),
            (errno.EINVAL, [b"a"], []),
        ):
            port = self.echo()
            io = FakeIO(port)
            io.failures = [number]
            client = self.client(port)
            self.assertEqual(self.exchange(client, port, datagrams), sent)
            self.assertEqual(port.sendErrors, {number: 1})
            self.assertEqual(self.protocol.received[0][1].maxSegment, 65000)


@needsBatches
class BatchedICMPErrorTestsBuilder(ICMPErrorTestsBuilder):
    """
    Tests for a connected L{BatchedPort} on each reactor.
    """

    portType = BatchedPort


if available:
    globals().update(BatchedICMPErrorTestsBuilder.makeTestCaseClasses())


class AvailableTests(SynchronousTestCase):
    """
    Tests for L{available}.
    """

    @needsBatches
    def test_purePython(self) -> None:
        """
        C{SHOUT_PURE_PYTHON} in the environment disables the extension, unless it is
        empty.
        """
        spec = find_spec(BatchedPort.__module__)
        assert spec is not None and spec.loader is not None
        for value, expected in ("1", False), ("", True):
            self.patch(os, "environ", {"SHOUT_PURE_PYTHON": value})
            spec.loader.exec_module(module := module_from_spec(spec))
            self.assertIs(module.available, expected)


class ListenTests(SynchronousTestCase):
    """
    Tests for L{listen}.
    """

    def portTypes(self) -> list[type]:
        """
        Listen on a socket of each family, and return the types of the ports.
        """
        path = os.path.join(shortDirectory(self), "s")
        reactor = MemoryReactorClock()
        ports = [
            listen(sock, DatagramProtocol(), reactor)
            for sock in [*bindUDP(0, LOOPBACK), bindUNIX(path)]
        ]
        for port in ports:
            self.assertIn(port, reactor.getReaders())
            port.stopListening()
        reactor.advance(0)
        return [type(port) for port in ports]

    @needsBatches
    def test_batched(self) -> None:
        """
        UDP uses a L{BatchedPort}, and a UNIX socket a L{DatagramPort}.
        """
        *udp, unix = self.portTypes()
        self.assertEqual((set(udp), unix), ({BatchedPort}, DatagramPort))
        self.assertEqual((BatchedPort.kind, DatagramPort.kind), ("batched", "portable"))

    def test_fallback(self) -> None:
        """
        Without the extension, UDP uses a L{DatagramPort}, too.
        """
        self.patch(listening, "available", False)
        self.assertEqual(set(self.portTypes()), {DatagramPort})

    def test_missing(self) -> None:
        """
        Without the extension, starting a L{BatchedPort} raises an exception that names
        the extension.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(sock.close)
        self.patch(batched, "available", False)
        port = BatchedPort(sock, DatagramProtocol(), MemoryReactorClock())
        error = self.assertRaises(RuntimeError, port.startListening)
        self.assertIn("needs the C extension", str(error))
