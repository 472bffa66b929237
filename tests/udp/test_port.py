"""
What every port does: Twisted's own, and those of shout.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import skipUnless

from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, one_of, sampled_from, tuples
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import (
    ConnectionDone,
    InvalidAddressError,
    MessageLengthError,
)
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IListeningPort,
    IReadDescriptor,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.test import reactormixins
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.udp import Port
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout import bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp import port as portModule
from shout.udp import sockopt
from shout.udp.port import DatagramPort
from shout.udp.sockopt import kernelDrops
from tests.directory import shortDirectory
from tests.families import LOOPBACK, eachFamily

if TYPE_CHECKING:
    CaseMixin = SynchronousTestCase
else:
    CaseMixin = object


# From linux/in.h; Python does not have it before version 3.14.
IP_RECVERR = 11


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

    portType: Callable[..., Any]

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.protocol = RecordingProtocol()

    def listen(
        self, sock: socket.socket, protocol: DatagramProtocol | None = None
    ) -> Any:
        """
        Start a port on a socket; it is stopped when the test ends.
        """
        port = self.portType(sock, protocol or self.protocol, self.reactor)
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
            peer = self.peerName(client)
            self.assertEqual(protocol.received, [(b"one", peer), (b"", peer)])

    def test_sends(self) -> None:
        """
        What the protocol writes reaches the peer.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
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
            port.write(b"hello", self.peerName(client))
            self.assertEqual(client.recv(100), b"hello")

    def test_whole(self) -> None:
        """
        A datagram of any size that the family carries arrives whole, and leaves
        whole.
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
        A datagram that no datagram can hold raises L{MessageLengthError}.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, RecordingProtocol())
            peer = self.peerName(self.client(port))
            tooLong = bytes(10_000_000)
            error = self.assertRaises(MessageLengthError, port.write, tooLong, peer)
            self.assertIn("message too long", str(error))

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
        The address of a port is the one really bound.
        """
        expected = eachFamily(
            lambda number: IPv4Address("UDP", "127.0.0.1", number),
            lambda number: IPv6Address("UDP", "::1", number),
        )
        for sock, address in zip(bindUDP(0, LOOPBACK), expected):
            number = sock.getsockname()[1]
            port = self.listen(sock, RecordingProtocol())
            self.assertEqual(port.getHost(), address(number))

    def test_errorWithoutConnection(self) -> None:
        """
        A peer that refuses a datagram of an unconnected port is nobody's
        business.
        """
        server, sock = bindUDP(0, ["127.0.0.1"]) + bindUDP(0, ["127.0.0.1"])
        if sys.platform == "linux":
            # Else the kernel keeps it to itself.
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        port = self.listen(sock)
        peer = server.getsockname()
        server.close()
        for _ in range(2):
            port.write(b"x", peer)
            port.doRead()
        self.assertEqual(self.protocol.refusals, 0)

    def boundSockets(self) -> list[socket.socket]:
        """
        Bind one socket of each family that the port is for.
        """
        return bindUDP(0, LOOPBACK)

    def peerName(self, client: socket.socket) -> Any:
        """
        Return the address that a port knows a client by.
        """
        name = client.getsockname()
        return name if client.family == socket.AF_UNIX else name[:2]

    def test_interfaces(self) -> None:
        """
        It is a transport for datagrams, a listening port, and what a reactor
        reads from.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        for interface in (IListeningPort, IReadDescriptor, IUDPTransport):
            verifyObject(interface, port)

    def test_sendsToAnother(self) -> None:
        """
        While it is given a datagram the protocol can write to anyone, any
        number of times, and to each the order is kept.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            asking, other = self.client(port), self.client(port)

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
                asking.send(datagram)
            port.doRead()
            self.assertEqual(
                [asking.recv(100) for _ in range(4)], [b"1a", b"3a", b"1bb", b"3bb"]
            )
            self.assertEqual(
                [other.recv(100) for _ in range(4)], [b"2a", b"4a", b"2bb", b"4bb"]
            )

    def test_anyBytesLike(self) -> None:
        """
        What is written can be of any type that holds bytes, and may change
        afterwards; text is a L{TypeError}.
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
        Only IP addresses of its own family can be written to.
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
        A port that is paused is not read until it is resumed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        port.pauseProducing()
        self.assertEqual(self.reactor.getReaders(), [])
        port.resumeProducing()
        self.assertEqual(self.reactor.getReaders(), [port])

    def test_anySequence(self) -> None:
        """
        Whatever the sizes, the peers and the order: each peer gets the replies
        to what it has sent, in order.
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
        @settings(deadline=None, max_examples=60)
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


class AdoptingPortBehaviour(PortBehaviour):
    """
    What holds for shout's ports besides.
    """

    def test_halfCloseable(self) -> None:
        """
        A reactor can tell it of an error that is not the end.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        verifyObject(IHalfCloseableDescriptor, self.listen(sock))

    def test_receiveBuffer(self) -> None:
        """
        The receive buffer is raised.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.listen(sock)
        after = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertGreater(after, before)

    @skipUnless(sys.platform == "linux", "only Linux counts them")
    def test_kernelDrops(self) -> None:
        """
        What the kernel has dropped because the receive buffer was full is
        counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.assertEqual(port.kernelDrops, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = self.client(port)
        for _ in range(100):
            client.send(bytes(100))
        while port._read(1):
            pass
        received = len(self.protocol.received)
        self.assertLess(received, 100)
        self.assertEqual(port.kernelDrops, 100 - received)
        for _ in range(100):
            client.send(bytes(100))
        drops = kernelDrops(sock)
        self.assertGreater(drops, 100 - received)
        self.stop(port)
        self.assertEqual(port.kernelDrops, drops)

    def test_kernelDropsBeyondTheirCounter(self) -> None:
        """
        They go on where the kernel's counter of 32 bits begins again.
        """
        drops = [0xFFFFFFFE]
        for module in portModule, sockopt:
            self.patch(module, "kernelDrops", lambda sock: drops[-1])
        port = self.listen(bindUDP(0, ["127.0.0.1"])[0])
        drops.append(3)
        self.assertEqual(port.kernelDrops, 5)

    @skipUnless(sys.platform == "linux", "only Linux counts them")
    def test_kernelDropsBefore(self) -> None:
        """
        What it had dropped before there was a port is not counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
        self.assertGreater(kernelDrops(sock), 0)
        self.assertEqual(self.listen(sock).kernelDrops, 0)

    def test_blocking(self) -> None:
        """
        A socket that blocks is made not to.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setblocking(True)
        port = self.listen(sock)
        port.doRead()
        self.assertEqual(self.protocol.received, [])

    def test_refusedRaises(self) -> None:
        """
        What C{connectionRefused} raises is logged, and the port stays open.
        """

        class Raising(RecordingProtocol):
            def connectionRefused(self) -> None:
                raise ZeroDivisionError()

        [server] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(connectUDP(*server.getsockname()), Raising())
        server.close()
        port.write(b"x")
        port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(port, self.reactor.getReaders())

    def test_countsBytes(self) -> None:
        """
        The bytes that have arrived, and those that were sent, are counted.
        """
        for sock in self.boundSockets():
            port = self.listen(sock, protocol := RecordingProtocol())
            self.assertEqual(port.totalBytes(), (0, 0))
            protocol.react = lambda datagram, addr, port=port: port.write(b"no", addr)
            client = self.client(port)
            for sent in 1, 2:
                client.send(b"hello")
                port.doRead()
                self.assertEqual(port.totalBytes(), (5 * sent, 2 * sent))

    def test_countsBytesConnected(self) -> None:
        """
        So they are on a connected port.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)
        port = self.listen(connectUDP(*server.getsockname()))
        for sent in 1, 2:
            port.write(b"hello")
            self.assertEqual(port.totalBytes(), (0, 5 * sent))

    def test_text(self) -> None:
        """
        It reads as the protocol and the port, or the path.
        """
        for sock in self.boundSockets():
            name = sock.getsockname()
            port = self.listen(sock, RecordingProtocol())
            where = name if sock.family == socket.AF_UNIX else name[1]
            self.assertEqual(repr(port), f"<{RecordingProtocol} on {where}>")

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
        Draining ends although ever more datagrams arrive: after one for every
        512 bytes of the receive buffer.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        self.protocol.react = lambda datagram, addr: client.send(datagram)
        client.send(b"")
        port.drain()
        size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(len(self.protocol.received), size // 512)

    def test_drainOfErrorsEnds(self) -> None:
        """
        So it does although ever more errors come, which count as datagrams do.
        """

        class Persistent(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                port.write(b"x")

        [server] = bindUDP(0, ["127.0.0.1"])
        client = connectUDP(*server.getsockname())
        port = self.listen(client, protocol := Persistent())
        server.close()
        port.write(b"x")
        port.drain()
        size = client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(protocol.refusals, size // 512)

    def test_drainGoesOn(self) -> None:
        """
        An error is not the end of what has arrived.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        client = connectUDP(*server.getsockname())
        port = self.listen(client)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            address = server.getsockname()
            server.sendto(b"good-bye", client.getsockname())
            server.close()
            port.write(b"x")
            other.bind(address)
            other.sendto(b"hello", client.getsockname())
        port.drain()
        self.assertEqual(self.protocol.refusals, 1)
        self.assertEqual(
            [datagram for datagram, _ in self.protocol.received],
            [b"good-bye", b"hello"],
        )

    def test_closedWhileReading(self) -> None:
        """
        Nothing more is read once the port is closed, and no error comes of that.
        """
        for isDraining in False, True:
            [server] = bindUDP(0, ["127.0.0.1"])
            self.addCleanup(server.close)
            client = connectUDP(*server.getsockname())
            port = self.listen(client, protocol := RecordingProtocol())
            protocol.react = lambda datagram, addr, port=port: self.stop(port)
            for _ in range(2):
                server.sendto(b"x", client.getsockname())
            (port.drain if isDraining else port.doRead)()
            self.assertEqual(len(protocol.received), 1)
            self.assertEqual(protocol.refusals, 0)

    def test_connected(self) -> None:
        """
        A connected port sends to its peer, whose address may be given, and hears
        from it.
        """
        for server in self.boundSockets():
            self.addCleanup(server.close)
            name = self.peerName(server)
            if server.family == socket.AF_UNIX:
                client = connectUNIX(server.getsockname())
            else:
                client = connectUDP(*server.getsockname()[:2])
            port = self.listen(client, protocol := RecordingProtocol())
            port.write(b"question")
            question, addr = server.recvfrom(100)
            server.sendto(b"answer", addr)
            port.doRead()
            port.write(b"another", name)
            self.assertEqual(question, b"question")
            self.assertEqual(server.recv(100), b"another")
            self.assertEqual([d for d, _ in protocol.received], [b"answer"])

    def test_refused(self) -> None:
        """
        When a connected peer refuses, the protocol is told so once, whether the
        reactor takes it for input or for the end, and can see why.
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
            self.assertIsInstance(port.peerError, ConnectionRefusedError)
            self.assertIn(port, self.reactor.getReaders())


class TwistedPortTests(PortBehaviour, SynchronousTestCase):
    """
    Tests for Twisted's own port, which show what the others have to equal.
    """

    @staticmethod
    def portType(sock: socket.socket, protocol: DatagramProtocol, reactor: Any) -> Any:
        with sock:
            return Port._fromListeningDescriptor(
                reactor, sock.fileno(), sock.family, protocol, 65536
            )


class DatagramPortTests(AdoptingPortBehaviour, SynchronousTestCase):
    """
    Tests for L{DatagramPort}.
    """

    portType = DatagramPort

    def boundSockets(self) -> list[socket.socket]:
        """
        Bind one socket of each family.
        """
        return [*super().boundSockets(), self.unixSocket()]

    def unixSocket(self) -> socket.socket:
        """
        Bind a UNIX socket.
        """
        return bindUNIX(os.path.join(shortDirectory(self), "s"))

    def test_largerThanUDP(self) -> None:
        """
        A UNIX socket carries larger datagrams than UDP, whole.
        """
        port = self.listen(self.unixSocket())
        self.protocol.react = port.write
        client = self.client(port)
        client.send(bytes(150_000))
        port.doRead()
        self.assertEqual(client.recv(200_000), bytes(150_000))

    def test_nobodyThere(self) -> None:
        """
        Writing to the path of a UNIX socket that is gone raises L{OSError}.
        """
        folder = shortDirectory(self)
        port = self.listen(bindUNIX(os.path.join(folder, "s")))
        self.assertRaises(OSError, port.write, b"x", os.path.join(folder, "gone"))

    def test_UNIXAddress(self) -> None:
        """
        The address of a port on a UNIX socket is its path.
        """
        sock = self.unixSocket()
        path = sock.getsockname()
        self.assertEqual(self.listen(sock).getHost(), UNIXAddress(path.encode()))


class RefusalTestsBuilder(ReactorBuilder, CaseMixin):
    """
    Tests for a connected port on each of the reactors that Unixes have.
    """

    _reactors = [
        "twisted.internet.selectreactor.SelectReactor",
        "twisted.internet.pollreactor.PollReactor",
        "twisted.internet.epollreactor.EPollReactor",
        # It has to be made in another way, which older versions do not have.
        "twisted.internet.test.reactormixins.AsyncioSelectorReactor"
        if hasattr(reactormixins, "AsyncioSelectorReactor")
        else "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
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
