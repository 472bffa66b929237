"""
Tests for L{shout.cli.flows}, and for the options C{--flows} and C{--source-ports}.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.flows import LEGEND, cellLines, cells, flowTable
from shout.cli.pingoptions import parsePorts
from shout.cli.usage import UsageError
from tests.cli.command import CommandCase
from tests.measure.fakes import RESULT

FLOWS = [replace(RESULT, sourcePort=40001 + index) for index in range(3)]


class FlowTableTests(SynchronousTestCase):
    """
    Tests for L{flowTable} and L{cellLines}.
    """

    def test_table(self) -> None:
        """
        Each flow has a line with its source port.
        """
        lines = flowTable([*FLOWS, replace(RESULT, answered=90, lost=10)])
        self.assertEqual(len(lines), 6)
        self.assertIn("source port", lines[0])
        self.assertTrue(lines[1].startswith("40001 "))
        self.assertEqual(lines[4].split()[1:4], ["100", "90", "10"])

    def test_many(self) -> None:
        """
        Of many flows those with the highest loss are shown, by source port.
        """
        flows = [replace(RESULT, sourcePort=40000 + index) for index in range(200)]
        flows[150] = replace(flows[150], answered=0, lost=100)
        lines = flowTable(flows)
        self.assertEqual(len(lines), 67)
        self.assertTrue(lines[64].startswith("40150 "))
        self.assertEqual(lines[-1], "136 flows with no more loss are not shown")

    def test_cells(self) -> None:
        """
        Each flow has a cell that stands for its loss, in lines that fit.
        """
        losses = [0, 1, 50, 100]
        flows = [replace(RESULT, answered=100 - loss, lost=loss) for loss in losses]
        flows.append(replace(RESULT, answered=0, refused=100))
        self.assertEqual(cells(flows), ".-+##")
        self.assertEqual(cellLines(flows, 3), [LEGEND, ".-+", "##"])


class FlowCommandTests(CommandCase):
    """
    Tests for C{shoutping --flows} and C{--source-ports}.
    """

    async def test_json(self) -> None:
        """
        The figures of each flow have its source port, and their sum is the whole.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        status, result = await self.measure(
            f"127.0.0.1:{port}", "--flows", "3", "-c", "7", "-i", "0.01"
        )
        self.assertEqual((status, result["sent"], result["answered"]), (0, 7, 7))
        self.assertEqual(sorted(flow["sent"] for flow in result["flows"]), [2, 2, 3])
        ports = [flow["source_port"] for flow in result["flows"]]
        turns = [sender[1] for sender in peer.senders]
        self.assertEqual({*turns[:3]}, {*ports})
        self.assertEqual({*turns[3:6]}, {*ports})

    async def test_silent(self) -> None:
        """
        If a flow gets no answer at all, the status is 1, and the text has a line about
        each flow.
        """
        silent: set[int] = set()

        def answer(datagram: bytes) -> list[bytes]:
            silent.add(peer.senders[0][1])
            return [] if peer.senders[-1][1] in silent else [datagram.upper()]

        peer, port = self.misbehave(answer)
        target = f"127.0.0.1:{port}"
        status, out, _ = await self.ping(
            target, "-q", "--flows", "2", "-c", "4", "-i", "0.01", "-t", "0.1"
        )
        self.assertEqual(status, 1)
        (dead,) = silent
        rows = {line.split()[0]: line.split()[1:4] for line in out.splitlines() if line}
        self.assertEqual(rows[str(dead)], ["2", "0", "2"])

    async def test_sourcePorts(self) -> None:
        """
        The source ports can be given, and the targets share them.
        """
        first, second = self.freePort(), self.freePort()
        peers = [self.misbehave(lambda datagram: [datagram.upper()]) for _ in range(2)]
        status, out, _ = await self.ping(
            *(f"127.0.0.1:{port}" for _, port in peers),
            *("--source-ports", f"{first},{second}", "-c", "4", "-i", "0.01"),
            "--json-lines",
        )
        self.assertEqual(status, 0)
        for peer, _ in peers:
            turns = [port for _, port in peer.senders]
            self.assertEqual([{*turns[:2]}, {*turns[2:]}], [{first, second}] * 2)
        events = [json.loads(line) for line in out.splitlines()]
        ports = [each["source_port"] for each in events if each.get("seq") == 2]
        self.assertEqual(ports, [second] * 2)

    async def test_portInUse(self) -> None:
        """
        If a source port is in use, one line names it.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", 0))
            port = sock.getsockname()[1]
            target = f"127.0.0.1:{self.serveUDP()}"
            status, out, errors = await self.ping(target, "--source-ports", f"{port}")
        self.assertEqual((status, out), (1, ""))
        error = f"cannot open a socket: source port {port}: address already in use"
        self.assertEqual(errors, [error])

    async def test_sameServer(self) -> None:
        """
        A server cannot be given twice with the same source ports.
        """
        target = f"127.0.0.1:{self.serveUDP()}"
        options = (target, target, "--source-ports", "40001")
        status, _, errors = await self.ping(*options)
        self.assertEqual(
            (status, errors),
            (2, [f"{target} is given twice, which --source-ports does not allow"]),
        )

    async def test_mtu(self) -> None:
        """
        C{--mtu} searches with each flow.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        status, result = await self.measure(
            f"127.0.0.1:{port}", "--mtu", "--flows", "3", "-t", "5"
        )
        self.assertEqual(status, 0)
        flows = result["flows"]
        self.assertEqual(len({flow["source_port"] for flow in flows}), 3)
        self.assertEqual({flow["path_mtu"] for flow in flows}, {result["path_mtu"]})
        ports = {flow["source_port"] for flow in flows}
        self.assertEqual({sender[1] for sender in peer.senders}, ports)

    async def test_fewDescriptors(self) -> None:
        """
        If only the sockets beside the flows cannot be opened, the flows are measured.
        """

        def openBeside(*_: object) -> list[socket.socket]:
            raise OSError(errno.EMFILE, "too many")

        self.patch(sys.modules["shout.cli.ping"], "openBeside", openBeside)
        target = f"127.0.0.1:{self.serveUDP()}"
        status, result = await self.measure(target, "--flows", "2", "-c", "2")
        self.assertEqual((status, result["answered"]), (0, 2))


class SourcePortsTests(SynchronousTestCase):
    """
    Tests for the list of C{--source-ports}.
    """

    def test_lists(self) -> None:
        """
        Ports and ranges of ports are in their order.
        """
        self.assertEqual(parsePorts("5,7-9,1"), [5, 7, 8, 9, 1])
        self.assertEqual(parsePorts("4-4"), [4])

    def test_wrong(self) -> None:
        """
        Anything else is one message.
        """
        for text, expected in (
            ("", "must be a port"),
            ("1,", "must be a port"),
            ("1-", "must be a port"),
            ("5-3", "ends too low: 5-3"),
            ("1,1-2", "a port twice"),
            ("1-4097", "takes 1 to 4,096 ports"),
        ):
            error = self.assertRaises(UsageError, parsePorts, text)
            self.assertIn(expected, str(error))
