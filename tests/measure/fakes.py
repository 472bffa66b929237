"""
Results and fakes for tests of measurements.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from shout.measure.histogram import Histogram
from shout.measure.result import Event, Result
from shout.measure.schedule import SECOND, Schedule
from shout.measure.session import PingSession
from shout.measure.target import Target
from shout.udp.timestamps import IPHeader

RESULT = Result(
    host="h",
    address="192.0.2.1",
    port=9999,
    sent=100,
    answered=100,
    lost=0,
    duplicates=0,
    late=0,
    outOfOrder=0,
    wrong=0,
    kinds={},
    answeredWrong=0,
    refused=0,
    icmpErrors={},
    outOfWindow=0,
    histogram=Histogram(),
    roundTrips=None,
    jitter=None,
    duration=1,
    hasKernelTimes=True,
    skipped=0,
    kernelDrops=0,
    inFlightAtEnd=0,
    ttls={},
    toses={},
    elsewhere={},
)
"""
The result of a very fast measurement without loss.
"""

LOSSY = replace(RESULT, answered=99, lost=1)
"""
The same with a lost probe.
"""

SLOW = replace(RESULT, duration=10**9, skipped=1)
"""
The result of a measurement that a slow machine took a second for.
"""


def histogramOf(times: Iterable[int]) -> Histogram:
    """
    Return a histogram of round trips in nanoseconds.
    """
    histogram = Histogram()
    for each in times:
        histogram.add(each)
    return histogram


class FakeSocket:
    """
    A socket that has nothing but a family and a name.
    """

    def __init__(self, family: int, port: int) -> None:
        self.family = family
        self._port = port

    def getsockname(self) -> object:
        return "" if self.family == socket.AF_UNIX else ("192.0.2.9", self._port)


class FakePort:
    """
    A L{TimedPort<shout.udp.timed.TimedPort>} that keeps what is sent.

    @ivar sent: The datagrams sent.

    @ivar ttls: The TTLs of those sent with one of their own.

    @ivar error: The error number that sending fails with; C{None} to succeed.

    @ivar buffered: Replies that have arrived but have not been read, each with the
        nanoseconds since its arrival.

    @ivar onSend: Called with each datagram that is sent.

    @ivar stopped: The L{Deferred} that L{stopListening} returns.
    """

    maxAtOnce = 8
    hasKernelTimes = True
    kernelDrops = 0
    hasSendTimes = False

    def __init__(
        self,
        sock: Any,
        protocol: Any,
        reactor: Any,
        clock: Any,
        isBatched: bool = True,
    ) -> None:
        self.protocol = protocol
        self.clock = clock
        self.sent: list[bytes] = []
        self.ttls: list[int] = []
        self.error: int | None = None
        self.buffered: list[tuple[bytes, int]] = []
        self.stopped: Deferred[None] = succeed(None)
        self.isListening = False
        self.onSend: Callable[[bytes], object] = lambda datagram: None

    def startListening(self) -> None:
        self.isListening = True

    def enableSendTimes(self) -> bool:
        return self.hasSendTimes

    def stopListening(self) -> Deferred[None]:
        self.isListening = False
        return self.stopped

    def drain(self) -> None:
        buffered, self.buffered = self.buffered, []
        for datagram, delay in buffered:
            self.protocol.timedDatagramReceived(
                datagram, self.clock(), delay, IPHeader()
            )

    def send(self, datagrams: list[bytes], ttl: int | None = None) -> int:
        assert self.isListening
        assert 1 <= len(datagrams) <= self.maxAtOnce
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if ttl is not None:
            self.ttls.append(ttl)
        for datagram in datagrams:
            self.sent.append(datagram)
            self.onSend(datagram)
        return len(datagrams)


class FakePing:
    """
    A L{PingSession} on a L{Clock} and L{FakePort}s.

    @ivar events: The events so far, unless C{onEvent} is replaced.

    @ivar flow: The first flow of the first target.

    @ivar tracker: Its tracker.

    @ivar port: Its port.

    @ivar ports: The ports of all flows, in the order in which they send.

    @ivar done: The result of the session, once it has ended.
    """

    def __init__(
        self,
        family: int = socket.AF_INET,
        targets: int = 1,
        flows: int = 1,
        hasSendTimes: bool = False,
        **schedule: Any,
    ) -> None:
        """
        @param flows: Number of flows of each target, from port 40000 on.

        @param hasSendTimes: C{True} if the ports take the times of sending.

        @param schedule: The parameters of L{Schedule}.
        """
        self.clock = Clock()
        self.events: list[Event] = []
        self.onEvent: Callable[[Event], object] = self.events.append
        ports = range(40000, 40000 + flows)
        sockets: Any = [[FakeSocket(family, port) for port in ports]] * targets
        self.session = PingSession(
            sockets,
            Schedule(**schedule),
            lambda event, _: self.onEvent(event),
            self.clock,
            lambda: round(self.clock.seconds() * SECOND),
            FakePort,
        )
        self.session._sender.shuffle = self.shuffle
        self.flow = self.session.flows[0]
        self.tracker = self.flow.tracker
        self.ports: list[FakePort] = [flow.port for flow in self.session.flows]
        for port in self.ports:
            port.hasSendTimes = hasSendTimes
        self.port = self.ports[0]
        self.done: list[object] = []

    def shuffle(self, flows: object) -> None:
        """
        Leave the flows in their order.
        """

    def start(self) -> None:
        self.session.start().addBoth(self.done.append)

    def advance(self, seconds: float) -> None:
        """
        Advance the clock from one delayed call to the next.
        """
        end = self.clock.seconds() + seconds
        while calls := self.clock.getDelayedCalls():
            soonest = max(min(call.getTime() for call in calls), self.clock.seconds())
            if soonest > end:
                break
            self.clock.advance(soonest - self.clock.seconds() + 1e-9)
        self.clock.advance(max(0, end - self.clock.seconds()))

    def answerAll(self, delay: float = 1e-6) -> None:
        """
        Answer each probe after a delay in seconds.
        """
        for flow in range(len(self.ports)):
            self.answer(flow, delay)

    def answer(self, flow: int, delay: float = 1e-6) -> None:
        """
        Answer each probe of a flow after a delay in seconds.
        """

        def onSend(probe: bytes) -> None:
            self.clock.callLater(delay, self.receive, probe.upper(), flow=flow)

        self.ports[flow].onSend = onSend

    def receive(self, *replies: bytes, flow: int = 0) -> None:
        """
        Receive replies on a flow.
        """
        for reply in replies:
            now = self.port.clock()
            self.ports[flow].protocol.timedDatagramReceived(reply, now, 0, IPHeader())

    def result(self, index: int = 0) -> Result:
        return self.session.result(Target("h", "192.0.2.1", 9999), index)
