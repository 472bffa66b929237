"""
Fakes for the tests of the ports.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol


class RecordingProtocol(DatagramProtocol):
    """
    A protocol that records the calls of a port.

    @ivar received: The datagrams and their peers.

    @ivar icmpErrors: Number of calls of C{connectionRefused}.

    @ivar stopped: C{True} if the protocol was stopped.

    @ivar react: A function that is called with each datagram and its peer.
    """

    noisy = False

    def __init__(self, react: Callable[[bytes, Any], object] | None = None) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.icmpErrors = 0
        self.stopped = False
        self.react = react

    @property
    def payloads(self) -> list[bytes]:
        """
        The datagrams without their peers.
        """
        return [datagram for datagram, _ in self.received]

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))
        if self.react is not None:
            self.react(datagram, addr)

    def connectionRefused(self) -> None:
        self.icmpErrors += 1

    def stopProtocol(self) -> None:
        self.stopped = True


class FakeIO:
    """
    A replacement for the object by which a port receives and sends.  It uses the real
    one, but can fail.

    @ivar counts: Number of datagrams that each call of C{send} has sent; 0 if it has
        failed.

    @ivar unsendable: Error numbers of the datagrams that cannot be sent.

    @ivar failures: Error numbers of the next calls of C{send}; 0 for success.

    @ivar limit: Maximum number of datagrams that a call sends.

    @ivar limits: The argument of each call of C{receive}.
    """

    def __init__(self, port: Any) -> None:
        """
        @param port: The port.
        """
        self.counts: list[int] = []
        self.unsendable: dict[bytes, int] = {}
        self.failures: list[int] = []
        self.limit = 1000
        self.limits: list[int] = []
        self._io = port._io
        port._io = self

    def receive(self, limit: int) -> Any:
        self.limits.append(limit)
        return self._io.receive(limit)

    def hasMore(self) -> bool:
        return bool(self._io.hasMore())

    def send(self, datagrams: Any, peers: Any, start: int) -> int:
        number = self.failures.pop(0) if self.failures else 0
        number = number or self.unsendable.get(datagrams[start], 0)
        self.counts.append(0)
        if number:
            raise OSError(number, os.strerror(number))
        end = start + 1
        while end < min(len(datagrams), start + self.limit):
            if datagrams[end] in self.unsendable:
                break
            end += 1
        sent: int = self._io.send(datagrams[:end], peers, start)
        self.counts[-1] = sent
        return sent

    def totalBytes(self) -> Any:
        return self._io.totalBytes()
