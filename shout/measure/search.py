"""
Successive measurements of one target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from socket import socket as Socket
from typing import Any

from shout.measure.result import Event, Result
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import SocketOptions, Target


class Stopped(Exception):
    """
    The search was stopped, so there are no more measurements.
    """


class SearchRunner:
    """
    Measure one target repeatedly, and add up the figures.

    @ivar answered: Number of probes with the right reply, including late ones.

    @ivar kinds: Number of wrong replies by kind; see
        L{WRONG<shout.measure.probe.WRONG>}.

    @ivar icmpErrors: Number of ICMP errors by reason and sender.
    """

    def __init__(
        self, target: Target, reactor: Any, options: SocketOptions | None = None
    ) -> None:
        """
        @param reactor: As for L{PingSession}.

        @param options: The options of new sockets.
        """
        self.target = target
        self.answered = 0
        self.kinds: Counter[str] = Counter()
        self.icmpErrors: Counter[tuple[str, str | None]] = Counter()
        self._reactor = reactor
        self._options = options or SocketOptions()
        self._session: PingSession | None = None
        self._isStopped = False

    async def measure(
        self,
        schedule: Schedule,
        sock: Socket | None = None,
        isLast: Callable[[Event], bool] = lambda event: False,
    ) -> Result:
        """
        Measure once.

        @param schedule: The probes to send.

        @param sock: A socket connected to the target; a new one by default.  It stays
            open, so several measurements can share its source port.  A late reply to
            an earlier one then counts as a reply to another run.

        @param isLast: Called with each event; C{True} ends the measurement.

        @raise Stopped: If the search was stopped.
        """

        def onEvent(event: Event, _: int) -> None:
            if isLast(event):
                session.stop()

        if self._isStopped:
            raise Stopped
        # The session closes its socket at the end.
        sock = self.target.open(self._options) if sock is None else sock.dup()
        session = self._session = PingSession(
            [[sock]], schedule, onEvent, self._reactor
        )
        await session.start()
        result = session.result(self.target)
        self.answered += result.answered + result.late
        self.kinds.update(result.kinds)
        self.icmpErrors.update(result.icmpErrors)
        if self._isStopped:
            raise Stopped
        return result

    def stop(self) -> None:
        """
        End the current measurement, and allow no other.
        """
        self._isStopped = True
        if self._session is not None:
            self._session.stop()
