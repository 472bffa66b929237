"""
Tests for L{shout.status.prometheus}.
"""

from __future__ import annotations

import platform

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from twisted import copyright
from twisted.trial.unittest import SynchronousTestCase

import shout
from shout.counters import Snapshot
from shout.status.prometheus import CONTENT_TYPE, exposition

FIGURES = Snapshot(
    received={"ipv4": 10, "ipv6": 5, "unix": 0},
    receivedBytes=999,
    replies=9,
    replyBytes=888,
    dropped={"loop": 3, "source port": 1},
    sendErrors={"ENOBUFS": 2},
    kernelDrops=7,
)


def parsed(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """
    Return what Prometheus makes of figures: the value of each metric, by its name
    and its label.
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
        Every figure is there, under its name and with its label.
        """
        versions = f"{platform.python_version()},{copyright.version}"
        self.assertEqual(
            parsed(FIGURES),
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
        What counts is a counter, with a line of help.
        """
        families = text_string_to_metric_families(exposition(FIGURES).decode())
        types = {family.name: family.type for family in families}
        self.assertEqual(types.pop("shout_build_info"), "gauge")
        self.assertEqual(set(types.values()), {"counter"})
        self.assertTrue(CONTENT_TYPE.startswith("text/plain; version="))

    def test_labelNames(self) -> None:
        """
        The labels are called family, reason and errno.
        """
        text = exposition(FIGURES).decode()
        for label in ('{family="ipv4"}', '{reason="loop"}', '{errno="ENOBUFS"}'):
            self.assertIn(label, text)

    @given(st.dictionaries(st.text(min_size=1), st.integers(0, 2**40)))
    def test_anyReason(self, dropped: dict[str, int]) -> None:
        """
        Whatever a rule of somebody's own calls its reasons, Prometheus can read
        the figures.
        """
        samples = parsed(Snapshot(dropped=dropped))
        self.assertEqual(
            sum(value for (name, _), value in samples.items() if "dropped" in name),
            sum(dropped.values()),
        )
