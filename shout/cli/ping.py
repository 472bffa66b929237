"""
A measurement of one or several targets that is printed.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import LoopingCall

from shout.cli import charts, document, text
from shout.cli.live import LiveLine
from shout.cli.signals import signals
from shout.measure.probe import OTHER_RUN
from shout.measure.result import Event, Result
from shout.measure.schedule import Schedule
from shout.measure.session import PingSession
from shout.measure.target import Target


class PingCommand:
    """
    A measurement of one or several targets that is printed.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        failures: Sequence[tuple[Target, str]],
        schedule: Schedule,
        options: Namespace,
        live: LiveLine,
        printError: Callable[[str], None],
        reactor: Any,
    ) -> None:
        """
        @param targets: what to measure, side by side.

        @param failures: what else was wanted, and why it cannot be measured.

        @param plan: how to.

        @param options: what the user wants printed.

        @param console: prints it.

        @param complain: prints a line to standard error.

        @param reactor: as for L{PingSession}.

        @raise OSError: when not all of them can be opened; then none is.
        """
        self._targets = targets
        self._failures = failures
        self._schedule = schedule
        self._options = options
        self._live = live
        self._printError = printError
        self._reactor = reactor
        with ExitStack() as undo:
            sockets = [undo.enter_context(target.open()) for target in targets]
            undo.pop_all()
        self._sessions = [
            PingSession(sock, schedule, self._listener(target), reactor)
            for target, sock in zip(targets, sockets)
        ]

    async def run(self) -> int:
        """
        Measure, and print.

        @return: the exit status that the results make.
        """
        live = self._live
        printing = live.ended.addCallback(self._outputEnded)
        showing = LoopingCall(self._show)
        showing.clock = self._reactor
        with signals(self._reactor, self._stop, self._showSoFar):
            for target, session in zip(self._targets, self._sessions):
                session.listen()
                self._open(target, session)
            running = [session.start() for session in self._sessions]
            if live.isTerminal:
                showing.start(0.1, now=False)
            await gatherResults(running)
        if showing.running:
            showing.stop()
            live.show("")
        results = self._results()
        for line in self._closing(results):
            live.say(line)
        live.finish()
        status = await printing
        return status or statusOf(results, self._options.max_loss)

    def _open(self, target: Target, session: PingSession) -> None:
        schedule, hasKernelTimes = self._schedule, session.hasKernelTimes
        if self._options.json_lines:
            begin = document.beginObject(target, schedule.size, hasKernelTimes)
            self._live.say(json.dumps(begin))
        elif not self._options.json:
            self._live.say(
                text.opening(
                    target,
                    schedule.size,
                    schedule.interval,
                    schedule.timeout,
                    hasKernelTimes,
                )
            )

    def _listener(self, target: Target) -> Callable[[Event], object]:
        """
        Return what is to be called with each event.
        """
        isFast = self._schedule.interval <= 0.01
        line: Callable[[Event, Target], str] = text.eventLine
        if self._options.json_lines:
            line = document.eventLine
        elif self._options.quiet or self._options.json or isFast:
            return lambda event: None
        return lambda event: self._live.say(line(event, target), True)

    def _show(self) -> None:
        self._live.show(text.liveLine([each.tracker for each in self._sessions]))

    def _showSoFar(self) -> None:
        # What is not a terminal may be read by a program.
        tell = self._live.say if self._live.isTerminal else self._printError
        for result in self._results():
            for line in text.summary(result):
                tell(line)

    def _stop(self) -> None:
        for session in self._sessions:
            session.stop()

    def _outputEnded(self, status: int) -> int:
        self._stop()
        return status

    def _results(self) -> list[Result]:
        return [
            session.result(target)
            for target, session in zip(self._targets, self._sessions)
        ]

    def _closing(self, results: Sequence[Result]) -> list[str]:
        if self._options.json:
            return [json.dumps(document.document(results, self._failures))]
        columns = self._live.columns if self._live.isTerminal else None
        lines = []
        for result in results:
            lines += ["", *text.summary(result)]
            if columns is not None:
                histogram, lost, late = result.histogram, result.lost, result.late
                lines += charts.histogramLines(histogram, lost, late, columns)
        if len(results) > 1:
            lines += ["", *charts.table(results, columns)]
        return lines


def statusOf(results: Sequence[Result], maxLoss: float | None) -> int:
    """
    Return the exit status that results make.

    @param maxLoss: how many percent may stay without an answer in time; L{None}
        for any number but all.
    """
    status = 0
    for result in results:
        if _isMistaken(result):
            return 3
        if not result.answered or (maxLoss is not None and result.unanswered > maxLoss):
            status = 1
    return status


def _isMistaken(result: Result) -> bool:
    """
    Whether what answered is not shout: nothing that came was right.
    """
    isRight = result.answered or result.late
    return not isRight and result.wrong > result.kinds.get(OTHER_RUN, 0)
