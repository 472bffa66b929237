"""
Tests for L{shout.measure.mtu} over parallel paths.
"""

from __future__ import annotations

from twisted.internet.defer import gatherResults

from tests.hosts import ParallelPaths
from tests.measure.paths import PathCase


class ParallelPathsTests(PathCase):
    """
    Tests for L{findMTU<shout.measure.mtu.findMTU>} between two hosts with parallel
    paths of different MTUs.
    """

    async def test_onePath(self) -> None:
        """
        Each search finds the MTU of one of the paths, and nothing between.
        """
        hosts = ParallelPaths(self, 1400, 1500, 1500, 1500)
        for address in ("198.51.100.2", "2001:db8:1::2"):
            target = self.serveOn(hosts, "d", address)
            seen: set[int | None] = set()
            # In 7 of 16 cases the path there or back has an MTU of 1,400.
            for _ in range(6):
                searches = [self.search(hosts, target) for _ in range(10)]
                seen |= {found.pathMTU for found in await gatherResults(searches)}
                if len(seen) > 1:
                    break
            self.assertEqual(seen, {1400, 1500})
