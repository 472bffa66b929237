"""
Tests for L{shout.port}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, MessageLengthError
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IListeningPort,
    IReadDescriptor,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout import bindUDP, bindUNIX
from shout.port import DatagramPort
from shout.sockets import connectUDP, connectUNIX
from tests.folder import shortFolder

if TYPE_CHECKING:
    CaseMixin = SynchronousTestCase
else:
    CaseMixin = object


class RecordingProtocol(DatagramProtocol):
    """
    Records what it is told, and reacts as a test wants it to.
    """

    noisy = False

    def __init__(self, react: Callable[[bytes, Any], object] | None = None) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.refusals = 0
        self.stopped = False
        self.react = react

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))
        if self.react is not None:
            self.react(datagram, addr)

    def connectionRefused(self) -> None:
        self.refusals += 1

    def stopProtocol(self) -> None:
        self.stopped = True


class PortBehaviour(CaseMixin):
    """
    What holds for every port, with a reactor that does nothing by itself: on the
    loopback what was sent has arrived.
    """

    portType: Callable[..., DatagramPort] = DatagramPort

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.protocol = RecordingProtocol()

    def listen(
        self, sock: socket.socket, reader: DatagramProtocol | None = None
    ) -> Any:
        """
        Start a port on a socket; it is stopped when the test ends.
        """
        port = self.portType(sock, reader or self.protocol, self.reactor)
        port.startListening()
        self.addCleanup(self.stop, port)
        return port

    def stop(self, port: Any) -> None:
        """
        Stop a port at once.
        """
        port.stopListening()
        self.reactor.advance(0)

    def client(self, port: Any) -> socket.socket:
        """
        Return a socket that is connected to a port.
        """
        address = port.socket.getsockname()
        if port.addressFamily == socket.AF_UNIX:
            sock = connectUNIX(address)
        else:
            sock = connectUDP(*address[:2])
        self.addCleanup(sock.close)
        return sock

    def boundSockets(self) -> list[socket.socket]:
        """
        Bind one socket of each family.
        """
        folder = shortFolder(self)
        return [*bindUDP(0, ["127.0.0.1", "::1"]), bindUNIX(os.path.join(folder, "s"))]

    def test_interfaces(self) -> None:
        """
        It is a transport for datagrams, a listening port, and what a reactor
        reads from.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        for interface in (
            IHalfCloseableDescriptor,
            IListeningPort,
            IReadDescriptor,
            IUDPTransport,
        ):
            verifyObject(interface, port)

    def test_receives(self) -> None:
        """
        The protocol is given each datagram with its peer's address: a host and
        a port, or the name of a UNIX socket.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            client = self.client(port)
            client.send(b"one")
            client.send(b"")
            port.doRead()
            name = client.getsockname()
            peer = name if sock.family == socket.AF_UNIX else name[:2]
            self.assertEqual(protocol.received, [(b"one", peer), (b"", peer)])

    def test_sends(self) -> None:
        """
        What the protocol writes reaches the peer.
        """
        for sock in self.boundSockets():
            protocol = RecordingProtocol()
            port = self.listen(sock, protocol)
            protocol.react = port.write
            client = self.client(port)
            client.send(b"to and fro")
            port.doRead()
            self.assertEqual(client.recv(100), b"to and fro")

    def test_sendsAtOnce(self) -> None:
        """
        What is written outside a visit leaves at once.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, RecordingProtocol())
            client = self.client(port)
            name = client.getsockname()
            port.write(b"hello", name if sock.family == socket.AF_UNIX else name[:2])
            self.assertEqual(client.recv(100), b"hello")

    def test_whole(self) -> None:
        """
        A datagram of any size that the family carries arrives whole, and leaves
        whole.
        """
        for sock in self.boundSockets():
            protocol = RecordingProtocol()
            port = self.listen(sock, protocol)
            protocol.react = port.write
            client = self.client(port)
            sizes = [0, 1, 8192, 8193, 65507]
            if sock.family == socket.AF_UNIX:
                sizes.append(150_000)
            for size in sizes:
                datagram = os.urandom(size)
                client.send(datagram)
                port.doRead()
                self.assertEqual(protocol.received.pop()[0], datagram)
                self.assertEqual(client.recv(200_000), datagram)

    def test_tooLong(self) -> None:
        """
        A datagram that no datagram can hold raises L{MessageLengthError}.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, RecordingProtocol())
            name = self.client(port).getsockname()
            peer = name if sock.family == socket.AF_UNIX else name[:2]
            self.assertRaises(MessageLengthError, port.write, bytes(10_000_000), peer)

    def test_nobodyThere(self) -> None:
        """
        Writing to the path of a UNIX socket that is gone raises L{OSError}.
        """
        folder = shortFolder(self)
        port = self.listen(bindUNIX(os.path.join(folder, "s")))
        self.assertRaises(OSError, port.write, b"x", os.path.join(folder, "gone"))

    def test_boundedVisit(self) -> None:
        """
        One visit by the reactor takes a bounded number of datagrams, the empty
        ones counted too.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        for _ in range(port.maxDatagrams + 1):
            client.send(b"")
        port.doRead()
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        port.doRead()
        self.assertEqual(len(self.protocol.received), port.maxDatagrams + 1)

    def test_drain(self) -> None:
        """
        Draining delivers all that has arrived.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        for number in range(port.maxDatagrams * 2 + 1):
            client.send(b"%d" % number)
        port.drain()
        self.assertEqual(
            [int(datagram) for datagram, _ in self.protocol.received],
            list(range(port.maxDatagrams * 2 + 1)),
        )

    def test_drainEnds(self) -> None:
        """
        Draining ends although ever more datagrams arrive.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        self.protocol.react = lambda datagram, addr: client.send(datagram)
        client.send(b"")
        port.drain()
        self.assertGreater(len(self.protocol.received), 1)

    def test_protocolRaises(self) -> None:
        """
        What C{datagramReceived} raises is logged, and the rest is delivered.
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
        self.assertEqual([d for d, _ in self.protocol.received], [b"bad", b"good"])

    def test_stopListening(self) -> None:
        """
        Stopping ends the reading at once, then stops the protocol, closes the
        socket and fires the L{Deferred}.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.assertEqual(self.reactor.getReaders(), [port])
        stopped = port.stopListening()
        self.assertEqual(self.reactor.getReaders(), [])
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(self.protocol.stopped)
        self.assertEqual(sock.fileno(), -1)

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

    def test_closedWhileReading(self) -> None:
        """
        Nothing more is read once the port is closed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        self.protocol.react = lambda datagram, addr: self.stop(port)
        for _ in range(2):
            client.send(b"x")
        port.doRead()
        self.assertEqual(len(self.protocol.received), 1)

    def test_getHost(self) -> None:
        """
        The address of a port is the one really bound.
        """
        v4, v6, unix = self.boundSockets()
        number4, number6 = v4.getsockname()[1], v6.getsockname()[1]
        path = unix.getsockname()
        self.assertEqual(
            [self.listen(s, RecordingProtocol()).getHost() for s in (v4, v6, unix)],
            [
                IPv4Address("UDP", "127.0.0.1", number4),
                IPv6Address("UDP", "::1", number6),
                UNIXAddress(path.encode()),
            ],
        )

    def test_connected(self) -> None:
        """
        A connected port sends to its peer and hears from it.
        """
        for server in self.boundSockets():
            self.addCleanup(server.close)
            if server.family == socket.AF_UNIX:
                client = connectUNIX(server.getsockname())
            else:
                client = connectUDP(*server.getsockname()[:2])
            port = self.listen(client, protocol := RecordingProtocol())
            port.write(b"question")
            question, addr = server.recvfrom(100)
            server.sendto(b"answer", addr)
            port.doRead()
            self.assertEqual(question, b"question")
            self.assertEqual([d for d, _ in protocol.received], [b"answer"])

    def test_refused(self) -> None:
        """
        When a connected peer refuses, the protocol is told so once, whether the
        reactor takes it for input or for the end.
        """
        for visit in (
            lambda port: port.doRead(),
            lambda port: port.readConnectionLost(Failure(ConnectionDone())),
        ):
            [server] = bindUDP(0, ["127.0.0.1"])
            port = self.listen(
                connectUDP(*server.getsockname()), protocol := RecordingProtocol()
            )
            server.close()
            port.write(b"x")
            visit(port)
            port.doRead()
            self.assertEqual(protocol.refusals, 1)
            self.assertIn(port, self.reactor.getReaders())

    def test_errorWithoutConnection(self) -> None:
        """
        A peer that refuses a datagram of an unconnected port is nobody's
        business.
        """
        server, sock = bindUDP(0, ["127.0.0.1"]) + bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        peer = server.getsockname()
        server.close()
        for _ in range(2):
            port.write(b"x", peer)
            port.doRead()
        self.assertEqual(self.protocol.refusals, 0)


class DatagramPortTests(PortBehaviour, SynchronousTestCase):
    """
    Tests for L{DatagramPort}.
    """


class RefusalTestsBuilder(ReactorBuilder, CaseMixin):
    """
    Tests for a connected port on each of the reactors that Unixes have.
    """

    _reactors = [
        "twisted.internet.selectreactor.SelectReactor",
        "twisted.internet.pollreactor.PollReactor",
        "twisted.internet.epollreactor.EPollReactor",
        "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
    ]

    portType: Callable[..., DatagramPort] = DatagramPort

    def test_survivesRefusal(self) -> None:
        """
        A connected port is told of every refusal, stays open, and hears the
        peer when that has come up at last.
        """
        reactor = self.buildReactor()
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        server.close()

        class Persistent(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                if self.refusals < 3:
                    port.write(b"is anybody there?")
                    return
                [peer] = bindUDP(address[1], [address[0]])
                with peer:
                    peer.sendto(b"here I am", port.socket.getsockname())

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)
                reactor.stop()

        protocol = Persistent()
        port = self.portType(connectUDP(*address), protocol, reactor)
        port.startListening()
        port.write(b"is anybody there?")
        self.runReactor(reactor, timeout=10)
        self.assertEqual(protocol.received, [(b"here I am", address)])


globals().update(RefusalTestsBuilder.makeTestCaseClasses())
