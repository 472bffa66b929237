"""
Test cases that start ports under a fake reactor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp.port import DatagramPort
from tests.families import LOOPBACK
from tests.udp.fakes import RecordingProtocol


class PortCase(SynchronousTestCase):
    """
    Starts ports, and stops them when the test ends.  The sockets are real: on the
    loopback a datagram that was sent has arrived.

    @cvar portType: Called with a socket, a protocol and a reactor to make a port.  A
        subclass with another one runs the same tests on that.

    @ivar protocol: The protocol of ports for which none is given.
    """

    portType: Callable[..., Any] = DatagramPort

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.protocol = RecordingProtocol()

    def listen(
        self,
        sock: socket.socket,
        protocol: DatagramProtocol | None = None,
        **options: Any,
    ) -> Any:
        """
        Start a port on a socket.  For the port no time passes unless the reactor is
        advanced.

        @param options: More arguments for the port.
        """
        options.setdefault("seconds", self.reactor.seconds)
        port = self.portType(sock, protocol or self.protocol, self.reactor, **options)
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

    def connect(self, *address: Any) -> socket.socket:
        """
        Return a socket that is connected to a host and a port.
        """
        sock = connectUDP(*address)
        self.addCleanup(sock.close)
        return sock

    def boundSockets(self) -> list[socket.socket]:
        """
        Bind one socket of each family that the port supports.
        """
        return bindUDP(0, LOOPBACK)

    def peerName(self, client: socket.socket) -> Any:
        """
        Return the address of a client in the form that a port passes on.
        """
        name = client.getsockname()
        return name if client.family == socket.AF_UNIX else name[:2]

    def echo(self, address: str = "127.0.0.1") -> Any:
        """
        Start a port whose protocol sends each datagram back.
        """
        [sock] = bindUDP(0, [address])
        self.protocol = RecordingProtocol()
        port = self.listen(sock)
        self.protocol.react = port.write
        return port

    def exchange(
        self, client: socket.socket, port: Any, datagrams: Iterable[bytes]
    ) -> list[bytes]:
        """
        Send datagrams from a client, read the port once, and return the replies.
        """
        for datagram in datagrams:
            client.send(datagram)
        port.doRead()
        return self.receiveAll(client)

    def receiveAll(self, client: socket.socket) -> list[bytes]:
        """
        Return the datagrams in the receive buffer of a client.
        """
        datagrams = []
        while True:
            try:
                datagrams.append(client.recv(65535))
            except BlockingIOError:
                return datagrams
