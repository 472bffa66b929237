"""
Tests for L{shout.measure.hops}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.hops import Hop, merge


def path(*addresses: str) -> tuple[Hop, ...]:
    """
    Return hops with addresses, C{*} for a silent one.
    """
    return tuple(
        Hop(ttl, None if address == "*" else address, 1_000_000)
        for ttl, address in enumerate(addresses, 1)
    )


class MergeTests(SynchronousTestCase):
    """
    Tests for L{merge}.
    """

    def merge(self, *paths: tuple[Hop, ...]) -> list[tuple[object, ...]]:
        """
        Return the TTL, the address, the source ports and the number of silent flows of
        each row.
        """
        rows = merge(dict(enumerate(paths, 1)))
        return [(row.ttl, row.address, [*row.hops], row.silent) for row in rows]

    def test_tree(self) -> None:
        """
        Rows are in the order of TTLs and addresses, with silent flows last.
        """
        self.assertEqual(
            self.merge(
                path("10.0.0.1", "*"),
                path("10.0.0.1", "10.0.0.10", "10.0.0.20"),
                path("10.0.0.1", "10.0.0.9", "10.0.0.20"),
            ),
            [
                (1, "10.0.0.1", [1, 2, 3], 0),
                (2, "10.0.0.9", [3], 0),
                (2, "10.0.0.10", [2], 0),
                (2, None, [1], 0),
                (3, "10.0.0.20", [2, 3], 0),
            ],
        )

    def test_hops(self) -> None:
        """
        A row has the hop of each of its flows.
        """
        hops = {5: path("2001:db8::1"), 6: path("2001:db8::1")}
        (row,) = merge(hops)
        self.assertEqual(row.hops, {5: hops[5][0], 6: hops[6][0]})

    def test_laterHops(self) -> None:
        """
        Flows may have different numbers of hops.
        """
        hops = {5: path("10.0.0.1", "10.0.0.2"), 6: path("10.0.0.1")}
        _, row = merge(hops)
        self.assertEqual(row.hops, {5: hops[5][1]})

    def test_scope(self) -> None:
        """
        Addresses may have scopes.
        """
        rows = self.merge(path("fe80::2%eth0"), path("fe80::1%eth0"))
        self.assertEqual([row[1] for row in rows], ["fe80::1%eth0", "fe80::2%eth0"])

    def test_answersSome(self) -> None:
        """
        Silent flows with the same hops before and after as those of one address
        probably pass it.
        """
        rows = self.merge(
            path("10.0.0.1", "10.0.0.2", "10.0.0.3"),
            path("10.0.0.1", "*", "10.0.0.3"),
            path("10.0.0.1", "*", "*"),
        )
        self.assertEqual(rows[1], (2, "10.0.0.2", [1], 1))
        rows = self.merge(path("10.0.0.2", "10.0.0.3"), path("*", "10.0.0.3"))
        self.assertEqual(rows[0], (1, "10.0.0.2", [1], 1))

    def test_otherHopBefore(self) -> None:
        """
        Silent flows with another hop before, or a silent one, take another path.
        """
        rows = self.merge(
            path("10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5"),
            path("10.0.0.1", "10.0.0.2", "*", "10.0.0.5"),
            path("10.0.0.1", "*", "*", "10.0.0.5"),
            path("10.0.0.1", "10.0.0.3", "*", "10.0.0.5"),
        )
        self.assertEqual(rows[4], (3, "10.0.0.4", [1], 1))

    def test_ambiguous(self) -> None:
        """
        Silent flows may pass either of two parallel routers.
        """
        rows = self.merge(
            path("10.0.0.1", "10.0.0.2", "10.0.0.4"),
            path("10.0.0.1", "10.0.0.3", "10.0.0.4"),
            path("10.0.0.1", "*", "10.0.0.4"),
        )
        self.assertEqual([row[3] for row in rows], [0, 0, 0, 0, 0])

    def test_none(self) -> None:
        """
        Without flows there is no row.
        """
        self.assertEqual(merge({}), [])
