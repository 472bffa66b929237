"""
What was received, and what was not answered and why.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from socket import AF_INET, AF_INET6, AF_UNIX
from typing import Any

from twisted.logger import Logger

from shout.udp.port import DatagramPort


class Counters:
    """
    The totals of one service, shared by all of its protocols.

    The first drop for a reason is logged; after that the same reason is logged
    at most once every C{quietPeriod} seconds, with the number since.

    @ivar families: how many datagrams have arrived, by the family of the socket.
    @type families: L{dict} of L{str} to L{int}

    @ivar answered: to how many of them a reply was sent.
    @type answered: L{int}

    @ivar dropped: how many datagrams were not answered on purpose or for want of
        a way to the peer, by reason.
    @type dropped: L{Counter} of L{str}

    @ivar sendErrors: those of C{dropped} that the system would not send, by the
        name of the error.
    @type sendErrors: L{Counter} of L{str}
    """

    _log = Logger()

    quietPeriod = 30.0

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """
        @param seconds: returns the present time, in seconds.
        """
        # To add to an item of a Counter takes three times as long.
        self.families: dict[str, int] = defaultdict(int)
        self.answered = 0
        self.dropped: Counter[str] = Counter()
        self.sendErrors: Counter[str] = Counter()
        self._seconds = seconds
        self._logged: dict[str, tuple[float, int]] = {}

    @property
    def received(self) -> int:
        """
        How many datagrams have arrived.
        """
        return sum(self.families.values())

    def count(self, family: str, received: int, answered: int) -> None:
        """
        Count datagrams that have arrived, and those of them that are answered.

        @param family: of the socket that they have arrived at.
        """
        self.families[family] += received
        self.answered += answered

    def fail(self, error: str, number: int) -> None:
        """
        Take back replies that were counted: they could not be sent.

        @param error: why, by the name of the error.

        @param number: how many.
        """
        self.answered -= number
        self.sendErrors[error] += number
        self.drop(error, number)

    def drop(self, reason: str, number: int = 1) -> None:
        """
        Count datagrams that are not answered.

        @param reason: why, in a few words; one of a small, fixed set.

        @param number: how many.
        """
        self.dropped[reason] += number
        now = self._seconds()
        logged = self._logged.get(reason)
        if logged is None or now - logged[0] >= self.quietPeriod:
            count = self.dropped[reason]
            self._logged[reason] = (now, count)
            self._log.warn(
                "not answered: {count} {reason}",
                count=count if logged is None else count - logged[1],
                reason=reason,
            )

    def __str__(self) -> str:
        line = f"received {self.received}, answered {self.answered}"
        line += f", dropped {self.dropped.total()}"
        if self.dropped:
            reasons = (
                f"{self.dropped[reason]} {reason}" for reason in sorted(self.dropped)
            )
            line += f" ({', '.join(reasons)})"
        return line


FAMILIES: Mapping[int, str] = {AF_INET: "ipv4", AF_INET6: "ipv6", AF_UNIX: "unix"}
"""
The names of address families.
"""


@dataclass(frozen=True)
class Snapshot:
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
    def of(cls, counters: Counters, ports: Iterable[DatagramPort] = ()) -> Snapshot:
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

    def __add__(self, other: Snapshot) -> Snapshot:
        return Snapshot(
            received=_sum(self.received, other.received),
            receivedBytes=self.receivedBytes + other.receivedBytes,
            replies=self.replies + other.replies,
            replyBytes=self.replyBytes + other.replyBytes,
            dropped=_sum(self.dropped, other.dropped),
            sendErrors=_sum(self.sendErrors, other.sendErrors),
            kernelDrops=self.kernelDrops + other.kernelDrops,
        )

    def __sub__(self, other: Snapshot) -> Snapshot:
        return Snapshot(
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
    def fromJSON(cls, values: Mapping[str, Any]) -> Snapshot:
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
