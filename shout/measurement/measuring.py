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

from shout.measurement import charts, document, report
from shout.measurement.events import Event
from shout.measurement.ping import resultOf
from shout.measurement.pinging import Pinging
from shout.measurement.plan import Plan
from shout.measurement.probes import OTHER_RUN
from shout.measurement.result import Result
from shout.measurement.signals import signals
from shout.measurement.target import Target
from shout.terminal.console import Console


class Measuring:
    """
    A measurement of one or several targets that is printed.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        failures: Sequence[tuple[Target, str]],
        plan: Plan,
        options: Namespace,
        console: Console,
        complain: Callable[[str], None],
        reactor: Any,
    ) -> None:
        """
        @param targets: what to measure, side by side.

        @param failures: what else was wanted, and why it cannot be measured.

        @param plan: how to.

        @param options: what the user wants printed.

        @param console: prints it.

        @param complain: prints a line to standard error.

        @param reactor: as for L{Pinging}.

        @raise OSError: when not all of them can be opened; then none is.
        """
        self._targets = targets
        self._failures = failures
        self._plan = plan
        self._options = options
        self._console = console
        self._complain = complain
        self._reactor = reactor
        with ExitStack() as undo:
            sockets = [undo.enter_context(target.open()) for target in targets]
            undo.pop_all()
        self._pingings = [
            Pinging(sock, plan, self._listener(target), reactor)
            for target, sock in zip(targets, sockets)
        ]

    async def run(self) -> int:
        """
        Measure, and print.

        @return: the exit status that the results make.
        """
        console = self._console
        printing = console.ended.addCallback(self._outputEnded)
        showing = LoopingCall(self._show)
        showing.clock = self._reactor
        with signals(self._reactor, self._stop, self._showSoFar):
            for target, pinging in zip(self._targets, self._pingings):
                pinging.listen()
                self._open(target, pinging)
            running = [pinging.start() for pinging in self._pingings]
            if console.isTerminal:
                showing.start(0.1, now=False)
            await gatherResults(running)
        if showing.running:
            showing.stop()
            console.show("")
        results = self._results()
        for line in self._closing(results):
            console.say(line)
        console.finish()
        status = await printing
        return status or statusOf(results, self._options.max_loss)

    def _open(self, target: Target, pinging: Pinging) -> None:
        plan, hasKernelTimes = self._plan, pinging.hasKernelTimes
        if self._options.json_lines:
            begin = document.beginObject(target, plan.size, hasKernelTimes)
            self._console.say(json.dumps(begin))
        elif not self._options.json:
            self._console.say(
                report.opening(
                    target, plan.size, plan.interval, plan.timeout, hasKernelTimes
                )
            )

    def _listener(self, target: Target) -> Callable[[Event], object]:
        """
        Return what is to be called with each event.
        """
        isFast = self._plan.interval <= 0.01
        line: Callable[[Event, Target], str] = report.eventLine
        if self._options.json_lines:
            line = document.eventLine
        elif self._options.quiet or self._options.json or isFast:
            return lambda event: None
        return lambda event: self._console.say(line(event, target), True)

    def _show(self) -> None:
        self._console.show(report.liveLine([each.tally for each in self._pingings]))

    def _showSoFar(self) -> None:
        # What is not a terminal may be read by a program.
        tell = self._console.say if self._console.isTerminal else self._complain
        for result in self._results():
            for line in report.summary(result):
                tell(line)

    def _stop(self) -> None:
        for pinging in self._pingings:
            pinging.stop()

    def _outputEnded(self, status: int) -> int:
        self._stop()
        return status

    def _results(self) -> list[Result]:
        return [
            resultOf(target, pinging)
            for target, pinging in zip(self._targets, self._pingings)
        ]

    def _closing(self, results: Sequence[Result]) -> list[str]:
        if self._options.json:
            return [json.dumps(document.document(results, self._failures))]
        columns = self._console.columns if self._console.isTerminal else None
        lines = []
        for result in results:
            lines += ["", *report.summary(result)]
            if columns is not None:
                trips, lost, late = result.trips, result.lost, result.late
                lines += charts.histogram(trips, lost, late, columns)
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
