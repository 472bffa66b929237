"""
Tests for L{shout.udp.listening}.
"""

from __future__ import annotations

import copy
import pickle
import sys
from errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import MulticastPort
from twisted.trial.unittest import TestCase

from shout import bindUDP
from shout.udp import listen, listening, listenMulticast, listenUDP
from shout.udp.batched import BatchedPort
from shout.udp.port import DatagramPort
from tests.batches import needsBatches
from tests.udp.doors import DoorBehaviour, DoorCase
from tests.udp.fakes import RecordingProtocol


class RaisingProtocol(RecordingProtocol):
    """
    A protocol that raises an exception for each datagram.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        raise ZeroDivisionError


class TwistedListenTests(DoorBehaviour, DoorCase):
    """
    Tests for C{reactor.listenMulticast}, whose behaviour L{listenMulticast} shares.
    """

    def listenMulticast(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
        listenMultiple: bool = False,
        *,
        reactor: Any,
    ) -> Any:
        started = MulticastPort(
            port, protocol, interface, maxPacketSize, reactor, listenMultiple
        )
        started.startListening()
        return started


class PortableListenTests(DoorBehaviour, DoorCase):
    """
    Tests for the functions where the batched port is missing.
    """

    portType: type[DatagramPort] = DatagramPort

    def setUp(self) -> None:
        super().setUp()
        self.patch(listening, "available", self.portType is BatchedPort)

    def listenMulticast(self, *args: Any, **kwargs: Any) -> Any:
        port = listenMulticast(*args, **kwargs)
        # So a visit does not end early on a busy machine.
        port._seconds = self.reactor.seconds
        return port

    def test_type(self) -> None:
        """
        The functions start a L{BatchedPort} if it is available, and a L{DatagramPort}
        otherwise.
        """
        for function in (listenUDP, listenMulticast):
            port = function(0, RecordingProtocol(), "127.0.0.1", reactor=self.reactor)
            self.addCleanup(self.stop, port)
            self.assertIs(type(port), self.portType)

    def test_inUse(self) -> None:
        """
        C{CannotListenError} is raised if the socket cannot be bound, with the reason.
        The socket is closed.
        """
        number = self.listen().getHost().port
        for interface, expected in (
            ("127.0.0.1", EADDRINUSE),
            ("192.0.2.1", EADDRNOTAVAIL),
        ):
            error = self.assertRaises(
                CannotListenError,
                self.listen,
                RecordingProtocol(),
                interface,
                port=number,
            )
            self.assertEqual((error.interface, error.port), (interface, number))
            self.assertEqual(error.socketError.errno, expected)

    def test_startRaises(self) -> None:
        """
        If the protocol cannot be started, the socket is closed.
        """

        class Failing(RecordingProtocol):
            def startProtocol(self) -> None:
                raise RuntimeError("cannot start")

        [free] = bindUDP(0, ["127.0.0.1"])
        number = free.getsockname()[1]
        free.close()
        error = self.assertRaises(
            RuntimeError, self.listen, Failing(), "127.0.0.1", port=number
        )
        # The traceback still refers to the port and its socket.
        self.assertIsNotNone(error.__traceback__)
        self.listen(interface="127.0.0.1", port=number)

    def test_whole(self) -> None:
        """
        Datagrams arrive whole with Twisted's default for C{maxPacketSize}.
        """
        port = self.listen()
        self.client(port).send(bytes(65507))
        port.doRead()
        self.assertEqual([*map(len, self.protocol.payloads)], [65507])

    @skipUnless(sys.platform == "linux", "only Linux has all of 127.0.0.0/8")
    def test_replyAddress(self) -> None:
        """
        A reply leaves from the address that the datagram was sent to.
        """
        port = self.listen(interface="0.0.0.0")
        self.protocol.react = port.write
        client = self.client(port, "127.0.0.2")
        client.send(b"hello")
        port.doRead()
        self.assertEqual(client.recv(9), b"hello")

    def test_errors(self) -> None:
        """
        A datagram that cannot be sent is counted, and no exception is raised.
        """
        port = self.listen()
        port.write(b"x", ("127.0.0.1", 0))
        self.assertEqual(port.sendErrors, {EINVAL: 1})

    def test_refused(self) -> None:
        """
        When a connected port writes and there is an ICMP error, the protocol is called.
        An exception is logged.
        """

        class Raising(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                raise ZeroDivisionError

        [server] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(protocol := Raising())
        port.connect(*server.getsockname())
        server.close()
        for _ in range(2):
            port.write(b"x")
        self.assertEqual(protocol.icmpErrors, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_exceptions(self) -> None:
        """
        Exceptions of the protocol are counted.  The first few are logged, and so are
        more after half a minute.
        """
        port = self.listen(RaisingProtocol())
        port._seconds = self.reactor.seconds
        client = self.client(port)
        for _ in range(2):
            for _ in range(10):
                client.send(b"x")
                port.doRead()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)
            self.reactor.advance(30)
        self.assertEqual(port.protocolErrors, 20)

    def test_copiedPeer(self) -> None:
        """
        The address of a peer can be pickled and copied, as a tuple.
        """
        port = self.listen()
        client = self.client(port)
        client.send(b"x")
        port.doRead()
        [(_, peer)] = self.protocol.received
        for copied in (
            pickle.loads(pickle.dumps(peer)),
            copy.copy(peer),
            copy.deepcopy(peer),
        ):
            self.assertIs(type(copied), tuple)
            self.assertEqual(copied, client.getsockname())

    def test_quiet(self) -> None:
        """
        A port of L{listen} does not log its start and its end, and one exception of
        the protocol instead of some.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = listen(sock, RaisingProtocol(), self.reactor)
        client = self.client(port)
        for _ in range(2):
            client.send(b"x")
            port.doRead()
        self.stop(port)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.logged()), 1)


@needsBatches
class BatchedListenTests(PortableListenTests):
    """
    Tests for the functions where the batched port is available.
    """

    portType = BatchedPort


class GlobalReactorTests(TestCase):
    """
    Tests for the functions without a reactor.
    """

    def test_globalReactor(self) -> Deferred[None]:
        """
        The global reactor is the default.
        """
        from twisted.internet import reactor

        port = listenUDP(0, RecordingProtocol(), "127.0.0.1")
        self.assertIs(port.reactor, reactor)
        stopped: Deferred[None] = port.stopListening()
        return stopped
