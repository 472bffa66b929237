"""
Tests for L{shout.status.prometheus}.
"""

from __future__ import annotations

import platform

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from twisted import copyright
from twisted.trial.unittest import SynchronousTestCase

import shout
from shout.counters import Snapshot
from shout.status.prometheus import CONTENT_TYPE, exposition
from tests.properties import untimed
from tests.status.fakes import SNAPSHOT


def parsed(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """
    Return the value of each metric by its name and its label, as Prometheus parses it.
    """
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition(snapshot).decode())
        for sample in family.samples
    }


class ExpositionTests(SynchronousTestCase):
    """
    Tests for L{exposition}, by the parser of C{prometheus_client}.
    """

    def test_all(self) -> None:
        """
        Every count is there, with its name and its label.
        """
        versions = f"{platform.python_version()},{copyright.version}"
        self.assertEqual(
            parsed(SNAPSHOT),
            {
                ("shout_datagrams_received_total", "ipv4"): 10,
                ("shout_datagrams_received_total", "ipv6"): 5,
                ("shout_datagrams_received_total", "unix"): 0,
                ("shout_received_bytes_total", ""): 999,
                ("shout_replies_total", ""): 9,
                ("shout_reply_bytes_total", ""): 888,
                ("shout_dropped_total", "loop"): 3,
                ("shout_dropped_total", "source port"): 1,
                ("shout_send_errors_total", "ENOBUFS"): 2,
                ("shout_kernel_drops_total", ""): 7,
                ("shout_build_info", f"{versions},{shout.__version__}"): 1,
            },
        )

    def test_types(self) -> None:
        """
        All metrics but the versions are counters, each with a line of help.
        """
        families = [*text_string_to_metric_families(exposition(SNAPSHOT).decode())]
        types = {family.name: family.type for family in families}
        self.assertEqual(types.pop("shout_build_info"), "gauge")
        self.assertNotIn("", [family.documentation for family in families])
        self.assertEqual(set(types.values()), {"counter"})
        self.assertTrue(CONTENT_TYPE.startswith("text/plain; version="))

    def test_labelNames(self) -> None:
        """
        The labels are named family, reason and errno.
        """
        text = exposition(SNAPSHOT).decode()
        for label in ('{family="ipv4"}', '{reason="loop"}', '{errno="ENOBUFS"}'):
            self.assertIn(label, text)

    @settings(untimed, max_examples=30)
    @given(st.dictionaries(st.text(min_size=1), st.integers(0, 2**40)))
    def test_anyReason(self, dropped: dict[str, int]) -> None:
        """
        Prometheus can parse any text as the reason of a custom rule.
        """
        samples = parsed(Snapshot(dropped=dropped))
        self.assertEqual(
            sum(value for (name, _), value in samples.items() if "dropped" in name),
            sum(dropped.values()),
        )
