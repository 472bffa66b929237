"""
Tests for L{shout.udp.batched} with bursts, which the kernel has coalesced.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from shout import Shout, bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.families import LOOPBACK, eachFamily
from tests.udp.fakes import RecordingProtocol
from tests.udp.portcase import PortCase

# From linux/udp.h.
UDP_SEGMENT = 103


@needsBatches
class BurstTests(PortCase):
    """
    Tests for L{BatchedPort} with bursts.
    """

    portType = BatchedPort

    def sendBursts(self, port: Any) -> None:
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
