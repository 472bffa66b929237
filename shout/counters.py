"""
The counters of a service, and snapshots of them.
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

FAMILIES: Mapping[int, str] = {AF_INET: "ipv4", AF_INET6: "ipv6", AF_UNIX: "unix"}
"""
The names of the address families in the counters.
"""


class Counters:
    """
    The counters of one service, shared by all of its protocols.

    The first drop for a reason is logged at once.  Later ones for the same reason are
    logged at most once in C{quietPeriod} seconds, with the number since the last line.

    @cvar quietPeriod: Seconds between two log lines for one reason.

    @cvar unlogged: Reasons that are not logged, because the protocol intends them.

    @ivar families: Number of datagrams received, by the address family of the socket.

    @ivar answered: Number of datagrams to which a reply was sent.

    @ivar dropped: Number of datagrams to which no reply was sent, by reason.

    @ivar sendErrors: The part of C{dropped} for which sending failed, by the name of
        the error.
    """

    _log = Logger()

    quietPeriod = 30.0
    unlogged = frozenset({"no reply"})

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """
        @param seconds: Returns the present time in seconds.
        """
        # Adding to an item of a Counter takes three times as long.
        self.families: dict[str, int] = defaultdict(int)
        self.answered = 0
        self.dropped: Counter[str] = Counter()
        self.sendErrors: Counter[str] = Counter()
        self._seconds = seconds
        self._logged: dict[str, tuple[float, int]] = {}

    @property
    def received(self) -> int:
        """
        Number of datagrams received.
        """
        return sum(self.families.values())

    def count(self, family: str, received: int, answered: int) -> None:
        """
        Count datagrams received, and those of them that are answered.

        @param family: Address family of the socket; see L{FAMILIES}.
        """
        self.families[family] += received
        self.answered += answered

    def fail(self, error: str, number: int) -> None:
        """
        Move replies that could not be sent from C{answered} to C{dropped}.

        @param error: The name of the error, such as C{"ENOBUFS"}.

        @param number: Number of replies.
        """
        self.answered -= number
        self.sendErrors[error] += number
        self.drop(error, number)

    def drop(self, reason: str, number: int = 1) -> None:
        """
        Count datagrams that are not answered.

        @param reason: The reason in a few words, from a small, fixed set.

        @param number: Number of datagrams.
        """
        self.dropped[reason] += number
        if reason in self.unlogged:
            return
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
        reasons = (
            f"{count} {reason}" for reason, count in sorted(self.dropped.items())
        )
        return f"{line} ({', '.join(reasons)})" if self.dropped else line


@dataclass(frozen=True)
class Snapshot:
    """
    The counters of a service at one moment.

    Snapshots can be added and subtracted.  C{Snapshot()} is all zeros.  No counter
    decreases while a service runs.

    Every datagram in C{received} is also in C{replies}, C{dropped} or C{sendErrors}.

    @ivar received: Number of datagrams received, by the address family of the socket:
        C{"ipv4"}, C{"ipv6"} or C{"unix"}.

    @ivar receivedBytes: Total length of their payloads.

    @ivar replies: Number of replies sent.

    @ivar replyBytes: Total length of the payloads of the replies.

    @ivar dropped: Number of datagrams dropped by the guard or the protocol, by reason.

    @ivar sendErrors: Number of replies that could not be sent, by the name of the
        error, such as C{"ENOBUFS"}.

    @ivar kernelDrops: Number of datagrams dropped by the kernel because a receive
        buffer was full.  They are not in C{received}.  Datagrams that arrive as one
        packet (segmentation offload) count as one.
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
        Take a snapshot.

        @param counters: The counters of a service.

        @param ports: Its open ports.
        """
        ports = list(ports)
        totals = [port.totalBytes() for port in ports]
        return cls(
            received=dict(counters.families),
            receivedBytes=sum(received for received, _ in totals),
            replies=counters.answered,
            replyBytes=sum(sent for _, sent in totals),
            dropped=dict(counters.dropped - counters.sendErrors),
            sendErrors=dict(counters.sendErrors),
            kernelDrops=sum(port.kernelDrops for port in ports),
        )

    def __add__(self, other: Snapshot) -> Snapshot:
        return self._plus(other, 1)

    def __sub__(self, other: Snapshot) -> Snapshot:
        return self._plus(other, -1)

    def _plus(self, other: Snapshot, factor: int) -> Snapshot:
        def plus(one: Any, more: Any) -> Any:
            if isinstance(one, int):
                return one + factor * more
            return {n: one.get(n, 0) + factor * more.get(n, 0) for n in {**one, **more}}

        mine, others = vars(self), vars(other)
        return Snapshot(**{name: plus(mine[name], others[name]) for name in mine})

    def toJSON(self) -> dict[str, Any]:
        """
        Return an object that C{json} can serialize.
        """
        return asdict(self)

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Snapshot:
        """
        Return the snapshot from which L{toJSON} made C{values}.
        """
        return cls(**values)
