"""
What was received, and what was not answered and why.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable

from twisted.logger import Logger


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
