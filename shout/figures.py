"""
What a service has done so far, as values that can be added up and sent along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from socket import AF_INET, AF_INET6, AF_UNIX
from typing import Any

from shout.counters import Counters
from shout.port import DatagramPort

FAMILIES: Mapping[int, str] = {AF_INET: "ipv4", AF_INET6: "ipv6", AF_UNIX: "unix"}
"""
The names of address families.
"""


@dataclass(frozen=True)
class Figures:
    """
    The totals of a service at one moment.  Those of several services add up with
    C{+}; C{Figures()} is nothing yet.  With C{-} they tell what is new since then.

    Every datagram that was received is in one of C{replies}, C{dropped} and
    C{sendErrors}.  None of the figures ever goes down while a service lives.

    @ivar received: how many datagrams have arrived, by the family of the socket:
        C{"ipv4"}, C{"ipv6"} or C{"unix"}.

    @ivar receivedBytes: how long their payloads were together.

    @ivar replies: how many replies were sent.

    @ivar replyBytes: how long the payloads of the replies were together.

    @ivar dropped: how many datagrams the guard has left unanswered, by reason.

    @ivar sendErrors: how many replies the system would not send, by the name of
        the error, such as C{"ENOBUFS"}.

    @ivar kernelDrops: how many datagrams the kernel has dropped because a receive
        buffer was full; they are not in C{received}.  Of a burst that came in one
        piece the kernel counts one.
    """

    received: Mapping[str, int] = field(default_factory=dict)
    receivedBytes: int = 0
    replies: int = 0
    replyBytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    sendErrors: Mapping[str, int] = field(default_factory=dict)
    kernelDrops: int = 0

    @classmethod
    def of(cls, counters: Counters, ports: Iterable[DatagramPort] = ()) -> Figures:
        """
        Return what counters and ports tell now.

        @param counters: those of a service.

        @param ports: those of its ports that are open.
        """
        receivedBytes = sentBytes = kernelDrops = 0
        for port in ports:
            received, sent = port.totalBytes()
            receivedBytes += received
            sentBytes += sent
            kernelDrops += port.kernelDrops
        return cls(
            received=dict(counters.families),
            receivedBytes=receivedBytes,
            replies=counters.answered,
            replyBytes=sentBytes,
            dropped=dict(counters.dropped - counters.sendErrors),
            sendErrors=dict(counters.sendErrors),
            kernelDrops=kernelDrops,
        )

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            received=_sum(self.received, other.received),
            receivedBytes=self.receivedBytes + other.receivedBytes,
            replies=self.replies + other.replies,
            replyBytes=self.replyBytes + other.replyBytes,
            dropped=_sum(self.dropped, other.dropped),
            sendErrors=_sum(self.sendErrors, other.sendErrors),
            kernelDrops=self.kernelDrops + other.kernelDrops,
        )

    def __sub__(self, other: Figures) -> Figures:
        return Figures(
            received=_difference(self.received, other.received),
            receivedBytes=self.receivedBytes - other.receivedBytes,
            replies=self.replies - other.replies,
            replyBytes=self.replyBytes - other.replyBytes,
            dropped=_difference(self.dropped, other.dropped),
            sendErrors=_difference(self.sendErrors, other.sendErrors),
            kernelDrops=self.kernelDrops - other.kernelDrops,
        )

    def toJSON(self) -> dict[str, Any]:
        """
        Return the same as values that JSON knows.
        """
        return asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Figures:
        """
        Return the figures of which L{toJSON} has made C{values}.
        """
        return cls(**values)


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    total = Counter(one)
    total.update(other)
    return dict(total)


def _difference(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    rest = Counter(one)
    rest.subtract(other)
    return dict(rest)
