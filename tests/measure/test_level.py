"""
Tests for L{shout.measure.level}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hops import Hop
from shout.measure.level import ENOUGH, Level
from shout.measure.rounds import INTERVAL, Rounds
from shout.measure.sample import Route


class LevelTests(SynchronousTestCase):
    """
    Tests for L{Level}.
    """

    def setUp(self) -> None:
        self.now = 0

    def makeLevel(
        self, dead: int, healthy: int, previous: Level | None = None, ttl: int = 1
    ) -> Level:
        """
        Make a level, with flows that the application does not answer and others.
        """
        self.routes = [Route(index) for index in range(dead + healthy)]
        for route in self.routes[dead:]:
            route.isAnswered = True
        return Level(ttl, self.routes, previous)

    def take(
        self, level: Level, kind: bool = True, isForAll: bool = False
    ) -> list[Route]:
        """
        Return the flows that can be asked now.
        """
        routes = []
        while route := level.take(kind, isForAll, lambda route: True, self.now):
            routes.append(route)
        return routes

    def answer(self, level: Level, routes: list[Route], *addresses: str | None) -> None:
        """
        Answer flows from addresses in turn, with C{None} for no answer.
        """
        for route in routes:
            address = addresses[route.index % len(addresses)]
            hop = None if address is None else Hop(level.ttl, address, 1)
            level.probeEnded(route, route.isAnswered, hop, self.now)

    def ask(
        self, level: Level, *addresses: str | None, kind: bool = True, times: int = 20
    ) -> int:
        """
        Ask and answer until no more is to be asked.

        @return: Number of probes.
        """
        probes = 0
        for _ in range(times):
            routes = self.take(level, kind)
            self.answer(level, routes, *addresses)
            probes += len(routes)
            self.now += INTERVAL
        return probes

    def addressesOf(self, level: Level) -> list[str | None]:
        return [level.hopOf(route).address for route in self.routes]

    def test_shared(self) -> None:
        """
        Of flows with one address eleven are asked, and the others inferred.
        """
        level = self.makeLevel(0, 32)
        self.assertEqual(self.ask(level, "10.0.0.1"), ENOUGH)
        self.assertEqual(self.addressesOf(level), ["10.0.0.1"] * 32)
        times = [level.hopOf(route).roundTrip for route in self.routes]
        self.assertEqual(times.count(None), 21)

    def test_notEnough(self) -> None:
        """
        Fewer answers say nothing about other flows.
        """
        level = self.makeLevel(0, 32)
        self.answer(level, self.take(level), "10.0.0.1")
        self.assertEqual(self.addressesOf(level).count("10.0.0.1"), 6)

    def test_different(self) -> None:
        """
        If addresses differ each flow is asked.
        """
        level = self.makeLevel(0, 32)
        self.assertEqual(self.ask(level, "10.0.0.1", "10.0.0.2"), 32)
        self.assertEqual(self.addressesOf(level), ["10.0.0.1", "10.0.0.2"] * 16)

    def test_someSilent(self) -> None:
        """
        If some flows get no answer each flow is asked.
        """
        level = self.makeLevel(0, 32)
        self.ask(level, "10.0.0.1", None)
        self.assertEqual(self.addressesOf(level), ["10.0.0.1", None] * 16)
        self.assertEqual(len(level.hops), 32)

    def test_allSilent(self) -> None:
        """
        If no flow gets an answer eleven are asked, four times each.
        """
        level = self.makeLevel(0, 32)
        self.assertEqual(self.ask(level, None), 4 * ENOUGH)
        self.assertEqual(self.addressesOf(level), [None] * 32)

    def test_forAll(self) -> None:
        """
        Each flow is asked if nothing is to be inferred.
        """
        level = self.makeLevel(0, 8)
        self.assertEqual(len(self.take(level, isForAll=True)), 6)
        self.answer(level, self.routes[:6], "10.0.0.1")
        self.assertEqual(len(self.take(level, isForAll=True)), 2)

    def test_target(self) -> None:
        """
        The answer of the application is not inferred.
        """
        level = self.makeLevel(0, 20)
        for route in self.routes[:ENOUGH]:
            level.record(route, Hop(1, "10.0.0.9", 1, "", True))
        self.assertEqual(level.hopOf(self.routes[-1]), Hop(1))

    def test_kinds(self) -> None:
        """
        If both kinds of flows have one address, some of each are asked.
        """
        level = self.makeLevel(16, 16)
        self.assertEqual(self.ask(level, "10.0.0.1", kind=False), 6)
        self.assertEqual(self.ask(level, "10.0.0.1"), 6)
        self.assertEqual(self.addressesOf(level), ["10.0.0.1"] * 32)

    def test_kindsDiffer(self) -> None:
        """
        If one kind is silent, eleven flows of each are asked.
        """
        level = self.makeLevel(16, 16)
        self.ask(level, None, kind=False)
        self.assertEqual(self.ask(level, "10.0.0.1"), ENOUGH)
        self.assertEqual(len(level.hops), 2 * ENOUGH)
        self.assertEqual(self.addressesOf(level), [None] * 16 + ["10.0.0.1"] * 16)

    def test_contention(self) -> None:
        """
        Flows do not count as silent while those of the other kind are answered, whose
        router may have reached its limit.
        """
        level = self.makeLevel(4, 200)
        for _ in range(10):
            healthy = self.take(level)
            self.answer(level, healthy, "10.0.0.1", "10.0.0.2", None)
            self.answer(level, self.take(level, False), None)
            self.now += INTERVAL
        self.assertFalse(level.hops.keys() & {0, 1, 2, 3})
        self.ask(level, None, kind=False)
        self.assertTrue(level.hops.keys() >= {0, 1, 2, 3})

    def test_contentionByLost(self) -> None:
        """
        Healthy flows do not count as silent, either, until the others that a router
        answers are known.
        """
        level = self.makeLevel(6, 6)
        self.answer(level, self.take(level, False), *["10.0.0.1"] * 5, None)
        self.now += 2 * INTERVAL
        for _ in range(3):
            self.answer(level, self.take(level), None)
            self.now += INTERVAL
        self.assertEqual(level.hops.keys(), {0, 1, 2, 3, 4})
        self.ask(level, None, kind=False)
        self.assertEqual(level.hops.keys(), {0, 1, 2, 3, 4, 5})
        self.ask(level, None)
        self.assertEqual(len(level.hops), 12)

    def test_consecutive(self) -> None:
        """
        An answer to another flow begins the count of silent rounds anew.
        """
        level = self.makeLevel(0, 3)
        silent = [None, None, None]
        answered = [None, "10.0.0.1", None]
        for addresses in (silent, silent, answered, silent, silent):
            self.answer(level, self.take(level), *addresses)
            self.now += INTERVAL
        self.assertEqual(level.hops.keys(), {1})
        self.ask(level, *silent)
        self.assertEqual(level.hops.keys(), {0, 1, 2})

    def test_turns(self) -> None:
        """
        After a silent round another flow is the first.
        """
        level = self.makeLevel(0, 3)
        firsts = []
        for _ in range(3):
            routes = self.take(level)
            firsts.append(routes[0].index)
            self.answer(level, routes, None)
            self.now += INTERVAL
        self.assertEqual(firsts, [0, 1, 2])

    def test_mostTries(self) -> None:
        """
        In no case is a flow asked more than twenty times.
        """
        level = self.makeLevel(0, 2)
        for _ in range(30):
            for route in self.take(level):
                address = f"10.0.0.{self.now}" if route.index else None
                hop = Hop(1, address, 1) if address else None
                level.probeEnded(route, True, hop, self.now)
            level.samples[1].lastAnswer = self.now
            level.samples[0].lastAnswer = self.now
            self.now += INTERVAL
        self.assertEqual(level.triesOf(self.routes[0]), 20)

    def test_late(self) -> None:
        """
        A late answer takes the place of silence, and ends the tries.
        """
        level = self.makeLevel(0, 1)
        self.ask(level, None)
        self.assertEqual(level.hops, {0: Hop(1)})
        level.record(self.routes[0], Hop(1, "10.0.0.1", 1))
        self.assertEqual(self.addressesOf(level), ["10.0.0.1"])
        self.assertEqual(level.samples[1].known, {"10.0.0.1"})
        level.record(self.routes[0], Hop(1, "10.0.0.2", 1))
        self.assertEqual(self.addressesOf(level), ["10.0.0.1"])

    def test_lateBeforeRetry(self) -> None:
        """
        A flow with a late answer is not asked again.
        """
        level = self.makeLevel(0, 1)
        self.answer(level, self.take(level), None)
        level.record(self.routes[0], Hop(1, "10.0.0.1", 1))
        self.assertEqual(self.ask(level, None), 0)

    def test_applicationAnswered(self) -> None:
        """
        A flow that the application answers late is one of the healthy kind, with its
        hop or its place among those to ask.
        """
        level = self.makeLevel(8, 0)
        asked = self.take(level, False)
        self.answer(level, asked[:3], "10.0.0.1")
        self.answer(level, asked[3:], None)
        for route in self.routes:
            level.applicationAnswered(route)
            route.isAnswered = True
        self.assertEqual(self.take(level, False), [])
        self.assertEqual(len(self.take(level)), 5)
        dead, healthy = level.samples
        self.assertEqual((dead.asked, healthy.asked), (0, 8))
        self.assertEqual((dead.known, healthy.known), (set(), {"10.0.0.1"}))

    def test_movedInFlight(self) -> None:
        """
        The application may answer a flow while a probe to it is in flight.
        """
        level = self.makeLevel(1, 0)
        (route,) = self.take(level, False)
        level.applicationAnswered(route)
        route.isAnswered = True
        level.probeEnded(route, False, None, self.now)
        self.now += INTERVAL
        self.assertEqual(self.take(level), [route])

    def test_notReady(self) -> None:
        """
        Flows that cannot be asked now are left for later.
        """
        level = self.makeLevel(0, 3)
        self.assertIsNone(level.take(True, False, lambda route: False, 0))
        self.assertTrue(level.isDone(True, False, lambda route: False))
        self.assertFalse(level.isDone(True, False, lambda route: True))
        route = level.take(True, False, lambda route: route.index == 1, 0)
        self.assertIs(route, self.routes[1])

    def test_done(self) -> None:
        """
        A level is done when nobody is to be asked or waited for.
        """
        level = self.makeLevel(0, 1)
        (route,) = self.take(level)
        self.assertTrue(level.isAsked)
        self.assertFalse(level.isDone(True, False, lambda route: True))
        self.answer(level, [route], "10.0.0.1")
        self.assertTrue(level.isDone(True, False, lambda route: True))

    def test_rounds(self) -> None:
        """
        The first round can be larger.
        """
        level = Level(1, [Route(n) for n in range(30)], None, lambda: Rounds(30))
        self.assertEqual(len(self.take(level, False, True)), 30)


class AlikeTests(SynchronousTestCase):
    """
    Tests for L{Level} at a router with a limit behind parallel ones.
    """

    def infer(self, *addresses: str | None, asked: int = 16) -> list[str | None]:
        """
        Return the addresses of 32 flows, of which each fourth has the same hop before.

        @param addresses: The addresses that answer the flows in turn.

        @param asked: Number of flows asked.
        """
        routes = [Route(index) for index in range(32)]
        before = Level(1, routes, None)
        level = Level(2, routes, before)
        for route in routes:
            before.record(route, Hop(1, f"10.0.0.{route.index % 4}", 1))
        for route in routes[:asked]:
            address = addresses[route.index % len(addresses)]
            level.record(route, Hop(2, address, address and 1))  # type: ignore[arg-type]
        return [level.hopOf(route).address for route in routes]

    def test_inferred(self) -> None:
        """
        If the hop before decides, four answers are enough for flows with the same one.
        """
        addresses = [f"10.0.1.{n}" for n in range(4)]
        self.assertEqual(self.infer(*addresses), addresses * 8)

    def test_notEnough(self) -> None:
        """
        Fewer answers are not enough.
        """
        addresses = [f"10.0.1.{n}" for n in range(4)]
        self.assertEqual(
            self.infer(*addresses, asked=15)[15:],
            [*[None], *([*addresses[:3], None] * 4)],
        )
        self.assertEqual(self.infer(*addresses, asked=8)[8:], [None] * 24)

    def test_different(self) -> None:
        """
        Nothing is inferred if answers to flows with the same hop before differ.
        """
        addresses = [f"10.0.1.{n}" for n in range(8)]
        self.assertEqual(self.infer(*addresses)[16:], [None] * 16)

    def test_silent(self) -> None:
        """
        Silence is not inferred.
        """
        addresses = ["10.0.1.0", "10.0.1.1", "10.0.1.2", None]
        self.assertEqual(self.infer(*addresses)[16:], addresses * 4)

    def test_lessAsked(self) -> None:
        """
        At a router with a limit, flows whose hop can be inferred are not asked.
        """
        routes = [Route(index) for index in range(400)]
        before = Level(1, routes, None)
        for route in routes:
            before.record(route, Hop(1, f"10.0.0.{route.index % 4}", 1))
        level = Level(2, routes, before)
        now = 0
        for _ in range(10):
            taken = []
            while each := level.take(False, False, lambda route: True, now):
                taken.append(each)
            for number, route in enumerate(taken):
                hop = Hop(2, f"10.0.1.{route.index % 4}", 1)
                level.probeEnded(route, False, hop if number < 7 else None, now)
            now += INTERVAL
        self.assertLess(len(level.hops), 30)
        addresses = [level.hopOf(route).address for route in routes]
        self.assertEqual(addresses, [f"10.0.1.{n % 4}" for n in range(400)])
