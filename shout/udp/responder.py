"""
Protocols that answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EMSGSIZE
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol


class BatchResponder(DatagramProtocol):
    """
    A protocol that answers a datagram with at most one, to where it came from.

    It says what the answers are, and leaves the sending to others: a port that
    has many datagrams at a time asks for all the answers in one call, unless a
    subclass has a C{datagramReceived} of its own.
    """

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        """
        Return the answers to datagrams.  Override this.  When it raises, the
        datagrams are asked about again one by one, so that the rest goes on.

        @param datagrams: the payloads.

        @param addrs: for each of them, its peer.

        @return: for each of them the payload of the reply, or L{None} for no
            answer.
        """
        raise NotImplementedError

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Answer a datagram that comes alone.
        """
        (reply,) = self.answer([datagram], [addr])
        if reply is None:
            return
        assert self.transport is not None
        try:
            self.transport.write(reply, addr)
        except MessageLengthError:
            self.sendFailed(EMSGSIZE, 1)
        except OSError as e:
            self.sendFailed(e.errno or 0, 1)

    def sendFailed(self, number: int, count: int) -> None:
        """
        Be told that answers could not be sent.  Override this to know.

        @param number: the number of the error.

        @param count: how many answers it has kept from being sent.
        """
