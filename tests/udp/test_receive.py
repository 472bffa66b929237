"""
Tests for L{shout.udp.receive}, through ports.
"""

from __future__ import annotations

import os
import socket

from shout import Shout, bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.families import LOOPBACK, eachFamily, needsIPv6Sockets
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import BatchedPortCase

# From linux/udp.h, linux/in.h and asm-generic/socket.h; Python does not have them.
UDP_SEGMENT = 103
IP_RECVTTL = 12
SO_TIMESTAMP = 29


@needsBatches
class ReceiveBatchTests(BatchedPortCase):
    """
    Tests for L{ReceiveBatch<shout.udp.receive.ReceiveBatch>}.
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


@needsBatches
class BurstTests(BatchedPortCase):
    """
    Tests for L{ReceiveBatch<shout.udp.receive.ReceiveBatch>} with datagrams that the
    kernel has coalesced.
    """

    def sendBursts(self, port: BatchedPort) -> None:
        """
        Send 20 bursts of 60 datagrams, which is more than one visit reads.
        """
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        for _ in range(20):
            client.send(bytes(60))

    def test_bursts(self) -> None:
        """
        Bursts are split, delivered and answered like single datagrams.
        """
        for wildcard, address in eachFamily(("0.0.0.0", "127.0.0.2"), ("::", "::1")):
            [sock] = bindUDP(0, [wildcard])
            port = self.listen(sock, protocol := RecordingProtocol())
            protocol.react = port.write
            with connectUDP(address, sock.getsockname()[1]) as client:
                raiseReceiveBuffer(client, 4 << 20)
                expected = []
                for length, count, rest in ((7, 60, 3), (1, 1, 0), (1400, 40, 0)):
                    burst = os.urandom(length * count + rest)
                    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, length)
                    client.send(burst)
                    expected += [
                        burst[start : start + length]
                        for start in range(0, len(burst), length)
                    ]
                    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
                    for single in (b"", bytes(1000)):
                        client.send(single)
                        expected.append(single)
                port.doRead()
                self.assertEqual(protocol.payloads, expected)
                self.assertEqual(self.receiveAll(client), expected)

    def test_burstAfterSingle(self) -> None:
        """
        A burst after a single datagram is answered from the address that it was sent
        to.
        """
        port = self.echo("0.0.0.0")
        with connectUDP("127.0.0.2", port.socket.getsockname()[1]) as client:
            self.assertEqual(self.exchange(client, port, [b"alone"]), [b"alone"])
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
            replies = self.exchange(client, port, [b"abc"])
            self.assertEqual(replies, [b"a", b"b", b"c"])

    def test_batchResponder(self) -> None:
        """
        A L{BatchResponder<shout.udp.responder.BatchResponder>} answers bursts.  A visit
        delivers no more datagrams than usual, and the rest is delivered in the next
        visit, even if nothing more arrives.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock, protocol := Shout())
        with connectUDP("127.0.0.2", sock.getsockname()[1]) as client:
            raiseReceiveBuffer(client, 4 << 20)
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 5)
            bursts = [b"%05x" % i for i in range(0xAB00, 0xAB00 + 900)]
            for start in range(0, 900, 60):
                client.send(b"".join(bursts[start : start + 60]))
            port.doRead()
            self.assertEqual(protocol.counters.received, port.maxDatagrams)
            [call] = self.reactor.getDelayedCalls()
            self.assertEqual(call.getTime(), self.reactor.seconds())
            self.reactor.pump([0] * 4)
            replies = self.receiveAll(client)
        self.assertEqual(replies, [each.upper() for each in bursts])
        self.assertEqual(protocol.counters.received, 900)

    def test_pausedInBatch(self) -> None:
        """
        The rest of the bursts waits if the protocol pauses the port while it receives
        them.
        """
        port = self.echo()
        self.sendBursts(port)
        self.protocol.react = lambda datagram, addr: port.pauseProducing()
        port.doRead()
        self.reactor.pump([1] * 9)
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        self.protocol.react = None
        port.resumeProducing()
        port.resumeProducing()
        self.reactor.pump([0] * 5)
        self.assertEqual(len(self.protocol.received), 1200)

    def test_paused(self) -> None:
        """
        The rest of the bursts waits while the port is paused, and is delivered when it
        is resumed.
        """
        port = self.echo()
        self.sendBursts(port)
        port.doRead()
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        port.pauseProducing()
        self.reactor.advance(1)
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        port.resumeProducing()
        self.reactor.pump([0] * 5)
        self.assertEqual(len(self.protocol.received), 1200)

    def test_drainedBeyondLimit(self) -> None:
        """
        Draining delivers all datagrams of the bursts even if they exceed its limit.
        """
        port = self.echo()
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        self.sendBursts(port)
        port.drain()
        self.assertEqual(len(self.protocol.received), 1200)

    def test_forked(self) -> None:
        """
        Datagrams that a forked process receives do not overwrite the rest of the
        bursts.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 4)
        expected = [b"%04d" % number for number in range(1200)]
        for start in range(0, 1200, 60):
            client.send(b"".join(expected[start : start + 60]))
        port.doRead()
        for _ in range(20):
            client.send(bytes(240))
        forked = os.fork()
        if not forked:
            try:
                port.drain()
            finally:
                os._exit(0)
        os.waitpid(forked, 0)
        port.drain()
        self.assertEqual(self.protocol.payloads, expected)

    def test_drained(self) -> None:
        """
        Draining delivers the rest of the bursts.
        """
        port = self.echo()
        self.sendBursts(port)
        port.doRead()
        port.drain()
        self.assertEqual(len(self.protocol.received), 1200)

    def test_sameObject(self) -> None:
        """
        A peer is the same object for single datagrams and for bursts.
        """
        for address in LOOPBACK:
            port = self.echo(address)
            client = self.client(port)
            for number in range(10):
                size = number % 2
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
                client.send(bytes(5))
            port.doRead()
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
            self.protocol.received.clear()
            self.exchange(client, port, [b"x"] * 20)
            peers = [addr for _, addr in self.protocol.received]
            self.assertEqual(len(peers), 20)
            self.assertEqual(len(set(map(id, peers))), 1)
