"""
Delays between restarts.
"""

from __future__ import annotations


class Backoff:
    """
    Delays that grow while something keeps exiting soon after it was started.

    @cvar minUptime: Seconds of uptime after which the next restart is immediate.

    @cvar minDelay: The first delay after an immediate restart, in seconds.  Each
        further delay is twice as long.

    @cvar maxDelay: The longest delay, in seconds.
    """

    minUptime = 1.0
    minDelay = 0.1
    maxDelay = 60.0

    def __init__(self) -> None:
        self._next = 0.0

    def delayAfter(self, uptime: float) -> float:
        """
        Return the number of seconds to wait before the next restart.

        @param uptime: Seconds from the last start to the exit.
        """
        if uptime >= self.minUptime:
            self._next = 0.0
        delay = self._next
        self._next = min(max(2 * delay, self.minDelay), self.maxDelay)
        return delay
