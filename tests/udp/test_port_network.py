"""
Tests for L{shout.udp.port} on a network.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Any
from unittest import skipIf

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from shout.udp.peer import hostAndPort
from shout.udp.port import DatagramPort
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.hosts import Hosts, whyNot
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import PortCase


@skipIf(whyNot, whyNot)
class NetworkTests(PortCase):
    """
    Tests for L{DatagramPort} between two hosts.
    """

    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(self)
        self.groupDatagrams: list[bytes] = []

    def echo(self, address: str = "0.0.0.0") -> Any:
        """
        Start a port on the first host whose protocol sends each datagram back.
        """
        with self.hosts.on("a"):
            [sock] = bindUDP(9999, [address])
        port = self.listen(sock, protocol := RecordingProtocol())

        def groupReceived(datagram: bytes, addr: Any) -> None:
            self.groupDatagrams.append(datagram)
            port.write(datagram, addr)

        protocol.react = port.write
        protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            groupReceived
        )
        self.protocol = protocol
        return port

    def clientOf(self, host: str) -> socket.socket:
        """
        Return a socket on the second host that is connected to the first.
        """
        with self.hosts.on("b"):
            client = connectUDP(host, 9999)
        self.addCleanup(client.close)
        client.settimeout(10)
        raiseReceiveBuffer(client, 4 << 20)
        return client

    def visit(self, port: DatagramPort, count: int) -> list[Any]:
        """
        Read a port until a number of datagrams has arrived, and return their peers.
        """
        while len(self.protocol.received) < count:
            self.read(port)
        peers = [addr for _, addr in self.protocol.received]
        self.protocol.received.clear()
        return peers

    def read(self, port: DatagramPort) -> None:
        """
        Wait until something arrives at a port, and read it once.
        """
        ready, _, _ = select.select([port], [], [], 10)
        self.assertTrue(ready, "nothing arrives")
        # Interface names are those of the current namespace.
        with self.hosts.on("a"):
            port.doRead()

    def test_twoAddresses(self) -> None:
        """
        A host with two addresses answers from the one that the datagram was sent to.
        """
        port = self.echo()
        for address in ("192.0.2.1", "192.0.2.3"):
            client = self.clientOf(address)
            for count in (1, 3):
                for _ in range(count):
                    client.send(b"x")
                self.visit(port, count)
                self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)

    def test_pathMTU(self) -> None:
        """
        Replies that fit the path MTU and replies that exceed it all arrive whole.
        """
        for wildcard, address in (("0.0.0.0", "192.0.2.1"), ("::", "2001:db8::1")):
            port = self.echo(wildcard)
            client = self.clientOf(address)
            for _ in range(2):
                for size in (1400, 1472, 1473, 3000, 65000, 5):
                    datagrams = [os.urandom(size) for _ in range(5)]
                    for datagram in datagrams:
                        client.send(datagram)
                    self.visit(port, 5)
                    self.assertEqual([client.recv(65535) for _ in range(5)], datagrams)
            self.assertEqual(port.sendErrors, {})

    def test_linkLocal(self) -> None:
        """
        The host of a link-local IPv6 peer includes its scope, and the peer gets its
        replies.
        """
        port = self.echo("fe80::1%va")
        client = self.clientOf("fe80::1%vb")
        for count in (1, 3):
            for _ in range(count):
                client.send(b"x")
            peers = self.visit(port, count)
            self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)
            self.assertEqual(peers[0], ("fe80::2%va", client.getsockname()[1]))

    def test_source(self) -> None:
        """
        A connected socket sends from the given source address, also from a link-local
        one with its scope.
        """
        for host, source in (
            ("192.0.2.1", "192.0.2.2"),
            ("fe80::1%vb", "fe80::2%vb"),
        ):
            with self.hosts.on("b"), connectUDP(host, 9999, source) as client:
                self.assertEqual(hostAndPort(client.getsockname())[0], source)

    def test_linkLocalAddress(self) -> None:
        """
        A peer with a global address that sends to a link-local one is answered from
        there.
        """
        port = self.echo("::")
        with self.hosts.on("b"):
            client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            scope = socket.if_nametoindex("vb")
        with client:
            client.settimeout(10)
            client.bind(("2001:db8::2", 0))
            client.connect(("fe80::1", 9999, 0, scope))
            for count in (1, 3):
                for _ in range(count):
                    client.send(b"x")
                self.visit(port, count)
                self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)
        self.assertEqual(port.sendErrors, {})

    def test_addressByRoute(self) -> None:
        """
        An address that is local by a route only answers like any other.
        """
        port = self.echo("::")
        self.hosts.ip("a", "-6 route add local 2001:db8:1::/64 dev lo")
        self.hosts.ip("b", "-6 route add 2001:db8:1::/64 via 2001:db8::1")
        client = self.clientOf("2001:db8:1::7")
        for count in (1, 3):
            for _ in range(count):
                client.send(b"x")
            self.visit(port, count)
            self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)

    def test_multicastAndBroadcast(self) -> None:
        """
        Datagrams to a broadcast or multicast address are passed to
        C{groupDatagramReceived}, which can answer them.
        """
        port = self.echo()
        with self.hosts.on("b"):
            [v4, v6] = bindUDP(0)
        with v4, v6:
            v4.settimeout(10)
            v4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for payload, address in ((b"all", "192.0.2.255"), (b"one", "192.0.2.1")):
                v4.sendto(payload, (address, 9999))
                self.read(port)
                self.assertEqual(v4.recvfrom(9), (payload, ("192.0.2.1", 9999)))

            port = self.echo("::")
            v6.settimeout(10)
            with self.hosts.on("b"):
                scope = socket.if_nametoindex("vb")
            for payload, address in ((b"all", "ff02::1"), (b"one", "fe80::1")):
                v6.sendto(payload, (address, 9999, 0, scope))
                self.read(port)
                self.assertEqual(v6.recvfrom(9)[0], payload)
        self.assertEqual(self.groupDatagrams, [b"all"] * 2)

    def test_noRoute(self) -> None:
        """
        A reply without a route is counted, and the others are sent.
        """
        port = self.echo()
        good, bad = self.clientOf("192.0.2.1"), self.clientOf("192.0.2.1")
        with self.hosts.on("b"):
            self.hosts.ip("b", "address add 198.51.100.2/32 dev vb")
            self.hosts.ip("a", "route add prohibit 198.51.100.0/24")
            bad = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with bad:
            bad.bind(("198.51.100.2", 0))
            for _ in range(3):
                good.send(b"x")
                bad.sendto(b"x", ("192.0.2.1", 9999))
            self.visit(port, 6)
        self.assertEqual([good.recv(9) for _ in range(3)], [b"x"] * 3)
        self.assertEqual(port.sendErrors, {errno.EACCES: 3})


@needsBatches
class BatchedNetworkTests(NetworkTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort
