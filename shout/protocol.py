"""
The protocol at the heart of shout.
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
    Answer every datagram with its text in capitals.

    To answer with something else, override L{transform}.

    On a L{BatchedPort<shout.udp.batched.BatchedPort>}, which L{listen
    <shout.udp.batched.listen>} makes where it can, what was sent to a broadcast or
    multicast address gets no answer; other ports cannot tell.

    @ivar counters: what was received and what was dropped; a service sets it
        to one that all of its protocols share.
    @type counters: L{Counters}

    @ivar family: under what the counters keep what arrives here; a service sets
        it to the family of the socket: C{"ipv4"}, C{"ipv6"} or C{"unix"}.
    @type family: L{str}
    """

    noisy = False
    family = "unknown"

    def __init__(self, guard: Guard | None = None) -> None:
        """
        @param guard: says who gets an answer; by default a L{Guard} with its
            default rules, which makes it safe to be reached by anybody.
        """
        self.counters = Counters()
        self._guard = Guard() if guard is None else guard

    def transform(self, datagram: bytes) -> bytes:
        """
        Turn a datagram into the reply to it.

        Loops with other servers are told by replies that equal what they
        answer.  So they end by themselves where to transform a reply leaves it
        as it is; else limit the rate, with a L{Limit<shout.guard.Limit>}.

        @param datagram: the payload received, which may be empty.

        @return: the payload of the reply: here every ASCII letter in upper
            case, every other byte as it is.
        """
        return datagram.upper()

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        """
        Return the replies to datagrams.

        @param datagrams: the payloads.

        @param addrs: for each of them its peer: a host and a port for UDP, a
            path (an abstract name as L{bytes}) for a UNIX socket, or L{None} for
            a UNIX socket that has no name and so cannot be answered.

        @return: for each of them the reply, or L{None} where the guard refuses
            one.
        """
        replies = list(map(self.transform, datagrams))
        if any(map(eq, replies, datagrams)) or not self._guard.accepted.issuperset(
            addrs
        ):
            return self._permitted(replies, datagrams, addrs)
        self.counters.count(self.family, len(datagrams), len(replies))
        return replies

    def _permitted(
        self, replies: Sequence[bytes], datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        permitted: list[bytes | None] = []
        reasons = []
        for datagram, reply, addr in zip(datagrams, replies, addrs):
            reason = None
            if reply == datagram or addr not in self._guard.accepted:
                reason = self._reason(datagram, reply, addr)
            permitted.append(reply if reason is None else None)
            if reason is not None:
                reasons.append(reason)
        self.counters.count(self.family, len(datagrams), len(datagrams) - len(reasons))
        for reason in reasons:
            self.counters.drop(reason)
        return permitted

    def _reason(self, datagram: bytes, reply: bytes, addr: Any) -> str | None:
        if addr is None:
            return "unnamed peer"
        return self._guard.check(datagram, reply, addr)

    def groupDatagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Drop a datagram that was sent to a broadcast or multicast address: a
        whole network would answer at once.
        """
        self.counters.count(self.family, 1, 0)
        self.counters.drop("broadcast")

    def sendFailed(self, number: int, count: int) -> None:
        """
        Take back what was counted: a port that sends later says that it could
        not.

        @param number: the number of the error.

        @param count: how many replies it has kept from being sent.
        """
        self.counters.fail(_name(number), count)


def _name(number: int) -> str:
    return errorcode.get(number, f"error {number}")


class UnicodeShout(Shout):
    """
    Answer every datagram with its UTF-8 text in capitals, as Unicode has them.

    A reply can be longer than what it answers: at most three times.
    """

    def transform(self, datagram: bytes) -> bytes:
        """
        Turn a datagram into the reply to it.

        @param datagram: the payload received, which may be empty.

        @return: the payload of the reply: UTF-8 text in upper case; bytes that
            are not UTF-8 as they are.
        """
        text = datagram.decode("utf-8", "surrogateescape")
        return text.upper().encode("utf-8", "surrogateescape")
