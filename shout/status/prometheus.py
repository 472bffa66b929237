"""
Figures in the text format of Prometheus.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from twisted import copyright

import shout
from shout.counters import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""
The media type of what L{exposition} returns.
"""


class SnapshotCollector(Collector):
    """
    Give figures to C{prometheus_client}.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        """
        @param figures: those of the moment.
        """
        self._snapshot = snapshot

    def collect(self) -> Iterator[CounterMetricFamily | InfoMetricFamily]:
        """
        Return the metrics.
        """
        snapshot = self._snapshot
        yield _each(
            "shout_datagrams_received",
            "Datagrams received, by the family of the socket.",
            "family",
            snapshot.received,
        )
        yield CounterMetricFamily(
            "shout_received_bytes",
            "Length of the payloads received, in bytes.",
            snapshot.receivedBytes,
        )
        yield CounterMetricFamily(
            "shout_replies", "Datagrams that were answered.", snapshot.replies
        )
        yield CounterMetricFamily(
            "shout_reply_bytes",
            "Length of the payloads of all replies, in bytes.",
            snapshot.replyBytes,
        )
        yield _each(
            "shout_dropped",
            "Datagrams that were left unanswered on purpose, by reason.",
            "reason",
            snapshot.dropped,
        )
        yield _each(
            "shout_send_errors",
            "Replies that the system would not send, by error.",
            "errno",
            snapshot.sendErrors,
        )
        yield CounterMetricFamily(
            "shout_kernel_drops",
            "Datagrams that were not even received, for want of buffer.",
            snapshot.kernelDrops,
        )
        versions = {
            "version": shout.__version__,
            "twisted": copyright.version,
            "python": platform.python_version(),
        }
        yield InfoMetricFamily("shout_build", "What is running.", versions)


def _each(
    name: str, documentation: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def exposition(snapshot: Snapshot) -> bytes:
    """
    Return figures as Prometheus reads them.
    """
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(snapshot))
    return generate_latest(registry)
