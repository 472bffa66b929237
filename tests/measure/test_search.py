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


class AttemptsTests(PeerCase):
    """
    Tests for L{SearchRunner}.
    """

    def runner(self, port: int) -> SearchRunner:
        return SearchRunner(Target("127.0.0.1", "127.0.0.1", port), self.reactor)

    async def test_measure(self) -> None:
        """
        Each measurement has its own result.
        """
        runner = self.runner(self.serveUDP())
        for count in (3, 2):
            result = await runner.measure(Schedule(count, 0.001))
            self.assertEqual((result.sent, result.answered), (count, count))

    async def test_enough(self) -> None:
        """
        A measurement ends with the event that is enough.
        """
        runner = self.runner(self.serveUDP())
        result = await runner.measure(
            Schedule(interval=60), isEnough=lambda event: event.kind == REPLY
        )
        self.assertEqual(result.answered, 1)

    async def test_instead(self) -> None:
        """
        What came instead of right replies is added up.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        runner = self.runner(port)
        for _ in range(2):
            await runner.measure(Schedule(2, 0.001, timeout=0.05))
        self.assertEqual((runner.kinds, runner.icmpErrors), ({"echoed": 4}, {}))
        runner = self.runner(self.freePort())
        await runner.measure(Schedule(2, 0.001))
        self.assertEqual(runner.icmpErrors, {"port unreachable": 2})

    async def test_sameSocket(self) -> None:
        """
        Measurements can follow one another on a socket.  A reply to an earlier one
        that comes late is of another run.
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
        An ICMP error about a datagram of an earlier measurement is not counted.
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
        test_earlierError.skip = "only Linux says what an ICMP error is about"  # type: ignore[attr-defined]

    async def test_stop(self) -> None:
        """
        Stopped, the measurement ends, and there is no other.
        """
        runner = self.runner(self.serveUDP())
        measuring = Deferred.fromCoroutine(runner.measure(Schedule(timeout=60)))
        runner.stop()
        await self.assertFailure(measuring, Stopped)
        again = Deferred.fromCoroutine(runner.measure(Schedule(1)))
        await self.assertFailure(again, Stopped)
