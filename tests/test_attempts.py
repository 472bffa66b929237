"""
Tests for L{shout.measurement.attempts}.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred

from shout.measurement.attempts import Attempts, Stopped
from shout.measurement.events import REPLY
from shout.measurement.plan import Plan
from shout.measurement.probes import OTHER_RUN, Probes
from shout.measurement.refusals import keepRefusals
from shout.measurement.target import Target
from shout.sockets import bindUDP
from tests.peers import PeerCase


class AttemptsTests(PeerCase):
    """
    Tests for L{Attempts}.
    """

    def attempts(self, port: int) -> Attempts:
        return Attempts(Target("127.0.0.1", "127.0.0.1", port), self.reactor)

    async def test_measure(self) -> None:
        """
        Each measurement has its own result.
        """
        attempts = self.attempts(self.serveUDP())
        for count in (3, 2):
            result = await attempts.measure(Plan(count, 0.001))
            self.assertEqual((result.sent, result.answered), (count, count))

    async def test_enough(self) -> None:
        """
        A measurement ends with the event that is enough.
        """
        attempts = self.attempts(self.serveUDP())
        result = await attempts.measure(
            Plan(interval=60), isEnough=lambda event: event.kind == REPLY
        )
        self.assertEqual(result.answered, 1)

    async def test_instead(self) -> None:
        """
        What came instead of right replies is added up.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        attempts = self.attempts(port)
        for _ in range(2):
            await attempts.measure(Plan(2, 0.001, timeout=0.05))
        self.assertEqual((attempts.kinds, attempts.refusals), ({"echoed": 4}, {}))
        attempts = self.attempts(self.freePort())
        await attempts.measure(Plan(2, 0.001))
        self.assertEqual(attempts.refusals, {"port unreachable": 2})

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
        attempts = self.attempts(port)
        with attempts.target.open() as sock:
            first = await attempts.measure(Plan(1, timeout=0.05), sock)
            second = await attempts.measure(Plan(1, timeout=30), sock)
            self.assertEqual((first.answered, first.kinds), (0, {}))
            self.assertEqual((second.answered, second.kinds), (1, {OTHER_RUN: 1}))
            self.assertEqual(peer.senders, [sock.getsockname()] * 2)

    async def test_earlierError(self) -> None:
        """
        An ICMP error about a datagram of an earlier measurement is not counted.
        """
        attempts = self.attempts(self.freePort())
        with attempts.target.open() as sock:
            keepRefusals(sock)
            sock.send(Probes(56).make(1))
            (server,) = bindUDP(attempts.target.port or 0, ["127.0.0.1"])
            self.serve(server)
            result = await attempts.measure(Plan(1), sock)
        self.assertEqual((result.answered, result.refusals), (1, {}))

    if sys.platform != "linux":
        test_earlierError.skip = "only Linux says what an ICMP error is about"  # type: ignore[attr-defined]

    async def test_stop(self) -> None:
        """
        Stopped, the measurement ends, and there is no other.
        """
        attempts = self.attempts(self.serveUDP())
        measuring = Deferred.fromCoroutine(attempts.measure(Plan(timeout=60)))
        attempts.stop()
        await self.assertFailure(measuring, Stopped)
        again = Deferred.fromCoroutine(attempts.measure(Plan(1)))
        await self.assertFailure(again, Stopped)
