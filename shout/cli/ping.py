"""
A measurement of one or several targets, and its printed results.
"""

from __future__ import annotations

import json
import os
import resource
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import socket as Socket
from typing import Any

from twisted.internet.task import LoopingCall

from shout.cli import document, text
from shout.cli.bitrate import bitrateInWords
from shout.cli.headers import TTLNotes, tosLines, ttlLines
from shout.cli.live import LiveLine
from shout.cli.pingoptions import FLOOD, scheduleOf, socketOptionsOf, sourcePortsOf
from shout.cli.resolving import resolveTargets
from shout.cli.signals import signalHandlers
from shout.cli.times import WallClock, spanLine, stamp
from shout.cli.usage import UsageError
from shout.measure.probe import OTHER_RUN
from shout.measure.result import Event, Result
from shout.measure.session import PingSession
from shout.measure.target import OptionError, Target, openBeside, openSockets
from shout.sockets.address import authority


async def ping(
    options: Namespace,
    printError: Callable[[str], None],
    reactor: Any,
    stdout: int = 1,
) -> int:
    """
    Measure the destinations of the options, and print the results.

    @param options: The options, as L{shout.cli.pingoptions.parse} returns them.

    @param printError: Called with one line for the user.

    @return: The exit status, the highest of those that apply; the help has a list.
    """
    try:
        targets = await resolveTargets(options, printError, reactor)
        checkTargets(targets.found, options)
    except (OptionError, UsageError) as e:
        printError(str(e))
        return 2
    found, failures = targets.found, targets.failures
    isTerminal = not (options.json or options.csv) and os.isatty(stdout)
    leftOutLine = _jsonLeftOutLine if options.json else text.leftOutLine
    live = LiveLine(stdout, isTerminal, leftOutLine, printError, reactor)
    try:
        if not (options.find_rate or options.mtu):
            command = PingCommand(found, failures, options, live, reactor)
            status = await command.run()
        else:
            target, error = failures[0] if failures else (found[0], "")
            from shout.cli.search import SearchCommand

            search = SearchCommand(target, options, live, reactor)
            status = await (search.fail(error) if error else search.run())
    except OptionError as e:
        printError(str(e))
        status = 2
    except OSError as e:
        # The peer's UNIX socket may be gone by now, and descriptors may run out.
        printError(f"cannot open a socket: {e.strerror}")
        status = 1
    return max(targets.status, status)


def _jsonLeftOutLine(count: int) -> str:
    return document.leftOutLine(count, WallClock().now())


def checkTargets(targets: Sequence[Target], options: Namespace) -> None:
    """
    Raise L{UsageError} if an option does not fit the targets.
    """
    schedule = scheduleOf(options, _longestHeaders(targets))
    for target in targets:
        if schedule.size > target.largest:
            raise UsageError(
                f"--size must be at most {target.largest} over IPv4, "
                f"not {schedule.size}"
            )
    if options.ports:
        for (address, port), count in Counter(
            (target.address, target.port) for target in targets
        ).items():
            if count > 1:
                raise UsageError(
                    f"{authority(address, port or 0)} is given twice, "
                    "which --source-ports does not allow"
                )
    mostElsewhere = (FLOOD + 0.01) * schedule.interval
    if options.flood or len(targets) <= mostElsewhere:
        return
    sockets = socketOptionsOf(options)
    remote = [target for target in targets if not target.isOnThisHost(sockets)]
    if len(remote) > mostElsewhere:
        where = remote[0].address if len(remote) == 1 else f"{len(remote):,} hosts"
        raise UsageError(
            f"more than {FLOOD:,} datagrams per second to {where}, "
            "not on the loopback: add --flood to send them"
        )


# Number of targets up to which each has an opening line, lines for its replies and a
# summary.
_FEW = 10

# Rows of a terminal beside the table and the summary of more targets: the head of the
# table, two notes below it, and the prompt of the shell.
_OTHER_ROWS = 4

# Number of open file descriptors that are not sockets, or more.
_OTHER_DESCRIPTORS = 64

# The rows of the table during a measurement, the seconds between two updates of it, and
# the number of flows from which on these are longer: an update looks at each flow.
_LIVE_ROWS = 20
_UPDATE = 0.1
_FLOWS_PER_UPDATE = 1000


def _longestHeaders(targets: Sequence[Target]) -> int:
    return max((target.headers for target in targets), default=0)


def _allowDescriptors(count: int) -> None:
    """
    Raise the limit of open file descriptors for a number of sockets, as far as the
    system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count += _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        count = min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# What most measurements do without is imported where it is used, so that a short one
# starts fast.
class PingCommand:
    """
    A measurement of targets side by side, and its printed results.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        failures: Sequence[tuple[Target, str]],
        options: Namespace,
        live: LiveLine,
        reactor: Any,
    ) -> None:
        """
        @param failures: The targets that cannot be measured, each with the reason.

        @raise OSError: If a socket cannot be opened; then none is.
        """
        self._failures = failures
        self._headers = _longestHeaders(targets)
        self._schedule = scheduleOf(options, self._headers)
        self._options = options
        self._live = live
        self._reactor = reactor
        self._targets = targets
        self._session = None
        self._wallClock = WallClock()
        self._start = 0
        if targets:
            ports = sourcePortsOf(options)
            _allowDescriptors(2 * len(targets) * len(ports))
            isShared = len(targets) > 1 and any(ports)
            sockets = openSockets(targets, ports, socketOptionsOf(options, isShared))
            beside: list[Socket] = []
            if len(targets) == 1 and targets[0].port is not None:
                # Without descriptors for these, the measurement is possible as well.
                with suppress(OSError):
                    beside = openBeside(sockets[0], socketOptionsOf(options))
            self._session = PingSession(
                sockets, self._schedule, self._printer(), reactor, beside=beside
            )
            if options.outstanding:
                self._session.reportOutstanding()
            if options.trace:
                from shout.cli.paths import trace

                trace(self._session, targets[0], self._schedule.timeout, reactor)

    async def run(self) -> int:
        """
        Measure, and print.

        @return: The exit status.
        """
        live = self._live
        ended = live.ended.addCallback(self._outputEnded)
        updates = LoopingCall(self._updateStatus)
        updates.clock = self._reactor
        self._start = self._wallClock.now()
        with signalHandlers(self._reactor, self._stop, self._showSoFar):
            if self._session is not None:
                self._session.listen()
                self._printOpenings(self._session)
                if live.isTerminal:
                    size = len(self._session.flows) / _FLOWS_PER_UPDATE
                    updates.start(_UPDATE * max(1, size), now=False)
                await self._session.start()
        if updates.running:
            updates.stop()
            live.setStatus("")
        results = self._results()
        if self._options.names:
            from shout.cli.paths import pointerLookup, withNames

            lookUp = pointerLookup(self._reactor)
            results = [await withNames(each, lookUp) for each in results]
        for line in self._closingLines(results):
            live.writeLine(line)
        live.finish()
        status = await ended
        return status or statusOf(results, self._options.max_loss)

    def _printOpenings(self, session: PingSession) -> None:
        count = len(self._targets)
        if count > _FEW and not (self._options.json or self._options.csv):
            self._live.writeLine(text.openingLine(f"{count:,} targets", self._schedule))
            return
        for index in range(count):
            self._printOpening(index, session)

    def _printOpening(self, index: int, session: PingSession) -> None:
        schedule, target = self._schedule, self._targets[index]
        hasKernelTimes = session.hasKernelTimes(index)
        if self._options.json_lines:
            begin = document.beginObject(
                target, schedule.size, hasKernelTimes, self._start
            )
            self._live.writeLine(json.dumps(begin))
        elif not (self._options.json or self._options.csv):
            line = text.openingLine(target, schedule, hasKernelTimes)
            self._live.writeLine(line)

    def _printer(self) -> Callable[[Event, int], object] | None:
        """
        Return a function that prints an event of the target with an index, or C{None}
        if events are not printed.
        """
        count = len(self._targets)
        isFast = count > _FEW or self._schedule.interval <= 0.01 * count
        targets, writeLine = self._targets, self._live.writeLine
        timeOf = self._wallClock.timeOf
        if self._options.json_lines:
            line = document.eventLine
            return lambda event, index: writeLine(
                line(event, targets[index], timeOf(event)), True
            )
        options = self._options
        if options.quiet or options.json or options.csv or isFast:
            return None
        notes = TTLNotes()
        hasTimes = self._options.timestamps

        def printEvent(event: Event, index: int) -> None:
            target = targets[index]
            time = f"{stamp(timeOf(event))} " if hasTimes else ""
            note = notes.note(event, target, index)
            writeLine(time + text.eventLine(event, target) + note, True)

        return printEvent

    def _updateStatus(self) -> None:
        if self._session is None:
            return
        flows = self._session.flows
        if len(self._targets) > 1:
            from shout.cli.charts import liveTable

            rows = min(_LIVE_ROWS, self._live.rows - 2)
            lines = liveTable(self._targets, flows, rows)
            self._live.setStatus("\n".join(lines))
            return
        trackers = [flow.tracker for flow in flows]
        status = text.statusLine(trackers)
        if len(trackers) > 1:
            from shout.cli.flows import cells

            status += f"  {cells(trackers)}"
        self._live.setStatus(status)

    def _showSoFar(self) -> None:
        # If it is not a terminal, a program may be reading standard output.
        live = self._live
        writeLine = live.writeLine if live.isTerminal else live.printError
        results = self._results()
        lines = [line for result in results for line in self._summary(result)]
        for line in self._totalLines(results) if len(results) > _FEW else lines:
            writeLine(line)
        if self._options.timestamps:
            writeLine(spanLine(*self._span()))

    def _span(self) -> tuple[int, int]:
        return self._start, self._wallClock.now()

    def _totalLines(self, results: Sequence[Result]) -> list[str]:
        """
        Return a table of many results, and a summary of all of them.
        """
        from shout.cli.charts import table

        live, session = self._live, self._session
        assert session is not None
        name = f"{len(results):,} targets"
        total = session.total(Target(name, name, None))
        lines = ["", *text.summary(total), *self._notes(total)]
        if not live.isTerminal:
            return table(results) + lines
        # The worst results remain visible above the summary.
        most = max(_FEW, live.rows - live.rowsOf(lines) - _OTHER_ROWS)
        return table(results, live.columns, most) + lines

    def _summary(self, result: Result) -> list[str]:
        return text.summary(result) + ttlLines(result) + self._notes(result)

    def _notes(self, result: Result) -> list[str]:
        """
        Return the lines of the summary that some options add.
        """
        lines = []
        if self._options.tos is not None:
            lines += tosLines(result, self._options.tos)
        if self._options.bitrate:
            bits = 8 * (self._schedule.size + self._headers)
            lines.append(f"sent {bitrateInWords(result.rate * bits)} of IP packets")
        return lines

    def _stop(self) -> None:
        if self._session is not None:
            self._session.stop()

    def _outputEnded(self, status: int) -> int:
        self._stop()
        return status

    def _results(self) -> list[Result]:
        session = self._session
        if session is None:
            return []
        return [session.result(each, i) for i, each in enumerate(self._targets)]

    def _closingLines(self, results: Sequence[Result]) -> list[str]:
        tos, span = self._options.tos or 0, self._span()
        if self._options.csv:
            # Imported here, because most runs do not need it.
            from shout.cli.csvlines import csvLines

            hasFlows = self._options.flows or self._options.ports
            rows = [flow for each in results for flow in each.flows if hasFlows]
            return csvLines(rows or results, self._failures, tos, span)
        if self._options.json:
            printed = document.document(results, self._failures, tos, span)
            return [json.dumps(printed)]
        columns = self._live.columns if self._live.isTerminal else None
        lines = []
        for result in results if len(results) <= _FEW else ():
            lines += ["", *self._summary(result)]
            if columns is not None:
                from shout.cli.charts import histogramLines

                histogram, lost, late = result.histogram, result.lost, result.late
                lines += histogramLines(histogram, lost, late, columns)
            if len(result.flows) > 1 or self._options.trace:
                from shout.cli.paths import flowLines

                lines += flowLines(result.flows, columns)
        if len(results) > _FEW:
            lines += ["", *self._totalLines(results)]
        elif len(results) > 1:
            from shout.cli.charts import table

            lines += ["", *table(results, columns)]
        if self._options.timestamps:
            lines.append(spanLine(*span))
        return lines


def statusOf(results: Sequence[Result], maxLoss: float | None) -> int:
    """
    Return the exit status for some results.

    @param maxLoss: The percentage that may stay unanswered in time; C{None} allows
        any below 100.
    """
    status = 0
    for result in results:
        isRight = result.answered or result.late
        if not isRight and result.wrong > result.kinds.get(OTHER_RUN, 0):
            # All replies were wrong, so the server is not shout.
            return 3
        silent = [flow for flow in result.flows if flow.sent and not flow.answered]
        isSilent = silent or not result.answered
        if isSilent or (maxLoss is not None and result.unanswered > maxLoss):
            status = 1
    return status
