"""
Tests for L{shout.measure.trace}.
"""

from __future__ import annotations

from errno import EAGAIN, EHOSTUNREACH
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hops import Hop
from shout.measure.schedule import SECOND
from shout.measure.trace import MAX_TTL
from shout.udp.icmp import ICMPError
from tests.measure.networks import TARGET, Network, ParallelNetwork, Router


def chain(*addresses: str) -> list[Router]:
    """
    Return routers in a row; those with an empty address are silent.
    """
    return [Router(*filter(None, [address])) for address in addresses]


class PathTests(SynchronousTestCase):
    """
    Tests for L{Tracer<shout.measure.trace.Tracer>} with one path.
    """

    def test_hops(self) -> None:
        """
        A flow has the addresses of the routers and of the target, and their round
        trips.
        """
        path = chain("10.0.0.1", "10.0.0.2")
        network = Network(1, lambda flow: path)
        network.trace()
        expected = (
            Hop(1, "10.0.0.1", 2_000_000),
            Hop(2, "10.0.0.2", 4_000_000),
            Hop(3, TARGET, 6_000_000, "", True),
        )
        self.assertEqual(network.done, [{40000: expected}])
        self.assertLess(network.clock.seconds(), 0.1)
        self.assertTrue(all(network.received))

    def test_noRouter(self) -> None:
        """
        Without a router the application is the only hop.
        """
        network = Network(3, lambda flow: [])
        self.assertEqual(network.trace(), [[TARGET]] * 3)

    def test_silentRouter(self) -> None:
        """
        A silent router is asked four times within some seconds.
        """
        path = chain("10.0.0.1", "", "10.0.0.3")
        network = Network(1, lambda flow: path)
        self.assertEqual(network.trace(), [["10.0.0.1", "*", "10.0.0.3", TARGET]])
        times = [time for _, ttl, time in network.sent if ttl == 2]
        self.assertEqual(len(times), 4)
        self.assertGreater(times[-1] - times[0], 3)
        self.assertLess(network.clock.seconds(), 5)

    def test_silentRouters(self) -> None:
        """
        An application behind many silent routers is found, with the TTL of its replies
        and without it.
        """
        path = chain(*[""] * 12)
        expected = [["*"] * 12 + [TARGET]]
        for ttl in (64 - 12, 128 - 12, 255 - 12, 255, None):
            network = Network(1, lambda flow: path)
            receive = network.receive
            self.patch(
                network,
                "receive",
                lambda f, datagram, _, receive=receive, ttl=ttl: receive(
                    f, datagram, ttl
                ),
            )
            self.assertEqual(network.trace(), expected)
            # Wrong guesses take longer.
            isRight = ttl not in (255, None)
            self.assertEqual(network.clock.seconds() < 15, isRight)

    def test_wait(self) -> None:
        """
        Silence is not waited for much longer than other answers took.
        """
        path = chain("10.0.0.1", "", "10.0.0.3")
        network = Network(1, lambda flow: path, timeout=30)
        self.assertEqual(network.trace(), [["10.0.0.1", "*", "10.0.0.3", TARGET]])
        self.assertLess(network.clock.seconds(), 5)

    def test_long(self) -> None:
        """
        A path with more hops than the largest TTL is cut off.
        """
        path = [Router("10.0.0.1", rate=None) for _ in range(40)]
        network = Network(1, lambda flow: path)
        self.assertEqual(network.trace(), [["10.0.0.1"] * MAX_TTL])

    def test_dead(self) -> None:
        """
        If no application answers, the way ends after three silent hops.
        """
        path = chain("10.0.0.1", "10.0.0.2", "10.0.0.3")
        network = Network(1, lambda flow: path, lambda flow: 2)
        self.assertEqual(network.trace(), [["10.0.0.1", "10.0.0.2", "*", "*", "*"]])
        self.assertLess(network.clock.seconds(), 10)

    def test_nothing(self) -> None:
        """
        If nothing at all answers, three hops are silent.
        """
        network = Network(2, lambda flow: chain(""), lambda flow: 0)
        self.assertEqual(network.trace(), [["*"] * 3] * 2)
        self.assertLess(network.clock.seconds(), 20)

    def test_refused(self) -> None:
        """
        A router that refuses datagrams is the last hop.
        """
        reason = "administratively prohibited"
        path = [*chain("10.0.0.1"), *[Router("10.0.0.1", reason=reason)] * 40]
        network = Network(1, lambda flow: path)
        network.trace()
        last = Hop(2, "10.0.0.1", 4_000_000, reason)
        self.assertEqual([hops[40000][1:] for hops in network.done], [(last,)])

    def test_noServer(self) -> None:
        """
        A target that refuses datagrams is the last hop, but no application.
        """
        reason = "port unreachable"
        path = [*chain("10.0.0.1"), *[Router(TARGET, reason=reason)] * 70]
        network = Network(20, lambda flow: path)
        network.trace()
        (hops,) = network.done
        lasts = {each[-1]._replace(roundTrip=None) for each in hops.values()}
        self.assertEqual(lasts, {Hop(2, TARGET, None, reason)})

    def test_wrong(self) -> None:
        """
        A reply that is not the probe in capitals is no answer of the application.
        """
        path = chain("10.0.0.1")
        network = Network(1, lambda flow: path, answer=lambda flow, probe: probe)
        network.trace()
        (hops,) = network.done
        last = Hop(2, TARGET, 4_000_000, "echoed unchanged")
        self.assertEqual(hops[40000][1:], (last,))

    def test_loop(self) -> None:
        """
        A loop of routers is followed to the largest TTL.
        """
        path = chain(*["10.0.0.1", "10.0.0.2"] * 40)
        network = Network(12, lambda flow: path)
        expected = ["10.0.0.1", "10.0.0.2"] * (MAX_TTL // 2)
        self.assertEqual(network.trace(), [expected] * 12)


class AnswerTests(SynchronousTestCase):
    """
    Tests for the answers to L{Tracer<shout.measure.trace.Tracer>}.
    """

    def start(self, flows: int = 1, **options: Any) -> Network:
        """
        Start a tracer of flows through a router.
        """
        path = chain("10.0.0.1")
        network = Network(flows, lambda flow: path, **options)
        network.start()
        return network

    def test_others(self) -> None:
        """
        Datagrams and errors of others are not for the tracer.
        """
        network = self.start()
        network.receive(0, b"SOMETHING ELSE")
        network.refuse(0, ICMPError("time exceeded", "10.0.0.1", b"something else"))
        network.refuse(0, ICMPError("time exceeded", None, b""))
        self.assertEqual(network.received, [False, False, False])

    def test_otherFlow(self) -> None:
        """
        A reply that arrives at another flow changes nothing.
        """
        probes: list[bytes] = []
        network = self.start(2, answer=lambda flow, probe: b"NOTHING")
        self.patch(network.flows[0], "send", lambda data, ttl: probes.append(data))
        network.advance(5)
        network.received.clear()
        for probe in probes:
            network.receive(1, probe.upper())
        self.assertEqual({*network.received}, {True})
        network.advance(60)
        (hops,) = network.done
        self.assertFalse(any(hop.isTarget for each in hops.values() for hop in each))

    def test_duplicates(self) -> None:
        """
        Second answers to a probe are for the tracer, but change nothing.
        """
        network = self.start()
        receive = network.tracer.datagramReceived
        seen = []

        def receiveTwice(*args: Any) -> bool:
            receive(*args)
            seen.append(args)
            return receive(*args)

        self.patch(network.tracer, "datagramReceived", receiveTwice)
        network.advance(60)
        self.assertTrue(all(network.received))
        (hops,) = network.done
        self.assertEqual([hop.address for hop in hops[40000]], ["10.0.0.1", TARGET])
        # After the end, too.
        self.assertTrue(receiveTwice(*seen[0]))

    def test_delay(self) -> None:
        """
        The time that a reply has waited is no part of its round trip.
        """
        network = self.start()
        receive = network.tracer.datagramReceived
        self.patch(
            network.tracer,
            "datagramReceived",
            lambda flow, data, now, delay, header: receive(
                flow, data, now + 7, 7, header
            ),
        )
        network.advance(60)
        (hops,) = network.done
        self.assertEqual(hops[40000][-1].roundTrip, 4_000_000)

    def test_late(self) -> None:
        """
        An answer that is no longer waited for counts all the same.
        """
        network = self.start()
        refuse = network.refuse
        self.patch(
            network,
            "refuse",
            lambda *args: network.clock.callLater(0.9, refuse, *args),
        )
        network.advance(60)
        (hops,) = network.done
        self.assertEqual(hops[40000][0], Hop(1, "10.0.0.1", 902_000_000))

    def test_shortQuotes(self) -> None:
        """
        Errors without a quote are matched, since a flow then has one probe in flight at
        a time.
        """
        path = [Router(f"10.0.0.{n}", quote=n % 2 * 15) for n in range(6)]
        network = Network(4, lambda flow: path)
        expected = [*(f"10.0.0.{n}" for n in range(6)), TARGET]
        self.assertEqual(network.trace(), [expected] * 4)
        self.assertLess(network.clock.seconds(), 5)

    def test_shortQuoteOfOther(self) -> None:
        """
        An error without a quote is not for the tracer if no probe is in flight.
        """
        network = self.start()
        network.advance(60)
        network.refuse(0, ICMPError("port unreachable", "10.0.0.1", b""))
        self.assertFalse(network.received[-1])

    def test_sendErrors(self) -> None:
        """
        A probe that the system does not accept is sent again.
        """
        path = chain("10.0.0.1")
        network = Network(1, lambda flow: path)
        network.errors = [OSError(EAGAIN, ""), OSError(EHOSTUNREACH, "")]
        self.assertEqual(network.trace(), [["10.0.0.1", TARGET]])
        self.assertEqual(network.errors, [])

    def test_localError(self) -> None:
        """
        An error of this system about a probe is for the tracer, but is no hop.
        """
        probes: list[bytes] = []
        network = Network(1, lambda flow: [])
        self.patch(network.flows[0], "send", lambda data, ttl: probes.append(data))
        network.start()
        network.refuse(0, ICMPError("host unreachable", None, probes[0]))
        self.assertEqual(network.received, [True])
        network.advance(60)
        (hops,) = network.done
        self.assertEqual({hop.address for hop in hops[40000]}, {None})


class EndTests(SynchronousTestCase):
    """
    Tests for the end of L{Tracer<shout.measure.trace.Tracer>}.
    """

    def test_stop(self) -> None:
        """
        A tracer that is stopped ends with what is known, and sends nothing more.
        """
        path = chain("10.0.0.1", "", "10.0.0.3")
        network = Network(1, lambda flow: path)
        network.start()
        network.advance(0.5)
        network.tracer.stop()
        (hops,) = network.done
        addresses = [hop.address for hop in hops[40000]]
        self.assertEqual(addresses, ["10.0.0.1", None, "10.0.0.3", TARGET])
        self.assertEqual(network.clock.getDelayedCalls(), [])
        network.tracer.stop()

    def test_stopWhileSending(self) -> None:
        """
        A tracer can be stopped while it sends.
        """
        network = Network(1, lambda flow: [])
        self.patch(
            network.flows[0], "send", lambda datagram, ttl: network.tracer.stop()
        )
        network.start()
        self.assertEqual(network.done, [{40000: ()}])
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """
        Cancelling the L{Deferred<twisted.internet.defer.Deferred>} stops the tracer.
        """
        network = Network(1, lambda flow: [])
        done = network.tracer.start()
        done.cancel()
        self.assertEqual(self.successResultOf(done), {40000: ()})

    def test_limit(self) -> None:
        """
        A tracer ends when its time is over.
        """
        network = ParallelNetwork(200, rate=1, limit=10)
        network.trace()
        self.assertAlmostEqual(network.clock.seconds(), 10, 2)


class ParallelTests(SynchronousTestCase):
    """
    Tests for L{Tracer<shout.measure.trace.Tracer>} with parallel paths.
    """

    def check(self, seconds: float, **options: Any) -> ParallelNetwork:
        """
        Check that all hops are found within a time.

        @param options: Parameters of L{ParallelNetwork}.
        """
        network = ParallelNetwork(**options)
        self.assertEqual(network.trace(), network.expected)
        self.assertLess(network.clock.seconds(), seconds)
        return network

    def test_unlimited(self) -> None:
        """
        A router that all flows share is asked eleven times, and parallel ones once for
        each flow.
        """
        network = self.check(2)
        self.assertEqual(network.first.asked, 11)
        self.assertEqual([router.asked for router in network.middle], [8] * 4)
        (hops,) = network.done
        firsts = [each[0] for each in hops.values()]
        self.assertEqual({hop.address for hop in firsts}, {"10.0.0.1"})
        self.assertEqual([hop.roundTrip for hop in firsts].count(None), 21)
        self.assertTrue(all(each[-1].roundTrip for each in hops.values()))

    def test_limited(self) -> None:
        """
        Routers that send six errors at once and then one a second have the time that
        they need.
        """
        network = self.check(20, rate=1)
        self.assertEqual(network.first.answered, 11)
        self.assertLess(len(network.sent), 230)

    def test_limitedOnce(self) -> None:
        """
        A limited router behind parallel ones is asked eleven times if it has one
        address.
        """
        network = self.check(12, rate=1, hasOneAddress=True)
        self.assertEqual(network.last.answered, 11)

    def test_IPv6(self) -> None:
        """
        Over IPv6 ten errors a second take less time.
        """
        self.check(8, rate=10, prefix="2001:db8:{}::{}")

    def test_differentPaths(self) -> None:
        """
        Where answers to flows with the same hop before differ, each flow is asked.
        """
        network = ParallelNetwork(rate=1)
        last = [Router(f"10.0.2.{n}") for n in range(2)]
        path = network._path
        network._path = lambda flow: [*path(flow)[:2], last[flow // 4 % 2]]
        found = network.trace()
        self.assertEqual(sum(router.answered for router in last), 32)
        hops = [each[2] for each in found]
        self.assertEqual(hops, [f"10.0.2.{n // 4 % 2}" for n in range(32)])

    def test_deadBefore(self) -> None:
        """
        Flows whose path is broken before a parallel router get no answer from there on,
        and the others are traced.
        """
        self.check(10, reach=1)
        self.check(20, rate=1, reach=1)

    def test_deadBehind(self) -> None:
        """
        Flows whose path is broken behind a parallel router get the answers up to it.
        """
        self.check(10, reach=2)
        self.check(20, rate=1, reach=2)

    def test_wayBack(self) -> None:
        """
        Flows that lose the application's replies alone have all routers.
        """
        network = self.check(20, rate=1, reach=3)
        (hops,) = network.done
        self.assertEqual(hops[40000][-1], Hop(4))

    def test_loss(self) -> None:
        """
        With 10 % loss in each direction hardly a hop is missing, and none is wrong.
        """
        for rate in (None, 1):
            for seed in range(5):
                network = ParallelNetwork(rate=rate, loss=0.1, seed=seed)
                found = network.trace()
                for hops, expected in zip(found, network.expected):
                    self.assertEqual(
                        [b if a == "*" else a for a, b in zip(hops, expected)], expected
                    )
                self.assertLess(sum(hops.count("*") for hops in found), 3)

    def test_silentRouter(self) -> None:
        """
        A silent router among parallel ones is silent for its flows alone.
        """
        network = ParallelNetwork()
        network.middle[2] = Router()
        for hops in network.expected[2::4]:
            hops[1] = "*"
        self.assertEqual(network.trace(), network.expected)

    def test_silentForAll(self) -> None:
        """
        A silent router that all flows share is not asked for each of them.
        """
        network = ParallelNetwork()
        network.first = Router()
        for hops in network.expected:
            hops[0] = "*"
        self.assertEqual(network.trace(), network.expected)
        self.assertLessEqual(network.first.asked, 4 * 12)

    def test_lengths(self) -> None:
        """
        Paths may have different lengths.
        """
        paths = [chain("10.0.0.1", "10.0.0.2"), chain("10.0.0.1"), chain("10.0.0.3")]
        paths[2] += chain("10.0.0.4", "10.0.0.5")
        network = Network(30, lambda flow: paths[flow % 3])
        found = network.trace()
        self.assertEqual(
            found[:3],
            [
                ["10.0.0.1", "10.0.0.2", TARGET],
                ["10.0.0.1", TARGET],
                ["10.0.0.3", "10.0.0.4", "10.0.0.5", TARGET],
            ],
        )
        self.assertEqual(found, found[:3] * 10)

    def test_lossyApplication(self) -> None:
        """
        A flow that the application answers late in the tracing is healthy.
        """
        random = Random(1)
        network = ParallelNetwork(
            answer=lambda flow, probe: b"" if random.random() < 0.7 else probe.upper()
        )
        found = network.trace()
        self.assertEqual(
            [hops[:3] for hops in found], [h[:3] for h in network.expected]
        )

    def test_manyFlows(self) -> None:
        """
        No more than 800 probes a second are sent, however many flows there are.
        """
        network = ParallelNetwork(1000)
        self.assertEqual(network.trace(), network.expected)
        for start in range(round(network.clock.seconds())):
            count = sum(start <= time < start + 1 for _, _, time in network.sent)
            self.assertLessEqual(count, 808)
        self.assertEqual(network.now() // SECOND, 5)
