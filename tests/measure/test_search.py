"""
Tests for L{shout.measure.search}.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred

from shout.measure.probe import OTHER_RUN, Probes
from shout.measure.result import REPLY
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner, Stopped
from shout.measure.target import Target
from shout.sockets.bind import bindUDP
from shout.udp.icmp import enableErrorQueue
from tests.peers import PeerCase


class SearchRunnerTests(PeerCase):
    """
    Tests for L{SearchRunner}.
    """

    def runner(self, port: int) -> SearchRunner:
        return SearchRunner(Target("127.0.0.1", "127.0.0.1", port), self.reactor)

    async def test_measure(self) -> None:
        """
        Each measurement has a result of its own.
        """
        runner = self.runner(self.serveUDP())
        for count in (3, 2):
            result = await runner.measure(Schedule(count, 0.001))
            self.assertEqual((result.sent, result.answered), (count, count))

    async def test_isLast(self) -> None:
        """
        A measurement ends with the event for which C{isLast} returns C{True}.
        """
        runner = self.runner(self.serveUDP())
        result = await runner.measure(
            Schedule(interval=60), isLast=lambda event: event.kind == REPLY
        )
        self.assertEqual(result.answered, 1)

    async def test_sums(self) -> None:
        """
        Wrong replies and ICMP errors are added up.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        runner = self.runner(port)
        for _ in range(2):
            await runner.measure(Schedule(2, 0.001, timeout=0.05))
        self.assertEqual((runner.kinds, runner.icmpErrors), ({"echoed": 4}, {}))
        runner = self.runner(self.freePort())
        await runner.measure(Schedule(2, 0.001))
        self.assertEqual(runner.icmpErrors, {("port unreachable", "127.0.0.1"): 2})

    async def test_sameSocket(self) -> None:
        """
        Several measurements can use one socket.  A late reply to an earlier one is of
        another run.
        """
        waiting: list[bytes] = []

        def answer(datagram: bytes) -> list[bytes]:
            waiting.append(datagram.upper())
            return waiting if len(waiting) == 2 else []

        peer, port = self.misbehave(answer)
        runner = self.runner(port)
        with runner.target.open() as sock:
            first = await runner.measure(Schedule(1, timeout=0.05), sock)
            second = await runner.measure(Schedule(1, timeout=30), sock)
            self.assertEqual((first.answered, first.kinds), (0, {}))
            self.assertEqual((second.answered, second.kinds), (1, {OTHER_RUN: 1}))
            self.assertEqual(peer.senders, [sock.getsockname()] * 2)

    async def test_earlierError(self) -> None:
        """
        An ICMP error for a probe of an earlier measurement is not counted.
        """
        runner = self.runner(self.freePort())
        with runner.target.open() as sock:
            enableErrorQueue(sock)
            sock.send(Probes(56).make(1))
            (server,) = bindUDP(runner.target.port or 0, ["127.0.0.1"])
            self.serve(server)
            result = await runner.measure(Schedule(1), sock)
        self.assertEqual((result.answered, result.icmpErrors), (1, {}))

    if sys.platform != "linux":
        test_earlierError.skip = "only Linux quotes datagrams in ICMP errors"  # type: ignore[attr-defined]

    async def test_stop(self) -> None:
        """
        L{SearchRunner.stop} ends the measurement and prevents any other.
        """
        runner = self.runner(self.serveUDP())
        measurement = Deferred.fromCoroutine(runner.measure(Schedule(timeout=60)))
        runner.stop()
        await self.assertFailure(measurement, Stopped)
        again = Deferred.fromCoroutine(runner.measure(Schedule(1)))
        await self.assertFailure(again, Stopped)
