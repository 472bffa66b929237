"""
Probes for hops, and the answers to them.
"""

from __future__ import annotations

from typing import NamedTuple

from shout.measure.level import Level
from shout.measure.probe import RIGHT, Probes
from shout.measure.sample import Route
from shout.udp.icmp import TIME_EXCEEDED, ICMPError

# The number of a probe is made of the flow, the TTL and the number of tries.
_TTLS, _TRIES = 128, 1000


class HopProbe(NamedTuple):
    """
    A probe for a hop.

    @ivar number: Its number.

    @ivar route: The flow.

    @ivar level: The TTL.

    @ivar kind: C{True} if the application had answered the flow.

    @ivar sent: Time of sending in nanoseconds.
    """

    number: int
    route: Route
    level: Level
    kind: bool
    sent: int


class Answer(NamedTuple):
    """
    The answer to a probe.

    @ivar probe: The probe; C{None} if it is unknown, or has been answered before.

    @ivar address: The address of the router or the target.

    @ivar reason: As in L{Hop<shout.measure.hops.Hop>}.

    @ivar isTarget: C{True} if the application answered.
    """

    probe: HopProbe | None
    address: str
    reason: str
    isTarget: bool = False


# Routers quote at least eight bytes of what they drop, which is the UDP header; most
# quote the payload as well.
class HopProbes:
    """
    The probes of a tracer, with a nonce of their own.

    @ivar sent: Number of probes sent.

    @ivar waiting: The probes that are waited for, by number and in the order of
        sending.

    @ivar hasShortQuotes: C{True} if an ICMP error quoted too little of the payload to
        distinguish the probes of a flow.
    """

    def __init__(self, size: int) -> None:
        """
        @param size: Size of a probe in bytes.
        """
        self.sent = 0
        self.waiting: dict[int, HopProbe] = {}
        self.hasShortQuotes = False
        self._probes = Probes(size)
        self._unanswered: dict[int, HopProbe] = {}

    def make(
        self, route: Route, level: Level, kind: bool, now: int
    ) -> tuple[HopProbe, bytes]:
        """
        Return the next probe, which is waited for, and its payload.
        """
        number = (route.index * _TTLS + level.ttl) * _TRIES + level.triesOf(route)
        probe = HopProbe(number, route, level, kind, now)
        self.waiting[number] = self._unanswered[number] = probe
        route.inFlight.add(number)
        self.sent += 1
        return probe, self._probes.make(number)

    def endWait(self, probe: HopProbe) -> None:
        """
        No longer wait for an answer, which may come all the same.
        """
        del self.waiting[probe.number]
        probe.route.inFlight.remove(probe.number)

    def findReply(self, flow: int, datagram: bytes, target: str) -> Answer | None:
        """
        Return the answer that a datagram is, or C{None} if it is none.

        @param flow: Index of the flow that has received it.

        @param target: The address of the target.
        """
        nonce = self._probes.nonce
        if datagram[: len(nonce)].lower() != nonce:
            return None
        kind, number, detail = self._probes.classify(datagram)
        return Answer(self._take(flow, number), target, detail, kind == RIGHT)

    def findError(self, route: Route, error: ICMPError) -> Answer | None:
        """
        Return the answer that an ICMP error is, or C{None} if it is none.

        @param route: The flow that has received it.
        """
        quote = error.quote or b""
        number = self._probes.numberOf(quote)
        if error.sender is None:
            # This system has refused to send a probe, which is sent again later.
            return None if number is None else Answer(None, "", error.reason)
        if number is None:
            # Too short a quote fits all probes in flight.
            make = self._probes.make
            fitting = [each for each in route.inFlight if make(each).startswith(quote)]
            self.hasShortQuotes = self.hasShortQuotes or len(fitting) > 1
            if len(fitting) != 1:
                return None
            (number,) = fitting
        reason = "" if error.reason == TIME_EXCEEDED else error.reason
        return Answer(self._take(route.index, number), error.sender, reason)

    def _take(self, flow: int, number: int | None) -> HopProbe | None:
        probe = None if number is None else self._unanswered.get(number)
        if probe is None or probe.route.index != flow:
            return None
        return self._unanswered.pop(probe.number)
