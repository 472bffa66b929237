"""
Tests for L{shout.udp.batched}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.udp import listening
from shout.udp.batched import BatchedPort, available
from shout.udp.listening import listen
from shout.udp.port import SLOTS, DatagramPort
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.udp.portcase import PortCase
from tests.udp.reactors import ICMPErrorTestsBuilder
from tests.udp.socketbehaviour import SocketPortBehaviour


@needsBatches
class BatchedPortTests(SocketPortBehaviour, PortCase):
    """
    Tests for L{BatchedPort}.
    """

    portType = BatchedPort

    def test_repliesFillSlots(self) -> None:
        """
        As soon as replies fill the slots of a batch, they are sent.
        """
        port = self.echo()
        client = self.client(port)
        early: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            for _ in range(SLOTS):
                port.write(datagram, addr)
            early.extend(self.receiveAll(client))

        self.protocol.react = react
        self.assertEqual(self.exchange(client, port, [b"a", b"b"]), [])
        self.assertEqual(early, [b"a"] * SLOTS + [b"b"] * SLOTS)


@needsBatches
class BatchedICMPErrorTestsBuilder(ICMPErrorTestsBuilder):
    """
    Tests for a connected L{BatchedPort} on each reactor.
    """

    portType = BatchedPort


if available:
    globals().update(BatchedICMPErrorTestsBuilder.makeTestCaseClasses())


class ListenTests(SynchronousTestCase):
    """
    Tests for L{listen}.
    """

    def portTypes(self) -> list[type]:
        """
        Listen on a socket of each family, and return the types of the ports.
        """
        path = os.path.join(shortDirectory(self), "s")
        reactor = MemoryReactorClock()
        ports = [
            listen(sock, DatagramProtocol(), reactor)
            for sock in [*bindUDP(0, LOOPBACK), bindUNIX(path)]
        ]
        for port in ports:
            self.assertIn(port, reactor.getReaders())
            port.stopListening()
        reactor.advance(0)
        return [type(port) for port in ports]

    @needsBatches
    def test_batched(self) -> None:
        """
        UDP uses a L{BatchedPort}, and a UNIX socket a L{DatagramPort}.
        """
        *udp, unix = self.portTypes()
        self.assertEqual((set(udp), unix), ({BatchedPort}, DatagramPort))

    def test_fallback(self) -> None:
        """
        Without the extension, UDP uses a L{DatagramPort}, too.
        """
        self.patch(listening, "available", False)
        self.assertEqual(set(self.portTypes()), {DatagramPort})
