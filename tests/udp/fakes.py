"""
Fakes for the tests of the ports.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from shout.udp import send
from shout.udp.mmsg import sendmmsg
from shout.udp.receive import SLOTS


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


class FakeSendmmsg:
    """
    A replacement for L{sendmmsg} in L{shout.udp.send}, which can fail.

    @ivar counts: Number of messages in each call.

    @ivar failures: Error numbers of the next calls; 0 for success.

    @ivar limit: Maximum number of messages that a call sends.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        """
        @param case: The test.  When it ends, the function is restored.
        """
        self.counts: list[int] = []
        self.failures: list[int] = []
        self.limit = SLOTS
        case.patch(send, "sendmmsg", self)

    def __call__(self, fd: int, headers: Any, count: int, first: int) -> int:
        self.counts.append(count)
        if self.failures:
            number = self.failures.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return sendmmsg(fd, headers, min(count, self.limit), first)
