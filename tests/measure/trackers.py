"""
Fixtures for tests of the tracker.
"""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.probe import Probes
from shout.measure.result import Event
from shout.measure.tracker import ProbeTracker
from shout.udp.icmp import ICMPError


class SmallTracker(ProbeTracker):
    """
    A tracker with a small window.
    """

    window = 16


class TrackerCase(SynchronousTestCase):
    """
    Makes a L{ProbeTracker} with a timeout of 100.
    """

    kind: ClassVar[type[ProbeTracker]] = ProbeTracker

    def setUp(self) -> None:
        self.probes = Probes(56, b"abcdefghij")
        self.tracker = self.kind(self.probes, 100)

    def send(self, *times: int) -> list[bytes]:
        """
        Send a probe at each of the times, and return the right replies.
        """
        replies = []
        for time in times:
            (probe,) = self.tracker.makeProbes()
            replies.append(probe.upper())
            self.tracker.probesSent(time)
        return replies

    def refuse(self, number: int) -> Event:
        """
        Receive an ICMP error at 5 that quotes a probe.
        """
        error = ICMPError("port unreachable", quote=self.probes.make(number))
        return self.tracker.icmpErrorReceived(error, 5)

    def check(self, **expected: int) -> None:
        """
        Check the counts, of which those not named are 0.
        """
        states = ["answered", "late", "lost", "refused", "answeredWrong", "inFlight"]
        names = ["sent", "duplicates", "outOfOrder", "outOfWindow", *states]
        counts = {name: getattr(self.tracker, name) for name in names}
        self.assertEqual(counts, dict.fromkeys(names, 0) | expected)
        self.assertEqual(counts["sent"], sum(counts[name] for name in states))

    def checkJitter(self, variation: int, variations: int) -> None:
        """
        Check the sum and the number of the differences between successive round trips.
        """
        tracker = self.tracker
        self.assertEqual(
            (tracker.variation, tracker.variations), (variation, variations)
        )
