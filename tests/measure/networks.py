"""
Networks of routers that exist in memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock

from shout.measure.hops import FlowHops
from shout.measure.schedule import SECOND
from shout.measure.trace import Tracer
from shout.udp.icmp import TIME_EXCEEDED, ICMPError
from shout.udp.timestamps import IPHeader

TARGET = "192.0.2.99"

# The delay of each hop, to it and back, in seconds.
_DELAY = 0.002


class Router:
    """
    A router that sends a limited number of ICMP errors.

    @ivar asked: Number of probes that ended here.

    @ivar answered: Number of errors sent.
    """

    def __init__(
        self,
        *addresses: str,
        burst: int = 6,
        rate: float | None = None,
        quote: int = 520,
        reason: str = TIME_EXCEEDED,
    ) -> None:
        """
        @param addresses: The addresses that it answers from, by flow; none for a silent
            router.

        @param burst: Number of errors that it sends at once.

        @param rate: Number of errors a second after these; C{None} for no limit.

        @param quote: Number of bytes of the payload that it quotes.
        """
        self.asked = self.answered = 0
        self._addresses = addresses
        self._burst = self._tokens = float(burst)
        self._rate = rate
        self._quote = quote
        self._reason = reason
        self._last = 0.0

    def answer(self, flow: int, datagram: bytes, now: float) -> ICMPError | None:
        """
        Return the error for a datagram.
        """
        self.asked += 1
        if not self._addresses:
            return None
        if self._rate is not None:
            earned = (now - self._last) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
            self._last = now
            if self._tokens < 1:
                return None
            self._tokens -= 1
        self.answered += 1
        address = self._addresses[flow % len(self._addresses)]
        return ICMPError(self._reason, address, datagram[: self._quote])


class Network:
    """
    Paths to a target, and a tracer of them.

    @ivar errors: The errors that sending raises next.

    @ivar sent: The flow, the TTL and the time of each probe.

    @ivar done: The result of the tracer, once it has ended.

    @ivar received: The value that the tracer has returned for each answer.
    """

    def __init__(
        self,
        flows: int,
        path: Callable[[int], Sequence[Router]],
        breaks: Callable[[int], int | None] = lambda flow: None,
        loss: float = 0,
        seed: int = 0,
        answer: Callable[[int, bytes], bytes] = lambda flow, probe: probe.upper(),
        **options: Any,
    ) -> None:
        """
        @param path: A function that returns the routers on the way of a flow.

        @param breaks: A function that returns the number of routers that datagrams of
            a flow reach; C{None} for all of them, and the target.

        @param loss: The share of probes and answers that get lost.

        @param answer: A function that returns the answer of the target.

        @param options: Parameters of L{Tracer}.
        """
        self.clock = Clock()
        self.errors: list[OSError] = []
        self.done: list[FlowHops] = []
        self.received: list[bool] = []
        self.sent: list[tuple[int, int, float]] = []
        self._path = path
        self._breaks = breaks
        self._loss = loss
        self._random = Random(seed)
        self._answer = answer
        self.flows = [FakeFlow(self, index) for index in range(flows)]
        options.setdefault("random", Random(seed))
        self.tracer = Tracer(self.flows, TARGET, self.clock, self.now, **options)

    def now(self) -> int:
        return round(self.clock.seconds() * SECOND)

    def send(self, flow: int, datagram: bytes, ttl: int) -> None:
        """
        Called when a flow sends a datagram.
        """
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append((flow, ttl, self.clock.seconds()))
        path = self._path(flow)
        reach = self._breaks(flow)
        if self._isLost() or (reach is not None and reach < min(ttl, len(path) + 1)):
            return
        if ttl > len(path):
            delay, answer = _DELAY * (len(path) + 1), self._answer(flow, datagram)
            self.clock.callLater(delay, self.receive, flow, answer, 64 - len(path))
            return
        error = path[ttl - 1].answer(flow, datagram, self.clock.seconds())
        if error is not None and not self._isLost():
            self.clock.callLater(_DELAY * ttl, self.refuse, flow, error)

    def _isLost(self) -> bool:
        return self._random.random() < self._loss

    def receive(self, flow: int, datagram: bytes, ttl: int | None = None) -> None:
        """
        Receive a datagram.
        """
        header = IPHeader(ttl)
        taken = self.tracer.datagramReceived(flow, datagram, self.now(), 0, header)
        self.received.append(taken)

    def refuse(self, flow: int, error: ICMPError) -> None:
        """
        Receive an ICMP error.
        """
        self.received.append(self.tracer.icmpErrorReceived(flow, error, self.now()))

    def trace(self, seconds: float = 100) -> list[list[str]]:
        """
        Trace the flows to the end.

        @return: The addresses of the hops of each flow, C{*} for a silent one.
        """
        self.start()
        self.advance(seconds)
        (hops,) = self.done
        return [
            [hop.address or "*" for hop in hops[flow.sourcePort]] for flow in self.flows
        ]

    def start(self) -> None:
        self.tracer.start().addCallback(self.done.append)

    def advance(self, seconds: float) -> None:
        """
        Advance the clock, but not beyond the end of the tracer.
        """
        for _ in range(round(seconds * 1000)):
            if self.done:
                break
            self.clock.advance(0.001)


class ParallelNetwork(Network):
    """
    A network with a router at each end and parallel routers between them.

    The flows go to the parallel routers in turn; those of the first one are hurt if
    C{reach} is given.

    @ivar first: The router that all flows share.

    @ivar middle: The parallel routers.

    @ivar last: The router behind these.  It has an address on each path.

    @ivar expected: The addresses of the hops of each flow, C{*} for a silent one.
    """

    def __init__(
        self,
        flows: int = 32,
        paths: int = 4,
        rate: float | None = None,
        reach: int | None = None,
        hasOneAddress: bool = False,
        prefix: str = "10.0.{}.{}",
        **options: Any,
    ) -> None:
        """
        @param reach: Number of routers that datagrams through the first parallel router
            reach; C{None} for all of them, and the target.

        @param hasOneAddress: C{True} if the last router has a single address.

        @param prefix: The format of addresses.

        @param options: Parameters of L{Network}.
        """
        numbers = range(paths)
        self.first = Router(prefix.format(0, 1), rate=rate)
        self.middle = [Router(prefix.format(1, n), rate=rate) for n in numbers]
        addresses = [prefix.format(2, 0 if hasOneAddress else n) for n in numbers]
        self.last = Router(*addresses, rate=rate)
        super().__init__(
            flows,
            lambda flow: [self.first, self.middle[flow % paths], self.last],
            lambda flow: None if flow % paths else reach,
            **options,
        )
        first = prefix.format(0, 1)
        self.expected = []
        for flow in range(flows):
            path = flow % paths
            hops = [first, prefix.format(1, path), addresses[path], TARGET]
            if path == 0 and reach is not None:
                hops[reach:] = "*" * (len(hops) - reach)
            self.expected.append(hops)


class FakeFlow:
    """
    A flow of a L{Network}.
    """

    def __init__(self, network: Network, index: int) -> None:
        self.sourcePort = 40000 + index
        self._network = network
        self._index = index

    def send(self, datagram: bytes, ttl: int) -> None:
        self._network.send(self._index, datagram, ttl)
