"""
Ports for measuring, with protocols that record what they receive.
"""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock

from shout.udp.icmp import ICMPError
from shout.udp.timed import TimedPort
from shout.udp.timestamps import IPHeader
from tests.peers import PeerCase


class RecordingTimedProtocol(DatagramProtocol):
    """
    A protocol that records the calls of a L{TimedPort}.

    @ivar received: Each datagram with its delay and its IP header.

    @ivar icmpErrors: The ICMP errors.

    @ivar sendTimes: The index of each time of sending, and the time.

    @ivar calls: The names of the methods called.

    @ivar called: Fires with the next call.
    """

    noisy = False

    def __init__(self) -> None:
        self.called: Deferred[None] = Deferred()
        self.received: list[tuple[bytes, int, IPHeader]] = []
        self.icmpErrors: list[ICMPError] = []
        self.sendTimes: list[tuple[int, int]] = []
        self.calls: list[str] = []

    def timedDatagramReceived(
        self, datagram: bytes, now: int, delay: int, header: IPHeader
    ) -> None:
        self.received.append((datagram, delay, header))
        self._call("timedDatagramReceived")

    def icmpErrorReceived(self, error: ICMPError) -> None:
        self.icmpErrors.append(error)
        self._call("icmpErrorReceived")

    def sendTimeReceived(self, index: int, time: int) -> None:
        self.sendTimes.append((index, time))
        self._call("sendTimeReceived")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        called, self.called = self.called, Deferred()
        called.callback(None)


class TimedPortCase(PeerCase):
    """
    Starts timed ports, and stops them when the test ends.
    """

    def listen(self, sock: socket.socket) -> tuple[TimedPort, RecordingTimedProtocol]:
        """
        Start a port on a socket.
        """
        protocol = RecordingTimedProtocol()
        port = TimedPort(sock, protocol, self.reactor)
        # So a visit does not end early on a busy machine.
        port._seconds = Clock().seconds
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, protocol
