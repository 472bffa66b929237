"""
What can happen to a probe.
"""

from __future__ import annotations

from typing import NamedTuple

REPLY = "reply"
DUPLICATE = "duplicate"
LATE = "late"
OLD = "old"
WRONG = "wrong"
REFUSED = "refused"
LOST = "lost"


class Event(NamedTuple):
    """
    Something that happened to a probe.

    @ivar kind: one of L{REPLY}, L{DUPLICATE}, L{LATE}, L{OLD}, L{WRONG},
        L{REFUSED} and L{LOST}.

    @ivar number: which probe, from 1; L{None} when that cannot be told.

    @ivar length: how many bytes came back; 0 when none did.

    @ivar roundTrip: how long it took, in nanoseconds; L{None} where there is no
        such time.

    @ivar isOutOfOrder: whether a later probe was answered before it.

    @ivar isFragmented: whether the reply came in fragments; always false where
        the system does not tell.

    @ivar detail: what was wrong, or why it was refused; may be empty.
    """

    kind: str
    number: int | None
    length: int = 0
    roundTrip: int | None = None
    isOutOfOrder: bool = False
    isFragmented: bool = False
    detail: str = ""
