"""
Tests for C{shout --find-rate} and C{shout --sizes} as their users run them.
"""

from __future__ import annotations

import json
import signal

from twisted.internet.task import deferLater

from tests.cli.test_ping import MeasureCase


class FindRateTests(MeasureCase):
    """
    Tests for C{--find-rate}.
    """

    async def test_lossy(self) -> None:
        """
        It prints the rates that it tries, its curve and what it finds, here
        where every second datagram is lost.
        """
        port = self.answerHalf()
        status, out, err = await self.run_("--find-rate", "-p", str(port), "-t", "0.05")
        self.assertEqual((status, err), (1, []))
        self.assertIn(b"50 % not answered", out)
        self.assertIn(b"no rate was without loss", out)

    async def test_echo(self) -> None:
        """
        Where something answers that is not shout the status is 3, and it is
        said what came.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        status, out, err = await self.run_("--find-rate", *f"-p {port} -t 0.05".split())
        self.assertEqual((status, err), (3, []))
        self.assertIn(b"only wrong replies came back: echoed", out)

    async def test_interrupt(self) -> None:
        """
        Ctrl-\\ says how far it is, and Ctrl-C ends it with what was found.
        """
        port = str(self.serveUDP())
        command = self.start("--find-rate", "-p", port)
        assert command.transport is not None
        await command.until(lambda: b"125 per s: 62 sent" in command.out)
        command.transport.signalProcess(signal.SIGQUIT)
        await command.until(lambda: b"125 per s: 62 sent" in command.err)
        command.transport.signalProcess(signal.SIGINT)
        self.assertEqual(await command.ended, 0)
        self.assertRegex(
            command.out, rb"highest rate without loss: [\d,]+ per s \(stopped"
        )

    async def test_json(self) -> None:
        """
        As JSON it has the rates that were tried.
        """
        port = self.freePort()
        status, out, _ = await self.run_("--find-rate", "--json", "-p", str(port))
        result = json.loads(out)
        for step in result["steps"]:
            self.assertLess(0, step.pop("managed"))
        steps = [{"rate": 125.0, "sent": 62, "answered": 0}] * 2
        self.assertEqual(status, 1)
        self.assertEqual(
            result,
            {
                "format": 1,
                "host": "127.0.0.1",
                "port": port,
                "rate": 0,
                "limit": "loss",
                "steps": steps,
                "error": None,
            },
        )

    async def test_unreachable(self) -> None:
        """
        Where there is no way to the target, that is said in JSON too.
        """
        for mode in ("--find-rate", "--sizes"):
            status, out, (line,) = await self.run_(
                mode, "--json", "-H", "255.255.255.255"
            )
            self.assertEqual(status, 1)
            self.assertEqual(line, f"shout: {json.loads(out)['error']}")


class FindSizesTests(MeasureCase):
    """
    Tests for C{--sizes}.
    """

    async def test_found(self) -> None:
        """
        It finds the largest datagram that comes back.
        """
        port = str(self.serveUDP())
        status, out, err = await self.run_("--sizes", "-p", port)
        self.assertEqual((status, err), (0, []))
        self.assertIn(b"largest that comes back whole: 65507 bytes", out)

    async def test_short(self) -> None:
        """
        A server that cuts what is long is measured like others.
        """
        _, port = self.misbehave(lambda datagram: [datagram.upper()[:1000]])
        status, out, _ = await self.run_(*f"--sizes -q -t 0.05 -p {port}".split())
        self.assertEqual(status, 0)
        self.assertIn(b"largest that comes back whole: 1000 bytes\n", out)

    async def test_sourcePort(self) -> None:
        """
        All that it sends comes from one source port.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()[:1000]])
        status, _, _ = await self.run_(*f"--sizes -q -t 0.05 -p {port}".split())
        self.assertEqual(status, 0)
        self.assertEqual(len(set(peer.senders)), 1)

    async def test_nothing(self) -> None:
        """
        Where nothing right comes back it is said what came instead; when that
        was not shout the status is 3.
        """
        status, out, _ = await self.run_("--sizes", "-p", str(self.freePort()))
        self.assertEqual(status, 1)
        self.assertIn(b"nothing came back: port unreachable, of any size", out)
        _, port = self.misbehave(lambda datagram: [datagram])
        status, out, _ = await self.run_(*f"--sizes -t 0.05 -p {port}".split())
        self.assertEqual(status, 3)
        self.assertIn(b"only wrong replies came back: echoed, of any size", out)

    async def test_interrupt(self) -> None:
        """
        Ctrl-C ends it.
        """
        peer, port = self.misbehave(lambda datagram: [])
        command = self.start("--sizes", "--json", "-p", str(port), "-t", "30")
        assert command.transport is not None
        while not peer.received:
            await deferLater(self.reactor, 0.05)
        command.transport.signalProcess(signal.SIGQUIT)
        await command.until(lambda: b"nothing is known yet" in command.err)
        command.transport.signalProcess(signal.SIGINT)
        self.assertEqual(await command.ended, 1)
        error = "stopped before the largest datagrams were found"
        self.assertIn(error.encode(), command.err)
        result = json.loads(command.out)
        self.assertEqual((result["whole"], result["error"]), (None, error))

    async def test_json(self) -> None:
        """
        The largest sizes have an object too.
        """
        port = self.serveUDP()
        _, out, _ = await self.run_("--sizes", "--json", "-p", str(port))
        result = json.loads(out)
        self.assertEqual((result["format"], result["whole"]), (1, 65507))
