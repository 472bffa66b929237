"""
Tests for what a protocol can do while it receives datagrams from L{shout.udp.port}.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import MessageLengthError

from shout import Shout, bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from tests.batches import needsBatches
from tests.udp.fakes import FakeIO, RecordingProtocol
from tests.udp.portcase import PortCase


class DeliveryTests(PortCase):
    """
    Tests for deliveries by a L{DatagramPort<shout.udp.port.DatagramPort>}.
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

    def test_tooLong(self) -> None:
        """
        While it receives a datagram, too, writing one that is too long raises
        C{MessageLengthError}, and is counted.
        """
        port = self.echo()

        def react(datagram: bytes, addr: Any) -> None:
            error = self.assertRaises(
                MessageLengthError, port.write, bytes(70_000), addr
            )
            self.assertIn("message too long", str(error))
            port.write(datagram, addr)

        self.protocol.react = react
        datagrams = [b"1", b"2", b"3"]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(port.sendErrors, {errno.EMSGSIZE: 3})

    def test_reportsOfBatch(self) -> None:
        """
        What C{sendFailed} and C{connectionRefused} write is sent at once.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)
        address = server.getsockname()

        def write(datagram: bytes) -> None:
            port.write(datagram, address)
            arrived.extend(self.receiveAll(server))
            self.assertEqual(arrived[-1], datagram)

        class Writing(RecordingProtocol):
            def connectionRefused(self) -> None:
                write(b"refused")

            def sendFailed(self, number: int, count: int) -> None:
                write(b"failed")

        arrived: list[bytes] = []
        port = self.listen(connectUDP(*address), protocol := Writing())
        FakeIO(port).unsendable = {b"no": errno.ECONNREFUSED}
        protocol.react = port.write
        for datagram in b"1", b"no", b"2":
            server.sendto(datagram, port.socket.getsockname())
        port.doRead()
        arrived += self.receiveAll(server)
        self.assertEqual(sorted(arrived), [b"1", b"2", b"failed", b"refused"])

    def test_repliesOfVisit(self) -> None:
        """
        When a visit has reached its limit, the replies have been sent.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        datagrams = [b"%d" % number for number in range(port.maxDatagrams + 9)]
        replies = self.exchange(client, port, datagrams)
        self.assertEqual(replies, datagrams[: port.maxDatagrams])

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

        early: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            if datagram == b"inner 1":
                early.extend(self.receiveAll(client))
            port.write(b"before " + datagram, addr)
            if datagram == b"outer":
                client.send(b"inner 1")
                client.send(b"inner 2")
                port.doRead()
            port.write(b"after " + datagram, tuple(addr))

        self.protocol.react = react
        replies = self.exchange(client, port, [b"outer", b"other"])
        self.assertIn(b"before outer", early)
        self.assertEqual(
            sorted(early + replies),
            sorted(
                f"{when} {what}".encode()
                for what in ("outer", "other", "inner 1", "inner 2")
                for when in ("before", "after")
            ),
        )

    def test_nestedVisitTakesRest(self) -> None:
        """
        If a protocol runs the reactor while it receives a datagram, the rest of the
        batch is delivered then, each datagram once, and in order.
        """
        port = self.echo()
        port.maxDatagrams = 5
        order: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            if datagram == b"1":
                port.drain()
            order.append(datagram)

        self.protocol.react = react
        client = self.client(port)
        self.exchange(client, port, [b"a", b"b", b"1", b"2", b"3"])
        port.drain()
        self.assertEqual(order, [b"a", b"b", b"2", b"3", b"1"])

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
            client.sendto(b"outer", address)
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


class TimeTests(PortCase):
    """
    Tests for the time that a visit by the reactor takes.
    """

    def slowPort(self, protocol: Any, milliseconds: float) -> Any:
        """
        Start a port whose protocol takes some time for each datagram.
        """

        def react(datagram: bytes, addr: Any = None) -> bytes:
            self.arrived.append(len(self.receiveAll(self.asking)))
            # The reactor's own clock would run the calls that are due.
            self.now += milliseconds / 1000
            if isinstance(protocol, RecordingProtocol):
                port.write(datagram.upper(), addr)
            return datagram.upper()

        self.now, self.arrived = 0.0, list[int]()
        protocol.react = protocol.transform = react
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.portType(sock, protocol, self.reactor, seconds=lambda: self.now)
        protocol._seconds = lambda: self.now
        port.startListening()
        self.addCleanup(self.stop, port)
        self.asking = self.client(port)
        return port

    def test_visitEnds(self) -> None:
        """
        A visit ends after 5 ms.  The other datagrams are delivered by later visits, in
        order, and each reply is sent before the next datagram takes 1 ms.
        """
        for protocol in RecordingProtocol(), Shout():
            port = self.slowPort(protocol, 2)
            for number in range(10):
                self.asking.send(b"%d" % number)
            port.doRead()
            self.assertEqual(self.arrived, [0, 1, 1])
            for _ in range(10):
                self.reactor.advance(0)
                port.doRead()
            self.assertEqual(self.arrived, [0, *[1] * 9])

    def test_repliesLeave(self) -> None:
        """
        Replies leave after 1 ms of work, though more datagrams have arrived.
        """
        for protocol in RecordingProtocol(), Shout():
            port = self.slowPort(protocol, 0.3)
            for _ in range(9):
                self.asking.send(b"x")
            port.doRead()
            self.assertGreaterEqual(sum(self.arrived), 4)

    def test_stoppedWithRest(self) -> None:
        """
        When the port stops reading, the datagrams that are left wait until it starts
        again.
        """
        port = self.slowPort(protocol := RecordingProtocol(), 5)
        for _ in range(3):
            self.asking.send(b"x")
        port.doRead()
        port.stopReading()
        self.reactor.advance(0)
        self.assertEqual(len(protocol.received), 1)
        port.startReading()
        self.reactor.advance(0)
        port.doRead()
        self.assertGreaterEqual(len(protocol.received), 2)

    def test_drain(self) -> None:
        """
        Draining delivers also the datagrams that are left, and ends after C{maxDrain}.
        """
        port = self.slowPort(protocol := RecordingProtocol(), 5)
        for _ in range(10):
            self.asking.send(b"x")
        port.doRead()
        port.maxDrain = 0.02
        port.drain()
        self.assertEqual(len(protocol.received), 5)
        port.drain()
        port.drain()
        self.assertEqual(len(protocol.received), 10)

    def test_drainSendsReplies(self) -> None:
        """
        While draining, too, each reply is sent before the next datagram takes 1 ms.
        """
        for protocol in RecordingProtocol(), Shout():
            port = self.slowPort(protocol, 5)
            for _ in range(5):
                self.asking.send(b"x")
            port.drain()
            self.assertEqual(self.arrived, [0, 1, 1, 1, 1])

    def test_stoppedListeningWithRest(self) -> None:
        """
        When the port stops listening, the datagrams that are left are delivered only if
        it is drained before.
        """
        for isDrained in False, True:
            port = self.slowPort(protocol := RecordingProtocol(), 5)
            for _ in range(3):
                self.asking.send(b"x")
            port.doRead()
            if isDrained:
                port.drain()
            self.stop(port)
            self.reactor.pump([0] * 5)
            self.assertEqual(len(protocol.received), 3 if isDrained else 1)

    def test_stoppedInVisit(self) -> None:
        """
        When the protocol stops the port, the visit goes on until its time is up.
        """
        port = self.slowPort(protocol := RecordingProtocol(), 3)
        react = protocol.react

        def stopping(datagram: bytes, addr: Any) -> None:
            port.stopListening()
            assert react is not None
            react(datagram, addr)

        protocol.react = stopping
        for _ in range(5):
            self.asking.send(b"x")
        port.doRead()
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(len(protocol.received), 2)

    def test_nestedVisit(self) -> None:
        """
        A nested visit delivers what a visit before it has left.
        """
        port = self.slowPort(protocol := RecordingProtocol(), 5)
        react = protocol.react

        def nested(datagram: bytes, addr: Any) -> None:
            assert react is not None
            react(datagram, addr)
            if datagram == b"1":
                port.doRead()

        protocol.react = nested
        for number in range(4):
            self.asking.send(b"%d" % number)
        for _ in range(4):
            port.doRead()
            self.reactor.advance(0)
        self.assertEqual(protocol.payloads, [b"0", b"1", b"2", b"3"])
        self.assertEqual(sum(self.arrived) + len(self.receiveAll(self.asking)), 4)


@needsBatches
class BatchedDeliveryTests(DeliveryTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort


@needsBatches
class BatchedTimeTests(TimeTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort

    def test_fewCalls(self) -> None:
        """
        The replies of each millisecond are sent together.
        """
        port = self.slowPort(RecordingProtocol(), 0.3)
        io = FakeIO(port)
        for _ in range(9):
            self.asking.send(b"x")
        port.doRead()
        self.assertEqual(io.counts, [4, 4, 1])
