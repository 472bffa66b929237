"""
Replies and ICMP errors that do not identify their probe.

A wrong reply with an unreadable number, or an ICMP error that quotes nothing, may
belong to any probe that was in flight when it arrived.  It is kept until one of these
times out, sent not too long before the arrival.  That probe is then counted as
answered wrong or refused, and not as lost.  Once all of these probes are accounted
for, the reply is dropped, so it hides no loss among later probes.

For the few probes in question only the number of losses is known, and not which of
them were lost.  So matches are counted, and change the state of no probe.
"""

from __future__ import annotations

from collections import deque


class UnmatchedReplies:
    """
    Arrival times of replies without a probe, and the number of probes matched.

    @ivar matched: Number of probes that were matched with a reply.
    """

    def __init__(self) -> None:
        self.matched = 0
        self._arrivals: deque[int] = deque()

    def add(self, arrived: int, inFlight: int) -> None:
        """
        Keep a reply for a probe that times out later.

        @param arrived: Time of its arrival.

        @param inFlight: Number of probes in flight, of which each can match one
            reply.
        """
        self._arrivals.append(arrived)
        self._limit(inFlight)

    def match(self, sent: int, latest: int) -> bool:
        """
        Match a probe that has timed out with the earliest reply kept.  Call this for
        one probe after the other, in the order in which they were sent.

        @param sent: Time at which the probe was sent.

        @param latest: Time until which its reply can have arrived.

        @return: C{True} if there was a reply for it.
        """
        while self._arrivals and self._arrivals[0] < sent:
            self._arrivals.popleft()
        if not self._arrivals or self._arrivals[0] > latest:
            return False
        self._lastMatched = self._arrivals.popleft()
        self.matched += 1
        return True

    def restore(self, inFlight: int) -> None:
        """
        Undo the last match: its probe was answered after all, so the reply belongs to
        another one, perhaps one still in flight.

        @param inFlight: Number of probes in flight.
        """
        self.matched -= 1
        self._arrivals.appendleft(self._lastMatched)
        self._limit(inFlight)

    def _limit(self, inFlight: int) -> None:
        while len(self._arrivals) > inFlight:
            self._arrivals.popleft()
