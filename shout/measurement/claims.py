"""
What came back and does not say which probe it belongs to.

A wrong reply whose number cannot be read, or a refusal that quotes nothing, is
held until a probe has waited in vain.  That one is then claimed to be the one:
it is counted as mistaken or refused, and not as lost.  So the figures are right
where it is not known which is which; that is also why the claims are kept as
numbers, and not as fates of probes.
"""

from __future__ import annotations


class Claims:
    """
    How many probes are claimed for something that came, and how much is held
    until one can be.  Wrong replies come first.

    @ivar mistaken: how many probes are claimed for wrong replies.
    @type mistaken: L{int}

    @ivar refused: how many probes are claimed for refusals.
    @type refused: L{int}
    """

    def __init__(self) -> None:
        self.mistaken = self.refused = 0
        self._wrongReplies = self._refusals = 0

    def holdWrong(self, inFlight: int) -> None:
        """
        Hold a wrong reply.

        @param inFlight: how many probes wait: no more can be claimed.
        """
        self._wrongReplies = min(self._wrongReplies + 1, inFlight)

    def holdRefusal(self, inFlight: int) -> None:
        """
        Hold a refusal.

        @param inFlight: how many probes wait: no more can be claimed.
        """
        self._refusals = min(self._refusals + 1, inFlight)

    def claim(self) -> bool:
        """
        Claim a probe that has waited in vain.

        @return: whether something is held for it.
        """
        if self._wrongReplies:
            self._wrongReplies -= 1
            self.mistaken += 1
        elif self._refusals:
            self._refusals -= 1
            self.refused += 1
        else:
            return False
        return True

    def giveBack(self, inFlight: int) -> None:
        """
        Hold again what the last probe was claimed for: that was answered after
        all, so it was another one, perhaps one that still waits.

        @param inFlight: how many probes wait.
        """
        if self.mistaken:
            self.mistaken -= 1
            self.holdWrong(inFlight)
        else:
            self.refused -= 1
            self.holdRefusal(inFlight)
