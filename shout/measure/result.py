"""
The result of a measurement, and the events during it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shout.measure.histogram import Histogram, RoundTrips


@dataclass(frozen=True)
class Result:
    """
    The figures of a measurement.  Each probe sent is counted exactly once: as
    answered, late, lost, refused or answered wrong.

    @ivar host: The host as the caller named it.

    @ivar address: The address that was measured.

    @ivar port: The UDP port; C{None} for a UNIX socket.

    @ivar sent: Number of probes sent.

    @ivar answered: Number of probes with the right reply in time.

    @ivar lost: Number of probes without any reply or ICMP error.

    @ivar duplicates: Number of repeated right replies.

    @ivar late: Number of probes with the right reply after the timeout.

    @ivar outOfOrder: Number of right replies that arrived after the reply to a later
        probe.

    @ivar wrong: Number of wrong replies.

    @ivar kinds: Number of wrong replies of each kind in
        L{WRONG<shout.measure.probe.WRONG>}.

    @ivar answeredWrong: Number of probes with wrong replies only.

    @ivar refused: Number of probes that ended in an ICMP error, or that the system
        refused to send.

    @ivar icmpErrors: Number of these errors by reason.

    @ivar outOfWindow: Number of right replies so late that they may be duplicates.

    @ivar histogram: The round trips of the probes answered in time.

    @ivar roundTrips: Statistics of these; C{None} if there are none.

    @ivar jitter: Mean difference between the round trips of two successive probes
        (RFC 3393), in nanoseconds; C{None} if no two were answered.

    @ivar duration: Time from the first probe to the last, in nanoseconds.

    @ivar hasKernelTimes: C{True} if replies have arrival times by the kernel.
        Otherwise round trips include the time that this program took.

    @ivar skipped: Number of probes that were due but could not be sent.

    @ivar kernelDrops: Number of replies that the kernel of this machine dropped
        because the receive buffer was full.

    @ivar inFlightAtEnd: Number of probes in flight at the end, which are not in the
        other figures.
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
        Percentage of probes not answered in time, for whatever reason.
        """
        return 100 * (self.sent - self.answered) / self.sent if self.sent else 0.0

    @property
    def loss(self) -> float:
        """
        Percentage of probes lost.
        """
        return 100 * self.lost / self.sent if self.sent else 0.0

    @property
    def rate(self) -> float:
        """
        Number of probes sent per second, including those in flight at the end; 0 if
        there was only one.
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
    A reply, an error or a loss.

    @ivar kind: One of L{REPLY}, L{DUPLICATE}, L{LATE}, L{OUT_OF_WINDOW},
        L{WRONG<shout.measure.result.WRONG>}, L{REFUSED} and L{LOST}.

    @ivar number: Number of the probe, from 1; C{None} if unknown.

    @ivar length: Length of the reply in bytes; 0 if there is none.

    @ivar roundTrip: The round trip in nanoseconds; C{None} if there is none.

    @ivar isOutOfOrder: C{True} if a later probe was answered before this one.

    @ivar isFragmented: C{True} if the reply arrived in fragments; C{False} where the
        system cannot report this.

    @ivar detail: Description of a wrong reply or of an error; may be empty.
    """

    kind: str
    number: int | None
    length: int = 0
    roundTrip: int | None = None
    isOutOfOrder: bool = False
    isFragmented: bool = False
    detail: str = ""
