"""
Measurements of one target, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from socket import socket as Socket
from typing import Any

from shout.measure import resultOf
from shout.measure.result import Event, Result
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import Target


class Stopped(Exception):
    """
    There are to be no more measurements.
    """


class SearchRunner:
    """
    Measure one target as often as it takes to find something out.

    @ivar target: the target.
    @type target: L{Target}

    @ivar answered: how many datagrams got the right reply in all, also late.
    @type answered: L{int}

    @ivar kinds: how many wrong replies there were in all, by kind; see
        L{shout.measure.probe.WRONG}.
    @type kinds: L{Counter} of L{str}

    @ivar refusals: how many refusals there were in all, by reason.
    @type refusals: L{Counter} of L{str}
    """

    def __init__(self, target: Target, reactor: Any) -> None:
        """
        @param reactor: as for L{PingSession}.
        """
        self.target = target
        self.answered = 0
        self.kinds: Counter[str] = Counter()
        self.icmpErrors: Counter[str] = Counter()
        self._reactor = reactor
        self._session: PingSession | None = None
        self._isStopped = False

    async def measure(
        self,
        schedule: Schedule,
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

        def onEvent(event: Event) -> None:
            if isEnough(event):
                session.stop()

        if self._isStopped:
            raise Stopped
        # A measurement closes its socket at the end.
        sock = self.target.open() if sock is None else sock.dup()
        session = self._session = PingSession(sock, schedule, onEvent, self._reactor)
        await session.start()
        result = resultOf(self.target, session)
        self.answered += result.answered + result.late
        self.kinds.update(result.kinds)
        self.icmpErrors.update(result.icmpErrors)
        if self._isStopped:
            raise Stopped
        return result

    def stop(self) -> None:
        """
        End the measurement that runs, and have no other.
        """
        self._isStopped = True
        if self._session is not None:
            self._session.stop()
