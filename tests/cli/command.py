"""
The commands C{shout} and C{shoutping}, in this process and in one of their own.
"""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from tempfile import TemporaryFile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from shout.cli import options, pingoptions
from shout.cli.ask import ask
from shout.cli.ping import ping
from shout.cli.stdio import Input
from tests.peers import PeerCase


class Command(ProcessProtocol):
    """
    A running command, the bytes that it printed, and its status.

    @ivar onOutput: Called whenever it prints something.
    """

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self.onOutput: Callable[[], object] = lambda: None

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self.onOutput()

    def errReceived(self, data: bytes) -> None:
        self.err += data
        self.onOutput()

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        assert isinstance(error, ProcessDone | ProcessTerminated)
        self.ended.callback(-error.signal if error.signal else error.exitCode)

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait until a condition holds; it is checked whenever something is printed.
        """
        while not condition():
            printed: Deferred[None] = Deferred()
            self.onOutput = partial(printed.callback, None)
            await printed
            self.onOutput = lambda: None


class CommandCase(PeerCase):
    """
    Runs commands, while the servers run in this process.
    """

    async def ask(
        self, *arguments: str, stdin: bytes = b""
    ) -> tuple[int, bytes, list[str]]:
        """
        Run C{shout} in this process, and return its status, its output, and its error
        lines without the name of the command.
        """
        errors: list[str] = []
        with TemporaryFile() as lines, TemporaryFile() as out:
            lines.write(stdin)
            lines.seek(0)
            fds = (lines.fileno(), out.fileno())
            parsed = options.parse(arguments)
            status = await ask(parsed, errors.append, self.reactor, *fds)
            out.seek(0)
            return status, out.read(), errors

    async def ping(self, *arguments: str) -> tuple[int, str, list[str]]:
        """
        Run C{shoutping} in this process; see L{ask}.
        """
        errors: list[str] = []
        with TemporaryFile("w+") as out:
            parsed = pingoptions.parse(arguments)
            status = await ping(parsed, errors.append, self.reactor, out.fileno())
            out.seek(0)
            return status, out.read(), errors

    async def onTerminal(self, *arguments: str) -> tuple[int, str, list[str]]:
        """
        Run C{shoutping} in this process with a terminal as its standard output, and
        return its status, its output, and its error lines.
        """
        errors: list[str] = []
        printed: Deferred[None] = Deferred()
        chunks: list[bytes] = []
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        end = partial(printed.callback, None)
        reading = Input(ours, chunks.append, lambda reason: end(), self.reactor)
        reading.resumeProducing()
        try:
            status = await ping(
                pingoptions.parse(arguments), errors.append, self.reactor, theirs
            )
        finally:
            os.close(theirs)
        await printed
        return status, b"".join(chunks).decode().replace("\r\n", "\n"), errors

    async def measure(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """
        Run C{shoutping --json} in this process, and return its status and the object.
        """
        status, out, errors = await self.ping("--json", *arguments)
        self.assertEqual(errors, [])
        result: dict[str, Any] = json.loads(out)
        return status, result

    def start(
        self, *arguments: str, name: str = "shout", fds: Any = None, shell: str = ""
    ) -> Command:
        """
        Start a command in a process, which is killed when the test ends.

        @param fds: The descriptors, as for C{spawnProcess}.

        @param shell: A shell command that starts it with other descriptors, such as
            C{'"$@" < file'}.
        """
        path = os.path.join(os.path.dirname(sys.executable), name)
        argv = [path, *arguments]
        if shell:
            argv = ["/bin/sh", "-c", shell, "sh", *argv]
        command = Command()
        process = self.reactor.spawnProcess(
            command, argv[0], argv, env=None, childFDs=fds or {0: "w", 1: "r", 2: "r"}
        )

        def kill() -> Deferred[int] | None:
            if command.ended.called:
                return None
            process.signalProcess("KILL")
            return command.ended

        self.addCleanup(kill)
        return command

    async def execute(
        self, *arguments: str, stdin: bytes = b"", **options: Any
    ) -> tuple[int, bytes, list[str]]:
        """
        Run a command in a process to its end, and return its status, its output, and
        its error lines.
        """
        command = self.start(*arguments, **options)
        assert command.transport is not None
        command.transport.write(stdin)
        command.transport.closeStdin()
        status = await command.ended
        return status, command.out, command.err.decode().splitlines()

    def answerHalf(self, isEcho: bool = False) -> int:
        """
        Start a server that answers every second datagram, from the first on, and
        echoes the others or drops them, and return its port.
        """
        turns = cycle([True, False])

        def answer(datagram: bytes) -> list[bytes]:
            if next(turns):
                return [datagram.upper()]
            return [datagram] if isEcho else []

        _, port = self.misbehave(answer)
        return port
