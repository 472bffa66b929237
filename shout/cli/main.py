"""
The part that C{shout} and C{shoutping} have in common.
"""

from __future__ import annotations

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from shout.cli.usage import UsageError


def run(
    name: str,
    parse: Callable[[Sequence[str]], Namespace],
    command: Callable[..., Coroutine[Deferred[Any], Any, int]],
    arguments: Sequence[str] | None = None,
) -> int:
    """
    Run a command.  The caller sets SIGINT to end the process; see
    shout/__main__.py.

    @param name: The name of the command, for error messages.

    @param parse: Called with C{arguments}; returns the options, or raises
        L{UsageError}.

    @param command: Called with the options, a function that prints an error, and
        the reactor; the coroutine returns the exit status.

    @param arguments: The words after the name; by default those of the process.

    @return: The exit status.
    """
    _fillDescriptors()

    def printError(message: str) -> None:
        # Standard error may be closed.
        if sys.stderr is not None:
            with suppress(OSError):
                print(f"{name}: {message}", file=sys.stderr)

    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except UsageError as e:
        printError(str(e))
        return 2
    reactor: Any
    from twisted.internet import reactor

    # Modules live as long as the process.  Garbage collections that include them delay
    # a measurement, and the last one takes a sixth of the time of a short run.  PyPy
    # cannot leave them out.
    with suppress(AttributeError):
        gc.freeze()
    gc.enable()
    results: list[int | Failure] = []

    def start() -> None:
        running = Deferred.fromCoroutine(command(options, printError, reactor))
        running.addBoth(results.append)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _fillDescriptors() -> None:
    """
    Open those of the first three descriptors that are closed, so that no socket
    becomes standard output.  Reading finds the end of the file, and writing fails.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
