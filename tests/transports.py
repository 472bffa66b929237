"""
Transports that misbehave.
"""

from __future__ import annotations

from typing import Any

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
