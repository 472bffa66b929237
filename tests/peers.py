"""
Servers on the loopback, good ones and bad ones.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from shout import Shout, ShoutService, bindUDP
from shout.udp.port import DatagramPort
from tests.asynccase import AsyncCase
from tests.ports import freePort


class Peer(DatagramProtocol):
    """
    A server that answers each datagram with any number of datagrams.

    @ivar received: The datagrams.

    @ivar senders: The host and the port of the sender of each datagram.
    """

    noisy = False

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.received: list[bytes] = []
        self.senders: list[Any] = []
        self._answer = answer

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)
        self.senders.append(addr)
        assert self.transport is not None
        for reply in self._answer(datagram):
            self.transport.write(reply, addr)


class PeerCase(AsyncCase):
    """
    Starts servers that stop when the test ends.
    """

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor

    def serve(self, *sockets: socket, protocol: Callable[[], Shout] = Shout) -> None:
        """
        Start a shout server.
        """
        service = ShoutService(sockets, protocol, self.reactor)
        service.startService()
        self.addCleanup(service.stopService)

    def serveUDP(self, interface: str = "127.0.0.1") -> int:
        """
        Start a shout server, and return its port.
        """
        (sock,) = bindUDP(0, [interface])
        port: int = sock.getsockname()[1]
        self.serve(sock)
        return port

    def misbehave(self, answer: Callable[[bytes], list[bytes]]) -> tuple[Peer, int]:
        """
        Start a server that answers each datagram with those that a function returns,
        and return the server and its port.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        number: int = sock.getsockname()[1]
        peer = Peer(answer)
        port = DatagramPort(sock, peer, self.reactor)
        port.startListening()
        self.addCleanup(port.stopListening)
        return peer, number

    def freePort(self) -> int:
        """
        Return a port where nothing listens.
        """
        return freePort()
