"""
Tests for L{shout.cli.ping}.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from shout import UnicodeShout, bindUDP
from shout.cli.ping import checkTargets, ping, statusOf
from shout.cli.pingoptions import parse
from shout.cli.usage import UsageError
from shout.measure.probe import ECHOED, OTHER_RUN
from shout.measure.target import SocketOptions, Target
from shout.sockets.address import authority
from shout.sockets.unix import bindUNIX
from tests.cli.command import CommandCase
from tests.directory import shortDirectory
from tests.families import PAIR
from tests.measure.fakes import LOSSY, RESULT
from tests.relay import ANSWER, CORRUPT, DROP, DUPLICATE, ECHO, GARBAGE, Relay

RUN = ["format", "start", "end"]

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
    "icmp_errors",
    "ttl",
    "tos",
    "clock",
    "flows",
    "error",
]


class StatusTests(SynchronousTestCase):
    """
    Tests for L{statusOf}.
    """

    def test_loss(self) -> None:
        """
        The status is 1 if nothing was answered in time, or more was lost than allowed.
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

    def test_wrong(self) -> None:
        """
        The status is 3 if all replies were wrong, but not if a right one was late, or
        all were for another run.
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
        The status is the highest one of all targets.
        """
        silent = replace(RESULT, answered=0, lost=100)
        wrong = replace(RESULT, answered=0, wrong=2, kinds={ECHOED: 2})
        self.assertEqual(statusOf([silent, RESULT], None), 1)
        self.assertEqual(statusOf([silent, wrong, RESULT], None), 3)


UNSET = SocketOptions()


class Elsewhere(Target):
    """
    A server on another host.
    """

    def isOnThisHost(self, options: SocketOptions = UNSET) -> bool:
        return False


class CheckTargetsTests(SynchronousTestCase):
    """
    Tests for L{checkTargets}.
    """

    def check(self, hosts: int, *options: str) -> None:
        """
        Check options for a number of hosts elsewhere.
        """
        targets = [Elsewhere("h", "192.0.2.1", 9999)] * hosts
        checkTargets(targets, parse(["h", *options]))

    def test_flood(self) -> None:
        """
        More than a thousand datagrams per second in all need C{--flood}, however the
        rate rounds.
        """
        for hosts in range(1, 40):
            self.check(hosts, "-i", repr(hosts / 1000))
            interval = ("-i", repr(hosts / 1001))
            error = self.assertRaises(UsageError, self.check, hosts, *interval)
            self.assertIn("--flood", str(error))
        error = self.assertRaises(UsageError, self.check, 1, "--rate", "1001")
        self.assertIn("per second to 192.0.2.1,", str(error))
        self.check(1, "-i", "0.00001", "--flood")
        # Of 84 bytes each.
        self.check(1, "--bitrate", "672k")
        error = self.assertRaises(UsageError, self.check, 1, "--bitrate", "673k")
        self.assertIn("--flood", str(error))

    def test_size(self) -> None:
        """
        A size that does not fit in a datagram over IPv4 is refused.
        """
        self.check(1, "-s", "65507")
        error = self.assertRaises(UsageError, self.check, 1, "-s", "65508")
        self.assertIn("65507", str(error))


class TextTests(CommandCase):
    """
    Tests for the output for people.
    """

    async def test_answered(self) -> None:
        """
        There is a line for every reply, and a summary at the end.
        """
        port = self.serveUDP()
        target = f"127.0.0.1:{port}"
        # At this interval a busy machine seldom skips a datagram.
        status, out, errors = await self.ping(target, "-c", "3", "-i", "0.1")
        self.assertEqual((status, errors), (0, []))
        lines = out.splitlines()
        self.assertIn(f"SHOUT {target}: 56 bytes, every 0.1 s", lines[0])
        for number, line in enumerate(lines[1:4], 1):
            self.assertRegex(
                line,
                rf"^56 bytes from 127\.0\.0\.1: seq={number}( ttl=64)? time=[\d.]+ ms",
            )
        self.assertEqual(lines[4:6], ["", f"--- {target} ---"])
        self.assertIn("3 sent, 3 answered, 0 lost (0 %)", lines[6])
        self.assertIn("0 duplicates, 0 out of order", lines[7])
        self.assertRegex(lines[8], r"^round trip .*= ([\d.]+/){6}[\d.]+ ms$")
        clock = "the kernel" if sys.platform == "linux" else "monotonic clock"
        self.assertRegex(lines[9], rf"^jitter [\d.]+ ms, times by .*{clock}$")
        self.assertEqual(len(lines), 10)
        self.assertNotIn("\r", out)
        self.assertNotIn("\x1b", out)

    async def test_quiet(self) -> None:
        """
        With C{-q}, and at 100 per second or more, there are no lines for replies.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        for options in (["-q", "-i", "0.02"], ["--rate", "100"]):
            status, out, _ = await self.ping(target, "-c", "3", *options)
            self.assertEqual(status, 0)
            self.assertNotIn("seq=", out)
            self.assertIn("3 sent, 3 answered", out)

    async def test_several(self) -> None:
        """
        Servers of all kinds are measured side by side, and compared in a table; -p is
        the port of those that are given without one.
        """
        (first,) = bindUDP(0, PAIR[:1])
        port = first.getsockname()[1]
        path = shortDirectory(self) + "/shout"
        self.serve(first, *bindUDP(port, PAIR[1:]), bindUNIX(path))
        names = [authority(PAIR[0], port), PAIR[1], f"unix:{path}"]
        status, out, errors = await self.ping(
            *names, "-p", str(port), "-c", "2", "-i", "0.02"
        )
        self.assertEqual((status, errors), (0, []))
        table = out.splitlines()[-5:]
        self.assertTrue(table[0].startswith("server"))
        printed = [authority(host, port) for host in PAIR] + [path]
        for name in printed:
            pattern = rf"^{re.escape(name)} +2 +2 +0 "
            self.assertTrue(any(re.match(pattern, line) for line in table), name)

    async def test_unix(self) -> None:
        """
        A UNIX socket is measured at its path.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        status, out, _ = await self.ping(f"unix:{path}", "-c", "2", "-i", "0.02")
        self.assertEqual(status, 0)
        self.assertIn(f"56 bytes from {path}: seq=2", out)
        self.assertIn("monotonic clock", out)

    async def test_refused(self) -> None:
        """
        If nothing listens there, each datagram is refused, and the status is 1.
        """
        target = f"127.0.0.1:{self.freePort()}"
        status, out, _ = await self.ping(target, "-c", "2", "-i", "0.02")
        self.assertEqual(status, 1)
        self.assertIn("seq=2 from 127.0.0.1: port unreachable", out)
        self.assertIn("2 refused (from 127.0.0.1: port unreachable)", out)

    async def test_notShout(self) -> None:
        """
        If all replies are wrong, each line has the reason, and the status is 3.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        options = ["-c", "2", "-i", "0.02", "-t", "0.05"]
        status, out, _ = await self.ping(f"127.0.0.1:{port}", *options)
        self.assertEqual(status, 3)
        self.assertRegex(out, "seq=1( ttl=64)? wrong: echoed unchanged\n")
        self.assertIn("0 lost (0 %)", out)
        self.assertIn("2 wrong (echoed)", out)

    async def test_maxLoss(self) -> None:
        """
        The status is 1 if more was lost than C{--max-loss} allows.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        options = f"{target} -c 4 -i 0.01 -t 0.2 --max-loss 49"
        status, out, _ = await self.ping(*options.split())
        self.assertEqual(status, 1)
        self.assertIn("2 lost (50 %)", out)

    async def test_maxLossWrong(self) -> None:
        """
        If a right reply arrived, wrong ones only count as losses.
        """
        target = f"127.0.0.1:{self.answerHalf(isEcho=True)}"
        options = f"{target} -c 4 -i 0.01 -t 0.2 --max-loss 50"
        status, out, _ = await self.ping(*options.split())
        self.assertEqual(status, 0)
        self.assertIn("2 wrong (echoed)", out)

    async def test_lost(self) -> None:
        """
        There is a line for each datagram that is lost.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        _, out, _ = await self.ping(target, *["-c", "2", "-i", "0.02", "-t", "0.05"])
        self.assertIn("no answer from 127.0.0.1: seq=2", out)

    async def test_deadline(self) -> None:
        """
        C{-w} ends the measurement.
        """
        _, port = self.misbehave(lambda datagram: [])
        status, out, _ = await self.ping(f"127.0.0.1:{port}", "-w", "0.1")
        self.assertEqual(status, 1)
        self.assertIn("1 sent, 0 answered, 1 lost (100 %)", out)

    async def test_unicode(self) -> None:
        """
        A server with C{--unicode} is measured like any other.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        port = sock.getsockname()[1]
        self.serve(sock, protocol=UnicodeShout)
        status, _, _ = await self.ping(f"127.0.0.1:{port}", "-c", "1")
        self.assertEqual(status, 0)

    async def test_flood(self) -> None:
        """
        An option that does not fit a target is one line, and the status is 2.
        """
        status, out, (error,) = await self.ping("127.0.0.1", "-s", "65508")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("--size must be at most 65507", error)

    async def test_descriptors(self) -> None:
        """
        If descriptors for some targets are missing, one line reports it, and none is
        measured.
        """
        used = len(os.listdir("/proc/self/fd" if os.path.isdir("/proc") else "/dev/fd"))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        hosts = [f"127.0.0.{number}" for number in range(1, 31)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        self.patch(sys.modules["shout.cli.ping"], "_allowDescriptors", lambda _: None)
        status, out, (error,) = await self.ping("-c", "1", *hosts)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("cannot open a socket: ", error)


class JSONTests(CommandCase):
    """
    Tests for the output for programs.
    """

    async def test_one(self) -> None:
        """
        With one target the object has its fields.
        """
        port = self.serveUDP()
        target = f"127.0.0.1:{port}"
        status, result = await self.measure(target, "-c", "5", "-i", "0.01")
        self.assertEqual(status, 0)
        self.assertEqual(list(result), [*RUN, *FIELDS])
        rtt = result.pop("rtt_ns")
        self.assertLess(result.pop("start"), result.pop("end"))
        self.assertGreater(result.pop("rate"), 0)
        self.assertGreater(result.pop("jitter_ns"), 0)
        clock = "kernel" if sys.platform == "linux" else "monotonic"
        self.assertEqual(result.pop("clock"), clock)
        (flow,) = result.pop("flows")
        self.assertEqual((flow["sent"], flow["answered"]), (5, 5))
        self.assertGreater(flow["source_port"], 0)
        if sys.platform == "linux":
            self.assertEqual((flow["ttl"], result["ttl"]), (64, 64))
            self.assertEqual(result["tos"], {"sent": 0, "received": 0})
        del result["ttl"], result["tos"]
        # A busy machine skips some, and sends the others later.
        self.assertGreaterEqual(result.pop("skipped"), 0)
        self.assertEqual(
            result,
            {
                "format": 1,
                "host": "127.0.0.1",
                "port": port,
                "icmp_errors": [],
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
        Without replies the times are null.
        """
        status, result = await self.measure(f"127.0.0.1:{self.freePort()}", "-c", "1")
        self.assertEqual((status, result["refused"]), (1, 1))
        self.assertEqual(set(result["rtt_ns"].values()), {None})

    async def test_several(self) -> None:
        """
        With several targets there is a list of their objects.
        """
        (first,) = bindUDP(0, PAIR[:1])
        self.serve(first)
        port = str(first.getsockname()[1])
        status, result = await self.measure(*PAIR, "-p", port, "-c", "1")
        self.assertEqual(status, 1)
        self.assertEqual(list(result), [*RUN, "targets"])
        self.assertEqual(
            [(each["host"], each["answered"]) for each in result["targets"]],
            [(PAIR[0], 1), (PAIR[1], 0)],
        )
        self.assertEqual(list(result["targets"][0]), FIELDS)

    async def test_unreachable(self) -> None:
        """
        A target to which there is no route stands after the others, or alone, with the
        reason, and the status is 1.
        """
        targets = [f"127.0.0.1:{self.serveUDP()}", "255.255.255.255:9"]
        status, out, errors = await self.ping("--json", "-c", "1", *targets)
        self.assertEqual((status, len(errors)), (1, 1))
        self.assertEqual(
            [(each["answered"], each["error"]) for each in json.loads(out)["targets"]],
            [(1, None), (0, errors[0])],
        )
        status, out, errors = await self.ping("--json", "-c", "1", targets[1])
        failed = json.loads(out)
        self.assertEqual((status, list(failed)), (1, [*RUN, *FIELDS]))
        self.assertEqual((failed["host"], failed["port"]), ("255.255.255.255", 9))
        self.assertEqual([failed["error"]], errors)
        status, out, errors = await self.ping("-c", "1", targets[1])
        self.assertEqual((status, out, len(errors)), (1, "", 1))

    async def test_noSocket(self) -> None:
        """
        So does a UNIX socket that does not exist, with its path and without a port.
        """
        status, out, _ = await self.ping("--json", "-c", "1", "unix:/nonexistent")
        failed = json.loads(out)
        self.assertEqual((failed["host"], failed["port"]), ("/nonexistent", None))
        self.assertEqual((status, failed["answered"]), (1, 0))

    async def test_unknown(self) -> None:
        """
        So does a target without an address, and the status is 2.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        unknown = "a" * 64
        for hosts, answered in (([target, unknown], [1, 0]), ([unknown], [0])):
            status, out, errors = await self.ping("--json", "-c", "1", *hosts)
            result = json.loads(out)
            targets = result.get("targets", [result])
            self.assertEqual((status, len(errors)), (2, 1))
            self.assertEqual([each["answered"] for each in targets], answered)
            self.assertEqual(targets[-1]["error"], errors[0])

    async def test_lines(self) -> None:
        """
        With C{--json-lines} there is an object for every event before that, even with
        C{-q} and at high rates.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        options = "--json-lines -q -c 2 --rate 100"
        _, out, _ = await self.ping(target, *options.split())
        begin, first, second, last = map(json.loads, out.splitlines())
        self.assertEqual((begin["event"], begin["address"]), ("begin", "127.0.0.1"))
        self.assertIn(begin["clock"], ("kernel", "monotonic"))
        self.assertEqual((first["event"], first["seq"]), ("reply", 1))
        self.assertEqual((second["seq"], second["bytes"]), (2, 56))
        self.assertEqual(last["answered"], 2)

    async def test_relay(self) -> None:
        """
        Each count equals what a lossy relay did, over real sockets.
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
        options = "-c 100 --rate 1000 -s 100 -t 0.2"
        status, result = await self.measure(f"127.0.0.1:{port}", *options.split())
        self.assertEqual(status, 0)
        done = relay.done
        self.assertEqual(len(done), len(weights))
        self.assertEqual(result["sent"], 100)
        self.assertEqual(
            result["answered"] + result["late"], done[ANSWER] + done[DUPLICATE]
        )
        self.assertEqual(result["lost"], done[DROP])
        self.assertEqual(result["duplicates"], done[DUPLICATE])
        wrong = done[CORRUPT] + done[ECHO] + done[GARBAGE]
        self.assertEqual((result["wrong"], result["answered_wrong"]), (wrong, wrong))
        for name in ("out_of_order", "refused"):
            self.assertEqual(result[name], 0)


class TerminalTests(CommandCase):
    """
    Tests for a terminal and its keys.
    """

    async def test_terminal(self) -> None:
        """
        On a terminal a status line changes, and there is a histogram at the end that
        shows the losses.
        """
        target = f"127.0.0.1:{self.answerHalf()}"
        options = ["-c", "3", "-i", "0.05", "-t", "0.25"]
        status, out, errors = await self.onTerminal(target, *options)
        self.assertEqual((status, errors), (0, []))
        self.assertIn("sent, ", out)
        self.assertIn("\r", out)
        self.assertRegex(out, r"\n +lost +1 +#+\n")
        self.assertNotIn("\x1b", out)

    async def test_json(self) -> None:
        """
        With C{--json-lines} a terminal shows nothing but JSON.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        options = ["--json-lines", "-c", "3", "-i", "0.1"]
        status, out, _ = await self.onTerminal(target, *options)
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((status, len(events), events[-1]["answered"]), (0, 5, 3))

    async def test_keys(self) -> None:
        """
        Ctrl-\\ prints the results so far above the status line, and Ctrl-C ends the
        measurement.
        """

        def answer(datagram: bytes) -> list[bytes]:
            keys = {2: signal.SIGQUIT, 4: signal.SIGINT}
            if len(peer.received) in keys:
                # The status line is printed every 0.1 s.
                key = keys[len(peer.received)]
                self.reactor.callLater(0.15, os.kill, os.getpid(), key)
            return [datagram.upper()]

        peer, port = self.misbehave(answer)
        target = f"127.0.0.1:{port}"
        status, out, errors = await self.onTerminal(target, "-i", "0.1", "-q")
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(out.count(f"--- {target} ---"), 2)
        self.assertRegex(out, r"\r +\r--- 127\.0\.0\.1:")

    async def test_readerGone(self) -> None:
        """
        When the reader of its output has ended, the measurement ends silently.
        """
        errors: list[str] = []
        ours, theirs = os.pipe()
        os.close(ours)
        self.addCleanup(os.close, theirs)
        options = parse([f"127.0.0.1:{self.serveUDP()}", "-i", "0.02"])
        status = await ping(options, errors.append, self.reactor, theirs)
        self.assertEqual((status, errors), (141, []))

    async def test_full(self) -> None:
        """
        If the output cannot be written, one line reports it, and the status is 1.
        """
        errors: list[str] = []
        options = parse([f"127.0.0.1:{self.serveUDP()}", "-i", "0.02"])
        with open("/dev/full", "wb") as full:
            fd = full.fileno()
            status = await ping(options, errors.append, self.reactor, fd)
        error = "cannot write to standard output: No space left on device"
        self.assertEqual((status, errors), (1, [error]))

    if not os.path.exists("/dev/full"):
        test_full.skip = "there is no /dev/full"  # type: ignore[attr-defined]
