"""
A search for the highest rate or the largest datagrams, and its printed result.
"""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from shout.cli import document, text
from shout.cli.live import LiveLine
from shout.cli.pingoptions import scheduleOf
from shout.cli.signals import signalHandlers
from shout.measure.mtu import NOTHING, MTUResult, findMTU
from shout.measure.probe import OTHER_RUN
from shout.measure.rate import HIGHEST, STOPPED, RateResult, findRate
from shout.measure.search import SearchRunner, Stopped
from shout.measure.target import Target

FLOOD = 1000
"""
The number of datagrams per second to other hosts that needs no C{--flood}.
"""


class SearchCommand:
    """
    A search with one target, and its printed result.
    """

    def __init__(
        self, target: Target, options: Namespace, live: LiveLine, reactor: Any
    ) -> None:
        """
        @param options: The options; C{find_rate} chooses the search.
        """
        self._target = target
        self._schedule = scheduleOf(options)
        self._options = options
        self._live = live
        self._reactor = reactor
        self._runner = SearchRunner(target, reactor)
        self._lastStep = ""

    async def run(self) -> int:
        """
        Search, print, and return the exit status.
        """
        result: RateResult | MTUResult
        error = None
        isRate = self._options.find_rate
        with signalHandlers(self._reactor, self._runner.stop, self._showSoFar):
            try:
                result = await (self._findRate() if isRate else self._findMTU())
            except Stopped:
                result, error = NOTHING, "stopped before the largest size was found"
                self._live.printError(error)
        return await self._end(result, error)

    async def fail(self, error: str) -> int:
        """
        Print why the search is impossible, as JSON if that was asked for, and return
        the exit status.
        """
        isRate = self._options.find_rate
        return await self._end(RateResult([], 0, STOPPED) if isRate else NOTHING, error)

    async def _findRate(self) -> RateResult:
        schedule = self._schedule
        isUnlimited = self._options.flood or self._target.isLocal
        self._printOpening(f"the highest rate without loss, {schedule.size} bytes")
        return await findRate(
            self._runner,
            schedule.size,
            schedule.timeout,
            HIGHEST if isUnlimited else FLOOD,
            lambda step: self._printStep(text.rateLine(step)),
        )

    async def _findMTU(self) -> MTUResult:
        self._printOpening("the largest datagrams that come back")
        with self._target.open() as sock:
            return await findMTU(
                self._runner,
                sock,
                self._schedule.timeout,
                lambda *step: self._printStep(text.sizeLine(*step)),
            )

    def _printOpening(self, wanted: str) -> None:
        if not self._options.json:
            self._live.writeLine(f"SHOUT {self._target}: {wanted}")

    def _printStep(self, line: str) -> None:
        self._lastStep = line.strip()
        if not (self._options.json or self._options.quiet):
            self._live.writeLine(line)

    def _showSoFar(self) -> None:
        self._live.printError(self._lastStep or "no results yet")

    async def _end(self, result: RateResult | MTUResult, error: str | None) -> int:
        """
        Print the result, and return the exit status: 0 if something was found, 3 if
        all replies were wrong, otherwise 1.
        """
        nothing = text.nothingLine(self._runner)
        if isinstance(result, RateResult):
            isFound = result.best > 0
            printed = document.rateObject(self._target, result, error)
            lines = text.rateLines(result, nothing)
        else:
            isFound = result.whole is not None
            printed = document.mtuObject(self._target, result, error)
            lines = text.mtuLines(result, nothing)
        if self._options.json:
            lines = [json.dumps(printed)]
        elif error:
            lines = []
        for line in lines:
            self._live.writeLine(line)
        self._live.finish()
        isWrong = set(self._runner.kinds) - {OTHER_RUN} and not self._runner.answered
        return await self._live.ended or (3 if isWrong else 0 if isFound else 1)
