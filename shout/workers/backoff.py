"""
How long to wait before starting again what has ended.
"""

from __future__ import annotations


class Backoff:
    """
    Wait ever longer for what keeps ending soon.

    What has lived a while is started again at once.

    @cvar least: the first wait that is one, in seconds; each is twice the one
        before.

    @cvar most: the longest wait, in seconds.

    @cvar while_: after how many seconds of life it does not count as soon.
    """

    least = 0.1
    most = 60.0
    while_ = 1.0

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """
        Return for how many seconds to wait.

        @param lived: how many seconds it has lived this time.
        """
        if lived >= self.while_:
            self._next = 0.0
        wait = self._next
        self._next = min(max(2 * wait, self.least), self.most)
        return wait
