"""
The behaviour of the ports for sockets that are already bound or connected.
"""

from __future__ import annotations

import errno
import gc
import select
import socket
import sys
import weakref
from typing import Any
from unittest import skipUnless

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp import port as portModule
from shout.udp import sockopt
from shout.udp.sockopt import kernelDrops
from tests.udp.behaviour import PortBehaviour
from tests.udp.fakes import FakeIO, RecordingProtocol


class SocketPortBehaviour(PortBehaviour):
    """
    Tests for L{DatagramPort<shout.udp.port.DatagramPort>} and its subclasses.
    """

    def test_halfCloseable(self) -> None:
        """
        A port can be half-closed, so that a reactor does not close it because of an
        error.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        verifyObject(IHalfCloseableDescriptor, self.listen(sock))

    def test_receiveBuffer(self) -> None:
        """
        The receive buffer is enlarged.
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
        Datagrams that the kernel drops because the receive buffer is full are counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.assertEqual(port.kernelDrops, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = self.client(port)
        for _ in range(100):
            client.send(bytes(100))
        port.drain()
        received = len(self.protocol.received)
        self.assertLess(received, 100)
        self.assertEqual(port.kernelDrops, 100 - received)
        for _ in range(100):
            client.send(bytes(100))
        drops = kernelDrops(sock)
        self.assertGreater(drops, 100 - received)
        self.stop(port)
        self.assertEqual(port.kernelDrops, drops)

    def test_kernelDropsWrap(self) -> None:
        """
        The count goes on when the 32-bit counter of the kernel wraps around.
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
        Datagrams that the kernel has dropped before the port starts are not counted.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connectUDP(*sock.getsockname()) as client:
            for _ in range(100):
                client.send(bytes(100))
        self.assertGreater(kernelDrops(sock), 0)
        self.assertEqual(self.listen(sock).kernelDrops, 0)

    def test_nonBlocking(self) -> None:
        """
        A blocking socket is made non-blocking.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        sock.setblocking(True)
        port = self.listen(sock)
        port.doRead()
        self.assertEqual(self.protocol.received, [])

    def test_connectionRefusedRaises(self) -> None:
        """
        An exception from C{connectionRefused} is logged, and the port stays open.
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

    def test_connectionRefusedWrites(self) -> None:
        """
        C{connectionRefused} can write, and is not called from within itself.
        """

        class Writing(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                for _ in range(5):
                    port.write(b"x")

        [server] = bindUDP(0, ["127.0.0.1"])
        protocol = Writing()
        port = self.listen(connectUDP(*server.getsockname()), protocol)
        server.close()
        port.write(b"x")
        port.write(b"x")
        self.assertEqual(protocol.icmpErrors, 1)
        self.assertEqual(port.sendErrors[errno.ECONNREFUSED], 3)

    def test_stopAgain(self) -> None:
        """
        C{stopListening} can be called again before the port is closed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        stopped = [port.stopListening() for _ in range(2)]
        self.reactor.advance(0)
        for each in stopped:
            self.successResultOf(each)
        self.assertIsNone(port.stopListening())

    def test_logsRarely(self) -> None:
        """
        Exceptions are counted, and one for each method is logged in 30 seconds, or five
        of C{datagramReceived} if the port is noisy.
        """

        class Raising(RecordingProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                raise ZeroDivisionError()

            def sendFailed(self, number: int, count: int) -> None:
                raise KeyError()

        for lines in 1, 5:
            [sock] = bindUDP(0, ["127.0.0.1"])
            port = self.listen(sock, Raising())
            port.noisy = lines == 5
            client = self.client(port)
            for seconds, logged in (0, lines), (29.9, 0), (0.1, lines), (100, lines):
                self.reactor.advance(seconds)
                before = port.protocolErrors
                for _ in range(10):
                    client.send(b"x")
                port.drain()
                # Nothing can be sent to port 0.
                port.write(b"x", ("127.0.0.1", 0))
                self.assertEqual(port.protocolErrors, before + 11)
                errors = self.flushLoggedErrors(ZeroDivisionError)
                self.assertEqual(len(errors), logged)
                errors = self.flushLoggedErrors(KeyError)
                self.assertEqual(len(errors), min(logged, 1))
            port.noisy = False

    def test_collected(self) -> None:
        """
        A port that is closed is collected, though its peers refer to it.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        reactor = MemoryReactorClock()
        port = self.portType(sock, RecordingProtocol(), reactor)
        port.startListening()
        with connectUDP(*sock.getsockname()) as client:
            client.send(b"x")
            port.doRead()
        port.stopListening()
        reactor.advance(0)
        self.assertFalse(port.connected)
        reference = weakref.ref(port)
        del port
        gc.collect()
        self.assertIsNone(reference())

    def test_totalBytes(self) -> None:
        """
        Payload bytes received and sent are counted.
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

    def test_totalBytesConnected(self) -> None:
        """
        Payload bytes sent on a connected port are counted.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)
        port = self.listen(connectUDP(*server.getsockname()))
        for sent in 1, 2:
            port.write(b"hello")
            self.assertEqual(port.totalBytes(), (0, 5 * sent))

    def test_repr(self) -> None:
        """
        C{repr} shows the protocol, and the port number or the path.
        """
        for sock in self.boundSockets():
            name = sock.getsockname()
            port = self.listen(sock, RecordingProtocol())
            where = name if sock.family == socket.AF_UNIX else name[1]
            self.assertEqual(repr(port), f"<{RecordingProtocol} on {where}>")

    def test_boundedVisit(self) -> None:
        """
        A visit by the reactor reads a bounded number of datagrams, including empty
        ones.
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
        Draining delivers all datagrams in the receive buffer.
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

    def test_oneByOne(self) -> None:
        """
        After datagrams that have come one by one, several are delivered, too: by visits
        while the socket is readable, and by draining.
        """
        for isDraining in False, True:
            [sock] = bindUDP(0, ["127.0.0.1"])
            port = self.listen(sock, protocol := RecordingProtocol())
            client = self.client(port)
            for number in range(20):
                client.send(b"%d" % number)
                port.doRead()
                self.assertEqual(len(protocol.received), number + 1)
            for number in range(20, 30):
                client.send(b"%d" % number)
            while not isDraining and select.select([sock], [], [], 0)[0]:
                port.doRead()
            port.drain()
            self.assertEqual(protocol.payloads, [b"%d" % i for i in range(30)])

    def test_asksOnce(self) -> None:
        """
        After a single datagram a visit makes at most one more system call to find out
        whether there are more.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client, io = self.client(port), FakeIO(port)
        client.send(b"x")
        port.doRead()
        self.assertEqual(self.protocol.payloads, [b"x"])
        self.assertLessEqual(len(io.limits), 2)

    def test_maxPacketSize(self) -> None:
        """
        With C{maxPacketSize} datagrams are cut, and their peers are the same.
        """
        for size in 5, 8191, 8193:
            [sock] = bindUDP(0, ["127.0.0.1"])
            protocol = RecordingProtocol()
            port = self.listen(sock, protocol, maxPacketSize=size)
            protocol.react = port.write
            sent = [bytes(length) for length in (3, 9000, size, size + 1)]
            replies = self.exchange(self.client(port), port, sent)
            self.assertEqual(replies, [datagram[:size] for datagram in sent])

    def test_drainEnds(self) -> None:
        """
        Draining ends although more datagrams arrive: after as many as the receive
        buffer can hold.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client = self.client(port)
        self.protocol.react = lambda datagram, addr: client.send(datagram)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        client.send(b"")
        port.drain()
        size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(len(self.protocol.received), size // port._leastMemory)

    def test_drainErrorsEnds(self) -> None:
        """
        Draining ends although more ICMP errors arrive, because they count like
        datagrams.
        """

        class Persistent(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                port.write(b"x")

        [server] = bindUDP(0, ["127.0.0.1"])
        client = connectUDP(*server.getsockname())
        port = self.listen(client, protocol := Persistent())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        server.close()
        port.write(b"x")
        port.drain()
        size = client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(protocol.icmpErrors, size // port._leastMemory)

    def test_drainAfterError(self) -> None:
        """
        Draining continues after an ICMP error.
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
        self.assertEqual(self.protocol.icmpErrors, 1)
        self.assertEqual(
            self.protocol.payloads,
            [b"good-bye", b"hello"],
        )

    def test_closedWhileReading(self) -> None:
        """
        A port that is closed while it delivers a datagram reads no more, without an
        error.
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
            self.assertEqual(protocol.icmpErrors, 0)

    def test_closedNotRead(self) -> None:
        """
        A closed port does not read from its file descriptor, and keeps its counters.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        client, io = self.client(port), FakeIO(port)
        client.send(b"hello")
        port.doRead()
        self.stop(port)
        io.limits.clear()
        port.doRead()
        self.assertEqual(io.limits, [])
        self.assertEqual(port.totalBytes(), (5, 0))

    def test_closedIsFreed(self) -> None:
        """
        When a port is closed, its buffers are freed without the garbage collector.
        """
        port = self.echo()
        io = weakref.ref(FakeIO(port))
        self.exchange(self.client(port), port, [b"x"])
        self.stop(port)
        self.assertIsNone(io())

    def test_connected(self) -> None:
        """
        A connected port sends to its peer, with or without its address, and receives
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
            self.assertEqual(protocol.payloads, [b"answer"])

    def test_icmpError(self) -> None:
        """
        An ICMP error on a connected port calls C{connectionRefused} once and sets
        C{peerError}, both if the reactor reports input and if it reports a lost
        connection.
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
            self.assertEqual(protocol.icmpErrors, 1)
            self.assertIsInstance(port.peerError, ConnectionRefusedError)
            self.assertIn(port, self.reactor.getReaders())
