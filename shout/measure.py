"""
The C{shout} command as a measuring instrument.
"""

from __future__ import annotations

import json
import os
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import LoopingCall

from shout import charts, document, report
from shout.asking import AskError, UnknownHost
from shout.console import Console
from shout.events import Event
from shout.ping import resultOf
from shout.pingarguments import planOf
from shout.pinging import Pinging
from shout.plan import Plan
from shout.probes import OTHER_RUN
from shout.rates import HIGHEST, Step, findRate
from shout.result import Result
from shout.sizes import findSizes
from shout.target import Target, reach
from shout.usage import UsageError

_LARGEST_IPv4 = 65507
_FLOOD = 1000


async def measure(
    options: Namespace, complain: Callable[[str], None], reactor: Any
) -> int:
    """
    Measure what the user wants to know.

    @param options: as L{parse<shout.arguments.parse>} returns them.

    @param complain: prints a line to standard error.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @return: the exit status: 0 when all is well, 1 when nothing came back or
        too much was lost, 2 when it cannot be measured, 3 when something
        answered that is not shout.
    """
    plan = planOf(options)
    status = 0
    targets = []
    for host in options.hosts if options.unix is None else [""]:
        try:
            targets.append(
                await reach(host, options.port, options.unix, options.family, reactor)
            )
        except UnknownHost as e:
            complain(str(e))
            return 2
        except AskError as e:
            # The others can still be measured.
            complain(str(e))
            status = 1
    try:
        _check(targets, plan, options)
    except UsageError as e:
        complain(str(e))
        return 2
    if not targets:
        return status
    console = Console(1, not options.json and os.isatty(1), complain, reactor)
    if options.find_rate:
        return await _findRate(targets[0], plan, options, console, reactor)
    if options.sizes:
        return await _findSizes(targets[0], plan, options, console, reactor)
    measuring = _Measuring(targets, plan, options, console, complain, reactor)
    return max(status, await measuring.run())


async def _findRate(
    target: Target, plan: Plan, options: Namespace, console: Console, reactor: Any
) -> int:
    ceiling = HIGHEST if options.flood or target.isLocal else _FLOOD

    def tried(step: Step) -> None:
        if not (options.json or options.quiet):
            console.say(report.stepLine(step))

    if not options.json:
        console.say(f"SHOUT {target}: the highest rate without loss, {plan.size} bytes")
    found = await findRate(target, plan.size, plan.timeout, ceiling, tried, reactor)
    if options.json:
        console.say(json.dumps(document.rateObject(target, found)))
    else:
        for line in report.rateLines(found):
            console.say(line)
    console.finish()
    if any(map(_isMistaken, (step.result for step in found.steps))):
        return await console.ended or 3
    return await console.ended or (0 if found.best else 1)


async def _findSizes(
    target: Target, plan: Plan, options: Namespace, console: Console, reactor: Any
) -> int:
    def tried(size: int, isAllowed: bool, isWhole: bool) -> None:
        if not (options.json or options.quiet):
            console.say(report.sizeLine(size, isAllowed, isWhole))

    if not options.json:
        console.say(f"SHOUT {target}: the largest datagrams that come back")
    found = await findSizes(target, plan.timeout, tried, reactor)
    if options.json:
        console.say(json.dumps(document.sizesObject(target, found)))
    else:
        for line in report.sizeLines(found):
            console.say(line)
    console.finish()
    return await console.ended or (1 if found.whole is None else 0)


def _check(targets: Sequence[Target], plan: Plan, options: Namespace) -> None:
    """
    Refuse what these targets are not fit for.

    @raise UsageError: when one is not.
    """
    for target in targets:
        if target.port and not target.isIPv6 and plan.size > _LARGEST_IPv4:
            raise UsageError(
                f"--size takes at most {_LARGEST_IPv4} over IPv4, not {plan.size}"
            )
    remote = [target for target in targets if not target.isLocal]
    isFlood = len(remote) / plan.interval > _FLOOD + 0.01
    if isFlood and not options.flood:
        where = remote[0].address if len(remote) == 1 else f"{len(remote)} hosts"
        raise UsageError(
            f"more than {_FLOOD:,} datagrams per second to {where}, "
            "not on the loopback: that takes --flood as well"
        )


class _Measuring:
    """
    A measurement of one or several targets that is printed.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        plan: Plan,
        options: Namespace,
        console: Console,
        complain: Callable[[str], None],
        reactor: Any,
    ) -> None:
        self._targets = targets
        self._plan = plan
        self._options = options
        self._console = console
        self._complain = complain
        self._reactor = reactor
        self._isQuiet = options.quiet or plan.interval <= 0.01
        self._pingings = [
            Pinging(target.open(), plan, partial(self._heard, target), reactor)
            for target in targets
        ]

    async def run(self) -> int:
        """
        Measure, and print.

        @return: the exit status.
        """
        console = self._console
        printing = console.ended.addCallback(self._outputEnded)
        showing = LoopingCall(self._show)
        showing.clock = self._reactor
        with _signals(self._reactor, self._stop, self._showSoFar):
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
        return status or _status(results, self._options.max_loss)

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

    def _heard(self, target: Target, event: Event) -> None:
        if self._options.json_lines:
            self._console.say(json.dumps(document.eventObject(event, target)), True)
        elif not (self._isQuiet or self._options.json):
            line = report.eventLine(event, target, self._plan.timeout)
            self._console.say(line, True)

    def _show(self) -> None:
        self._console.show(report.liveLine([each.tally for each in self._pingings]))

    def _showSoFar(self) -> None:
        for result in self._results():
            for line in report.summary(result):
                self._complain(line)

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
            return [json.dumps(document.document(results))]
        lines = []
        for result in results:
            lines += ["", *report.summary(result)]
            if self._console.isTerminal:
                lines += charts.histogram(result.trips, result.lost, result.late)
        if len(results) > 1:
            lines += ["", *charts.table(results)]
        return lines


def _status(results: Sequence[Result], maxLoss: float | None) -> int:
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
    Whether something answered that is not shout.
    """
    return result.wrong > result.kinds.get(OTHER_RUN, 0)


@contextmanager
def _signals(
    reactor: Any, stop: Callable[[], None], show: Callable[[], None]
) -> Iterator[None]:
    """
    Stop at Ctrl-C, and show at Ctrl-\\, instead of ending the process.
    """

    def interrupted(*_: object) -> None:
        # Whoever presses it again means it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        reactor.callFromThread(stop)

    wanted: dict[signal.Signals, Callable[..., object]] = {
        signal.SIGINT: interrupted,
        signal.SIGQUIT: lambda *_: reactor.callFromThread(show),
    }
    before: dict[signal.Signals, Any] = {}
    for number, action in wanted.items():
        # A shell has the commands it starts with & ignore them.
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, action)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
