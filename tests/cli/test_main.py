"""
Tests for L{shout.cli.main}, and for the commands as processes.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import FileIO, StringIO

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.main import run
from shout.cli.usage import UsageError
from tests.cli.command import CommandCase


class RunTests(SynchronousTestCase):
    """
    Tests for L{run}.
    """

    def test_usage(self) -> None:
        """
        An error of the command line is one line with the name of the command, and the
        status is 2.
        """

        def parse(arguments: Sequence[str]) -> Namespace:
            self.assertEqual(arguments, ["--wrong"])
            raise UsageError("that is wrong; try something else")

        errors = StringIO()
        with redirect_stderr(errors):
            status = run("scream", parse, self.fail, ["--wrong"])
        self.assertEqual(status, 2)
        self.assertEqual(
            errors.getvalue(), "scream: that is wrong; try something else\n"
        )


class ShoutTests(CommandCase):
    """
    Tests for C{shout}.
    """

    async def test_module(self) -> None:
        """
        C{python -m shout} is the same command.
        """
        port = str(self.serveUDP())
        arguments = ("-m", "shout", "-p", port, "hello")
        result = await self.execute(*arguments, name=os.path.basename(sys.executable))
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_interrupt(self) -> None:
        """
        Ctrl-C ends the command by SIGINT, and silently.
        """
        asked: Deferred[None] = Deferred()

        def answer(datagram: bytes) -> list[bytes]:
            asked.callback(None)
            return []

        _, port = self.misbehave(answer)
        command = self.start("-p", str(port), "-t", "86400", "hello")
        await asked
        assert command.transport is not None
        command.transport.signalProcess("INT")
        self.assertEqual(await command.ended, -signal.SIGINT)
        self.assertEqual((command.out, command.err), (b"", b""))

    async def test_closedDescriptors(self) -> None:
        """
        If standard input is closed there is no text; if standard output is closed,
        the reply is an error and is not written to any other descriptor.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        arguments = ("-p", str(port))
        result = await self.execute(*arguments, shell='"$@" <&-')
        self.assertEqual(result, (0, b"", []))
        status, _, errors = await self.execute(*arguments, "hi", shell='"$@" >&-')
        error = "shout: cannot write to standard output: Bad file descriptor"
        self.assertEqual((status, errors), (1, [error]))
        self.assertEqual(peer.received, [b"hi"])

    async def test_readerGone(self) -> None:
        """
        When the reader of its output has ended, the command ends silently.
        """
        port = str(self.serveUDP())
        shell = '"$@" | head -n 1'
        result = await self.execute("-p", port, stdin=b"hello\n" * 5000, shell=shell)
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_terminal(self) -> None:
        """
        On a terminal the reply to each line is printed before the next line is there,
        although the line before has none; Ctrl-D ends the command, and the terminal
        keeps blocking.
        """
        main, other = (FileIO(fd, "r+") for fd in pty.openpty())
        self.addCleanup(main.close)
        self.addCleanup(other.close)
        _, port = self.misbehave(
            lambda datagram: [] if datagram == b"lost" else [datagram.upper()]
        )
        arguments = ("-p", str(port), "-t", "0.3", "-r", "0")
        fds = {0: other.fileno(), 1: "r", 2: "r"}
        command = self.start(*arguments, fds=fds)
        await command.until(lambda: command.err.endswith(b"\n"))
        self.assertEqual(
            command.err.decode(),
            f"shout: lines that you type are sent to 127.0.0.1:{port}; "
            "Ctrl-D ends it\n",
        )
        main.write(b"lost\nhello\n")
        await command.until(lambda: command.out == b"HELLO\n")
        self.assertTrue(os.get_blocking(other.fileno()))
        main.write(b"\x04")
        self.assertEqual(await command.ended, 1)
        self.assertEqual(command.out, b"HELLO\n")

    async def test_echoServer(self) -> None:
        """
        If standard error is a terminal, a wrong reply is shown when it arrives.
        """
        main, other = (FileIO(fd, "r+") for fd in pty.openpty())
        self.addCleanup(main.close)
        self.addCleanup(other.close)
        _, port = self.misbehave(lambda datagram: [datagram])
        fds = {0: "w", 1: "r", 2: other.fileno()}
        self.start("-p", str(port), "-t", "86400", "hello", fds=fds)
        # Reading ends if the command ends before it has printed anything.
        other.close()
        shown = await deferToThread(main.readline)
        self.assertEqual(
            shown.decode().rstrip(),
            f"shout: 127.0.0.1:{port} answered 'hello' instead of 'HELLO'; "
            "still waiting for the right reply",
        )


class ShoutpingTests(CommandCase):
    """
    Tests for C{shoutping}.
    """

    async def test_json(self) -> None:
        """
        C{shoutping --json} prints one object.
        """
        arguments = ("--json", "-c", "2", "-i", "0.01", f"localhost:{self.serveUDP()}")
        status, out, errors = await self.execute(*arguments, name="shoutping")
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(json.loads(out)["answered"], 2)

    async def endBy(self, number: signal.Signals) -> None:
        """
        Show the results so far, and end a measurement by a signal.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        command = self.start("-i", "0.02", target, name="shoutping")
        assert command.transport is not None
        await command.until(lambda: b"seq=2" in command.out)
        command.transport.signalProcess(signal.SIGQUIT)
        await command.until(lambda: b"out of order" in command.err)
        command.transport.signalProcess(number)
        self.assertEqual(await command.ended, 0)
        self.assertIn(b"answered, 0 lost (0 %)", command.out)
        self.assertIn(b"answered, 0 lost (0 %)", command.err)

    async def test_interrupt(self) -> None:
        """
        Ctrl-C and SIGTERM end a measurement with its results; Ctrl-\\ shows those so
        far, on standard error if standard output is no terminal.
        """
        await self.endBy(signal.SIGINT)
        await self.endBy(signal.SIGTERM)

    async def test_pipe(self) -> None:
        """
        When the reader of its output has ended, the command ends silently.
        """
        arguments = ("-i", "0.02", f"127.0.0.1:{self.serveUDP()}")
        shell = '"$@" | head -n 2'
        result = await self.execute(*arguments, name="shoutping", shell=shell)
        status, out, errors = result
        self.assertEqual((status, len(out.splitlines()), errors), (0, 2, []))


class ImportTests(SynchronousTestCase):
    """
    Tests for the modules that the commands load.
    """

    def loaded(self, function: str) -> set[str]:
        """
        Run a function of L{shout.__main__}, with C{--help}, and return the modules of
        shout that it has loaded.
        """
        script = "import sys; from shout import __main__\n"
        script += f"try: __main__.{function}()\n"
        script += "finally: print(*sys.modules, file=sys.stderr)"
        argv = [sys.executable, "-c", script, "--help"]
        ended = subprocess.run(argv, capture_output=True, text=True, check=True)
        return {name for name in ended.stderr.split() if name.startswith("shout")}

    def test_main(self) -> None:
        """
        C{shout} loads nothing that only measures, and no server.
        """
        loaded = self.loaded("main")
        self.assertIn("shout.cli.ask", loaded)
        for name in ("measure", "cli.ping", "cli.pingoptions", "service", "status"):
            self.assertNotIn(f"shout.{name}", loaded)

    def test_ping(self) -> None:
        """
        C{shoutping} loads neither what only asks nor a server.
        """
        loaded = self.loaded("ping")
        self.assertIn("shout.cli.ping", loaded)
        for name in ("cli.ask", "cli.options", "protocol", "service", "status"):
            self.assertNotIn(f"shout.{name}", loaded)
