"""
The behaviour of ports that C{listenUDP} and C{listenMulticast} start: Twisted's, and
those of shout.
"""

from __future__ import annotations

import os
import socket
from errno import EAFNOSUPPORT
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    InvalidAddressError,
    MulticastJoinError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IMulticastTransport,
    IReadDescriptor,
    ISystemHandle,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.internet.udp import MulticastPort
from twisted.logger import globalLogPublisher
from twisted.python.log import textFromEventDict
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from shout.sockets.bind import connectUDP
from tests.families import needsIPv6
from tests.udp.fakes import RecordingProtocol

# Of this process, since a socket receives the groups that any process has joined.
GROUP = f"239.255.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
"""
A multicast address of the local scope (RFC 2365).
"""


class ResolvingReactor(MemoryReactorClock):
    """
    A reactor that resolves addresses only, as multicast ports ask it to.
    """

    def resolve(self, name: str, timeout: Any = 10) -> Deferred[str]:
        return succeed(name or "0.0.0.0")


class DoorCase(TestCase):
    """
    Starts ports by number, and stops them when the test ends.

    @ivar protocol: The protocol of ports for which none is given.
    """

    def setUp(self) -> None:
        self.reactor = ResolvingReactor()
        self.protocol = RecordingProtocol()
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def logged(self) -> list[str | None]:
        """
        Return the messages in the log.
        """
        return [textFromEventDict(event) for event in self.events]

    def listenMulticast(self, *args: Any, **kwargs: Any) -> Any:
        """
        Call the function under test.
        """
        raise NotImplementedError

    def listen(
        self,
        protocol: DatagramProtocol | None = None,
        interface: str = "127.0.0.1",
        *args: Any,
        port: int = 0,
        **kwargs: Any,
    ) -> Any:
        """
        Start a port.
        """
        started = self.listenMulticast(
            port,
            protocol or self.protocol,
            interface,
            *args,
            **kwargs,
            reactor=self.reactor,
        )
        self.addCleanup(self.stop, started)
        return started

    def stop(self, port: Any) -> None:
        """
        Stop a port at once.
        """
        port.stopListening()
        self.reactor.advance(0)

    def client(self, port: Any, host: str = "127.0.0.1") -> socket.socket:
        """
        Return a socket that is connected to a port.
        """
        sock = connectUDP(host, port.getHost().port)
        self.addCleanup(sock.close)
        return sock


# A mixin at run time, so that trial does not run it by itself.
if TYPE_CHECKING:
    Mixin = DoorCase
else:
    Mixin = object


class DoorBehaviour(Mixin):
    """
    Tests for both kinds of ports.
    """

    def test_interfaces(self) -> None:
        """
        A port provides what ports for UDP and for multicast promise.
        """
        port = self.listen()
        for interface in (
            IListeningPort,
            IMulticastTransport,
            IReadDescriptor,
            ISystemHandle,
            IUDPTransport,
        ):
            verifyObject(interface, port)

    def test_anyAddress(self) -> None:
        """
        By default a port is bound to every IPv4 address.
        """
        port = self.listenMulticast(0, self.protocol, reactor=self.reactor)
        self.addCleanup(self.stop, port)
        self.assertEqual(port.getHost().host, "0.0.0.0")

    def test_attributes(self) -> None:
        """
        C{port} and C{interface} are those that were asked for.
        """
        port = self.listen()
        self.assertEqual((port.port, port.interface), (0, "127.0.0.1"))

    def test_noSocket(self) -> None:
        """
        C{CannotListenError} is raised if no socket can be made.
        """

        def fail(port: Any) -> None:
            raise OSError(EAFNOSUPPORT, "no such family")

        self.patch(MulticastPort, "createInternetSocket", fail)
        self.assertRaises(CannotListenError, self.listen)

    def test_invalidInterface(self) -> None:
        """
        C{InvalidAddressError} is raised if the interface is not an IP address.
        """
        self.assertRaises(InvalidAddressError, self.listen, None, "localhost")

    def test_logs(self) -> None:
        """
        The start and the end are logged, although the protocol is not noisy.
        """
        port = self.listen()
        number = port.getHost().port
        self.assertEqual(self.logged(), [f"RecordingProtocol starting on {number}"])
        self.stop(port)
        self.assertEqual(self.logged()[1:], [f"(UDP Port {number} Closed)"])

    def test_logPrefix(self) -> None:
        """
        The prefix for the log names the protocol.
        """
        self.assertEqual(self.listen().logPrefix(), "RecordingProtocol (UDP)")

    def test_repr(self) -> None:
        """
        C{repr} has the class of the protocol and the number of the port, while it
        listens.
        """
        port = self.listen()
        start = f"<{RecordingProtocol}"
        self.assertEqual(repr(port), f"{start} on {port.getHost().port}>")
        self.stop(port)
        self.assertEqual(repr(port), f"{start} not connected>")

    def test_handle(self) -> None:
        """
        C{getHandle} returns the socket.
        """
        port = self.listen()
        self.assertEqual(port.getHandle().getsockname()[1], port.getHost().port)
        self.assertEqual(port.getHandle().fileno(), port.fileno())

    @needsIPv6
    def test_dualStack(self) -> None:
        """
        C{::} receives from IPv4 peers, too, and a reply reaches them.
        """
        port = self.listen(interface="::")
        self.protocol.react = port.write
        for host, expected in (("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")):
            client = self.client(port, host)
            client.send(b"hello")
            port.doRead()
            self.assertEqual(self.protocol.received.pop()[1][0], expected)
            self.assertEqual(client.recv(9), b"hello")

    def test_maxPacketSize(self) -> None:
        """
        Datagrams are cut at C{maxPacketSize}.
        """
        for size in (4, 10_000):
            port = self.listen(protocol := RecordingProtocol(), maxPacketSize=size)
            self.client(port).send(bytes(20_000))
            port.doRead()
            self.assertEqual([*map(len, protocol.payloads)], [size])

    def test_connect(self) -> None:
        """
        A port that is connected writes to its peer, and receives only from there.
        """
        port = self.listen()
        other = self.client(port)
        client = self.client(port)
        address = client.getsockname()
        port.connect(*address)
        for args in ((), (None,), (address,)):
            port.write(b"hello", *args)
            self.assertEqual(client.recv(9), b"hello")
        other.send(b"from another")
        client.send(b"from the peer")
        port.doRead()
        self.assertEqual(self.protocol.received, [(b"from the peer", address)])

    def test_cannotConnect(self) -> None:
        """
        A port can be connected once, and not to a host name.
        """
        port = self.listen()
        self.assertRaises(InvalidAddressError, port.connect, "localhost", 1)
        port.connect("127.0.0.1", port.getHost().port)
        self.assertRaises(RuntimeError, port.connect, "127.0.0.1", 1)

    def test_whereTo(self) -> None:
        """
        Writing needs an address on a port that is not connected, and takes no other
        than the peer's on one that is.
        """
        port = self.listen()
        self.assertRaises(AssertionError, port.write, b"x")
        self.assertRaises(InvalidAddressError, port.write, b"x", ("localhost", 1))
        port.connect("127.0.0.1", port.getHost().port)
        self.assertRaises(AssertionError, port.write, b"x", ("127.0.0.1", 1))

    def test_writeSequence(self) -> None:
        """
        C{writeSequence} sends one datagram.
        """
        port = self.listen()
        client = self.client(port)
        port.writeSequence([b"one", b"two"], client.getsockname())
        self.assertEqual(client.recv(9), b"onetwo")

    def test_broadcast(self) -> None:
        """
        Broadcasting is disabled until it is enabled.
        """
        port = self.listen()
        self.assertFalse(port.getBroadcastAllowed())
        port.setBroadcastAllowed(True)
        self.assertTrue(port.getBroadcastAllowed())

    def test_multicast(self) -> None:
        """
        A port receives datagrams to a group that it has joined, and none after it has
        left.
        """
        port = self.listen(interface="0.0.0.0")
        sender = self.listen(RecordingProtocol())
        self.successResultOf(sender.setOutgoingInterface("127.0.0.1"))
        self.assertEqual(sender.getOutgoingInterface(), "127.0.0.1")
        group = GROUP, port.getHost().port
        self.successResultOf(port.joinGroup(GROUP, "127.0.0.1"))
        sender.write(b"joined", group)
        port.doRead()
        self.successResultOf(port.leaveGroup(GROUP, "127.0.0.1"))
        sender.write(b"left", group)
        port.doRead()
        self.assertEqual(self.protocol.payloads, [b"joined"])

    def test_multicastOptions(self) -> None:
        """
        The TTL and the loopback of multicast datagrams can be set.
        """
        port = self.listen()
        port.setTTL(7)
        self.assertEqual(port.getTTL(), 7)
        for mode in (0, 1):
            port.setLoopbackMode(mode)
            self.assertEqual(port.getLoopbackMode(), mode)

    def test_cannotJoin(self) -> None:
        """
        Joining what is not a group fails.
        """
        self.failureResultOf(self.listen().joinGroup("127.0.0.1"), MulticastJoinError)

    def test_listenMultiple(self) -> None:
        """
        Several ports can listen on the same address if all say so.
        """
        port = self.listen(listenMultiple=True)
        number = port.getHost().port
        other = self.listen(RecordingProtocol(), port=number, listenMultiple=True)
        self.assertEqual(other.getHost(), port.getHost())

    def test_stopTwice(self) -> None:
        """
        Stopping a port that has stopped does nothing.
        """
        port = self.listen()
        stopped = port.stopListening()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertIsNone(port.stopListening())

    def test_loseConnection(self) -> None:
        """
        C{loseConnection} stops the port, and warns that it is deprecated.
        """
        self.listen().loseConnection()
        [warning] = self.flushWarnings([DoorBehaviour.test_loseConnection])
        self.assertIs(warning["category"], DeprecationWarning)
        self.reactor.advance(0)
        self.assertTrue(self.protocol.stopped)

    def test_startProtocolStops(self) -> None:
        """
        A protocol can stop its port when it is started.
        """

        class Stopping(RecordingProtocol):
            def startProtocol(self) -> None:
                transport: Any = self.transport
                transport.stopListening()

        protocol = Stopping()
        self.listen(protocol)
        self.reactor.advance(0)
        self.assertTrue(protocol.stopped)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_startProtocolWrites(self) -> None:
        """
        A protocol can write when it is started.
        """
        other = self.listen()

        class Greeting(RecordingProtocol):
            def startProtocol(self) -> None:
                transport: Any = self.transport
                transport.write(b"hello", ("127.0.0.1", other.getHost().port))

        port = self.listen(Greeting())
        other.doRead()
        expected = "127.0.0.1", port.getHost().port
        self.assertEqual(self.protocol.received, [(b"hello", expected)])

    def test_again(self) -> None:
        """
        A protocol can run on another port after the first one has stopped.
        """
        for datagram in (b"first", b"second"):
            port = self.listen()
            self.client(port).send(datagram)
            port.doRead()
            self.stop(port)
        self.assertEqual(self.protocol.payloads, [b"first", b"second"])
