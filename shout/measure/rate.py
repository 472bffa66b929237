"""
The highest rate without loss.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shout.measure.result import Result
from shout.measure.schedule import Schedule
from shout.measure.search import SearchRunner, Stopped

HIGHEST = 1_000_000.0
"""
The highest rate that is tried, per second.
"""

LOSS = "loss"
MACHINE = "this machine"
CEILING = "the limit"
STOPPED = "stopped"

_FIRST = 125.0
_LOWEST = 10.0

# How long one rate is tried, in seconds, and how close to come, as a factor.
_DURATION = 0.5
_CLOSE = 1.1

# How much of a rate has to leave for it to be that rate.
_EVEN = 0.95


@dataclass(frozen=True)
class Step:
    """
    A rate that was tried.

    @ivar rate: how many datagrams per second were wanted.

    @ivar result: what came of it.
    """

    rate: float
    result: Result

    @property
    def isSent(self) -> bool:
        """
        Whether this machine could send, and receive, that fast.
        """
        result = self.result
        return result.rate >= _EVEN * self.rate and not result.kernelDrops

    @property
    def isWhole(self) -> bool:
        """
        Whether every datagram was answered in time.
        """
        return self.result.answered == self.result.sent


@dataclass(frozen=True)
class RateResult:
    """
    What was found out.

    @ivar steps: the rates in the order in which they were tried.

    @ivar best: the highest without loss, per second; 0 when there is none.

    @ivar limit: what kept it from being higher: L{LOSS}, L{MACHINE},
        L{CEILING} or L{STOPPED}.
    """

    steps: list[Step]
    best: float
    limit: str

    @property
    def isSudden(self) -> bool:
        """
        Whether at the highest rate at least half as much is lost as where all
        that is more than C{best} is.  If not, it may not be the rate that loses
        them.
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
    Double the rate until something is lost, then halve the gap between what is
    lost and what is not, until the two are within a tenth of each other.

    What loses something is tried once more, so that a single accident does not
    decide.  When nothing at all comes back, that is the end.

    @param attempt: tries a rate.  When it raises L{Stopped}, that is the end, too.

    @param ceiling: the highest rate to try, per second.
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

    @param attempts: measures the target.

    @param size: how many bytes a datagram has.

    @param timeout: how long to wait for a reply, in seconds.

    @param ceiling: the highest rate to try, per second.

    @param tried: called with each step.
    """

    async def attempt(rate: float) -> Step:
        count = max(2, round(rate * _DURATION))
        schedule = Schedule(count, 1 / rate, size, timeout)
        step = Step(rate, await runner.measure(schedule))
        onStep(step)
        return step

    return await search(attempt, ceiling)
