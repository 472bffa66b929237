"""
Protocols that answer datagrams: with anything, and in capitals.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import errorcode
from itertools import accumulate
from operator import eq
from typing import Any

from shout.counters import Counters
from shout.guard import Guard
from shout.udp.responder import MAX_HOLD, BatchResponder, Reply


class Responder(BatchResponder):
    """
    A protocol that answers each datagram with the reply that L{respond} returns.
    Subclasses override that one method.

    A L{Guard<shout.guard.Guard>} checks each reply, and datagrams and replies are
    counted.  An exception affects only the datagram that caused it.

    The ports of L{shout.udp} recognize datagrams to a broadcast or multicast address,
    which get no reply.

    @ivar counters: The L{Counters<shout.counters.Counters>} of what is received and
        dropped.  A service sets it to the one that all of its protocols share.

    @ivar family: Address family under which datagrams are counted.  A service sets it
        to that of the socket: C{"ipv4"}, C{"ipv6"} or C{"unix"}.
    """

    noisy = False
    family = "unknown"

    def __init__(
        self,
        guard: Guard | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @param guard: The rules for replies; by default a L{Guard
            <shout.guard.Guard>} with its default rules, which make the service safe on
            a public network.

        @param seconds: Returns the present time in seconds.
        """
        self.counters = Counters()
        self._guard = Guard() if guard is None else guard
        self._seconds = seconds

    def respond(self, datagram: bytes, addr: Any) -> bytes | None:
        """
        Return the reply to a datagram.  Called once for each datagram.

        The guard recognizes a loop with another server by replies that equal their
        datagrams.  If a reply to a reply can differ from it, use a L{Limit
        <shout.guard.Limit>}.

        @param datagram: The payload received, which may be empty.

        @param addr: The address of the peer: a host and a port for UDP, a path
            (C{bytes} for an abstract name) for a UNIX socket.  C{None} is a UNIX socket
            without a name, which cannot be answered.

        @return: The payload of the reply, or C{None} for no reply.
        """
        raise NotImplementedError

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[Reply]:
        """
        Return the replies to the first datagrams of a batch: at least one, and no more
        after L{MAX_HOLD<shout.udp.responder.MAX_HOLD>} seconds.

        @param datagrams: The payloads.

        @param addrs: The address of each peer, as for L{respond}.

        @return: The reply to each of the first datagrams: C{None} if there is none or
            the guard refuses it, the exception if L{respond} or the guard raised one.
        """
        return self._answerEach(self.respond, datagrams, addrs)

    def _answerEach(
        self,
        respond: Callable[[bytes, Any], Any],
        datagrams: Sequence[bytes],
        addrs: Sequence[Any],
    ) -> Sequence[Reply]:
        accepted, check = self._guard.accepted, self._guard.check
        seconds = self._seconds
        replies: list[Reply] = []
        reasons = []
        end = seconds() + MAX_HOLD
        for datagram, addr in zip(datagrams, addrs):
            reason = None
            try:
                reply = respond(datagram, addr)
                if reply is None:
                    reason = "no reply"
                elif not isinstance(reply, bytes):
                    raise _wrongType(self, "respond", reply, "bytes or None")
                elif addr not in accepted or reply == datagram:
                    reason = (
                        "unnamed peer" if addr is None else check(datagram, reply, addr)
                    )
            except BaseException as e:
                replies.append(e)
                reasons.append("error")
            else:
                if reason is not None:
                    reasons.append(reason)
                    reply = None
                replies.append(reply)
            if seconds() >= end:
                break
        self.counters.count(self.family, len(replies), len(replies) - len(reasons))
        if reasons:
            for reason, number in Counter(reasons).items():
                self.counters.drop(reason, number)
        return replies

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


def _wrongType(
    protocol: Responder, method: str, reply: object, expected: str
) -> TypeError:
    name, actual = type(protocol).__name__, type(reply).__name__
    return TypeError(f"{name}.{method}() returned {actual}, not {expected}")


# Bytes whose capitals take about 1 ms.
_MAX_BYTES = 1 << 20


def _upperInPython(
    datagrams: Sequence[bytes], maxBytes: int
) -> tuple[list[bytes], bool]:
    """
    Return the capitals of the first datagrams, and C{True} if each differs from its
    datagram.

    @param datagrams: The payloads.

    @param maxBytes: Maximum of the bytes of all capitals.  One datagram may have more.
    """
    if sum(map(len, datagrams)) > maxBytes:
        sizes = list(accumulate(map(len, datagrams)))
        datagrams = datagrams[: max(1, bisect_right(sizes, maxBytes))]
    capitals = list(map(bytes.upper, datagrams))
    return capitals, not any(map(eq, capitals, datagrams))


_upper: Callable[[Sequence[bytes], int], tuple[list[bytes], bool]] = _upperInPython
if not os.environ.get("SHOUT_PURE_PYTHON"):
    # The extension is optional.
    with suppress(ImportError):
        from shout import _capitals

        _upper = _capitals.upper


class Shout(Responder):
    """
    A protocol that answers every datagram with its text in capitals.

    Override L{transform} for other replies.
    """

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
    ) -> Sequence[Reply]:
        """
        Return the replies to the first datagrams of a batch, as L{Responder} does.
        Capitals are made for all of them at once.
        """
        if self._isOverridden():
            return super().answer(datagrams, addrs)
        capitals, areChanged = _upper(datagrams, _MAX_BYTES)
        if areChanged and self._guard.accepted.issuperset(addrs):
            self.counters.count(self.family, len(capitals), len(capitals))
            return capitals
        replies = iter(capitals)
        datagrams = datagrams[: len(capitals)]
        return self._answerEach(lambda *_: next(replies), datagrams, addrs)

    def _isOverridden(self) -> bool:
        kind, own = type(self), vars(self)
        return (
            kind.transform is not _transform
            or kind.respond is not _respond
            or "transform" in own
            or "respond" in own
        )

    def respond(self, datagram: bytes, addr: Any) -> bytes | None:
        reply = self.transform(datagram)
        if not isinstance(reply, bytes):
            raise _wrongType(self, "transform", reply, "bytes")
        return reply


# As defined above: also a replacement of the attribute of the class is recognized.
_transform, _respond = Shout.transform, Shout.respond


class UnicodeShout(Shout):
    """
    A protocol that answers with UTF-8 text in upper case, as defined by Unicode.

    Bytes that are not UTF-8 are unchanged.  A reply can be up to three times as long as
    its datagram.
    """

    def transform(self, datagram: bytes) -> bytes:
        text = datagram.decode("utf-8", "surrogateescape")
        return text.upper().encode("utf-8", "surrogateescape")
