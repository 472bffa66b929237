"""
The protocol that answers datagrams in capitals.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import errorcode
from operator import eq
from typing import Any

from shout.counters import Counters
from shout.guard import Guard
from shout.udp.responder import BatchResponder


class Shout(BatchResponder):
    """
    A protocol that answers every datagram with its text in capitals.

    Override L{transform} for other replies.

    Datagrams to a broadcast or multicast address get no reply on a L{BatchedPort
    <shout.udp.batched.BatchedPort>}.  Other ports cannot recognize them.

    @ivar counters: The L{Counters<shout.counters.Counters>} of what is received and
        dropped.  A service sets it to the one that all of its protocols share.

    @ivar family: Address family under which datagrams are counted.  A service sets it
        to that of the socket: C{"ipv4"}, C{"ipv6"} or C{"unix"}.
    """

    noisy = False
    family = "unknown"

    def __init__(self, guard: Guard | None = None) -> None:
        """
        @param guard: The rules for replies; by default a L{Guard
            <shout.guard.Guard>} with its default rules, which make the service safe on
            a public network.
        """
        self.counters = Counters()
        self._guard = Guard() if guard is None else guard

    def transform(self, datagram: bytes) -> bytes:
        """
        Return the reply to a datagram.

        The guard recognizes a loop with another server by replies that equal their
        datagrams.  If a transformed reply does not stay the same when it is transformed
        again, use a L{Limit<shout.guard.Limit>}.

        @param datagram: The payload received, which may be empty.

        @return: The payload of the reply.  Here every ASCII letter is in upper case,
            and every other byte is unchanged.
        """
        return datagram.upper()

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        """
        Return the replies to a batch of datagrams.

        @param datagrams: The payloads.

        @param addrs: The address of each peer: a host and a port for UDP, a path
            (C{bytes} for an abstract name) for a UNIX socket.  C{None} is a UNIX socket
            without a name, which cannot be answered.

        @return: The reply to each datagram, or C{None} if the guard refuses it.
        """
        replies = list(map(self.transform, datagrams))
        areAccepted = self._guard.accepted.issuperset(addrs)
        if not areAccepted or any(map(eq, replies, datagrams)):
            return self._checkEach(replies, datagrams, addrs)
        self.counters.count(self.family, len(datagrams), len(replies))
        return replies

    def _checkEach(
        self, replies: Sequence[bytes], datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        accepted, check = self._guard.accepted, self._guard.check
        checked: list[bytes | None] = []
        reasons = []
        for datagram, reply, addr in zip(datagrams, replies, addrs):
            reason = None
            if reply == datagram or addr not in accepted:
                reason = (
                    "unnamed peer" if addr is None else check(datagram, reply, addr)
                )
            checked.append(reply if reason is None else None)
            if reason is not None:
                reasons.append(reason)
        # Counted last: if a rule raises, the batch is answered again.
        self.counters.count(self.family, len(datagrams), len(datagrams) - len(reasons))
        for reason in reasons:
            self.counters.drop(reason)
        return checked

    def groupDatagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Drop a datagram to a broadcast or multicast address, which a whole network
        would answer at once.
        """
        self.counters.count(self.family, 1, 0)
        self.counters.drop("broadcast")

    def sendFailed(self, number: int, count: int) -> None:
        """
        Called by the port when replies that were counted could not be sent.

        @param number: The error number.

        @param count: Number of replies.
        """
        self.counters.fail(errorcode.get(number, f"error {number}"), count)


class UnicodeShout(Shout):
    """
    A protocol that answers with UTF-8 text in upper case, as defined by Unicode.

    Bytes that are not UTF-8 are unchanged.  A reply can be up to three times as long as
    its datagram.
    """

    def transform(self, datagram: bytes) -> bytes:
        text = datagram.decode("utf-8", "surrogateescape")
        return text.upper().encode("utf-8", "surrogateescape")
