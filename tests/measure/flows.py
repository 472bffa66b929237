"""
Results of flows for tests of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from shout.measure.result import Result
from tests.measure.fakes import RESULT, histogramOf

FIRST_PORT = 40001

REASON = "administratively prohibited", "10.77.11.2"
"""
The reason and the sender of the ICMP errors of flows that are refused.
"""


def makeFlow(
    port: int = FIRST_PORT,
    sent: int = 20,
    lost: int = 0,
    late: int = 0,
    refused: int = 0,
    answeredWrong: int = 0,
    ttl: int | None = 62,
    tos: int | None = 0,
    times: Sequence[float] | None = None,
) -> Result:
    """
    Return the result of a flow.

    @param times: The round trips in milliseconds; by default they are between 10 and
        10.2 ms.
    """
    answered = sent - lost - late - refused - answeredWrong
    if times is None:
        times = [10 + (7 * index % 20) / 100 for index in range(answered)]
    histogram = histogramOf(round(each * 1e6) for each in times)
    return replace(
        RESULT,
        sourcePort=port,
        sent=sent,
        answered=answered,
        lost=lost,
        late=late,
        refused=refused,
        answeredWrong=answeredWrong,
        icmpErrors={REASON: refused} if refused else {},
        histogram=histogram,
        roundTrips=histogram.summarize(),
        ttls={ttl: answered} if answered else {},
        toses={tos: answered} if answered else {},
    )


def makeFlows(count: int, figures: Callable[[int], dict[str, Any]]) -> list[Result]:
    """
    Return the results of flows with successive source ports.

    @param figures: A function that returns arguments for L{makeFlow} by the index of a
        flow.
    """
    return [makeFlow(FIRST_PORT + index, **figures(index)) for index in range(count)]
