"""
What a measurement comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shout.measure.histogram import Histogram


@dataclass(frozen=True)
class RoundTrips:
    """
    How long round trips took, all in nanoseconds.

    @ivar min: the shortest, exactly.

    @ivar mean: the arithmetic mean, rounded.

    @ivar p50: half took no longer; within 0.4 %, as the other percentiles.

    @ivar p90: 90 % took no longer.

    @ivar p99: 99 % took no longer.

    @ivar max: the longest, exactly.

    @ivar stddev: the standard deviation of all of them (not of a sample),
        rounded down.
    """

    min: int
    mean: int
    p50: int
    p90: int
    p99: int
    max: int
    stddev: int


@dataclass(frozen=True)
class Result:
    """
    What was measured.  Every probe has one fate: it is among the answered, the
    late, the lost, the refused or the mistaken.

    @ivar host: as it was named.

    @ivar address: the address that was measured.

    @ivar port: the UDP port; L{None} for a UNIX socket.

    @ivar sent: how many probes were sent.

    @ivar answered: how many of them got the right reply in time.

    @ivar lost: how many got nothing.

    @ivar duplicates: how many right replies came again.

    @ivar late: how many got the right reply, but after the timeout.

    @ivar outOfOrder: how many right replies came after that to a later probe.

    @ivar wrong: how many replies were not the right ones.

    @ivar kinds: how many of the wrong replies were of which kind, as in
        L{shout.measure.probe.WRONG}.

    @ivar mistaken: how many probes got wrong replies alone.

    @ivar refused: how many probes were refused.

    @ivar refusals: how many refusals there were of each reason.

    @ivar old: how many right replies came so late that they cannot be told from
        duplicates.

    @ivar trips: the record of the round trips of what was answered in time.

    @ivar roundTrips: what there is to say about them; L{None} when there is
        none.

    @ivar jitter: by how much the round trips of two successive probes differ on
        average (RFC 3393), in nanoseconds; L{None} when no two were answered.

    @ivar duration: from the first probe to the last, in nanoseconds.

    @ivar hasKernelTimes: whether the system told when replies arrived; if not,
        the time that this program took is in the round trips.

    @ivar skipped: how many probes were due but were not sent, as this machine
        could not.

    @ivar kernelDrops: how many replies this machine had no room for.

    @ivar withdrawn: how many probes were on their way at the end, and are not
        in these figures.
    """

    host: str
    address: str
    port: int | None
    sent: int
    answered: int
    lost: int
    duplicates: int
    late: int
    outOfOrder: int
    wrong: int
    kinds: Mapping[str, int]
    answeredWrong: int
    refused: int
    icmpErrors: Mapping[str, int]
    outOfWindow: int
    histogram: Histogram
    roundTrips: RoundTrips | None
    jitter: int | None
    duration: int
    hasKernelTimes: bool
    skipped: int
    kernelDrops: int
    inFlightAtEnd: int

    @property
    def unanswered(self) -> float:
        """
        How much of what was sent was not answered in time, for whatever reason,
        in percent.
        """
        return 100 * (self.sent - self.answered) / self.sent if self.sent else 0.0

    @property
    def loss(self) -> float:
        """
        How much of what was sent is lost, in percent.
        """
        return 100 * self.lost / self.sent if self.sent else 0.0

    @property
    def rate(self) -> float:
        """
        How many probes were sent per second, also those withdrawn; 0 when it was
        only one.
        """
        gaps = max(0, self.sent + self.inFlightAtEnd - 1)
        return gaps * 1e9 / self.duration if self.duration else 0.0


REPLY = "reply"
DUPLICATE = "duplicate"
LATE = "late"
OUT_OF_WINDOW = "out of window"
WRONG = "wrong"
REFUSED = "refused"
LOST = "lost"


class Event(NamedTuple):
    """
    Something that happened to a probe.

    @ivar kind: one of L{REPLY}, L{DUPLICATE}, L{LATE}, L{OUT_OF_WINDOW}, L{WRONG},
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
