"""
The text format of Prometheus.
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
The media type of the text that L{exposition} returns.
"""


class SnapshotCollector(Collector):
    """
    The metrics of one snapshot, for C{prometheus_client}.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[CounterMetricFamily | InfoMetricFamily]:
        snapshot = self._snapshot
        yield _labelled(
            "shout_datagrams_received",
            "Datagrams received, by address family of the socket.",
            "family",
            snapshot.received,
        )
        yield CounterMetricFamily(
            "shout_received_bytes", "Payload bytes received.", snapshot.receivedBytes
        )
        yield CounterMetricFamily("shout_replies", "Replies sent.", snapshot.replies)
        yield CounterMetricFamily(
            "shout_reply_bytes", "Payload bytes of the replies.", snapshot.replyBytes
        )
        yield _labelled(
            "shout_dropped",
            "Datagrams that the service dropped, by reason.",
            "reason",
            snapshot.dropped,
        )
        yield _labelled(
            "shout_send_errors",
            "Replies that the system could not send, by error.",
            "errno",
            snapshot.sendErrors,
        )
        yield CounterMetricFamily(
            "shout_kernel_drops",
            "Datagrams dropped by the kernel because the receive buffer was full.",
            snapshot.kernelDrops,
        )
        versions = {
            "version": shout.__version__,
            "twisted": copyright.version,
            "python": platform.python_version(),
        }
        yield InfoMetricFamily(
            "shout_build", "Versions of the running software.", versions
        )


def _labelled(
    name: str, documentation: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def exposition(snapshot: Snapshot) -> bytes:
    """
    Return a snapshot in the text format of Prometheus.
    """
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(snapshot))
    return generate_latest(registry)
