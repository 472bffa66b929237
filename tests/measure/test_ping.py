"""
Tests for L{shout.measure}.
"""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from shout.measure import deviation, mean, percentile, ping, summarize
from shout.measure.histogram import Histogram
from shout.measure.result import RoundTrips
from shout.request import Refused, UnknownHost
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import hasIPv6, needsIPv6
from tests.peers import PeerCase

TIMES = st.lists(st.integers(0, 2**40), min_size=1)


def tripsOf(times: list[int]) -> Histogram:
    histogram = Histogram()
    for each in times:
        histogram.add(each)
    return histogram


class StatisticsTests(SynchronousTestCase):
    """
    Tests for the statistics.
    """

    @given(TIMES)
    def test_mean(self, times: list[int]) -> None:
        """
        The mean is that of the standard library, to the nearest nanosecond.
        """
        value = mean(tripsOf(times))
        assert value is not None
        expected = statistics.mean(map(Fraction, times))
        self.assertLessEqual(abs(value - expected), Fraction(1, 2))

    @given(TIMES)
    def test_deviation(self, times: list[int]) -> None:
        """
        The deviation is that of the standard library, rounded down.
        """
        value = deviation(tripsOf(times))
        assert value is not None
        expected = statistics.pstdev(times)
        self.assertTrue(math.isclose(value, expected, rel_tol=1e-9, abs_tol=1))

    @given(TIMES, st.integers(1, 100))
    def test_percentile(self, times: list[int], percent: int) -> None:
        """
        A percentile is that of nearest rank, to within 0.4 %.
        """
        rank = math.ceil(len(times) * percent / 100)
        expected = sorted(times)[rank - 1]
        value = percentile(tripsOf(times), percent)
        assert value is not None
        self.assertLessEqual(abs(value - expected), max(0.5, 0.004 * expected))

    @given(TIMES)
    def test_median(self, times: list[int]) -> None:
        """
        The 50th percentile is the standard library's lower median.
        """
        value = percentile(tripsOf(times), 50)
        expected = statistics.median_low(times)
        assert value is not None
        self.assertLessEqual(abs(value - expected), max(0.5, 0.004 * expected))

    def test_one(self) -> None:
        """
        All figures of one round trip are that one, and it does not deviate.
        """
        time = 123_456_789
        self.assertEqual(
            summarize(tripsOf([time])),
            RoundTrips(time, time, time, time, time, time, 0),
        )

    def test_none(self) -> None:
        """
        There are no figures of no round trip.
        """
        histogram = Histogram()
        self.assertIsNone(summarize(histogram))
        self.assertIsNone(mean(histogram))
        self.assertIsNone(deviation(histogram))
        self.assertIsNone(percentile(histogram, 50))


class PingTests(PeerCase):
    """
    Tests for L{ping}, on the loopback.
    """

    async def test_answered(self) -> None:
        """
        Every datagram that a server answers is counted, with its events.
        """
        events: list[Any] = []
        port = self.serveUDP()
        result = await ping(port=port, count=20, interval=0.001, onEvent=events.append)
        self.assertEqual((result.sent, result.answered, result.lost), (20, 20, 0))
        self.assertEqual((result.host, result.port), ("127.0.0.1", port))
        self.assertEqual([event.number for event in events], list(range(1, 21)))
        histogram = result.roundTrips
        assert histogram is not None
        self.assertLess(0, histogram.min)
        self.assertTrue(histogram.min <= histogram.mean <= histogram.max)

    @needsIPv6
    async def test_ipv6(self) -> None:
        """
        The host may be an IPv6 address.
        """
        port = self.serveUDP("::1")
        for size in (1000, 32, 65527):
            result = await ping("::1", port, count=2, interval=0.001, size=size)
            self.assertEqual(result.answered, 2)

    async def test_unix(self) -> None:
        """
        A UNIX socket is measured at its path, faster than its queue is long.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        result = await ping(unix=path, count=100, interval=0.00001)
        self.assertEqual((result.answered, result.port), (100, None))
        self.assertFalse(result.hasKernelTimes)

    async def test_refused(self) -> None:
        """
        Where nothing listens every datagram is refused, and the run goes on.
        """
        result = await ping(port=self.freePort(), count=5, interval=0.001)
        self.assertEqual((result.sent, result.refused, result.lost), (5, 5, 0))
        self.assertEqual(result.icmpErrors, {"port unreachable": 5})
        self.assertIsNone(result.roundTrips)

    async def test_unixGone(self) -> None:
        """
        A UNIX socket that does not exist is refused at once.
        """
        path = shortDirectory(self) + "/shout"
        await self.assertFailure(Deferred.fromCoroutine(ping(unix=path)), Refused)

    async def test_unknown(self) -> None:
        """
        A host without an address cannot be measured.
        """
        session = Deferred.fromCoroutine(ping("a" * 64))
        await self.assertFailure(session, UnknownHost)

    async def test_ranges(self) -> None:
        """
        Numbers that are out of range are refused.
        """
        wrong: list[dict[str, Any]] = [
            {"count": None},
            {"count": 0},
            {"port": 0},
            {"interval": 0},
            {"timeout": 0},
            {"deadline": 0},
            {"deadline": math.nan},
            {"interval": math.inf},
            {"timeout": math.inf},
            {"size": 31},
            {"size": 65508},
            {"size": 56.5},
            {"count": 2.5},
        ]
        if hasIPv6:
            wrong += [{"size": size, "host": "::1"} for size in (31, 65528)]
        for options in wrong:
            session = Deferred.fromCoroutine(ping(**options))
            await self.assertFailure(session, ValueError)

    async def test_cancel(self) -> None:
        """
        It can be cancelled at any time, and a timeout can be put on it.
        """
        for limit in (0, 0.05):
            session = Deferred.fromCoroutine(
                ping(port=self.serveUDP(), count=None, deadline=100)
            )
            session.addTimeout(limit, self.reactor)
            await self.assertFailure(session, TimeoutError)
            await deferLater(self.reactor, 0.01)
