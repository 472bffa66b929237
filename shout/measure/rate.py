"""
The search for the highest rate without loss.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shout.measure.result import Result
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner, Stopped

HIGHEST = 1_000_000.0
"""
The highest rate to try, per second.
"""

LOSS = "loss"
MACHINE = "this machine"
CEILING = "the limit"
STOPPED = "stopped"

# In probes per second.
_FIRST = 125.0
_LOWEST = 10.0

# The duration of a step in seconds, and the ratio of the lowest rate with loss to the
# highest without at which the search ends.
_DURATION = 0.5
_CLOSE = 1.1

# The share of a rate that this machine has to send.
_EVEN = 0.95


@dataclass(frozen=True)
class Step:
    """
    A rate that was tried.

    @ivar rate: Number of probes per second that were to be sent.

    @ivar result: The result of the measurement at this rate.
    """

    rate: float
    result: Result

    @property
    def isSent(self) -> bool:
        """
        C{True} if this machine could send and receive at this rate.
        """
        result = self.result
        return result.rate >= _EVEN * self.rate and not result.kernelDrops

    @property
    def isWhole(self) -> bool:
        """
        C{True} if every probe was answered in time.
        """
        return self.result.answered == self.result.sent


@dataclass(frozen=True)
class RateResult:
    """
    The result of the search.

    @ivar steps: The rates tried, in this order.

    @ivar best: The highest rate without loss, per second; 0 if there is none.

    @ivar limit: The reason that it is not higher: L{LOSS}, L{MACHINE}, L{CEILING} or
        L{STOPPED}.
    """

    steps: list[Step]
    best: float
    limit: str

    @property
    def isSudden(self) -> bool:
        """
        C{True} if at the highest rate tried, at least half of the traffic in excess
        of C{best} is lost.  Otherwise the rate may not be the cause of the loss.
        """
        above = [step for step in self.steps if step.isSent and step.rate > self.best]
        if not above:
            return True
        highest = max(above, key=lambda step: (step.rate, step.result.unanswered))
        return highest.result.unanswered >= 50 * (1 - self.best / highest.rate)


async def search(
    attempt: Callable[[float], Awaitable[Step]], ceiling: float = HIGHEST
) -> RateResult:
    """
    Double the rate until there is loss, then halve the gap between the lowest rate
    with loss and the highest without, until they are within a tenth of each other.

    A rate with loss is tried a second time, so a single accident does not count.  The
    search ends if nothing at all comes back.

    @param attempt: Measures at a rate; L{Stopped} ends the search.

    @param ceiling: The highest rate to try, per second.
    """
    steps: list[Step] = []
    good = bad = 0.0
    limit = CEILING
    rate = min(_FIRST, ceiling)
    while True:
        for _ in range(2):
            try:
                step = await attempt(rate)
            except Stopped:
                return RateResult(steps, good, STOPPED)
            steps.append(step)
            if step.isSent and step.isWhole:
                break
        if step.isSent and step.isWhole:
            good = rate
        else:
            bad = rate
            limit = LOSS if step.isSent else MACHINE
        if not step.result.answered and not good:
            return RateResult(steps, 0, LOSS)
        if not bad and good < ceiling:
            rate = min(2 * rate, ceiling)
        elif bad and not good and rate > _LOWEST:
            rate = max(rate / 2, _LOWEST)
        elif bad and good and bad / good > _CLOSE:
            rate = (good + bad) / 2
        else:
            return RateResult(steps, good, limit)


async def findRate(
    runner: SearchRunner,
    size: int,
    timeout: float,
    ceiling: float,
    onStep: Callable[[Step], object],
) -> RateResult:
    """
    Find the highest rate that a target answers without loss.

    @param runner: Measures the target.

    @param size: Size of a probe in bytes.

    @param timeout: Seconds to wait for a reply.

    @param ceiling: The highest rate to try, per second.

    @param onStep: Called with each step.
    """

    async def attempt(rate: float) -> Step:
        count = max(2, round(rate * _DURATION))
        schedule = Schedule(count, 1 / rate, size, timeout)
        step = Step(rate, await runner.measure(schedule))
        onStep(step)
        return step

    return await search(attempt, ceiling)
