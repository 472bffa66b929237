"""
A search for the highest rate, or the largest datagrams, that is printed.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from shout.measurement import document, found
from shout.measurement.attempts import Attempts, Stopped
from shout.measurement.plan import Plan
from shout.measurement.probes import OTHER_RUN
from shout.measurement.rates import HIGHEST, STOPPED, FoundRate, findRate
from shout.measurement.signals import signals
from shout.measurement.sizes import NOTHING, findSizes
from shout.measurement.target import Target
from shout.terminal.console import Console

FLOOD = 1000
"""
How many datagrams a second go to other hosts than this one without C{--flood}.
"""


class Finding:
    """
    A search in one target.
    """

    def __init__(
        self,
        target: Target,
        plan: Plan,
        options: Namespace,
        console: Console,
        complain: Callable[[str], None],
        reactor: Any,
    ) -> None:
        """
        @param plan: how large the datagrams are, and how long to wait for them.

        @param options: what the user wants.

        @param console: prints what is found.

        @param complain: prints a line to standard error.

        @param reactor: as for L{Attempts}.
        """
        self._target = target
        self._plan = plan
        self._options = options
        self._console = console
        self._complain = complain
        self._reactor = reactor
        self._attempts = Attempts(target, reactor)
        self._last = ""

    async def run(self) -> int:
        """
        Search, and print.

        @return: the exit status: 0 when something was found, 3 when only
            something answered that is not shout, and else 1.
        """
        isRate = self._options.find_rate
        with signals(self._reactor, self._attempts.stop, self._showSoFar):
            hasFound = await (self._findRate() if isRate else self._findSizes())
        self._console.finish()
        failed = await self._console.ended
        isMistaken = set(self._attempts.kinds) - {OTHER_RUN}
        if isMistaken and not self._attempts.answered:
            return failed or 3
        return failed or (0 if hasFound else 1)

    async def fail(self, error: str) -> int:
        """
        Print why there can be no search, where that is not yet said.

        @return: the exit status.
        """
        if self._options.find_rate:
            nothing = FoundRate([], 0, STOPPED)
            self._close(document.rateObject(self._target, nothing, error), [])
        else:
            self._close(document.sizesObject(self._target, NOTHING, error), [])
        self._console.finish()
        return await self._console.ended or 1

    async def _findRate(self) -> bool:
        plan = self._plan
        isFree = self._options.flood or self._target.isLocal
        self._open(f"the highest rate without loss, {plan.size} bytes")
        result = await findRate(
            self._attempts,
            plan.size,
            plan.timeout,
            HIGHEST if isFree else FLOOD,
            lambda step: self._tried(found.stepLine(step)),
        )
        self._close(
            document.rateObject(self._target, result),
            found.rateLines(result, found.nothingLine(self._attempts)),
        )
        return result.best > 0

    async def _findSizes(self) -> bool:
        self._open("the largest datagrams that come back")
        try:
            with self._target.open() as sock:
                result = await findSizes(
                    self._attempts,
                    sock,
                    self._plan.timeout,
                    lambda *what: self._tried(found.sizeLine(*what)),
                )
        except Stopped:
            error = "stopped before the largest datagrams were found"
            self._complain(error)
            self._close(document.sizesObject(self._target, NOTHING, error), [])
            return False
        self._close(
            document.sizesObject(self._target, result),
            found.sizeLines(result, found.nothingLine(self._attempts)),
        )
        return result.whole is not None

    def _open(self, wanted: str) -> None:
        if not self._options.json:
            self._console.say(f"SHOUT {self._target}: {wanted}")

    def _tried(self, line: str) -> None:
        self._last = line.strip()
        if not (self._options.json or self._options.quiet):
            self._console.say(line)

    def _showSoFar(self) -> None:
        self._complain(self._last or "nothing is known yet")

    def _close(self, result: dict[str, Any], lines: list[str]) -> None:
        if self._options.json:
            lines = [json.dumps(result)]
        for line in lines:
            self._console.say(line)
