"""
The flows that are asked for their hops.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from shout.measure.rounds import INTERVAL, Rounds


class Route:
    """
    The state of one flow.

    @ivar index: Number of the flow, from 0.

    @ivar isAnswered: C{True} if the application has answered the flow.

    @ivar distance: The lowest TTL at which the way is known to end; C{None} if there
        is none yet.

    @ivar last: The highest TTL at which a router on the way has answered.

    @ivar inFlight: The numbers of the probes that are waited for.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.isAnswered = False
        self.distance: int | None = None
        self.last = 0
        self.inFlight: set[int] = set()


class Sample:
    """
    The flows of one kind at one TTL: those that the application answers, or the others.

    @ivar addresses: Number of flows by the address that answered them; of those without
        any answer by C{None}.

    @ivar asked: Number of flows that were asked.

    @ivar fresh: The flows not asked yet.

    @ivar retries: The flows to be asked again.

    @ivar rounds: The pace.

    @ivar isSilent: C{True} after a round without any answer.

    @ivar lastAnswer: Time of the last answer.
    """

    def __init__(self, routes: Sequence[Route], rounds: Rounds) -> None:
        self.isSilent = False
        self.lastAnswer = -INTERVAL
        self.addresses: Counter[str | None] = Counter()
        self.asked = self.inFlight = 0
        self.fresh = deque(routes)
        self.retries: deque[Route] = deque()
        self.rounds = rounds

    @property
    def known(self) -> set[str]:
        """
        The addresses that have answered.
        """
        return {each for each, count in self.addresses.items() if each and count}

    @property
    def isMixed(self) -> bool:
        """
        C{True} if the flows are known to differ.
        """
        return len(+self.addresses) > 1
