"""
Tests for L{shout.cli.tree}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.tree import treeLines
from shout.measure.hops import Hop

_TARGET = "10.0.3.1"


def path(*addresses: str | None) -> list[Hop]:
    """
    Return hops with addresses and round trips, C{None} for a silent one.
    """
    return [
        Hop(ttl, address, ttl * 1_000_000, "", address == _TARGET)
        if address
        else Hop(ttl)
        for ttl, address in enumerate(addresses, 1)
    ]


class TreeLinesTests(SynchronousTestCase):
    """
    Tests for L{treeLines}.
    """

    def test_flow(self) -> None:
        """
        A single flow has a line per hop.
        """
        self.assertEqual(
            treeLines({40001: path("10.0.0.1", None, _TARGET)}),
            [
                "hop  address      ms",
                "  1  10.0.0.1  1.000",
                "  2  *             -",
                "  3  10.0.3.1  3.000  application answered",
            ],
        )

    def test_tree(self) -> None:
        """
        Parallel hops are branches, with the number and the loss of the flows through
        each.
        """
        hops = {
            1: path("10.0.0.1", "10.0.1.1", "10.0.2.1", _TARGET),
            2: path("10.0.0.1", "10.0.1.1", "10.0.2.1", _TARGET),
            3: path("10.0.0.1", "10.0.1.2", "10.0.2.2", _TARGET),
            4: path("10.0.0.1", "10.0.1.3", None, None),
        }
        hops[1][0] = Hop(1, "10.0.0.1", 500_000)
        hops[2][0] = Hop(1, "10.0.0.1")
        counts = {1: (10, 10), 2: (10, 9), 3: (20, 20), 4: (10, 0)}
        self.assertEqual(
            treeLines(hops, counts),
            [
                "hop  address      flows   lost     ms",
                "  1  10.0.0.1         4   22 %  0.500  3 of 4 asked",
                "  2  |- 10.0.1.1      2    5 %  2.000",
                "     |- 10.0.1.2      1    0 %  2.000",
                "     `- 10.0.1.3      1  100 %  2.000",
                "  3  |- 10.0.2.1      2    5 %  3.000  after 10.0.1.1",
                "     |- 10.0.2.2      1    0 %  3.000  after 10.0.1.2",
                "     `- *             1  100 %      -",
                "  4  |- 10.0.3.1      3  2.5 %  4.000  application answered",
                "     `- *             1  100 %      -",
            ],
        )

    def test_noCounts(self) -> None:
        """
        Flows without probes have no loss.
        """
        hops = {port: path("10.0.0.1") for port in (1, 2)}
        self.assertEqual(treeLines(hops)[0], "hop  address   flows     ms")
        lines = treeLines(hops, {1: (0, 0)})
        self.assertEqual(lines[1].split(), ["1", "10.0.0.1", "2", "-", "1.000"])

    def test_names(self) -> None:
        """
        An address with a name is in parentheses.
        """
        lines = treeLines({1: path("10.0.0.1")}, None, {"10.0.0.1": "gateway"})
        self.assertEqual(lines[1], "  1  gateway (10.0.0.1)  1.000")

    def test_answersSome(self) -> None:
        """
        A hop that answers only some of the flows that pass it says so.
        """
        answered = path("10.0.0.1", "10.0.1.1", _TARGET)
        silent = path("10.0.0.1", None, _TARGET)
        lines = treeLines({1: answered, 2: answered, 3: silent})
        self.assertEqual(lines[2].split("  ")[-1], "answered 2 of 3 flows")
        self.assertEqual(lines[3].split(), ["`-", "*", "1", "-"])

    def test_reason(self) -> None:
        """
        A router that refuses datagrams says why.
        """
        reason = "administratively prohibited"
        lines = treeLines({1: [*path("10.0.0.1"), Hop(2, "10.0.1.1", 1, reason)]})
        self.assertTrue(lines[-1].endswith(f"  {reason}"))

    def test_silentEnd(self) -> None:
        """
        Silence up to the end has one line.
        """
        lines = treeLines({1: path("10.0.0.1", None, None, None)})
        self.assertEqual([line.split()[1] for line in lines[1:]], ["10.0.0.1", "*"])
        self.assertEqual(len(treeLines({1: path(None, None)})), 2)

    def test_none(self) -> None:
        """
        Without flows there is only the heading.
        """
        self.assertEqual(treeLines({}), ["hop  address  flows  ms"])
