"""
Tests for the C{shout} command as its users run it.
"""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import needsIPv6
from tests.peers import PeerCase


class Command(ProcessProtocol):
    """
    A running command: what it printed, and its status.

    @ivar heard: called whenever it prints something.
    """

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self.onEvent: Callable[[], object] = lambda: None

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self.onEvent()

    def errReceived(self, data: bytes) -> None:
        self.err += data
        self.onEvent()

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        assert isinstance(error, ProcessDone | ProcessTerminated)
        self.ended.callback(-error.signal if error.signal else error.exitCode)

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait until what it printed fulfils a condition.
        """
        while not condition():
            onEvent: Deferred[None] = Deferred()
            self.onEvent = partial(onEvent.callback, None)
            await onEvent
            self.onEvent = lambda: None


class CommandCase(PeerCase):
    """
    Runs the C{shout} command, while the servers run in this process.
    """

    def start(
        self, *arguments: str, name: str = "shout", fds: Any = None, shell: str = ""
    ) -> Command:
        """
        Start the command; it is killed if it runs when the test ends.

        @param fds: what its descriptors are, as for C{spawnProcess}.

        @param shell: starts it with other descriptors, as in C{'"$@" < file'}.
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

    async def run_(
        self, *arguments: str, stdin: bytes = b"", **options: Any
    ) -> tuple[int, bytes, list[str]]:
        """
        Run the command to its end, and return its status, its output, and the
        lines of its complaints.
        """
        command = self.start(*arguments, **options)
        assert command.transport is not None
        command.transport.write(stdin)
        command.transport.closeStdin()
        status = await command.ended
        return status, command.out, command.err.decode().splitlines()


class TextTests(CommandCase):
    """
    Tests for C{shout text}.
    """

    async def test_text(self) -> None:
        """
        C{shout hello world} prints C{HELLO WORLD}.
        """
        port = self.serveUDP()
        result = await self.run_("hello", "world", "-p", str(port))
        self.assertEqual(result, (0, b"HELLO WORLD\n", []))

    async def test_module(self) -> None:
        """
        C{python -m shout} is the same command.
        """
        port = str(self.serveUDP())
        result = await self.run_(
            "-m", "shout", "-p", port, "hello", name=os.path.basename(sys.executable)
        )
        self.assertEqual(result, (0, b"HELLO\n", []))

    @needsIPv6
    async def test_ipv6(self) -> None:
        """
        The host may be an IPv6 address.
        """
        port = str(self.serveUDP("::1"))
        result = await self.run_("-H", "::1", "-p", port, "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_name(self) -> None:
        """
        The host may be a name, and its server on IPv4 alone.
        """
        port = str(self.serveUDP())
        result = await self.run_("-H", "localhost", "-p", port, "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_unix(self) -> None:
        """
        The server may be at a UNIX socket.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        result = await self.run_("-u", path, "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_unicode(self) -> None:
        """
        With C{--unicode} the reply is what Unicode has for capitals.
        """
        _, port = self.misbehave(lambda datagram: [datagram.decode().upper().encode()])
        arguments = ("-p", str(port), "straße")
        result = await self.run_("--unicode", *arguments)
        self.assertEqual(result, (0, b"STRASSE\n", []))
        status, _, _ = await self.run_(*arguments)
        self.assertEqual(status, 1)

    async def test_refused(self) -> None:
        """
        A refusal is one line that says what to do, and the status is 1.
        """
        port = self.freePort()
        result = await self.run_("-p", str(port), "-t", "86400", "hello")
        complaint = f"shout: 127.0.0.1:{port} refused: nothing is listening there"
        complaint += f" (start one with: twistd -n shout --port {port})"
        self.assertEqual(result, (1, b"", [complaint]))

    async def test_noSuchSocket(self) -> None:
        """
        A path where there is no socket is one line, and the status is 1.
        """
        status, out, err = await self.run_("-u", "/nonexistent/s", "hello")
        complaint = "shout: /nonexistent/s refused: there is no such socket"
        complaint += " (start one with: twistd -n shout --unix /nonexistent/s)"
        self.assertEqual((status, out, err), (1, b"", [complaint]))

    async def test_unanswered(self) -> None:
        """
        A server that never answers is one line, and the status is 1.
        """
        _, port = self.misbehave(lambda datagram: [])
        arguments = ("-p", str(port), "-t", "0.01", "-r", "3", "hello")
        status, out, (complaint,) = await self.run_(*arguments)
        self.assertEqual((status, out), (1, b""))
        self.assertIn(f"no answer from 127.0.0.1:{port} to 4 tries", complaint)

    async def test_wrongAnswer(self) -> None:
        """
        When nothing but wrong replies came, one line says so, and the status is 1.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        arguments = ("-p", str(port), "-t", "0.05", "hello")
        status, out, (complaint,) = await self.run_(*arguments)
        self.assertEqual((status, out), (1, b""))
        wanted = f"shout: 127.0.0.1:{port} answered 'hello' instead of 'HELLO' "
        self.assertIn(f"{wanted}(3 wrong replies to 3 tries in ", complaint)

    async def test_forgedReplies(self) -> None:
        """
        Wrong replies before the right one change neither what is printed nor the
        status.
        """
        replies = [b"\xffgarbage", b"hello", b"GOODBYE", b"HELLO"]
        _, port = self.misbehave(lambda datagram: replies)
        result = await self.run_("-p", str(port), "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_echoServer(self) -> None:
        """
        On a terminal a wrong reply is shown when it comes, before the tries are used
        up.
        """
        main, other = (FileIO(fd, "r+") for fd in pty.openpty())
        self.addCleanup(main.close)
        self.addCleanup(other.close)
        _, port = self.misbehave(lambda datagram: [datagram])
        fds = {0: "w", 1: "r", 2: other.fileno()}
        self.start("-p", str(port), "-t", "86400", "hello", fds=fds)
        # Reading ends, should the command end before it has printed anything.
        other.close()
        shown = await deferToThread(main.readline)
        self.assertEqual(
            shown.decode().rstrip(),
            f"shout: 127.0.0.1:{port} answered 'hello' instead of 'HELLO'; "
            "still waiting for the right reply",
        )

    async def test_unknownHost(self) -> None:
        """
        A name that leads nowhere is one line, and the status is 2.
        """
        result = await self.run_("-H", "does-not-exist.invalid", "hello")
        complaint = "shout: no address is known for 'does-not-exist.invalid'"
        self.assertEqual(result, (2, b"", [complaint]))

    async def test_usage(self) -> None:
        """
        A wrong command line is one line, and the status is 2.
        """
        result = await self.run_("hello", "--port", "x")
        complaint = "shout: --port takes a number from 1 to 65535, not 'x'"
        self.assertEqual(result, (2, b"", [complaint]))

    async def test_interrupt(self) -> None:
        """
        Ctrl-C ends the command as it ends others, without a word.
        """
        asked: Deferred[None] = Deferred()

        def hear(datagram: bytes) -> list[bytes]:
            asked.callback(None)
            return []

        _, port = self.misbehave(hear)
        command = self.start("-p", str(port), "-t", "86400", "hello")
        await asked
        assert command.transport is not None
        command.transport.signalProcess("INT")
        self.assertEqual(await command.ended, -signal.SIGINT)
        self.assertEqual((command.out, command.err), (b"", b""))

    async def test_fullDisk(self) -> None:
        """
        A reply that cannot be written is one line, and the status is 1.
        """
        arguments = ("-p", str(self.serveUDP()), "hello")
        result = await self.run_(*arguments, shell='"$@" > /dev/full')
        complaint = "shout: cannot write to standard output: No space left on device"
        self.assertEqual(result, (1, b"", [complaint]))

    async def test_closedOutput(self) -> None:
        """
        A reply to a standard output that is closed is an error, and is not
        written anywhere else.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        arguments = ("-p", str(port), "hello")
        status, _, err = await self.run_(*arguments, shell='"$@" >&-')
        complaint = "shout: cannot write to standard output: Bad file descriptor"
        self.assertEqual((status, err), (1, [complaint]))
        self.assertEqual(peer.received, [b"hello"])


class LinesTests(CommandCase):
    """
    Tests for C{shout} without text.
    """

    async def test_thousand(self) -> None:
        """
        A thousand lines that are piped through come back in capitals, all of
        them.
        """
        lines = [b"line number %d" % number for number in range(1000)]
        port = str(self.serveUDP())
        status, out, err = await self.run_("-p", port, stdin=b"\n".join(lines) + b"\n")
        self.assertEqual((status, err), (0, []))
        self.assertEqual(
            sorted(out.splitlines()), sorted(line.upper() for line in lines)
        )

    async def test_thousandUNIX(self) -> None:
        """
        A thousand lines come back from a UNIX socket too, whose queue is short.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        lines = [b"%d" % number for number in range(1000)]
        status, out, err = await self.run_("-u", path, stdin=b"\n".join(lines))
        self.assertEqual((status, err), (0, []))
        self.assertEqual(sorted(out.splitlines()), sorted(lines))

    async def test_long(self) -> None:
        """
        The longest lines do not overflow the server, without a second try.
        """
        lines = [b"%02d" % number + b"x" * 65505 for number in range(20)]
        port = str(self.serveUDP())
        status, out, err = await self.run_(
            "-p", port, "-r", "0", "-t", "30", stdin=b"\n".join(lines)
        )
        self.assertEqual((status, err), (0, []))
        self.assertEqual(sorted(out.splitlines()), [line.upper() for line in lines])

    async def test_bytes(self) -> None:
        """
        Every byte but the line ends goes out and comes back.
        """
        every = bytes(byte for byte in range(256) if byte != ord("\n"))
        port = str(self.serveUDP())
        result = await self.run_("-p", port, stdin=every + b"\r\n")
        self.assertEqual(result, (0, every.upper() + b"\n", []))

    async def test_lineEnds(self) -> None:
        """
        Line ends stay out of the datagrams, empty lines are asked about, and
        the last line needs no end.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        status, out, err = await self.run_("-p", str(port), stdin=b"a\r\n\nb")
        self.assertEqual((status, err), (0, []))
        self.assertEqual(sorted(out.splitlines()), [b"", b"A", b"B"])
        self.assertEqual(sorted(peer.received), [b"", b"a", b"b"])

    async def test_atOnce(self) -> None:
        """
        A reply is printed before the next line is there.
        """
        command = self.start("-p", str(self.serveUDP()))
        assert command.transport is not None
        command.transport.write(b"one\n")
        await command.until(lambda: command.out == b"ONE\n")
        command.transport.write(b"two\n")
        await command.until(lambda: command.out == b"ONE\nTWO\n")
        command.transport.closeStdin()
        self.assertEqual(await command.ended, 0)

    async def test_noWaiting(self) -> None:
        """
        A line that is not answered does not hold up others.
        """
        _, port = self.misbehave(lambda datagram: [b"B"] if datagram == b"b" else [])
        command = self.start("-p", str(port), "-t", "86400")
        assert command.transport is not None
        command.transport.write(b"a\nb\n")
        await command.until(lambda: command.out == b"B\n")

    async def test_someUnanswered(self) -> None:
        """
        A line that is not answered is told with its number, the others are
        answered, and the status is 1.
        """
        _, port = self.misbehave(
            lambda datagram: [] if datagram == b"b" else [datagram.upper()]
        )
        status, out, (complaint,) = await self.run_(
            "-p", str(port), "-t", "0.1", "-r", "9", stdin=b"a\nb\nc\n"
        )
        self.assertEqual((status, sorted(out.splitlines())), (1, [b"A", b"C"]))
        self.assertIn("shout: line 2: no answer from ", complaint)

    async def test_duplicates(self) -> None:
        """
        Replies that come twice are printed once.
        """
        _, port = self.misbehave(lambda datagram: [datagram.upper()] * 2)
        lines = [b"%d" % number for number in range(500)]
        status, out, err = await self.run_("-p", str(port), stdin=b"\n".join(lines))
        self.assertEqual((status, err), (0, []))
        self.assertEqual(sorted(out.splitlines()), sorted(lines))

    async def test_echo(self) -> None:
        """
        A server that echoes is found out soon.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        status, out, err = await self.run_("-p", str(port), stdin=b"hello\n" * 1000)
        self.assertEqual((status, out), (1, b""))
        self.assertIn(f"127.0.0.1:{port} answered 'hello' instead of 'HELLO'", err[0])
        self.assertIn("giving up", err[-1])

    async def test_refused(self) -> None:
        """
        A refusal is told once, whatever the number of lines.
        """
        port = str(self.freePort())
        status, out, err = await self.run_("-p", port, stdin=b"hello\n" * 1000)
        self.assertEqual((status, out, len(err)), (1, b"", 1))
        self.assertIn("refused", err[0])

    async def test_file(self) -> None:
        """
        The lines may come from a file, and the replies may go to one.
        """
        folder = shortDirectory(self)
        with open(folder + "/in", "wb") as file:
            file.write(b"hello\n" * 1000)
        arguments = ("-p", str(self.serveUDP()))
        shell = f'"$@" < {folder}/in > {folder}/out'
        result = await self.run_(*arguments, shell=shell)
        self.assertEqual(result, (0, b"", []))
        with open(folder + "/out", "rb") as file:
            self.assertEqual(file.read(), b"HELLO\n" * 1000)

    async def test_noInput(self) -> None:
        """
        Without any input everything was answered.
        """
        port = str(self.serveUDP())
        for shell in ('"$@" < /dev/null', '"$@" <&-'):
            result = await self.run_("-p", port, shell=shell)
            self.assertEqual(result, (0, b"", []))

    async def test_readerGone(self) -> None:
        """
        When the reader has had enough, the command ends without a word.
        """
        port = str(self.serveUDP())
        result = await self.run_(
            "-p", port, stdin=b"hello\n" * 10000, shell='"$@" | head -n 1'
        )
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_terminal(self) -> None:
        """
        At a terminal each line is answered, until Ctrl-D, and the terminal goes
        on blocking.
        """
        main, other = (FileIO(fd, "r+") for fd in pty.openpty())
        self.addCleanup(main.close)
        self.addCleanup(other.close)
        fds = {0: other.fileno(), 1: "r", 2: "r"}
        port = self.serveUDP()
        command = self.start("-p", str(port), fds=fds)
        await command.until(lambda: command.err.endswith(b"\n"))
        self.assertEqual(
            command.err.decode(),
            f"shout: what you type is sent to 127.0.0.1:{port}; Ctrl-D ends it\n",
        )
        main.write(b"hello\n")
        await command.until(lambda: command.out == b"HELLO\n")
        self.assertTrue(os.get_blocking(other.fileno()))
        main.write(b"\x04")
        self.assertEqual(await command.ended, 0)
        self.assertEqual(command.out, b"HELLO\n")
