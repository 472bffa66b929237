"""
The C{shout} command as a measuring instrument.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from shout.cli import document, text
from shout.cli.live import LiveLine
from shout.cli.ping import PingCommand
from shout.cli.pingoptions import scheduleOf
from shout.cli.search import FLOOD, SearchCommand
from shout.cli.usage import UsageError
from shout.measure.schedule import Schedule
from shout.measure.target import Target, resolveTarget
from shout.request import AskError, UnknownHost


async def measure(
    options: Namespace, printError: Callable[[str], None], reactor: Any
) -> int:
    """
    Measure what the user wants to know.

    @param options: as L{parse<shout.cli.options.parse>} returns them.

    @param complain: prints a line to standard error.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @return: the exit status: 0 when all is well, 1 when nothing came back, too
        much was lost or there is no way to a host, 2 when it cannot be measured
        or a host is unknown, 3 when only something answered that is not shout;
        the highest where several apply.
    """
    schedule = scheduleOf(options)
    targets = []
    failures = []
    failed = 0
    for host in options.hosts if options.unix is None else [""]:
        try:
            targets.append(
                await resolveTarget(
                    host, options.port, options.unix, options.family, reactor
                )
            )
        except AskError as e:
            # The others can still be measured.
            printError(str(e))
            failed = max(failed, 2 if isinstance(e, UnknownHost) else 1)
            name = host if options.unix is None else options.unix
            port = options.port if options.unix is None else None
            failures.append((Target(name, name, port), str(e)))
    try:
        checkTargets(targets, schedule, options)
    except UsageError as e:
        printError(str(e))
        return 2
    isTerminal = not options.json and os.isatty(1)
    note = document.leftOutLine if options.json else text.leftOutLine
    live = LiveLine(1, isTerminal, note, printError, reactor)
    try:
        if options.find_rate or options.sizes:
            target, error = failures[0] if failures else (targets[0], "")
            finding = SearchCommand(
                target, schedule, options, live, printError, reactor
            )
            status = await (finding.fail(error) if error else finding.run())
        else:
            measuring = PingCommand(
                targets, failures, schedule, options, live, printError, reactor
            )
            status = await measuring.run()
    except OSError as e:
        # A UNIX socket can go away meanwhile, and descriptors can run out.
        printError(f"cannot open a socket to measure with: {e.strerror}")
        status = 1
    return max(failed, status)


def checkTargets(
    targets: Sequence[Target], schedule: Schedule, options: Namespace
) -> None:
    """
    Refuse what these targets are not fit for.

    @raise UsageError: when one is not.
    """
    for target in targets:
        if schedule.size > target.largest:
            raise UsageError(
                f"--size takes at most {target.largest} over IPv4, not {schedule.size}"
            )
    remote = [target for target in targets if not target.isLocal]
    isFlood = len(remote) / schedule.interval > FLOOD + 0.01
    if isFlood and not options.flood:
        where = remote[0].address if len(remote) == 1 else f"{len(remote)} hosts"
        raise UsageError(
            f"more than {FLOOD:,} datagrams per second to {where}, "
            "not on the loopback: that takes --flood as well"
        )
