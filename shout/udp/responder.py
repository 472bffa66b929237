"""
Protocols that answer whole batches of datagrams.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EMSGSIZE
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol


MAX_HOLD = 0.001
"""
Seconds of work after which replies are sent, even if more datagrams have arrived.
"""

Reply = bytes | None | BaseException


class BatchResponder(DatagramProtocol):
    """
    A protocol that answers each datagram with at most one, to its sender.

    L{answer} returns the replies, and the port sends them.  A port that receives
    many datagrams at a time calls it once for all, unless a subclass overrides
    C{datagramReceived}.
    """

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        """
        Return the replies to datagrams.  Subclasses override this.  If it raises,
        it is called again with each datagram alone, so that the others are answered.

        @param datagrams: The payloads.

        @param addrs: The peer of each datagram.

        @return: The reply to each datagram; C{None} for no reply.
        """
        raise NotImplementedError

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
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
        Called when replies could not be sent.  Subclasses may override this.

        @param number: The error number; 0 if there is none.

        @param count: Number of replies that were not sent.
        """
