"""
The behaviour of every port: Twisted's own, and those of shout.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, one_of, sampled_from, tuples
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IUDPTransport
from zope.interface.verify import verifyObject

from shout import bindUDP
from tests.families import LOOPBACK, eachFamily
from tests.properties import untimed
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import PortCase

# A mixin at run time, so that trial does not run it by itself.
if TYPE_CHECKING:
    Mixin = PortCase
else:
    Mixin = object

# From linux/in.h; Python does not have it before version 3.14.
IP_RECVERR = 11


class PortBehaviour(Mixin):
    """
    Tests for every port.
    """

    def test_receives(self) -> None:
        """
        The protocol receives each datagram with the host and the port of its peer, or
        with the path of its UNIX socket.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            client = self.client(port)
            client.send(b"one")
            client.send(b"")
            port.doRead()
            peer = self.peerName(client)
            self.assertEqual(protocol.received, [(b"one", peer), (b"", peer)])

    def test_sends(self) -> None:
        """
        A datagram that the protocol writes reaches the peer.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            protocol.react = port.write
            client = self.client(port)
            client.send(b"hello")
            port.doRead()
            self.assertEqual(client.recv(100), b"hello")

    def test_sendsOutsideVisit(self) -> None:
        """
        A datagram that is written outside a visit by the reactor is sent at once.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, RecordingProtocol())
            client = self.client(port)
            port.write(b"hello", self.peerName(client))
            self.assertEqual(client.recv(100), b"hello")

    def test_anySize(self) -> None:
        """
        Datagrams of any size that the family supports arrive whole, and are sent whole.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            protocol.react = port.write
            client = self.client(port)
            longest = 65507 if sock.family == socket.AF_INET else 65527
            for size in (0, 1, 8192, 8193, longest):
                datagram = os.urandom(size)
                client.send(datagram)
                port.doRead()
                self.assertEqual(protocol.received.pop()[0], datagram)
                self.assertEqual(client.recv(200_000), datagram)

    def test_tooLong(self) -> None:
        """
        Writing a datagram that is too long for any socket raises C{MessageLengthError}.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, RecordingProtocol())
            peer = self.peerName(self.client(port))
            tooLong = bytes(10_000_000)
            error = self.assertRaises(MessageLengthError, port.write, tooLong, peer)
            self.assertIn("message too long", str(error))

    def test_protocolRaises(self) -> None:
        """
        An exception from C{datagramReceived} is logged, and the next datagram is
        delivered.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)

        def react(datagram: bytes, addr: Any) -> None:
            if datagram == b"bad":
                raise ZeroDivisionError()

        self.protocol.react = react
        for datagram in (b"bad", b"good"):
            client.send(datagram)
        port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.protocol.payloads, [b"bad", b"good"])

    def test_stopListening(self) -> None:
        """
        Stopping ends the reading at once.  Then it stops the protocol, closes the
        socket and fires the C{Deferred}.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.assertEqual(self.reactor.getReaders(), [port])
        stopped = port.stopListening()
        self.assertEqual(self.reactor.getReaders(), [])
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(self.protocol.stopped)

    def test_stopListeningWhileReading(self) -> None:
        """
        C{stopListening} can be called from C{datagramReceived}.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.protocol.react = lambda datagram, addr: port.stopListening()
        self.client(port).send(b"stop")
        port.doRead()
        self.assertEqual(self.reactor.getReaders(), [])
        self.reactor.advance(0)
        self.assertTrue(self.protocol.stopped)

    def test_getHost(self) -> None:
        """
        C{getHost} returns the address that the socket is bound to.
        """
        expected = eachFamily(
            lambda number: IPv4Address("UDP", "127.0.0.1", number),
            lambda number: IPv6Address("UDP", "::1", number),
        )
        for sock, address in zip(bindUDP(0, LOOPBACK), expected):
            number = sock.getsockname()[1]
            port = self.listen(sock, RecordingProtocol())
            self.assertEqual(port.getHost(), address(number))

    def test_unconnectedICMPError(self) -> None:
        """
        An unconnected port ignores ICMP errors.
        """
        server, sock = bindUDP(0, ["127.0.0.1"]) + bindUDP(0, ["127.0.0.1"])
        if sys.platform == "linux":
            # Otherwise the kernel does not report it to an unconnected socket.
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        port = self.listen(sock)
        peer = server.getsockname()
        server.close()
        for _ in range(2):
            port.write(b"x", peer)
            port.doRead()
        self.assertEqual(self.protocol.icmpErrors, 0)

    def test_interfaces(self) -> None:
        """
        A port is a transport for datagrams, a listening port, and a read descriptor.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        for interface in (IListeningPort, IReadDescriptor, IUDPTransport):
            verifyObject(interface, port)

    def test_sendsToOthers(self) -> None:
        """
        While it receives a datagram, the protocol can write any number of datagrams to
        any peers.  Each peer gets them in order.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            client, other = self.client(port), self.client(port)
            name = self.peerName(other)

            def react(
                datagram: bytes, addr: Any, port: Any = port, name: Any = name
            ) -> None:
                port.write(b"1" + datagram, addr)
                port.write(b"2" + datagram, name)
                port.write(b"3" + datagram, addr)
                port.write(b"4" + datagram, name)

            protocol.react = react
            for datagram in (b"a", b"bb"):
                client.send(datagram)
            port.doRead()
            self.assertEqual(
                [client.recv(100) for _ in range(4)], [b"1a", b"3a", b"1bb", b"3bb"]
            )
            self.assertEqual(
                [other.recv(100) for _ in range(4)], [b"2a", b"4a", b"2bb", b"4bb"]
            )

    def test_bytesLike(self) -> None:
        """
        Any bytes-like object can be written, and changed afterwards.  Text raises
        C{TypeError}.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        buffer = bytearray(b"one")

        def react(datagram: bytes, addr: Any) -> None:
            port.write(buffer, addr)
            buffer[:] = b"two"
            port.write(memoryview(buffer), addr)
            self.assertRaises(TypeError, port.write, "three", addr)

        self.protocol.react = react
        for _ in range(2):
            client.send(b"x")
        port.doRead()
        self.assertEqual(
            [client.recv(100) for _ in range(4)], [b"one", b"two", b"two", b"two"]
        )

    def test_invalidAddress(self) -> None:
        """
        Writing to anything but an IP address of the port's family raises
        C{InvalidAddressError}.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        for address in (("localhost", 1), ("::1", 1)):
            self.assertRaises(InvalidAddressError, port.write, b"x", address)
        errors: list[Exception] = []

        def react(datagram: bytes, addr: Any) -> None:
            errors.append(
                self.assertRaises(
                    InvalidAddressError, port.write, b"x", ("localhost", 1)
                )
            )

        self.protocol.react = react
        client = self.client(port)
        for _ in range(2):
            client.send(b"x")
        port.doRead()
        self.assertEqual(len(errors), 2)

    def test_pause(self) -> None:
        """
        A paused port is not read until it is resumed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        port.pauseProducing()
        self.assertEqual(self.reactor.getReaders(), [])
        port.resumeProducing()
        self.assertEqual(self.reactor.getReaders(), [port])

    def test_anySequence(self) -> None:
        """
        For any sizes, peers and order, each peer gets the replies to its own datagrams,
        in order.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.protocol.react = lambda datagram, addr: port.write(datagram.upper(), addr)
        clients = [self.client(port) for _ in range(4)]
        payload = one_of(
            sampled_from([b"", b"a", b"bb", b"x" * 32, b"y" * 1400]),
            binary(max_size=2000),
            integers(0, 20000).map(lambda size: b"z" * size),
        )

        @given(lists(tuples(integers(0, 3), payload), max_size=100))
        @settings(untimed, max_examples=40)
        def check(sequence: list[tuple[int, bytes]]) -> None:
            expected: list[list[bytes]] = [[] for _ in clients]
            for number, datagram in sequence:
                clients[number].send(datagram)
                expected[number].append(datagram.upper())
            while len(self.protocol.received) < len(sequence):
                port.doRead()
            self.protocol.received.clear()
            for client, replies in zip(clients, expected):
                self.assertEqual([client.recv(65535) for _ in replies], replies)
                self.assertRaises(BlockingIOError, client.recv, 1)

        check()
