"""
Tests for L{shout.measure.parting}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hops import Hop
from shout.measure.parting import whereTheyPart

_TARGET = "192.0.2.9"


def path(*addresses: str) -> list[Hop]:
    """
    Return hops with addresses: C{*} for a silent one, C{!} after one that refuses, and
    a dot for the application.
    """
    hops = []
    for ttl, address in enumerate(addresses, 1):
        if address == ".":
            hops.append(Hop(ttl, _TARGET, 1, "", True))
        elif address == "*":
            hops.append(Hop(ttl))
        else:
            reason = "administratively prohibited" if address.endswith("!") else ""
            hops.append(Hop(ttl, address.rstrip("!"), 1, reason))
    return hops


class WhereTheyPartTests(SynchronousTestCase):
    """
    Tests for L{whereTheyPart}.
    """

    def part(
        self,
        flows: Callable[[int], list[Hop]],
        isHurt: Callable[[int], bool] = lambda port: port % 4 == 2,
        count: int = 32,
    ) -> list[str]:
        """
        Return the sentences about flows from the source ports 0 and up.
        """
        hops = {port: flows(port) for port in range(count)}
        hurt = [port for port in hops if isHurt(port)]
        healthy = [port for port in hops if not isHurt(port)]
        return whereTheyPart(hurt, healthy, hops, "without an answer")

    def test_router(self) -> None:
        """
        Hurt flows go through a router that no healthy one goes through, over IPv4 and
        IPv6.
        """
        for prefix in ("10.77.1.", "2001:db8::"):
            self.assertEqual(
                self.part(
                    lambda port, prefix=prefix: path(  # type: ignore[misc]
                        prefix + "9", f"{prefix}{port % 4}", prefix + "8", "."
                    )
                ),
                [
                    f"all 8 flows without an answer go through {prefix}2, "
                    "and no other does"
                ],
            )

    def test_lastThatAnswers(self) -> None:
        """
        Nothing behind the router of their own answers hurt flows.
        """

        def flows(port: int) -> list[Hop]:
            behind = ["*", "*"] if port % 4 == 2 else ["10.0.2.1", "."]
            return path("10.0.0.1", f"10.0.1.{port % 4}", *behind)

        self.assertEqual(
            self.part(flows),
            [
                "all 8 flows without an answer go through 10.0.1.2, "
                "and no other does; no hop behind answers"
            ],
        )

    def test_lossy(self) -> None:
        """
        Hurt flows may reach the application behind the router of their own.
        """
        self.assertEqual(
            self.part(lambda port: path("10.0.0.1", f"10.0.1.{port % 4}", ".")),
            ["all 8 flows without an answer go through 10.0.1.2, and no other does"],
        )

    def test_notLastThatAnswers(self) -> None:
        """
        Other hops may answer hurt flows behind the router of their own.
        """

        def flows(port: int) -> list[Hop]:
            last = "*" if port % 4 == 2 else "."
            return path("10.0.0.1", f"10.0.1.{port % 4}", "10.0.2.1", last)

        self.assertEqual(
            self.part(flows),
            ["all 8 flows without an answer go through 10.0.1.2, and no other does"],
        )

    def test_refused(self) -> None:
        """
        A router that refuses hurt flows says why.
        """

        def flows(port: int) -> list[Hop]:
            behind = ["10.0.1.2!"] if port % 4 == 2 else ["10.0.2.1", "."]
            return path("10.0.0.1", f"10.0.1.{port % 4}", *behind)

        self.assertEqual(
            self.part(flows),
            [
                "all 8 flows without an answer go through 10.0.1.2, and no other "
                "does; 10.0.1.2 answers: administratively prohibited"
            ],
        )

    def test_severalRouters(self) -> None:
        """
        Hurt flows may go through several routers of their own.
        """
        self.assertEqual(
            self.part(
                lambda port: path("10.0.0.1", f"10.0.1.{port % 4}", "10.0.2.1", "."),
                lambda port: port % 4 > 1,
            ),
            [
                "all 16 flows without an answer go through 10.0.1.2 (8) or 10.0.1.3 "
                "(8), and no other does"
            ],
        )

    def test_aliases(self) -> None:
        """
        The first router that all hurt flows have for themselves is named, and not those
        behind it.
        """
        sentences = self.part(
            lambda port: path("10.0.0.1", f"10.0.1.{port % 4}", f"10.0.2.{port % 4}")
        )
        self.assertIn("through 10.0.1.2, and", sentences[0])
        self.assertEqual(len(sentences), 1)

    def test_otherTTL(self) -> None:
        """
        A router that healthy flows reach by another TTL is not one of the hurt flows
        alone.
        """
        self.assertIn(
            "the way back",
            self.part(
                lambda port: (
                    path("10.0.0.1", "10.0.0.2", ".")
                    if port % 4 == 2
                    else path("10.0.0.2", "10.0.0.1", ".")
                )
            )[0],
        )

    def test_wayBack(self) -> None:
        """
        If hurt flows share their hops with healthy ones, the way back is the likelier
        place.
        """
        expected = [
            "all 8 flows without an answer share their hops with healthy flows: "
            "the way back is the likelier place"
        ]

        def flows(port: int) -> list[Hop]:
            last = "*" if port < 8 else "."
            return path("10.0.0.1", f"10.0.1.{port % 4}", "10.0.2.1", last)

        self.assertEqual(self.part(flows, lambda port: port < 8), expected)

        def silentForAll(port: int) -> list[Hop]:
            return path("10.0.0.1", "*", "10.0.2.1", "*" if port < 8 else ".")

        self.assertEqual(self.part(silentForAll, lambda port: port < 8), expected)

    def test_silentBehindSeveral(self) -> None:
        """
        If hurt flows are silent behind different routers, from which healthy flows go
        on, the way back is the likelier place.
        """

        def flows(port: int) -> list[Hop]:
            third = "*" if port < 8 else f"10.0.2.{port % 4}"
            last = "*" if port < 8 else "."
            return path("10.0.0.1", f"10.0.1.{port % 2}", third, last)

        (sentence,) = self.part(flows, lambda port: port < 8)
        self.assertEqual(
            sentence,
            "all 8 flows without an answer share their hops with healthy flows, up to "
            "10.0.1.0 or 10.0.1.1, from where healthy flows go on: the way back is the "
            "likelier place, unless they share a hop that is silent",
        )

    def test_silentForSomeHealthy(self) -> None:
        """
        A hop that is silent for many healthy flows, too, proves nothing.
        """

        def flows(port: int) -> list[Hop]:
            third = "*" if port % 4 == 2 else "10.0.2.1"
            last = "*" if port < 8 else "."
            return path("10.0.0.1", f"10.0.1.{port % 4}", third, last)

        sentences = self.part(flows, lambda port: port < 8)
        self.assertEqual(len(sentences), 1)
        self.assertIn("the way back", sentences[0])

    def test_silent(self) -> None:
        """
        If hurt flows are silent from some hop on, it is only said where healthy ones
        go on.
        """

        def flows(port: int) -> list[Hop]:
            if port % 4 == 2:
                return path("10.0.0.1", "*", "*", "*")
            return path("10.0.0.1", f"10.0.1.{port % 4}", "10.0.2.1", ".")

        self.assertEqual(
            self.part(flows),
            [
                "the last hop that answers the 8 flows without an answer is 10.0.0.1; "
                "healthy flows go on through 10.0.1.0, 10.0.1.1 and 10.0.1.3; "
                "silence alone does not prove where the others end"
            ],
        )

    def test_silentBehindShared(self) -> None:
        """
        Healthy flows are those with the same last hop, from which they go on.
        """

        def flows(port: int) -> list[Hop]:
            second, third = f"10.0.1.{port % 2}", f"10.0.2.{port % 2}"
            if port % 2 == 1:
                third = "*"
            if port % 4 == 2:
                return path("10.0.0.1", second, "*", "*")
            return path("10.0.0.1", second, third, ".")

        (sentence,) = self.part(flows)
        self.assertTrue(
            sentence.startswith(
                "the last hop that answers the 8 flows without an answer is 10.0.1.0; "
                "healthy flows go on through 10.0.2.0;"
            )
        )

    def test_silentParallel(self) -> None:
        """
        Where a parallel router is silent for healthy flows, the next hop shows that
        hurt flows are silent.
        """

        def flows(port: int) -> list[Hop]:
            if port % 4 == 2:
                return path("10.0.0.1", "*", "*", "*")
            second = "*" if port % 4 == 1 else f"10.0.1.{port % 4}"
            return path("10.0.0.1", second, "10.0.2.1", ".")

        (sentence,) = self.part(flows)
        self.assertIn("is 10.0.0.1; healthy flows go on through 10.0.2.1;", sentence)

    def test_nothingAnswers(self) -> None:
        """
        No hop at all may answer hurt flows.
        """
        self.assertEqual(
            self.part(
                lambda port: path("*", "*") if port % 4 == 2 else path("10.0.0.1", ".")
            ),
            [
                "no hop answers any of the 8 flows without an answer; healthy flows "
                "go on through 10.0.0.1; "
                "silence alone does not prove where the others end"
            ],
        )

    def test_silentBetween(self) -> None:
        """
        A hop may be silent for hurt flows although later ones answer.
        """

        def flows(port: int) -> list[Hop]:
            second = "*" if port % 4 == 2 else f"10.0.1.{port % 4}"
            return path("10.0.0.1", second, "10.0.2.1", ".")

        self.assertEqual(
            self.part(flows),
            [
                "hop 2 does not answer the 8 flows without an answer, but healthy "
                "flows, from 10.0.1.0, 10.0.1.1 and 10.0.1.3; later hops answer both"
            ],
        )

    def test_twoPlaces(self) -> None:
        """
        Flows may be hurt in several places.
        """

        def flows(port: int) -> list[Hop]:
            if port % 4 == 2:
                return path("10.0.0.1", "*", "*", "*")
            behind = ["*", "*"] if port % 4 == 3 else ["10.0.2.1", "."]
            return path("10.0.0.1", f"10.0.1.{port % 4}", *behind)

        first, second = self.part(flows, lambda port: port % 4 > 1)
        self.assertEqual(
            first,
            "8 of the 16 flows without an answer go through 10.0.1.3, "
            "and no other does; no hop behind answers",
        )
        self.assertTrue(
            second.startswith(
                "the last hop that answers 8 of the 16 flows without an answer is "
            )
        )

    def test_chance(self) -> None:
        """
        A router of their own may be chance if the hurt flows are few.
        """

        def flows(port: int) -> list[Hop]:
            return path("10.0.0.1", f"10.0.1.{port % 16}", "10.0.2.1", ".")

        (sentence,) = self.part(flows, lambda port: port == 5, 16)
        self.assertEqual(
            sentence,
            "the only flow without an answer goes through 10.0.1.5, and no other does; "
            "with so few flows this may be chance",
        )
        (sentence,) = self.part(flows, lambda port: port % 16 == 5, 64)
        self.assertEqual(
            sentence,
            "all 4 flows without an answer go through 10.0.1.5, and no other does",
        )

    def test_manyAddresses(self) -> None:
        """
        Of many addresses some are listed.
        """

        def flows(port: int) -> list[Hop]:
            if port == 0:
                return path("10.0.0.1", "*")
            return path("10.0.0.1", f"10.0.1.{port}", ".")

        (sentence,) = self.part(flows, lambda port: port == 0)
        self.assertIn("10.0.1.6, 10.0.1.7 and 24 others;", sentence)

    def test_oneWayBack(self) -> None:
        """
        A single flow is described in the singular.
        """
        (sentence,) = self.part(
            lambda port: path("10.0.0.1", "*" if port == 0 else "."),
            lambda port: port == 0,
        )
        self.assertTrue(
            sentence.startswith("the only flow without an answer shares its hops")
        )

    def test_noHops(self) -> None:
        """
        Without an answer of any router, the hops show nothing.
        """
        self.assertEqual(
            self.part(lambda port: path("*", "*" if port % 4 == 2 else ".")),
            ["no router on the way answers, so the hops do not show the place"],
        )

    def test_nothingToCompare(self) -> None:
        """
        Nothing is said if no flow is hurt, none is healthy, or none is traced.
        """

        def flows(port: int) -> list[Hop]:
            return path("10.0.0.1", ".")

        self.assertEqual(self.part(flows, lambda port: False), [])
        self.assertEqual(self.part(flows, lambda port: True), [])
        self.assertEqual(whereTheyPart([1], [2], {}, "without an answer"), [])
