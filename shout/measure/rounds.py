"""
The pace of probes for hops.

Routers limit the ICMP errors that they send to a host.  Linux allows six at once, then
one a second over IPv4 and ten over IPv6; others allow more or fewer, or any number.  An
error that is not sent does not count towards the limit.  So rounds of probes find it.
While all of a round are answered, the next one is twice as large and follows at once.
After the first round that lacks answers there is about a round a second.  If half of a
round or more lacks answers, the next one is as large as the number of answers; if less
does, the cause may be loss.  A round without any answer has met silence rather than a
limit, so the next one is larger again.

A router at its limit answers the first probe that comes, so the intervals vary: of
several sequences of rounds, none should always be the first.
"""

from __future__ import annotations

from collections.abc import Callable

from shout.measure.schedule import SECOND

INTERVAL = SECOND * 105 // 100
"""
The shortest time from a round that lacks answers to the next one, in nanoseconds.
"""

# The intervals are longer by up to this.
_JITTER = SECOND * 3 // 10

_FIRST = 6
_LARGEST = 64


class Rounds:
    """
    Rounds of probes to flows, each of which has one probe in a round.

    @ivar isLimited: C{True} if some flows of a round were answered and others not.

    @ivar began: Time of the first probe of the round.
    """

    def __init__(
        self, size: int = _FIRST, random: Callable[[], float] = lambda: 0
    ) -> None:
        """
        @param size: Number of probes in the first round.

        @param random: Returns a random number from 0 to 1, for the intervals.
        """
        self.isLimited = False
        self.began = 0
        self._size = size
        self._notBefore = 0
        self._random = random
        self._begin()

    def _begin(self) -> None:
        self._sent = self._answered = 0
        self._missed: set[int] = set()

    def isOpen(self, now: int) -> bool:
        """
        Return C{True} if a probe may be sent.
        """
        return self._sent < self._size and now >= self._notBefore

    def hasMissed(self, flow: int) -> bool:
        """
        Return C{True} if a flow got no answer in this round.
        """
        return flow in self._missed

    def probeSent(self, now: int) -> None:
        """
        Called when a probe is sent.
        """
        if not self._sent:
            self.began = now
        self._sent += 1

    def probeEnded(self, flow: int, isAnswered: bool) -> set[int]:
        """
        Called when a probe has been answered, or is no longer waited for.

        @return: The flows of the round, if it is over without any answer.
        """
        if isAnswered:
            self._answered += 1
        else:
            self._missed.add(flow)
        answered, missed = self._answered, self._missed
        if answered + len(missed) < self._sent:
            return set()
        if answered and missed:
            self.isLimited = True
            if 2 * answered <= self._sent:
                self._size = answered
        else:
            self._size = max(self._size, min(2 * self._size, _LARGEST))
        if missed or self.isLimited:
            interval = INTERVAL + round(_JITTER * self._random())
            self._notBefore = self.began + interval
        self._begin()
        return set() if answered else missed
