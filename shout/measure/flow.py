"""
The flows of a measurement, and the order in which their probes time out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any, Protocol

from twisted.internet.protocol import DatagramProtocol

from shout.measure.result import Event
from shout.measure.tracker import ProbeTracker
from shout.sockets.address import authority
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader

# A UNIX socket queues net.unix.max_dgram_qlen datagrams, usually 10.
_MAX_AT_UNIX = 8

# Number of probes whose send time can be outstanding.
_MAX_UNTIMED = 1024


class FlowOwner(Protocol):
    """
    The part of a measurement that its flows use.
    """

    isOver: bool
    isQuiet: bool

    def eventOccurred(self, flow: Flow, event: Event | None) -> None:
        """
        Called when a reply or an ICMP error has been counted.

        @param event: C{None} for a right reply, if C{isQuiet} is C{True}.
        """


class FlowTracer(Protocol):
    """
    The part of a tracer of the hops that flows use; see L{Tracer
    <shout.measure.trace.Tracer>}.
    """

    def datagramReceived(
        self, flow: int, datagram: bytes, now: int, delay: int, header: IPHeader
    ) -> bool:
        """
        Called with each reply; returns C{True} if it is for the tracer.
        """

    def icmpErrorReceived(self, flow: int, error: ICMPError, now: int) -> bool:
        """
        Called with each ICMP error; returns C{True} if it is for the tracer.
        """


class Flow(DatagramProtocol):
    """
    A source port towards one target: a connected port, and the counts of its probes.

    @ivar tracker: The counts so far.

    @ivar target: Index of the target.

    @ivar maxInFlight: Largest number of probes in flight.

    @ivar inFlightAtEnd: Number of probes in flight at the end.

    @ivar hasSendTimes: C{True} if the kernel takes the times of sending.

    @ivar tracer: The tracer of the hops; C{None} if there is none.
    """

    noisy = False

    def __init__(
        self,
        sock: Socket,
        index: int,
        target: int,
        tracker: ProbeTracker,
        maxInFlight: int,
        owner: FlowOwner,
        reactor: Any,
        clock: Callable[[], int],
        makePort: Callable[..., Any],
    ) -> None:
        """
        @param sock: A connected socket, which is closed with the port.

        @param index: Index among the flows of the target.

        @param target: Index of the target.

        @param reactor: As for L{TimedPort<shout.udp.timed.TimedPort>}, like C{clock}.

        @param makePort: Makes the port, like L{TimedPort
            <shout.udp.timed.TimedPort>}.
        """
        self.isUNIX = sock.family == AF_UNIX
        self.maxInFlight = _MAX_AT_UNIX if self.isUNIX else maxInFlight
        self.inFlightAtEnd = 0
        self.tracer: FlowTracer | None = None
        self._index = index
        # The number of datagrams sent, the numbers of probes without a send time by
        # their index among these, and the last time received.
        self.hasSendTimes = False
        self._datagrams = 0
        self._untimed: dict[int, int] = {}
        self._earlyTime = -1, 0
        self.target = target
        self.tracker = tracker
        self.port = makePort(sock, self, reactor, clock)
        self._owner = owner
        self._clock = clock

    @property
    def capacity(self) -> int:
        """
        Number of probes that can be sent now, within the limits of probes in flight
        and of probes whose states are kept.
        """
        tracker = self.tracker
        return min(self.maxInFlight - tracker.inFlight, tracker.freeSlots)

    @property
    def sourcePort(self) -> int | None:
        """
        The UDP port; C{None} for a UNIX socket.
        """
        return self.tracker.sourcePort

    def send(self, datagram: bytes, ttl: int) -> None:
        """
        Send a datagram that is no probe of the measurement.

        @param ttl: TTL or hop limit.

        @raise OSError: If the system does not accept it.
        """
        self.port.send([datagram], ttl)
        self._datagrams += 1

    def listen(self, withSendTimes: bool) -> None:
        """
        Open the port.

        @param withSendTimes: C{True} to let round trips begin when the kernel sends a
            probe, where it takes these times.  Each costs some microseconds.
        """
        self.port.startListening()
        self.hasSendTimes = withSendTimes and self.port.enableSendTimes()

    def probeSent(self) -> None:
        """
        Called when the last probe of the tracker has been sent, while there are send
        times.
        """
        index, time = self._earlyTime
        if index == self._datagrams:
            self.tracker.sendTimeReceived(self.tracker.sent, time)
        else:
            self._untimed[self._datagrams] = self.tracker.sent
            if len(self._untimed) > _MAX_UNTIMED:
                del self._untimed[next(iter(self._untimed))]
        self._datagrams += 1

    def sendTimeReceived(self, index: int, time: int) -> None:
        """
        Called when the kernel has sent a datagram; see L{TimedPort
        <shout.udp.timed.TimedPort>}.
        """
        number = self._untimed.pop(index, None)
        if number is not None:
            self.tracker.sendTimeReceived(number, time)
        else:
            # Usually the time is there before the port returns.
            self._earlyTime = index, time

    def timedDatagramReceived(
        self, datagram: bytes, now: int, delay: int, header: IPHeader
    ) -> None:
        """
        Called when a reply has been read; see L{TimedPort
        <shout.udp.timed.TimedPort>}.
        """
        owner, tracer, tracker = self._owner, self.tracer, self.tracker
        if owner.isOver or (
            tracer is not None
            and tracer.datagramReceived(self._index, datagram, now, delay, header)
        ):
            return
        event = None
        if not owner.isQuiet or not tracker.countReply(datagram, now, delay, header):
            event = tracker.replyReceived(datagram, now, delay, header)
            event = event._replace(arrived=now - delay)
        owner.eventOccurred(self, event)

    def replyFromElsewhereReceived(self, datagram: bytes, sender: str) -> None:
        """
        Called when a datagram from elsewhere has reached the source port.

        @param sender: Address and port that it came from.
        """
        if not self._owner.isOver:
            event = self.tracker.replyFromElsewhereReceived(datagram, sender)
            if event is not None:
                self._owner.eventOccurred(self, event)

    def icmpErrorReceived(self, error: ICMPError) -> None:
        """
        Called when an ICMP error has been read; see L{TimedPort
        <shout.udp.timed.TimedPort>}.
        """
        if self._owner.isOver:
            return
        tracer, now = self.tracer, self._clock()
        if tracer is None or not tracer.icmpErrorReceived(self._index, error, now):
            event = self.tracker.icmpErrorReceived(error, now)
            self._owner.eventOccurred(self, event)


class ListenerBeside(DatagramProtocol):
    """
    Receives the datagrams that others than the target send to the port of a flow.

    A server with several addresses, or a middlebox, can make a reply leave from another
    address than the probe was sent to.  The kernel does not pass it to a connected
    socket.
    """

    noisy = False

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._flow.replyFromElsewhereReceived(datagram, authority(*addr))


class Timeouts:
    """
    The order in which the probes of all flows time out: that in which they were sent.
    """

    def __init__(self) -> None:
        # The flow, and the number of the last of the probes sent in one call.
        self._sent: deque[tuple[Flow, int]] = deque()

    def probesSent(self, flow: Flow) -> None:
        """
        Keep the probes of a flow that were sent last.
        """
        self._sent.append((flow, flow.tracker.sent))

    def next(self) -> int | None:
        """
        Return the time at which the next probe times out, or C{None} if none is in
        flight.
        """
        while self._sent:
            flow, last = self._sent[0]
            timeout = flow.tracker.nextTimeout()
            if timeout is not None and flow.tracker.settled < last:
                return timeout
            self._sent.popleft()
        return None

    def expire(self, now: int) -> Iterator[tuple[Flow, Event]]:
        """
        Time out the probes that have been in flight for longer than the timeout.

        @return: The flows and the events of the probes that are lost.
        """
        while (timeout := self.next()) is not None and timeout < now:
            flow, _ = self._sent[0]
            # If this program was paused, the reply may be in the receive buffer.
            flow.port.drain()
            for event in flow.tracker.expire(now):
                yield flow, event
