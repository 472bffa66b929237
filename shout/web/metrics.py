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
from shout.figures import Figures

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""
The media type of what L{exposition} returns.
"""


class FiguresCollector(Collector):
    """
    Give figures to C{prometheus_client}.
    """

    def __init__(self, figures: Figures) -> None:
        """
        @param figures: those of the moment.
        """
        self._figures = figures

    def collect(self) -> Iterator[CounterMetricFamily | InfoMetricFamily]:
        """
        Return the metrics.
        """
        figures = self._figures
        yield _each(
            "shout_datagrams_received",
            "Datagrams received, by the family of the socket.",
            "family",
            figures.received,
        )
        yield CounterMetricFamily(
            "shout_received_bytes",
            "Length of the payloads received, in bytes.",
            figures.receivedBytes,
        )
        yield CounterMetricFamily(
            "shout_replies", "Datagrams that were answered.", figures.replies
        )
        yield CounterMetricFamily(
            "shout_reply_bytes",
            "Length of the payloads of all replies, in bytes.",
            figures.replyBytes,
        )
        yield _each(
            "shout_dropped",
            "Datagrams that were left unanswered on purpose, by reason.",
            "reason",
            figures.dropped,
        )
        yield _each(
            "shout_send_errors",
            "Replies that the system would not send, by error.",
            "errno",
            figures.sendErrors,
        )
        yield CounterMetricFamily(
            "shout_kernel_drops",
            "Datagrams that were not even received, for want of buffer.",
            figures.kernelDrops,
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


def exposition(figures: Figures) -> bytes:
    """
    Return figures as Prometheus reads them.
    """
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures))
    return generate_latest(registry)
