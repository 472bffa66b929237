"""
Tests for L{shout.udp.batched}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import Shout, bindUDP, bindUNIX
from shout.udp import batched
from shout.udp.batched import BatchedPort, listen
from shout.udp.mmsg import available
from shout.udp.port import DatagramPort
from shout.udp.receive import SLOTS
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import BatchedPortCase
from tests.udp.reactors import ICMPErrorTestsBuilder
from tests.udp.socketbehaviour import SocketPortBehaviour


@needsBatches
class BatchedPortTests(SocketPortBehaviour, BatchedPortCase):
    """
    Tests for L{BatchedPort}.
    """

    def test_manyReplies(self) -> None:
        """
        A protocol can write more replies than a batch has slots.
        """
        port = self.echo()
        replies = [b"%d" % i for i in range(1000)]

        def react(datagram: bytes, addr: Any) -> None:
            for reply in replies:
                port.write(datagram + reply, addr)

        self.protocol.react = react
        client = self.client(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        received = self.exchange(client, port, [b"a", b"b"])
        self.assertEqual(received, [d + r for d in (b"a", b"b") for r in replies])

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

    def test_wholeBatches(self) -> None:
        """
        The batch that reaches the limit of a visit is delivered whole.
        """
        port = self.echo()
        port.maxDatagrams = SLOTS + 1
        client = self.client(port)
        for _ in range(3 * SLOTS):
            client.send(b"")
        port.doRead()
        self.assertEqual(len(self.protocol.received), 2 * SLOTS)

    def test_maxBytes(self) -> None:
        """
        A visit ends after a bounded number of bytes, too.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        port.maxBytes = 64 * 1000
        client = self.client(port)
        for _ in range(3 * SLOTS):
            client.send(bytes(1000))
        port.doRead()
        self.assertEqual(len(self.protocol.received), SLOTS)

    def test_maxBytesDefault(self) -> None:
        """
        That is a mebibyte, if the receive buffer is large enough.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 4 << 20:
            self.skipTest("the system allows no larger receive buffer")
        client = self.client(port)
        for _ in range(4 * SLOTS):
            client.send(bytes(8192))
        port.doRead()
        self.assertEqual(len(self.protocol.received), 2 * SLOTS)

    def test_orderOfRecipients(self) -> None:
        """
        Datagrams to peers of the batch and to others are sent in order.
        """
        port = self.echo()
        client, other = self.client(port), self.client(port)
        arrived: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            port.write(datagram, other.getsockname())
            arrived.append(client.recv(9))

        self.protocol.react = react
        self.exchange(client, port, [b"one", b"two"])
        self.assertEqual(arrived, [b"one", b"two"])

    def test_nestedVisit(self) -> None:
        """
        If a protocol runs the reactor while it receives a datagram, its replies before
        and after that are sent.
        """
        port = self.echo()
        client = self.client(port)

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"before " + datagram, addr)
            if datagram == b"outer":
                client.send(b"inner 1")
                client.send(b"inner 2")
                port.doRead()
            port.write(b"after " + datagram, tuple(addr))

        self.protocol.react = react
        self.assertEqual(
            sorted(self.exchange(client, port, [b"outer", b"other"])),
            sorted(
                f"{when} {what}".encode()
                for what in ("outer", "other", "inner 1", "inner 2")
                for when in ("before", "after")
            ),
        )

    def test_closedInNestedVisit(self) -> None:
        """
        If the port is closed in a nested visit, its file descriptor is not used again:
        it may belong to another socket.
        """
        port = self.echo()
        [client], [other] = bindUDP(0, ["127.0.0.1"]), bindUDP(0, ["127.0.0.1"])
        address, number = port.socket.getsockname(), port.fileno()

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            if datagram == b"outer":
                client.sendto(b"inner", address)
                port.doRead()
                port.write(b"too late", addr)
            else:
                self.stop(port)
                os.dup2(other.fileno(), number)
                self.addCleanup(os.close, number)

        self.protocol.react = react
        with client, other:
            for datagram in (b"outer", b"never delivered"):
                client.sendto(datagram, address)
            port.doRead()
            for expected in (b"outer", b"inner"):
                self.assertEqual(client.recvfrom(99), (expected, address))
            self.assertRaises(BlockingIOError, client.recv, 99)

    def test_closedInBatch(self) -> None:
        """
        If the port is closed during a batch, the replies before that are sent, and
        later ones are not.
        """
        port = self.echo()

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"bye", addr)
            self.stop(port)
            port.write(b"too late", addr)

        self.protocol.react = react
        client = self.client(port)
        for _ in range(3):
            client.send(b"x")
        port.doRead()
        self.assertEqual(self.receiveAll(client), [b"bye"])
        self.assertEqual(len(self.protocol.received), 1)

    def test_closedInFullBatch(self) -> None:
        """
        If the port is closed during a batch that may not be the last, its file
        descriptor is not used again: it may belong to another socket.
        """
        protocols: Iterable[Any] = RecordingProtocol(), Shout()
        for protocol in protocols:
            [sock], [other] = bindUDP(0, ["127.0.0.1"]), bindUDP(0, ["127.0.0.1"])
            port, number = self.listen(sock, protocol), sock.fileno()

            def close(
                datagram: bytes,
                addr: Any = None,
                port: Any = port,
                number: int = number,
                other: socket.socket = other,
            ) -> bytes:
                if port.connected:
                    self.stop(port)
                    os.dup2(other.fileno(), number)
                    self.addCleanup(os.close, number)
                return datagram.upper()

            protocol.react = protocol.transform = close
            with self.client(port) as client, other:
                for _ in range(64):
                    client.send(b"x")
                client.connect(other.getsockname())
                client.send(b"for the other")
                port.doRead()
                self.assertEqual(other.recv(99), b"for the other")
                self.assertEqual(self.receiveAll(client), [])


@needsBatches
class BatchedICMPErrorTestsBuilder(ICMPErrorTestsBuilder):
    """
    Tests for a connected L{BatchedPort} on each reactor.
    """

    portType = BatchedPort


if available:
    globals().update(BatchedICMPErrorTestsBuilder.makeTestCaseClasses())


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

    def test_fallback(self) -> None:
        """
        If the system calls are missing, UDP uses a L{DatagramPort}, too.
        """
        self.patch(batched, "available", False)
        self.assertEqual(set(self.portTypes()), {DatagramPort})
