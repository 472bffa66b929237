"""
A search for the highest rate, or the largest datagrams, that is printed.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from shout.cli import document, found
from shout.cli.live import LiveLine
from shout.cli.signals import signals
from shout.measure.mtu import NOTHING, findMTU
from shout.measure.probe import OTHER_RUN
from shout.measure.rate import HIGHEST, STOPPED, RateResult, findRate
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner, Stopped
from shout.measure.target import Target

FLOOD = 1000
"""
How many datagrams a second go to other hosts than this one without C{--flood}.
"""


class SearchCommand:
    """
    A search in one target.
    """

    def __init__(
        self,
        target: Target,
        schedule: Schedule,
        options: Namespace,
        live: LiveLine,
        printError: Callable[[str], None],
        reactor: Any,
    ) -> None:
        """
        @param plan: how large the datagrams are, and how long to wait for them.

        @param options: what the user wants.

        @param console: prints what is found.

        @param complain: prints a line to standard error.

        @param reactor: as for L{SearchRunner}.
        """
        self._target = target
        self._schedule = schedule
        self._options = options
        self._live = live
        self._printError = printError
        self._reactor = reactor
        self._runner = SearchRunner(target, reactor)
        self._last = ""

    async def run(self) -> int:
        """
        Search, and print.

        @return: the exit status: 0 when something was found, 3 when only
            something answered that is not shout, and else 1.
        """
        isRate = self._options.find_rate
        with signals(self._reactor, self._runner.stop, self._showSoFar):
            hasFound = await (self._findRate() if isRate else self._findSizes())
        self._live.finish()
        failed = await self._live.ended
        isMistaken = set(self._runner.kinds) - {OTHER_RUN}
        if isMistaken and not self._runner.answered:
            return failed or 3
        return failed or (0 if hasFound else 1)

    async def fail(self, error: str) -> int:
        """
        Print why there can be no search, where that is not yet said.

        @return: the exit status.
        """
        if self._options.find_rate:
            nothing = RateResult([], 0, STOPPED)
            self._close(document.rateObject(self._target, nothing, error), [])
        else:
            self._close(document.sizesObject(self._target, NOTHING, error), [])
        self._live.finish()
        return await self._live.ended or 1

    async def _findRate(self) -> bool:
        schedule = self._schedule
        isFree = self._options.flood or self._target.isLocal
        self._open(f"the highest rate without loss, {schedule.size} bytes")
        result = await findRate(
            self._runner,
            schedule.size,
            schedule.timeout,
            HIGHEST if isFree else FLOOD,
            lambda step: self._tried(found.stepLine(step)),
        )
        self._close(
            document.rateObject(self._target, result),
            found.rateLines(result, found.nothingLine(self._runner)),
        )
        return result.best > 0

    async def _findSizes(self) -> bool:
        self._open("the largest datagrams that come back")
        try:
            with self._target.open() as sock:
                result = await findMTU(
                    self._runner,
                    sock,
                    self._schedule.timeout,
                    lambda *what: self._tried(found.sizeLine(*what)),
                )
        except Stopped:
            error = "stopped before the largest datagrams were found"
            self._printError(error)
            self._close(document.sizesObject(self._target, NOTHING, error), [])
            return False
        self._close(
            document.sizesObject(self._target, result),
            found.sizeLines(result, found.nothingLine(self._runner)),
        )
        return result.whole is not None

    def _open(self, wanted: str) -> None:
        if not self._options.json:
            self._live.say(f"SHOUT {self._target}: {wanted}")

    def _tried(self, line: str) -> None:
        self._last = line.strip()
        if not (self._options.json or self._options.quiet):
            self._live.say(line)

    def _showSoFar(self) -> None:
        self._printError(self._last or "nothing is known yet")

    def _close(self, result: dict[str, Any], lines: list[str]) -> None:
        if self._options.json:
            lines = [json.dumps(result)]
        for line in lines:
            self._live.say(line)
