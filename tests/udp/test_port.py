"""
Tests for L{shout.udp.port}.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port

from shout import bindUNIX
from shout.udp.port import DatagramPort
from tests.directory import shortDirectory
from tests.udp.behaviour import PortBehaviour
from tests.udp.portcase import PortCase
from tests.udp.reactors import ICMPErrorTestsBuilder
from tests.udp.socketbehaviour import SocketPortBehaviour


class TwistedPortTests(PortBehaviour, PortCase):
    """
    Tests for Twisted's own port, whose behaviour the other ports share.
    """

    @staticmethod
    def portType(
        sock: socket.socket, protocol: DatagramProtocol, reactor: Any, **options: Any
    ) -> Any:
        with sock:
            return Port._fromListeningDescriptor(
                reactor, sock.fileno(), sock.family, protocol, 65536
            )


class DatagramPortTests(SocketPortBehaviour, PortCase):
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
        UNIX sockets carry datagrams that are larger than those of UDP, whole.
        """
        port = self.listen(self.unixSocket())
        self.protocol.react = port.write
        client = self.client(port)
        client.send(bytes(150_000))
        port.doRead()
        self.assertEqual(client.recv(200_000), bytes(150_000))

    def test_missingSocket(self) -> None:
        """
        Writing to the path of a UNIX socket that does not exist is counted, as is
        writing without a path.
        """
        directory = shortDirectory(self)
        port = self.listen(bindUNIX(os.path.join(directory, "s")))
        port.write(b"x", os.path.join(directory, "gone"))
        port.write(b"x")
        self.assertEqual(port.sendErrors, {errno.ENOENT: 1, errno.EDESTADDRREQ: 1})

    def test_UNIXAddress(self) -> None:
        """
        C{getHost} returns the path of a UNIX socket.
        """
        sock = self.unixSocket()
        path = sock.getsockname()
        self.assertEqual(self.listen(sock).getHost(), UNIXAddress(path.encode()))


class DatagramPortICMPErrorTestsBuilder(ICMPErrorTestsBuilder):
    """
    Tests for a connected L{DatagramPort} on each reactor.
    """

    portType = DatagramPort


globals().update(DatagramPortICMPErrorTestsBuilder.makeTestCaseClasses())
