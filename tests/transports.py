"""
Fake transports.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import FakeDatagramTransport


class FailingTransport(FakeDatagramTransport):
    """
    A datagram transport whose C{write} raises.
    """

    def __init__(self, error: Exception) -> None:
        """
        @param error: The exception.
        """
        super().__init__()
        self.error = error

    def write(self, packet: bytes, addr: Any = None) -> None:
        raise self.error


def deliver(protocol: DatagramProtocol, *datagrams: bytes, addr: Any) -> list[Any]:
    """
    Deliver datagrams to a protocol one by one, and return what it writes: payloads
    with addresses.
    """
    transport = FakeDatagramTransport()
    protocol.transport = transport
    for datagram in datagrams:
        protocol.datagramReceived(datagram, addr)
    return list(transport.written)
