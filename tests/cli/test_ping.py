"""
Tests for what C{shout --ping} prints.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from dataclasses import replace
from io import FileIO
from itertools import cycle
from typing import Any

from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from shout import UnicodeShout, bindUDP
from shout.cli.ping import statusOf
from shout.measure.probe import ECHOED, OTHER_RUN
from shout.sockets.address import authority
from shout.sockets.unix import bindUNIX
from shout.udp.mmsg import available
from tests.cli.test_main import Command, CommandCase
from tests.directory import shortDirectory
from tests.families import PAIR
from tests.measure.fakes import LOSSY, RESULT
from tests.relay import ANSWER, CORRUPT, DROP, DUPLICATE, ECHO, GARBAGE, Relay

FIELDS = [
    "host",
    "port",
    "sent",
    "answered",
    "lost",
    "duplicates",
    "late",
    "out_of_order",
    "wrong",
    "refused",
    "answered_wrong",
    "out_of_window",
    "skipped",
    "kernel_drops",
    "in_flight_at_end",
    "rate",
    "rtt_ns",
    "jitter_ns",
    "clock",
    "error",
]


class StatusTests(SynchronousTestCase):
    """
    Tests for L{statusOf}.
    """

    def test_loss(self) -> None:
        """
        It is 1 where nothing was answered in time, or less than is wanted.
        """
        silent = replace(RESULT, answered=0, lost=100)
        late = replace(RESULT, answered=0, late=100)
        for result, maxLoss, expected in (
            (RESULT, 0, 0),
            (LOSSY, None, 0),
            (LOSSY, 1, 0),
            (LOSSY, 0.9, 1),
            (replace(RESULT, sent=10, answered=7, lost=3), 30, 0),
            (silent, None, 1),
            (silent, 100, 1),
            (late, None, 1),
        ):
            self.assertEqual(statusOf([result], maxLoss), expected)

    def test_mistaken(self) -> None:
        """
        It is 3 where something answered, but nothing right: not where that came
        too late, nor where what came was for another run.
        """
        wrong = replace(RESULT, answered=0, wrong=2, kinds={ECHOED: 2})
        others = {OTHER_RUN: 2}
        for result, expected in (
            (wrong, 3),
            (replace(wrong, late=1), 1),
            (replace(wrong, answered=1), 0),
            (replace(wrong, kinds=others), 1),
            (replace(wrong, wrong=3, kinds={ECHOED: 1, **others}), 3),
        ):
            self.assertEqual(statusOf([result], None), expected)

    def test_several(self) -> None:
        """
        Of several targets the worst decides.
        """
        silent = replace(RESULT, answered=0, lost=100)
        wrong = replace(RESULT, answered=0, wrong=2, kinds={ECHOED: 2})
        self.assertEqual(statusOf([silent, RESULT], None), 1)
        self.assertEqual(statusOf([silent, wrong, RESULT], None), 3)


class MeasureCase(CommandCase):
    """
    Runs C{shout --ping}.
    """

    async def ping(self, *arguments: str) -> tuple[int, str, list[str]]:
        status, out, err = await self.run_("--ping", *arguments)
        return status, out.decode(), err

    async def measure(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """
        Run it with C{--json}.
        """
        status, out, err = await self.ping("--json", *arguments)
        self.assertEqual(err, [])
        result: dict[str, Any] = json.loads(out)
        return status, result

    def answerHalf(self, isEcho: bool = False) -> int:
        """
        Start a server that answers every second datagram, from the first on,
        and sends the others back or not, and return its port.
        """
        turns = cycle([True, False])

        def answer(datagram: bytes) -> list[bytes]:
            if next(turns):
                return [datagram.upper()]
            return [datagram] if isEcho else []

        _, port = self.misbehave(answer)
        return port


class TextTests(MeasureCase):
    """
    Tests for what people read.
    """

    async def test_answered(self) -> None:
        """
        There is a line for every reply, and then the figures.
        """
        port = str(self.serveUDP())
        status, out, err = await self.ping("-p", port, "-c", "3", "-i", "0.02")
        self.assertEqual((status, err), (0, []))
        lines = out.splitlines()
        self.assertIn(f"SHOUT 127.0.0.1:{port}: 56 bytes, every 0.02 s", lines[0])
        for number, line in enumerate(lines[1:4], 1):
            self.assertRegex(
                line, rf"^56 bytes from 127\.0\.0\.1: seq={number} time=[\d.]+ ms"
            )
        self.assertEqual(lines[4:6], ["", f"--- 127.0.0.1:{port} ---"])
        self.assertIn("3 sent, 3 answered, 0 lost (0 %)", lines[6])
        self.assertIn("0 duplicates, 0 out of order", lines[7])
        self.assertRegex(lines[8], r"^round trip .*= ([\d.]+/){6}[\d.]+ ms$")
        clock = "the kernel" if available else "monotonic clock"
        self.assertRegex(lines[9], rf"^jitter [\d.]+ ms, times by .*{clock}$")
        self.assertEqual(len(lines), 10)
        self.assertNotIn("\r", out)
        self.assertNotIn("\x1b", out)

    async def test_quiet(self) -> None:
        """
        With C{-q}, and at a hundred per second and more, there are no lines for
        replies.
        """
        port = str(self.serveUDP())
        for options in (["-q", "-i", "0.02"], ["--rate", "100"]):
            status, out, _ = await self.ping("-p", port, "-c", "3", *options)
            self.assertEqual(status, 0)
            self.assertNotIn("seq=", out)
            self.assertIn("3 sent, 3 answered", out)

    async def test_several(self) -> None:
        """
        Several servers are measured side by side, and compared in a table.
        """
        (first,) = bindUDP(0, PAIR[:1])
        port = first.getsockname()[1]
        self.serve(first, *bindUDP(port, PAIR[1:]))
        status, out, err = await self.ping(
            *f"-H {PAIR[0]} -H {PAIR[1]} -p {port} -c 2 -i 0.02".split()
        )
        self.assertEqual((status, err), (0, []))
        table = out.splitlines()[-4:]
        self.assertTrue(table[0].startswith("server"))
        for line, host in zip(table[1:], PAIR):
            where = re.escape(authority(host, port))
            self.assertRegex(line, rf"^{where} +2 +2 +0 ")

    async def test_unix(self) -> None:
        """
        A UNIX socket is measured at its path.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        status, out, _ = await self.ping("-u", path, "-c", "2", "-i", "0.02")
        self.assertEqual(status, 0)
        self.assertIn(f"56 bytes from {path}: seq=2", out)
        self.assertIn("monotonic clock", out)

    async def test_refused(self) -> None:
        """
        Where nothing listens each datagram is refused, and the status is 1.
        """
        port = str(self.freePort())
        status, out, _ = await self.ping("-p", port, "-c", "2", "-i", "0.02")
        self.assertEqual(status, 1)
        self.assertIn("seq=2 port unreachable", out)
        self.assertIn("2 refused (port unreachable)", out)

    async def test_notShout(self) -> None:
        """
        Where something answers that is not shout the status is 3, and each
        reply is told to be wrong.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        status, out, _ = await self.ping(*f"-p {port} -c 2 -i 0.02 -t 0.1".split())
        self.assertEqual(status, 3)
        self.assertIn("seq=1 wrong: echoed unchanged", out)
        self.assertIn("0 lost (0 %)", out)
        self.assertIn("2 wrong (echoed)", out)

    async def test_wrongAndRight(self) -> None:
        """
        Where some of what answered is right, wrong replies are no more than
        losses to C{--max-loss}.
        """
        for allowed, expected in (("49", 1), ("50", 0)):
            port = self.answerHalf(isEcho=True)
            options = f"-p {port} -c 4 -i 0.02 -t 0.5 --max-loss {allowed}"
            status, out, _ = await self.ping(*options.split())
            self.assertEqual(status, expected)
            self.assertIn("2 wrong (echoed)", out)

    async def test_maxLoss(self) -> None:
        """
        The status is 1 when more is lost than C{--max-loss} allows.
        """
        for allowed, expected in (("49", 1), ("50", 0)):
            port = self.answerHalf()
            options = f"-p {port} -c 4 -i 0.02 -t 0.5 --max-loss {allowed}"
            status, out, _ = await self.ping(*options.split())
            self.assertEqual(status, expected)
            self.assertIn("2 lost (50 %)", out)
            self.assertIn("no answer from 127.0.0.1: seq=2", out)

    async def test_deadline(self) -> None:
        """
        C{-w} ends it.
        """
        _, port = self.misbehave(lambda datagram: [])
        status, out, _ = await self.ping("-p", str(port), "-w", "0.2")
        self.assertEqual(status, 1)
        self.assertIn("1 sent, 0 answered, 1 lost (100 %)", out)

    async def test_unicode(self) -> None:
        """
        A server that answers Unicode text is measured as any other.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        port = str(sock.getsockname()[1])
        self.serve(sock, protocol=UnicodeShout)
        status, _, _ = await self.ping("-p", port, "-c", "2", "-i", "0.02")
        self.assertEqual(status, 0)


class JSONTests(MeasureCase):
    """
    Tests for what programs read.
    """

    async def test_one(self) -> None:
        """
        With one target the object is that target's.
        """
        port = self.serveUDP()
        status, result = await self.measure(*f"-p {port} -c 5 -i 0.01".split())
        self.assertEqual(status, 0)
        self.assertEqual(list(result), ["format", *FIELDS])
        rtt = result.pop("rtt_ns")
        self.assertGreater(result.pop("rate"), 0)
        self.assertGreater(result.pop("jitter_ns"), 0)
        clock = "kernel" if available else "monotonic"
        self.assertEqual(result.pop("clock"), clock)
        self.assertEqual(
            result,
            {
                "format": 1,
                "host": "127.0.0.1",
                "port": port,
                "sent": 5,
                "answered": 5,
                "lost": 0,
                "duplicates": 0,
                "late": 0,
                "out_of_order": 0,
                "wrong": 0,
                "refused": 0,
                "answered_wrong": 0,
                "out_of_window": 0,
                "skipped": 0,
                "kernel_drops": 0,
                "in_flight_at_end": 0,
                "error": None,
            },
        )
        self.assertEqual(
            list(rtt), ["min", "mean", "p50", "p90", "p99", "max", "stddev"]
        )
        for value in rtt.values():
            self.assertIsInstance(value, int)
        self.assertTrue(rtt["min"] <= rtt["p50"] <= rtt["p99"] <= rtt["max"])

    async def test_none(self) -> None:
        """
        Where nothing came back the times are null.
        """
        port = self.freePort()
        status, result = await self.measure(*f"-p {port} -c 1".split())
        self.assertEqual((status, result["refused"]), (1, 1))
        self.assertEqual(set(result["rtt_ns"].values()), {None})

    async def test_several(self) -> None:
        """
        With several targets there is a list of their objects.
        """
        (first,) = bindUDP(0, PAIR[:1])
        port = first.getsockname()[1]
        self.serve(first)
        status, result = await self.measure(
            *f"-H {PAIR[0]} -H {PAIR[1]} -p {port} -c 1".split()
        )
        self.assertEqual(status, 1)
        self.assertEqual(list(result), ["format", "targets"])
        self.assertEqual(
            [(each["host"], each["answered"]) for each in result["targets"]],
            [(PAIR[0], 1), (PAIR[1], 0)],
        )
        self.assertEqual(list(result["targets"][0]), FIELDS)

    async def test_unreachable(self) -> None:
        """
        A target to which there is no way is among the others, or alone, with
        the reason, and the status is 1.
        """
        port = self.serveUDP()
        nowhere = "-H 255.255.255.255"
        options = f"-p {port} -c 1"
        status, out, err = await self.ping(
            *f"--json -H 127.0.0.1 {nowhere} {options}".split()
        )
        self.assertEqual((status, len(err)), (1, 1))
        self.assertEqual(
            [(each["answered"], each["error"]) for each in json.loads(out)["targets"]],
            [(1, None), (0, err[0].removeprefix("shout: "))],
        )
        status, out, err = await self.ping(*f"--json {nowhere} {options}".split())
        failed = json.loads(out)
        self.assertEqual((status, list(failed)), (1, ["format", *FIELDS]))
        self.assertEqual(f"shout: {failed['error']}", *err)
        status, out, err = await self.ping(*f"{nowhere} {options}".split())
        self.assertEqual((status, out, len(err)), (1, "", 1))

    async def test_unknown(self) -> None:
        """
        So is one that has no address, and the status is 2.
        """
        port = self.serveUDP()
        unknown = "a" * 64
        for hosts, answered in ((["127.0.0.1", unknown], [1, 0]), ([unknown], [0])):
            options = [f"-H{host}" for host in hosts]
            status, out, err = await self.ping(
                "--json", *f"-p {port} -c 1".split(), *options
            )
            result = json.loads(out)
            targets = result.get("targets", [result])
            self.assertEqual((status, len(err)), (2, 1))
            self.assertEqual([each["answered"] for each in targets], answered)
            self.assertEqual(f"shout: {targets[-1]['error']}", *err)

    async def test_lines(self) -> None:
        """
        With C{--json-lines} there is an object for every event before it, also
        where there would be no line.
        """
        port = self.serveUDP()
        options = f"--json-lines -q -p {port} -c 2 --rate 100"
        _, out, _ = await self.ping(*options.split())
        begin, first, second, last = map(json.loads, out.splitlines())
        self.assertEqual((begin["event"], begin["address"]), ("begin", "127.0.0.1"))
        self.assertIn(begin["clock"], ("kernel", "monotonic"))
        self.assertEqual((first["event"], first["seq"]), ("reply", 1))
        self.assertEqual((second["seq"], second["bytes"]), (2, 56))
        self.assertEqual(last["answered"], 2)

    async def test_relay(self) -> None:
        """
        Each count is what a lossy relay has done, over real sockets.
        """
        weights = {ANSWER: 60, DROP: 10, DUPLICATE: 10}
        weights |= {CORRUPT: 8, ECHO: 6, GARBAGE: 6}
        replies: list[bytes] = []
        relay = Relay(11, weights, replies.append)

        def answer(datagram: bytes) -> list[bytes]:
            del replies[:]
            relay.take(datagram)
            return replies

        _, port = self.misbehave(answer)
        options = f"-p {port} -c 300 --rate 500 -s 100 -t 2"
        status, result = await self.measure(*options.split())
        # Something right came back.
        self.assertEqual(status, 0)
        done = relay.done
        self.assertEqual(result["sent"], 300)
        self.assertEqual(result["answered"], done[ANSWER] + done[DUPLICATE])
        self.assertEqual(result["lost"], done[DROP])
        self.assertEqual(result["duplicates"], done[DUPLICATE])
        wrong = done[CORRUPT] + done[ECHO] + done[GARBAGE]
        self.assertEqual((result["wrong"], result["answered_wrong"]), (wrong, wrong))
        for name in ("late", "out_of_order", "refused"):
            self.assertEqual(result[name], 0)


class TerminalTests(MeasureCase):
    """
    Tests for what a terminal and a keyboard do.
    """

    def onTerminal(self, *arguments: str) -> Command:
        """
        Start the command with a terminal as its standard output.
        """
        self.terminal, theirs = pty.openpty()
        command = self.start(*arguments, fds={0: "w", 1: theirs, 2: "r"})
        os.close(theirs)
        return command

    def printed(self) -> bytes:
        """
        Return what was printed on the terminal, after the end.
        """
        out = b""
        with FileIO(self.terminal) as terminal:
            # Linux says EIO at the end of a terminal.
            try:
                while chunk := terminal.read(4096):
                    out += chunk
            except OSError:
                pass
        return out

    async def test_terminal(self) -> None:
        """
        On a terminal the last line changes, and there is a histogram at the end
        that shows what was lost.
        """
        port = self.answerHalf()
        command = self.onTerminal("--ping", *f"-p {port} -c 3 -i 0.2 -t 0.3".split())
        self.assertEqual(await command.ended, 0)
        out = self.printed()
        self.assertIn(b"sent, ", out)
        self.assertIn(b"\r", out.replace(b"\r\n", b""))
        self.assertRegex(out.decode(), r"\n +lost +1 +#+\r\n")
        self.assertNotIn(b"\x1b", out)

    async def test_json(self) -> None:
        """
        With C{--json} a terminal shows JSON and nothing else.
        """
        port = str(self.serveUDP())
        options = f"--ping --json-lines -p {port} -c 3 -i 0.1"
        command = self.onTerminal(*options.split())
        self.assertEqual(await command.ended, 0)
        events = [json.loads(line) for line in self.printed().splitlines()]
        self.assertEqual((len(events), events[-1]["answered"]), (5, 3))

    async def test_interrupt(self) -> None:
        """
        Ctrl-C ends it with the figures, and Ctrl-\\ shows them on the way.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        command = self.start("--ping", "-p", str(port), "-i", "0.02")
        assert command.transport is not None
        await command.until(lambda: b"seq=2" in command.out)
        command.transport.signalProcess(signal.SIGQUIT)
        await command.until(lambda: b"out of order" in command.err)
        command.transport.signalProcess(signal.SIGINT)
        self.assertEqual(await command.ended, 0)
        self.assertIn(b"answered, 0 lost (0 %)", command.out)
        self.assertIn(b"answered, 0 lost (0 %)", command.err)
        self.assertGreaterEqual(len(peer.received), 2)

    async def test_quit(self) -> None:
        """
        On a terminal Ctrl-\\ shows the figures above the line that changes.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        command = self.onTerminal("--ping", "-p", str(port), "-i", "0.2", "-q")
        assert command.transport is not None
        while len(peer.received) < 2:
            await deferLater(self.reactor, 0.05)
        command.transport.signalProcess(signal.SIGQUIT)
        while len(peer.received) < 4:
            await deferLater(self.reactor, 0.05)
        command.transport.signalProcess(signal.SIGINT)
        self.assertEqual((await command.ended, command.err), (0, b""))
        out = self.printed().replace(b"\r\n", b"\n")
        self.assertEqual(out.count(b"--- 127.0.0.1:"), 2)
        self.assertRegex(out, rb"\r +\r--- 127\.0\.0\.1:")

    async def test_pipe(self) -> None:
        """
        It ends quietly when nobody reads any more.
        """
        port = str(self.serveUDP())
        status, out, err = await self.run_(
            "--ping", "-p", port, "-i", "0.02", shell='"$@" | head -n 2'
        )
        self.assertEqual((status, len(out.splitlines()), err), (0, 2, []))

    async def test_full(self) -> None:
        """
        It says so when nothing can be written.
        """
        port = str(self.serveUDP())
        status, _, err = await self.run_(
            "--ping", "-p", port, "-c", "1", shell='"$@" > /dev/full'
        )
        self.assertEqual(status, 1)
        self.assertEqual(
            err, ["shout: cannot write to standard output: No space left on device"]
        )

    if not os.path.exists("/dev/full"):
        test_full.skip = "there is no /dev/full"  # type: ignore[attr-defined]
