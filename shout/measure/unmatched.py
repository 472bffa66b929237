"""
What came back and does not say which probe it belongs to.

A wrong reply whose number cannot be read, or a refusal that quotes nothing, is
held until a probe has waited in vain that had left when it came, and not long
before.  That one is then claimed to be the one: it is counted as mistaken or
refused, and not as lost.  Once all those probes have their fates it is held no
more.  So what cannot be known is how many were lost of the few probes to which it
could belong, and of no others; that is also why the claims are kept as numbers,
and not as fates of probes.
"""

from __future__ import annotations

from collections import deque


class UnmatchedReplies:
    """
    How many probes are claimed for something that came, and how much is held
    until one can be.

    @ivar count: how many probes are claimed.
    @type count: L{int}
    """

    def __init__(self) -> None:
        self.count = 0
        # When each that is held came.
        self._held: deque[int] = deque()

    def hold(self, arrived: int, inFlight: int) -> None:
        """
        Hold what came.

        @param arrived: when it came.

        @param inFlight: how many probes wait: no more can be claimed.
        """
        self._held.append(arrived)
        self._bound(inFlight)

    def claim(self, left: int, latest: int) -> bool:
        """
        Claim a probe that has waited in vain.  Those before it have their fates.

        @param left: when it left.

        @param latest: until when what belongs to it can have come.

        @return: whether something is held for it.
        """
        while self._held and self._held[0] < left:
            self._held.popleft()
        if not self._held or self._held[0] > latest:
            return False
        self._lastClaimed = self._held.popleft()
        self.count += 1
        return True

    def giveBack(self, inFlight: int) -> None:
        """
        Hold again what the last probe was claimed for: that was answered after
        all, so it was another one, perhaps one that still waits.

        @param inFlight: how many probes wait.
        """
        self.count -= 1
        self._held.appendleft(self._lastClaimed)
        self._bound(inFlight)

    def _bound(self, inFlight: int) -> None:
        while len(self._held) > inFlight:
            self._held.popleft()
