"""
The result of a measurement, and the events during it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shout.measure.histogram import Histogram, RoundTrips
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader

if TYPE_CHECKING:
    from shout.measure.hops import Hop


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

    @ivar icmpErrors: Number of these errors by reason and sender.  The sender is the
        address of a router or a host, or C{None} for an error of this system.

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

    @ivar ttls: Number of right replies by the TTL or hop limit with which they
        arrived; C{None} if unknown.

    @ivar toses: Number of right replies by the type of service or traffic class with
        which they arrived; C{None} if unknown.

    @ivar elsewhere: Number of right replies from other addresses than the target's, by
        address and port.

    @ivar sourcePort: The UDP port that the probes were sent from; C{None} if there
        were several, and for a UNIX socket.

    @ivar flows: The result of each flow.  The other figures are those of all flows
        together.

    @ivar hops: The hops of a flow that was traced; otherwise C{None}.
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
    icmpErrors: Mapping[tuple[str, str | None], int]
    outOfWindow: int
    histogram: Histogram
    roundTrips: RoundTrips | None
    jitter: int | None
    duration: int
    hasKernelTimes: bool
    skipped: int
    kernelDrops: int
    inFlightAtEnd: int
    ttls: Mapping[int | None, int]
    toses: Mapping[int | None, int]
    elsewhere: Mapping[str, int]
    sourcePort: int | None = None
    flows: Sequence[Result] = ()
    hops: Sequence[Hop] | None = None

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

    @property
    def ttl(self) -> int | None:
        """
        TTL or hop limit with which most replies arrived; C{None} if unknown.
        """
        return mostFrequent(self.ttls)

    @property
    def tos(self) -> int | None:
        """
        Type of service or traffic class with which most replies arrived; C{None} if
        unknown.
        """
        return mostFrequent(self.toses)


def mostFrequent(counts: Mapping[int | None, int]) -> int | None:
    """
    Return the known value with the highest count, or C{None} if there is none.
    """
    known = [value for value in counts if value is not None]
    return max(known, key=lambda value: counts[value], default=None)


REPLY = "reply"
DUPLICATE = "duplicate"
LATE = "late"
OUT_OF_WINDOW = "out of window"
WRONG = "wrong"
REFUSED = "refused"
LOST = "lost"
OUTSTANDING = "outstanding"


UNKNOWN_HEADER = IPHeader()


class Event(NamedTuple):
    """
    A reply, an error or a loss.

    @ivar kind: One of L{REPLY}, L{DUPLICATE}, L{LATE}, L{OUT_OF_WINDOW},
        L{WRONG<shout.measure.result.WRONG>}, L{REFUSED}, L{LOST} and L{OUTSTANDING}:
        a probe in flight when the next one was sent.

    @ivar number: Number of the probe in its run, from 1; C{None} if unknown.

    @ivar length: Length of the reply in bytes; 0 if there is none.

    @ivar roundTrip: The round trip in nanoseconds; C{None} if there is none.

    @ivar isOutOfOrder: C{True} if a later probe was answered before this one.

    @ivar detail: Description of a wrong reply or of an error; may be empty.

    @ivar sourcePort: The UDP port that the probe was sent from; C{None} for a UNIX
        socket.

    @ivar header: The IP header of the reply.

    @ivar error: The ICMP error; C{None} if there is none.

    @ivar arrived: Time at which the reply arrived, in nanoseconds of the clock of the
        measurement; C{None} if there is none.
    """

    kind: str
    number: int | None
    length: int = 0
    roundTrip: int | None = None
    isOutOfOrder: bool = False
    detail: str = ""
    sourcePort: int | None = None
    header: IPHeader = UNKNOWN_HEADER
    error: ICMPError | None = None
    arrived: int | None = None
