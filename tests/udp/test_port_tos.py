"""
Tests for replies with the type of service of their datagrams.
"""

from __future__ import annotations

import socket
import sys
from typing import Any
from unittest import skipUnless

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from shout.udp.sockopt import copyTOS, setTOS
from shout.udp.timestamps import TimedIO, enableHeaders
from tests.batches import needsBatches
from tests.families import LOOPBACK, needsIPv6Sockets
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import PortCase


@skipUnless(sys.platform == "linux", "it needs Linux")
class CopyTOSTests(PortCase):
    """
    Tests for L{copyTOS} on the portable port.
    """

    def ask(self, client: socket.socket, port: Any, tos: int, count: int) -> list[int]:
        """
        Send datagrams with a type of service, and return those of the replies.
        """
        setTOS(client, tos)
        for _ in range(count):
            client.send(b"x")
        port.doRead()
        io = TimedIO(client)
        found = []
        while received := io.receiveTimed(1):
            found.append(received[2][0].tos or 0)
        return found

    def test_copied(self) -> None:
        """
        A reply has the DSCP of its datagram, alone and in a batch, and no ECN bits.
        """
        for address in LOOPBACK:
            (sock,) = bindUDP(0, [address])
            copyTOS(sock)
            port = self.listen(sock, protocol := RecordingProtocol())
            protocol.react = port.write
            client = connectUDP(address, sock.getsockname()[1])
            self.addCleanup(client.close)
            enableHeaders(client)
            for count in (1, 40):
                for tos, expected in ((184, 184), (0, 0), (255, 252), (2, 0)):
                    found = self.ask(client, port, tos, count)
                    self.assertEqual(found, [expected] * count)

    def test_mixed(self) -> None:
        """
        In a batch each reply has that of its own datagram.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        copyTOS(sock)
        port = self.listen(sock)
        self.protocol.react = port.write
        client = connectUDP(*sock.getsockname())
        self.addCleanup(client.close)
        enableHeaders(client)
        for tos in (184, 0, 184):
            setTOS(client, tos)
            client.send(b"x")
        self.assertEqual(self.ask(client, port, 40, 1), [184, 0, 184, 40])

    @needsIPv6Sockets
    def test_dualStack(self) -> None:
        """
        On a dual-stack socket replies to IPv4 peers have it, too.  A peer with the same
        DSCP stays the same object.
        """
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        copyTOS(sock)
        port = self.listen(sock, protocol := RecordingProtocol())
        protocol.react = port.write
        for address in LOOPBACK:
            client = self.connect(address, sock.getsockname()[1])
            enableHeaders(client)
            protocol.received.clear()
            for tos in (184, 184, 0):
                self.assertEqual(self.ask(client, port, tos, 1), [tos])
            first, second, other = (peer for _, peer in protocol.received)
            self.assertIs(first, second)
            self.assertIsNot(first, other)

    def test_off(self) -> None:
        """
        Without it replies have that of the socket.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        self.protocol.react = port.write
        client = connectUDP(*sock.getsockname())
        self.addCleanup(client.close)
        enableHeaders(client)
        self.assertEqual(self.ask(client, port, 184, 2), [0, 0])

    def test_unix(self) -> None:
        """
        A UNIX socket has no type of service.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            copyTOS(ours)


@needsBatches
class BatchedCopyTOSTests(CopyTOSTests):
    """
    The same tests on the batched port.
    """

    portType = BatchedPort
