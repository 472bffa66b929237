"""
A lossy path to a shout server that records its effects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

DROP = "drop"
DUPLICATE = "duplicate"
DELAY = "delay"
REORDER = "reorder"
CORRUPT = "corrupt"
ECHO = "echo"
GARBAGE = "garbage"
ANSWER = "answer"


class Relay:
    """
    Answers datagrams, or drops, duplicates, delays or corrupts them, at random with a
    seed.

    @ivar done: The number of datagrams by effect.

    @ivar overtaken: The number of right replies that came after the reply to a later
        datagram, without duplicates.

    @ivar roundTrips: The round trip in nanoseconds of each right reply that was not
        delayed, by the number of its datagram.
    """

    delays = {ANSWER: 0.05, DUPLICATE: 0.05, REORDER: 0.3, DELAY: 1.5}

    def __init__(
        self,
        seed: int,
        weights: dict[str, int],
        deliver: Callable[[bytes], object],
        clock: Any = None,
    ) -> None:
        """
        @param weights: The relative frequency of each effect.

        @param deliver: Called with each reply.

        @param clock: The clock that delays the replies; without one they come at once.
        """
        self.done: Counter[str] = Counter()
        self.overtaken = 0
        self.roundTrips: dict[int, int] = {}
        self._random = Random(seed)
        self._weights = weights
        self._deliver = deliver
        self._clock = clock
        self._highest = -1
        self._number = 0

    def take(self, datagram: bytes) -> None:
        """
        Handle a datagram on its way to the server.
        """
        self._number += 1
        (action,) = self._random.choices(
            list(self._weights), list(self._weights.values())
        )
        self.done[action] += 1
        reply = datagram.upper()
        if action == DROP:
            return
        if action == CORRUPT:
            reply = self._corrupt(reply)
        elif action == ECHO:
            reply = datagram
        elif action == GARBAGE:
            reply = b"go away"
        if action in (CORRUPT, ECHO, GARBAGE):
            self._later(0.05, self._deliver, reply)
            return
        # Some jitter, in whole milliseconds, as floats on the clock keep these exact.
        delay = self.delays[action] + self._random.randrange(10) / 1000
        if action != DELAY:
            self.roundTrips[self._number] = round(delay * 1e9)
        self._later(delay, self._answer, reply, self._number)
        if action == DUPLICATE:
            self._later(delay, self._deliver, reply)

    def _later(self, delay: float, call: Callable[..., object], *what: object) -> None:
        if self._clock is None:
            call(*what)
        else:
            self._clock.callLater(delay, call, *what)

    def _answer(self, reply: bytes, number: int) -> None:
        if number < self._highest:
            self.overtaken += 1
        self._highest = max(number, self._highest)
        self._deliver(reply)

    def _corrupt(self, reply: bytes) -> bytes:
        offset = self._random.randrange(len(reply))
        damaged = bytearray(reply)
        damaged[offset] ^= 1 << self._random.randrange(8)
        return bytes(damaged)
