"""
Tests for the addresses of L{shout.udp.port}.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.error import InvalidAddressError

from shout import Shout, bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from tests.batches import needsBatches
from tests.families import LOOPBACK, eachFamily, hasIPv6, needsIPv6Sockets
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import PortCase

# From linux/udp.h, linux/in.h and asm-generic/socket.h; Python does not have them.
UDP_SEGMENT = 103
IP_RECVTTL = 12
SO_TIMESTAMP = 29


class LocalAddressTests(PortCase):
    """
    Tests for the addresses that replies leave from.
    """

    def test_localAddress(self) -> None:
        """
        On a wildcard address, a reply leaves from the address that the datagram was
        sent to, alone and in a batch, to the same C{addr} object or an equal tuple.
        """
        for wildcard, addresses in eachFamily(
            ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.1.2.3"]),
            ("::", ["::1"]),
        ):
            for rename in (lambda addr: addr, tuple):
                [sock] = bindUDP(0, [wildcard])
                port = self.listen(sock, protocol := RecordingProtocol())
                protocol.react = lambda datagram, addr, port=port, rename=rename: (
                    port.write(datagram, rename(addr))
                )
                number = sock.getsockname()[1]
                clients = [self.connect(address, number) for address in addresses]
                for count in (1, 5):
                    for client in clients:
                        for _ in range(count):
                            client.send(b"x")
                    port.doRead()
                    for client in clients:
                        self.assertEqual(self.receiveAll(client), [b"x"] * count)

    def test_later(self) -> None:
        """
        A peer can be answered after its batch and during another, from the address that
        it has sent to.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]
        early, late = (self.connect("127.0.0.2", number) for _ in range(2))
        for _ in range(2):
            early.send(b"early")
        port.doRead()
        peer = self.protocol.received[0][1]
        port.write(b"at once", peer)
        self.assertEqual(self.receiveAll(early), [b"at once"])

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            port.write(datagram, peer)

        self.protocol.react = react
        for _ in range(2):
            late.send(b"late")
        port.doRead()
        self.assertEqual(self.receiveAll(late), [b"late"] * 2)
        self.assertEqual(self.receiveAll(early), [b"late"] * 2)

    def test_laterEqualTuple(self) -> None:
        """
        Datagrams to such a peer arrive in order, to the same C{addr} object or an equal
        tuple.
        """
        port = self.echo()
        early, late = self.client(port), self.client(port)
        self.exchange(early, port, [b"early"])
        peer = self.protocol.received[0][1]

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"one", peer)
            port.write(b"two", tuple(peer))

        self.protocol.react = react
        self.exchange(late, port, [b"late"] * 2)
        self.assertEqual(self.receiveAll(early), [b"one", b"two"] * 2)

    def test_twoAddresses(self) -> None:
        """
        A client that sends to two addresses gets replies from both.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        self.protocol.react = port.write
        number = sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.2"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(4):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_twoAddressesEqualTuple(self) -> None:
        """
        It also does if the protocol replies to an equal tuple.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        self.protocol.react = lambda datagram, addr: port.write(datagram, tuple(addr))
        number = sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(3):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_otherOrder(self) -> None:
        """
        It also does if the protocol replies in another order.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]

        def react(datagram: bytes, addr: Any) -> None:
            if len(self.protocol.received) == 2:
                for each in reversed(self.protocol.received):
                    port.write(*each)

        self.protocol.react = react
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(2):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_otherPeerOfBatch(self) -> None:
        """
        A peer of the same batch is answered from the address that it has sent to, also
        by an equal tuple.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]
        clients = [self.connect(host, number) for host in ("127.0.0.2", "127.0.0.3")]
        names = [client.getsockname() for client in clients]
        others = dict(zip(names, reversed(names)))

        def react(datagram: bytes, addr: Any) -> None:
            # Each of the first three may be a batch of its own.
            if datagram:
                port.write(datagram, others[addr])

        self.protocol.react = react
        for _ in range(3):
            clients[0].send(b"")
        for client in clients:
            client.send(b"from %d" % names.index(client.getsockname()))
        port.doRead()
        self.assertEqual(self.receiveAll(clients[0]), [b"from 1"])
        self.assertEqual(self.receiveAll(clients[1]), [b"from 0"])

    def test_peerOfOtherPort(self) -> None:
        """
        A peer of another port is a plain address: datagrams to it leave from the
        address of this port.
        """
        other = self.echo("127.0.0.2")
        [client] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(client.close)
        client.sendto(b"x", other.socket.getsockname())
        other.doRead()
        [(_, peer)] = self.protocol.received
        client.recv(9)

        port = self.echo("127.0.0.3")
        port.write(b"at once", peer)
        self.protocol.react = lambda datagram, addr: port.write(datagram, peer)
        self.exchange(self.client(port), port, [b"one", b"two"])
        for expected in (b"at once", b"one", b"two"):
            self.assertEqual(client.recvfrom(9), (expected, port.socket.getsockname()))
        if hasIPv6:
            self.assertRaises(InvalidAddressError, self.echo("::1").write, b"x", peer)


class ReceiveTests(PortCase):
    """
    Tests for the peers of datagrams.
    """

    def test_beforeListening(self) -> None:
        """
        Datagrams that arrive before the port starts are answered.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        with connectUDP("127.0.0.1", sock.getsockname()[1]) as client:
            client.send(b"early")
            port = self.listen(sock, Shout())
            client.send(b"late")
            port.doRead()
            self.assertEqual(self.receiveAll(client), [b"EARLY", b"LATE"])

    def test_addressBeforeListening(self) -> None:
        """
        Their local addresses are known, too.
        """
        [sock], [client] = bindUDP(0, ["0.0.0.0"]), bindUDP(0, ["127.0.0.1"])
        number = sock.getsockname()[1]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        with client:
            for host in ("127.0.0.2", "127.255.255.255"):
                client.sendto(host.encode(), (host, number))
            port = self.listen(sock, protocol := Shout())
            port.doRead()
            self.assertEqual(client.recvfrom(99), (b"127.0.0.2", ("127.0.0.2", number)))
            self.assertEqual(self.receiveAll(client), [])
        self.assertEqual(protocol.counters.dropped, {"broadcast": 1})

    def test_sameObject(self) -> None:
        """
        A peer is the same object for each datagram, and equals the tuple of its host
        and its port.
        """
        port = self.echo()
        client = self.client(port)
        self.exchange(client, port, [b"a", b"b"])
        first, second = (addr for _, addr in self.protocol.received)
        self.assertIs(first, second)
        self.assertEqual(first, client.getsockname())
        self.assertEqual(hash(first), hash(client.getsockname()))

    def test_otherControlMessages(self) -> None:
        """
        Control messages that other code has enabled on the socket are ignored, also in
        bursts.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        port = self.listen(sock)
        self.protocol.react = port.write
        client = self.connect("127.0.0.2", sock.getsockname()[1])
        for _ in range(2):
            datagrams = [b"alone"]
            self.assertEqual(self.exchange(client, port, datagrams), datagrams)
            datagrams = [b"one", b"two", b"", b"four"]
            self.assertEqual(self.exchange(client, port, datagrams), datagrams)
            with contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 2)
                datagrams = [b"aa", b"bb", b"c"]
                self.assertEqual(self.exchange(client, port, [b"aabbc"]), datagrams)
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)

    @needsIPv6Sockets
    def test_dualStack(self) -> None:
        """
        On a dual-stack socket, replies to IPv4 peers leave from the address that they
        have sent to, and broadcasts are recognised.
        """
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        number = sock.getsockname()[1]
        early = self.connect("127.0.0.1", number)
        early.send(b"early")
        port = self.listen(sock)
        self.protocol.react = port.write
        self.assertEqual(self.exchange(early, port, []), [b"early"])
        groupDatagrams: list[bytes] = []
        self.protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            lambda datagram, addr: groupDatagrams.append(datagram)
        )
        for address in ("127.0.0.2", *LOOPBACK):
            client = self.connect(address, number)
            for count in (1, 3):
                datagrams = [b"x" * i for i in range(count)]
                self.assertEqual(self.exchange(client, port, datagrams), datagrams)
        [client] = bindUDP(0, ["127.0.0.1"])
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(b"all", ("127.255.255.255", number))
            client.sendto(b"one", ("127.0.0.3", number))
            port.doRead()
            self.assertEqual(self.receiveAll(client), [b"one"])
        self.assertEqual(groupDatagrams, [b"all"])


class BroadcastTests(PortCase):
    """
    Tests for datagrams that were sent to a broadcast address.
    """

    def test_groupDatagramReceived(self) -> None:
        """
        They are passed to C{groupDatagramReceived} if the protocol has that, and to
        C{datagramReceived} otherwise.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]
        groupDatagrams: list[bytes] = []

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.sendto(b"one", ("127.0.0.1", number))
                client.sendto(b"all", ("127.255.255.255", number))
                client.sendto(b"two", ("127.0.0.1", number))
            port.doRead()

        send()
        self.assertEqual(self.protocol.payloads, [b"one", b"all", b"two"])
        self.protocol.received.clear()
        self.protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            lambda datagram, addr: groupDatagrams.append(datagram)
        )
        send()
        self.assertEqual(self.protocol.payloads, [b"one", b"two"])
        self.assertEqual(groupDatagrams, [b"all"])

    def test_batchResponder(self) -> None:
        """
        A batch with such a datagram is delivered one by one.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock, protocol := Shout())
        number = sock.getsockname()[1]
        [client] = bindUDP(0, ["127.0.0.1"])
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for host in ("127.0.0.1", "127.255.255.255", "127.0.0.1"):
                client.sendto(b"to " + host.encode(), (host, number))
            port.doRead()
            self.assertEqual(self.receiveAll(client), [b"TO 127.0.0.1"] * 2)
        self.assertEqual(protocol.counters.dropped, {"broadcast": 1})


@needsBatches
class BatchedLocalAddressTests(LocalAddressTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort


@needsBatches
class BatchedBroadcastTests(BroadcastTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort


@needsBatches
class BatchedReceiveTests(ReceiveTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort
