"""
The C{shout} command.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from shlex import quote
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from shout.cli.ask import LineSession
from shout.cli.measure import measure
from shout.cli.options import DEFAULT_PORT, UsageError, parse
from shout.cli.stdio import Input, Output
from shout.client import AskError, Refused, UnknownHost, connect
from shout.protocol import Shout, UnicodeShout


async def ask(options: Namespace, reactor: Any) -> int:
    """
    Ask what the user wants to ask.

    @param options: as L{parse} returns them.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @return: the exit status.
    """
    hint = _hint(options)
    # A UNIX socket queues no more than net.unix.max_dgram_qlen, usually 10.
    maxInFlight = 64 if options.unix is None else 8
    session = LineSession(printError, hint, maxInFlight, os.isatty(2))
    try:
        client = await connect(
            options.host,
            options.port,
            unix=options.unix,
            family=options.family,
            timeout=options.timeout,
            retries=options.retries,
            transform=(UnicodeShout() if options.unicode else Shout()).transform,
            onUnexpectedReply=session.unexpectedReplyReceived,
            reactor=reactor,
        )
    except Refused as e:
        printError(f"{e} ({hint})")
        return 1
    except UnknownHost as e:
        printError(str(e))
        return 2
    except AskError as e:
        printError(str(e))
        return 1
    output = Output(1, session.outputEnded, reactor)
    if options.text is not None:
        session.say(client, output, options.text)
    else:
        if os.isatty(0):
            printError(f"what you type is sent to {client.peer}; Ctrl-D ends it")
        received, ended = session.inputReceived, session.inputEnded
        session.read(client, output, Input(0, received, ended, reactor))
    try:
        return await session.done
    finally:
        await client.close()


def _hint(options: Namespace) -> str:
    """
    Say what to do where nothing listens.
    """
    command = "twistd -n shout"
    if options.unix is not None:
        command += f" --unix {quote(options.unix)}"
    elif options.host not in ("127.0.0.1", "::1", "localhost"):
        return "is a server running there, on this port?"
    elif options.port != DEFAULT_PORT:
        command += f" --port {options.port}"
    return f"start one with: {command}"


def printError(message: str) -> None:
    """
    Print one line to standard error.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"shout: {message}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.  The caller sets SIGINT to end the process; see
    shout/__main__.py.

    @param arguments: the words after its name; by default those that the
        program was started with.

    @return: the exit status.
    """
    _fillDescriptors()
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except UsageError as e:
        printError(str(e))
        return 2
    reactor: Any
    from twisted.internet import reactor

    results: list[int | Failure] = []

    def start() -> None:
        if options.ping:
            work = measure(options, printError, reactor)
        else:
            work = ask(options, reactor)
        working = Deferred.fromCoroutine(work)
        working.addBoth(results.append)
        working.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _fillDescriptors() -> None:
    """
    Open those of the first three descriptors that are closed, so that no socket
    becomes standard output.  There is nothing to read, and writing fails.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
