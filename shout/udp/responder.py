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

Reply = bytes | BaseException | None
"""
The reply to a datagram: C{None} for no reply, or the exception that the datagram has
caused, which the port logs.
"""


class BatchResponder(DatagramProtocol):
    """
    A protocol that answers each datagram with at most one, to its sender.

    L{answer} returns the replies, and the port sends them.  A port that receives
    many datagrams at a time calls it for all of them, unless a subclass overrides
    C{datagramReceived}.
    """

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[Reply]:
        """
        Return the replies to the first datagrams of a batch, at least one.  Subclasses
        override this.

        The port sends the replies, and calls C{answer} again with the datagrams that
        are left.  If each datagram takes long, return after L{MAX_HOLD} seconds, so
        that the first replies are sent before the others are made.

        If C{answer} raises, it is called again with each datagram alone.

        @param datagrams: The payloads.

        @param addrs: The peer of each datagram.

        @return: The L{Reply} to each of the first datagrams.
        """
        raise NotImplementedError

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Write the reply to a datagram.

        @raise BaseException: The exception that L{answer} has returned or raised.
        """
        (reply,) = self.answer([datagram], [addr])
        if reply is None:
            return
        if isinstance(reply, BaseException):
            raise reply
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
