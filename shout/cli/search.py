"""
A search for the highest rate or the largest datagrams, and its printed result.
"""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import ExitStack
from socket import socket as Socket
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

from shout.cli import searchresult
from shout.cli.live import LiveLine
from shout.cli.pingoptions import FLOOD, scheduleOf, socketOptionsOf, sourcePortsOf
from shout.cli.signals import signalHandlers
from shout.measure.mtu import MTUResult, findMTU, leastOf
from shout.measure.probe import OTHER_RUN
from shout.measure.rate import HIGHEST, STOPPED, RateResult, findRate
from shout.measure.search import SearchRunner, Stopped
from shout.measure.target import Target, openSockets, sourcePortOf

# The number of flows that search at a time, so that no more than FLOOD datagrams per
# second leave.
_AT_ONCE = 6


_SizesByPort = list[tuple[int | None, MTUResult]]


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
        self._socketOptions = socketOptionsOf(options)
        self._options = options
        self._live = live
        self._reactor = reactor
        self._runners = [SearchRunner(target, reactor, self._socketOptions)]
        self._lastStep = ""

    async def run(self) -> int:
        """
        Search, print, and return the exit status.
        """
        result: RateResult | _SizesByPort
        error = None
        isRate = self._options.find_rate
        with signalHandlers(self._reactor, self._stop, self._showSoFar):
            try:
                result = await (self._findRate() if isRate else self._findMTU())
            except Stopped:
                result, error = [], "stopped before the largest size was found"
                self._live.printError(error)
        return await self._end(result, error)

    async def fail(self, error: str) -> int:
        """
        Print why the search is impossible, as JSON if that was asked for, and return
        the exit status.
        """
        isRate = self._options.find_rate
        return await self._end(RateResult([], 0, STOPPED) if isRate else [], error)

    async def _findRate(self) -> RateResult:
        schedule = self._schedule
        isLocal = self._target.isOnThisHost(self._socketOptions)
        isUnlimited = self._options.flood or isLocal
        self._printOpening(f"the highest rate without loss, {schedule.size} bytes")
        return await findRate(
            self._runners[0],
            schedule.size,
            schedule.timeout,
            HIGHEST if isUnlimited else FLOOD,
            lambda step: self._printStep(searchresult.rateLine(step)),
        )

    async def _findMTU(self) -> _SizesByPort:
        """
        Search with each flow: at first with one, and then with several at a time.
        """
        ports = sourcePortsOf(self._options)
        sockets = openSockets([self._target], ports, self._socketOptions)
        ((first, *others),) = sockets
        self._printOpening("the largest datagrams that come back")
        self._runners += [SearchRunner(self._target, self._reactor) for _ in others]
        firstRunner, *otherRunners = self._runners
        turns = DeferredSemaphore(_AT_ONCE)
        with ExitStack() as stack:
            for sock in (first, *others):
                stack.enter_context(sock)
            names = [sourcePortOf(sock) for sock in (first, *others)]
            found = await self._findMTUOf(firstRunner, first)
            searches = [
                turns.run(self._findMTUOf, runner, sock, found)
                for runner, sock in zip(otherRunners, others)
            ]
            outcomes: Any = await DeferredList(searches, consumeErrors=True)
        for isFound, outcome in outcomes:
            if not isFound:
                outcome.raiseException()
        return list(zip(names, [found, *(outcome for _, outcome in outcomes)]))

    def _findMTUOf(
        self, runner: SearchRunner, sock: Socket, like: MTUResult | None = None
    ) -> Deferred[MTUResult]:
        port = sourcePortOf(sock) if self._hasFlows else None
        timeout = self._schedule.timeout

        def onStep(size: int, mayFragment: bool, isBack: bool) -> None:
            self._printStep(searchresult.sizeLine(size, mayFragment, isBack, port))

        return Deferred.fromCoroutine(findMTU(runner, sock, timeout, onStep, like))

    @property
    def _hasFlows(self) -> bool:
        return bool(self._options.flows or self._options.ports)

    def _stop(self) -> None:
        for runner in self._runners:
            runner.stop()

    def _printOpening(self, wanted: str) -> None:
        if not self._options.json:
            self._live.writeLine(f"SHOUT {self._target}: {wanted}")

    def _printStep(self, line: str) -> None:
        self._lastStep = line.strip()
        if not (self._options.json or self._options.quiet):
            self._live.writeLine(line)

    def _showSoFar(self) -> None:
        self._live.printError(self._lastStep or "no results yet")

    async def _end(self, result: RateResult | _SizesByPort, error: str | None) -> int:
        """
        Print the result, and return the exit status: 0 if something was found, 3 if
        all replies were wrong, otherwise 1.

        @param result: The rate, or the sizes of each flow.
        """
        runners = self._runners
        nothing = searchresult.nothingLine(runners)
        if isinstance(result, RateResult):
            isFound = result.best > 0
            printed = searchresult.rateObject(self._target, result, error)
            lines = searchresult.rateLines(result, nothing)
        else:
            least = leastOf([each for _, each in result])
            isFound = least.whole is not None
            printed = searchresult.mtuObject(self._target, least, error)
            lines = searchresult.mtuLines(least, nothing)
            if self._hasFlows:
                isFound = all(each.unfragmented is not None for _, each in result)
                printed["flows"] = [
                    searchresult.mtuFlowObject(*each) for each in result
                ]
                lines += searchresult.mtuFlowLines(result)
        if self._options.json:
            lines = [json.dumps(printed)]
        elif error:
            lines = []
        for line in lines:
            self._live.writeLine(line)
        self._live.finish()
        kinds = set[str]().union(*(runner.kinds for runner in runners)) - {OTHER_RUN}
        isWrong = kinds and not any(runner.answered for runner in runners)
        return await self._live.ended or (3 if isWrong else 0 if isFound else 1)
