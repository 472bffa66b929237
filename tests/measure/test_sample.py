"""
Tests for L{shout.measure.sample}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.rounds import Rounds
from shout.measure.sample import Route, Sample


class SampleTests(SynchronousTestCase):
    """
    Tests for L{Sample}.
    """

    def setUp(self) -> None:
        self.sample = Sample([Route(0), Route(1)], Rounds())

    def test_new(self) -> None:
        """
        At first nothing is known of the flows, and none was asked.
        """
        self.assertEqual(self.sample.known, set())
        self.assertFalse(self.sample.isMixed)
        self.assertEqual([route.index for route in self.sample.fresh], [0, 1])
        self.assertEqual((self.sample.asked, self.sample.inFlight), (0, 0))

    def test_known(self) -> None:
        """
        The known addresses are those with flows, and silence is none.
        """
        self.sample.addresses.update({"10.0.0.1": 2, "10.0.0.2": 0, None: 1})
        self.assertEqual(self.sample.known, {"10.0.0.1"})

    def test_isMixed(self) -> None:
        """
        Flows differ if they have several addresses, or one and silence.
        """
        for addresses, isMixed in (
            ({"10.0.0.1": 2}, False),
            ({None: 2}, False),
            ({"10.0.0.1": 2, None: 0}, False),
            ({"10.0.0.1": 2, None: 1}, True),
            ({"10.0.0.1": 2, "10.0.0.2": 1}, True),
        ):
            self.sample.addresses.clear()
            self.sample.addresses.update(addresses)
            self.assertIs(self.sample.isMixed, isMixed)
