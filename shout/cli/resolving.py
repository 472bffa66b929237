"""
From the destinations on a command line to targets.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import (
    Deferred,
    DeferredList,
    DeferredSemaphore,
    TimeoutError,
)
from twisted.python.failure import Failure

from shout.cli.pingoptions import Destination, socketOptionsOf
from shout.measure.target import Target, resolveTarget
from shout.request import AskError, UnknownHost

# Number of names that are looked up at a time, and seconds for all of them.
_AT_ONCE = 20
_TIMEOUT = 10


class Targets:
    """
    The targets of a command line.

    @ivar found: The targets that can be measured.

    @ivar failures: The others, each with the reason.

    @ivar status: The exit status for the failures: 0 if there are none, 2 if a host is
        unknown, otherwise 1.
    """

    def __init__(self) -> None:
        self.found: list[Target] = []
        self.failures: list[tuple[Target, str]] = []
        self.status = 0

    def add(self, destination: Destination, outcome: Target | Failure) -> str | None:
        """
        Add a target, or a failure.

        @return: The reason of the failure, or C{None}.
        """
        if isinstance(outcome, Target):
            self.found.append(outcome)
            return None
        host, port, unix = destination
        error = outcome.value
        if isinstance(error, TimeoutError):
            error = UnknownHost(f"the look-up of {host!r} took more than {_TIMEOUT} s")
        if not isinstance(error, AskError):
            outcome.raiseException()
        self.status = max(self.status, 2 if isinstance(error, UnknownHost) else 1)
        name = unix or host
        target = Target(name, name, None if unix else port)
        self.failures.append((target, str(error)))
        return str(error)


async def resolveTargets(
    options: Namespace, printError: Callable[[str], None], reactor: Any
) -> Targets:
    """
    Find the targets for the destinations of the options.  Names are looked up side by
    side, so that one without an answer does not delay the others.

    @param printError: Called with the reason why a destination cannot be measured.

    @raise OptionError: If a socket cannot have one of the options.
    """
    sockets = socketOptionsOf(options)
    end = reactor.seconds() + _TIMEOUT

    def resolve(destination: Destination) -> Deferred[Target]:
        found = Deferred.fromCoroutine(
            resolveTarget(*destination, options.family, reactor, sockets)
        )
        return found.addTimeout(max(0, end - reactor.seconds()), reactor)

    turns = DeferredSemaphore(_AT_ONCE)
    searches = [turns.run(resolve, each) for each in options.destinations]
    outcomes: Any = await DeferredList(searches, consumeErrors=True)
    targets = Targets()
    for destination, (_, outcome) in zip(options.destinations, outcomes):
        if error := targets.add(destination, outcome):
            # The others can still be measured.
            printError(error)
    return targets
