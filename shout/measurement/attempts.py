"""
Measurements of one target, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from socket import socket as Socket
from typing import Any

from shout.measurement.events import Event
from shout.measurement.ping import resultOf
from shout.measurement.pinging import Pinging
from shout.measurement.plan import Plan
from shout.measurement.result import Result
from shout.measurement.target import Target


class Stopped(Exception):
    """
    There are to be no more measurements.
    """


class Attempts:
    """
    Measure one target as often as it takes to find something out.

    @ivar target: the target.
    @type target: L{Target}

    @ivar answered: how many datagrams got the right reply in all, also late.
    @type answered: L{int}

    @ivar kinds: how many wrong replies there were in all, by kind; see
        L{shout.measurement.probes.WRONG}.
    @type kinds: L{Counter} of L{str}

    @ivar refusals: how many refusals there were in all, by reason.
    @type refusals: L{Counter} of L{str}
    """

    def __init__(self, target: Target, reactor: Any) -> None:
        """
        @param reactor: as for L{Pinging}.
        """
        self.target = target
        self.answered = 0
        self.kinds: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._reactor = reactor
        self._pinging: Pinging | None = None
        self._isStopped = False

    async def measure(
        self,
        plan: Plan,
        sock: Socket | None = None,
        isEnough: Callable[[Event], bool] = lambda event: False,
    ) -> Result:
        """
        Measure once.

        @param plan: what to measure.

        @param sock: a socket that is connected to the target.  It stays open, so
            that the next measurement can have the same source port; what comes
            late counts there as a reply to another run.  By default a new one.

        @param isEnough: tells of each event whether it ends the measurement.

        @raise Stopped: when it was stopped.
        """

        def heard(event: Event) -> None:
            if isEnough(event):
                pinging.stop()

        if self._isStopped:
            raise Stopped
        # A measurement closes its socket at the end.
        sock = self.target.open() if sock is None else sock.dup()
        pinging = self._pinging = Pinging(sock, plan, heard, self._reactor)
        await pinging.start()
        result = resultOf(self.target, pinging)
        self.answered += result.answered + result.late
        self.kinds.update(result.kinds)
        self.refusals.update(result.refusals)
        if self._isStopped:
            raise Stopped
        return result

    def stop(self) -> None:
        """
        End the measurement that runs, and have no other.
        """
        self._isStopped = True
        if self._pinging is not None:
            self._pinging.stop()
