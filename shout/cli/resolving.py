"""
From the destinations on a command line to targets.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from socket import getaddrinfo
from threading import Thread
from typing import Any

from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import (
    Deferred,
    DeferredList,
    DeferredSemaphore,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from shout.cli.pingoptions import Destination, socketOptionsOf
from shout.measure.target import Target, resolveTarget
from shout.request import AskError, UnknownHost

# Seconds for each look-up.
_TIMEOUT = 10

# Number of look-ups that have their turn at a time.  One that takes longer than a turn,
# in seconds, goes on beside the next one, so that slow ones do not delay the others.
_AT_ONCE = 20
_TURN = 0.25

# Number of look-ups at a time in all.
_THREADS = 256


class LookUps:
    """
    Looks up names with the resolver of the system, in threads.

    The resolver can block for half a minute.  The reactor would wait for its own
    threads before it stops; these end with the process.

    @ivar nameResolver: An L{IHostnameResolver
        <twisted.internet.interfaces.IHostnameResolver>} provider.
    """

    def __init__(self, reactor: Any, getaddrinfo: Any = getaddrinfo) -> None:
        """
        @param reactor: An L{IReactorThreads
            <twisted.internet.interfaces.IReactorThreads>} provider.

        @param getaddrinfo: Called in a thread, like C{socket.getaddrinfo}.
        """
        pool: Any = ThreadPool(0, _THREADS, "look-ups")
        pool.threadFactory = partial(Thread, daemon=True)
        pool.start()
        self.nameResolver = GAIResolver(reactor, lambda: pool, getaddrinfo)


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
    lookUps, turns = LookUps(reactor), DeferredSemaphore(_AT_ONCE)

    async def resolve(destination: Destination) -> Target:
        await turns.acquire()
        turn = reactor.callLater(_TURN, turns.release)
        try:
            return await Deferred.fromCoroutine(
                resolveTarget(*destination, options.family, lookUps, sockets)
            ).addTimeout(_TIMEOUT, reactor)
        finally:
            if turn.active():
                turn.cancel()
                turns.release()

    searches = [Deferred.fromCoroutine(resolve(each)) for each in options.destinations]
    outcomes: Any = await DeferredList(searches, consumeErrors=True)
    targets = Targets()
    for destination, (_, outcome) in zip(options.destinations, outcomes):
        if error := targets.add(destination, outcome):
            # The others can still be measured.
            printError(error)
    return targets
