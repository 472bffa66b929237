"""
Invariants of all code that reads bytes from the network, for arbitrary bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, IPPROTO_UDP, inet_ntop, socket
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from shout import Shout, UnicodeShout, bindUDP, guard
from shout.cli.stdio import LineSplitter
from shout.counters import Snapshot
from shout.guard import Guard, Limit, LoopGuard, TokenBuckets
from shout.measure.probe import MIN_SIZE, RIGHT, Probes
from shout.request import AskError, RequestProtocol
from shout.sockets.bind import connectUDP
from shout.sources import Allow, refuseReflectors
from shout.status.health import Report
from shout.status.resource import StatusResource
from shout.status.site import HardenedSite
from shout.udp.batched import BatchedPort, available
from shout.udp.peer import SOCKADDR_SIZE, decodeRaw, unpackMessages
from shout.udp.port import DatagramPort
from tests.families import LOOPBACK
from tests.wire import Wire

# The size of tables of peers: so small that few bytes fill them.
CAPACITY = 8

# Parts of HTTP requests.
WORDS = (
    b"GET ", b"HEAD ", b"POST ", b"OPTIONS ", b"/", b"/metrics", b"/healthz", b"*",
    b"?a=%zz&b", b"http://", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n",
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b":", b"a: b\r\n", b" c\r\n",
    b"Host: a\r\n", b"Content-Length: ", b"0\r\n", b"9", b"\xb2", b"Cookie: =;a\r\n",
    b"Content-Length: " + b"9" * 5000 + b"\r\n", b"Expect: 100-continue\r\n",
    b"Content-Type: multipart/form-data; boundary=a\x0b\r\n", b"Upgrade: h2c\r\n",
    b"Transfer-Encoding: ", b"chunked\r\n", b"Connection: Upgrade\r\n",
    b"a: b\r\n" * 200, bytes(9000), bytes(300_000), b"GET / HTTP/1.1\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
)  # fmt: skip

CHUNKS = (b"", b"\r", b"\n", b"\r\n", b"\n\r", b"x", b"x\r") * 20


class Bytes:
    """
    An input, which is used up to make values.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, length: int) -> bytes:
        """
        Return the next bytes, padded with zeros at the end of the input.
        """
        taken, self._data = self._data[:length], self._data[length:]
        return taken.ljust(length, b"\0")

    def number(self, length: int = 1) -> int:
        """
        Return a number of C{length} bytes.
        """
        return int.from_bytes(self.take(length), "big")

    def piece(self) -> bytes:
        """
        Return a few bytes, or seldom many.
        """
        length = self.number()
        length = 16 * length if length >= 252 else length % 16
        return self.take(min(length, len(self._data)))

    def address(self) -> Any:
        """
        Return the address of a peer of any family, or C{None}.
        """
        kind = self.number() % 8
        if kind == 0:
            return None
        if kind == 1:
            return "/" + self.piece().decode("utf-8", "surrogateescape")
        if kind == 2:
            return b"\0" + self.piece()
        if kind == 3:
            return "192.0.2.1", 40000
        if kind == 4:
            return inet_ntop(AF_INET, self.take(4)), self.number(2)
        scope = "%" + str(self.number(4)) if kind == 5 else ""
        return inet_ntop(AF_INET6, self.take(16)) + scope, self.number(2)


def fuzzOne(data: bytes) -> None:
    """
    Check every invariant with one input.

    @raise AssertionError: If one does not hold.
    """
    with patch.object(guard, "_CAPACITY", CAPACITY):
        _answer(Bytes(data))
    _decode(Bytes(data))
    _splitControl(data)
    _classify(Bytes(data))
    _match(Bytes(data))
    _splitLines(Bytes(data))
    _serve(Bytes(data))
    _echo(Bytes(data))


class _SmallLoops(LoopGuard):
    burst = 3
    period = 2

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__(seconds)
        self.buckets = self._buckets = TokenBuckets(
            self.rate, self.burst, seconds, CAPACITY
        )


class _Transport:
    """
    Sends nothing, and sometimes raises an error that a port can raise.
    """

    def __init__(self, source: Bytes) -> None:
        self._source = source

    def write(self, datagram: bytes, addr: Any = None) -> None:
        kind = self._source.number() % 16
        if kind == 14:
            raise OSError(self._source.number(), "made up")
        if kind == 15:
            raise MessageLengthError


def _answer(source: Bytes) -> None:
    clock = Clock()
    loops = _SmallLoops(clock.seconds)
    kind = source.number()
    isStrict = bool(kind & 2)
    half = IPv4Network("0.0.0.0/1"), IPv6Network("8000::/1")
    watch = Guard(
        [refuseReflectors, Allow(half)] if isStrict else [refuseReflectors],
        loops,
        [Limit(1, clock.seconds)] if isStrict else [],
    )
    protocol = (UnicodeShout if kind & 1 else Shout)(watch, clock.seconds)
    protocol.makeConnection(_Transport(source))  # type: ignore[arg-type]
    counters = protocol.counters
    received = 0
    while source:
        clock.advance(source.number() / 16)
        action = source.number()
        count = 1 + action % 4
        datagrams = [source.piece() for _ in range(count)]
        addrs = [source.address() for _ in range(count)]
        if action < 128:
            replies = protocol.answer(datagrams, addrs)
            assert len(replies) == count
            for datagram, addr, reply in zip(datagrams, addrs, replies):
                _checkReply(protocol, datagram, addr, reply, isStrict)
        elif action < 224:
            for datagram, addr in zip(datagrams, addrs):
                protocol.datagramReceived(datagram, addr)
        else:
            for datagram, addr in zip(datagrams, addrs):
                protocol.groupDatagramReceived(datagram, addr)
        received += count
        assert counters.received == received
        assert counters.received == counters.answered + counters.dropped.total()
        assert min(counters.answered, *counters.dropped.values(), 0) == 0
        for table in (watch.accepted, watch._reasons, loops.buckets):
            assert len(table) <= CAPACITY


def _checkReply(
    protocol: Shout, datagram: bytes, addr: Any, reply: object, isStrict: bool
) -> None:
    capitals = protocol.transform(datagram)
    assert protocol.transform(capitals) == capitals
    if isinstance(protocol, UnicodeShout):
        assert len(capitals) <= 3 * len(datagram)
    else:
        assert len(capitals) == len(datagram)
    if addr is None or refuseReflectors(addr) is not None:
        assert reply is None
    elif capitals != datagram and not isStrict:
        assert reply is not None
    assert reply in (None, capitals)


def _decode(source: Bytes) -> None:
    family = (AF_INET, AF_INET6)[source.number() % 2]
    address = slice(4, 8) if family == AF_INET else slice(8, 24)
    while source:
        name = family.to_bytes(2, sys.byteorder) + source.take(SOCKADDR_SIZE - 2)
        peer = decodeRaw(name + source.piece())
        host, port = peer
        assert host.partition("%")[0] == inet_ntop(family, name[address])
        assert port == int.from_bytes(name[2:4], "big")
        assert peer.rawAddress[:SOCKADDR_SIZE] == name
        assert peer.sockaddr is not None
        assert peer.sockaddr[:2] == (host.partition("%")[0], port)
        for _, _, info in peer.ancillaryData:
            assert len(info) == (12 if family == AF_INET else 20)
        assert refuseReflectors(peer) in (None, "source port", "source address")


def _splitControl(control: bytes) -> None:
    assert sum(len(data) for _, data in unpackMessages(control)) <= len(control)


def _classify(source: Bytes) -> None:
    probes = Probes(MIN_SIZE + source.number() % 16, b"abcdefghij")
    while source:
        number = source.number()
        right = probes.make(number).upper()
        damaged = bytearray(right)
        for _ in range(source.number() % 4):
            damaged[source.number() % len(damaged)] = source.number()
        for reply in (right, bytes(damaged), right + source.piece(), source.piece()):
            found = probes.classify(reply)
            assert (found.kind == RIGHT) == (
                found.number is not None and reply == probes.make(found.number).upper()
            )
            assert found.kind != RIGHT or not found.detail


class _Silent:
    def write(self, datagram: bytes, addr: Any = None) -> None:
        assert addr is None


def _match(source: Bytes) -> None:
    clock = Clock()
    unexpected: list[tuple[bytes, bytes | None]] = []

    def keep(reply: bytes, expected: bytes | None) -> None:
        unexpected.append((reply, expected))

    transform = (bytes.upper, UnicodeShout().transform)[source.number() % 2]
    asking = RequestProtocol("peer", 1.0, 1, transform, keep, clock)
    asking.makeConnection(_Silent())  # type: ignore[arg-type]
    results: list[Sequence[Any]] = []
    answers: list[Deferred[bytes]] = []
    count = 0
    while source:
        action = source.number()
        if action < 80:
            datagram = source.piece()
            result: list[Any] = []
            results.append((transform(datagram), result))
            answers.append(asking.ask(datagram).addBoth(result.append))
        elif action < 200:
            # Some are correct replies, in time or late.
            if action < 140 and results:
                reply = results[source.number() % len(results)][0]
            else:
                reply = source.piece()
            before = sum(len(result) for _, result in results) + len(unexpected)
            asking.datagramReceived(reply, ("192.0.2.1", 9999))
            count += 1
            # One reply settles at most one request, or is unexpected.
            after = sum(len(result) for _, result in results) + len(unexpected)
            assert after - before in (0, 1)
        elif action < 210:
            asking.connectionRefused()
        elif action < 230 and answers:
            answers[source.number() % len(answers)].cancel()
        else:
            clock.advance(source.number() / 64)
    clock.advance(1)
    clock.advance(1)
    assert not clock.getDelayedCalls() and not asking._inFlight
    assert len(unexpected) <= count and len(asking._settled) <= 4096
    for expected, result in results:
        [outcome] = result
        if isinstance(outcome, Failure):
            assert isinstance(outcome.value, (AskError, CancelledError))
            assert str(outcome.value).isprintable()
        else:
            assert outcome == expected


def _splitLines(source: Bytes) -> None:
    maxLength = source.number()
    splitter = LineSplitter(maxLength)
    fed = b""
    lines = []
    while source:
        # Mostly the ends of lines.
        kind = source.number()
        chunk = CHUNKS[kind] if kind < len(CHUNKS) else source.piece()
        fed += chunk
        lines += splitter.feed(chunk)
        assert len(splitter._text) <= maxLength
    lines += splitter.finish()
    *ended, rest = fed.split(b"\n")
    wanted = [line.removesuffix(b"\r") for line in ended] + [rest] * bool(rest)
    assert [line.text for line in lines] == [line[:maxLength] for line in wanted]
    assert [line.length for line in lines] == list(map(len, wanted))
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))


class _StatusSource:
    """
    A service whose check succeeds after a second.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def snapshot(self) -> Snapshot:
        return Snapshot()

    def check(self) -> Deferred[Report]:
        return deferLater(self._clock, 1, Report, [], [])


def _serve(source: Bytes) -> None:
    clock = Clock()
    site = HardenedSite(StatusResource(_StatusSource(clock), clock.seconds), clock)
    site.maxConnections = 3
    events = EventLoggingObserver()
    globalLogPublisher.addObserver(events)
    site.doStart()
    wires = [Wire(site)]
    try:
        while source:
            action = source.number()
            wire = wires[-1 - source.number() % min(4, len(wires))]
            if wire.protocol is None or action >= 220:
                wires.append(Wire(site, reads=action % 2 == 0))
            elif action < 140:
                wire.send(WORDS[action % len(WORDS)])
            elif action < 180:
                wire.send(source.piece())
            elif wire.isClosed:
                pass
            elif action < 190:
                wire.protocol.readConnectionLost()
            elif action < 200 and wire.isShut:
                wire.protocol.writeConnectionLost()
            elif action < 205:
                wire.loseConnection()
            else:
                clock.advance(source.number() / 16)
            assert len(site.connections) <= 3
        for _ in range(3):
            clock.advance(10)
        assert not site.connections
        for wire in wires:
            _checkWire(wire)
    finally:
        site.doStop()
        globalLogPublisher.removeObserver(events)
    assert not clock.getDelayedCalls()
    assert not any("log_failure" in event for event in events)
    # Eight kinds of events, each logged at most once in 30 seconds.
    assert len(list(events)) <= 8 * (2 + clock.seconds() / 30)


def _checkWire(wire: Wire) -> None:
    if wire.value() or wire.isShut:
        assert wire.isShut
        status, headers, body = wire.answer()
        assert status in (200, 400, 404, 405, 408, 413, 414, 431)
        assert headers["connection"] == "close"
        assert not body or len(body) == int(headers["content-length"])


class _Echo(DatagramProtocol):
    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(datagram, addr)


def _echo(source: Bytes) -> None:
    portTypes: list[type[DatagramPort]] = [DatagramPort, BatchedPort]
    portType = portTypes[source.number() % (1 + available)]
    reactor = MemoryReactorClock()
    [sock] = bindUDP(0, [LOOPBACK[source.number() % len(LOOPBACK)]])
    port = portType(sock, _Echo(), reactor, seconds=reactor.seconds)
    port.startListening()
    with ExitStack() as stack:
        stack.callback(reactor.advance, 0)
        stack.callback(port.stopListening)
        address = sock.getsockname()[:2]
        clients = [stack.enter_context(connectUDP(*address)) for _ in range(4)]
        while source:
            # What all send at once fits into the receive buffers.
            replies = [_send(client, source) for client in clients]
            if source.number() == 0 and len(clients) > 1:
                # Its replies cause ICMP errors.
                clients.pop().close()
            port.drain()
            for client, expected in zip(clients, replies):
                assert [client.recv(65535) for _ in expected] == expected
    assert not port.protocolErrors and not reactor.getDelayedCalls()


def _send(client: socket, source: Bytes) -> list[bytes]:
    """
    Send datagrams: a short one, one of any size, or a burst.

    @return: The datagrams.
    """
    kind = source.number()
    if kind < 128:
        datagram = source.piece()
    elif kind < 160:
        datagram = bytes([kind]) * (source.number(2) % 65508)
    else:
        datagram = bytes([kind]) * (1 + 4 * source.number())
    count = 1 if kind < 160 else min(kind - 159, 60_000 // len(datagram), 64)
    if count == 1 or not available:
        for _ in range(count):
            client.send(datagram)
    else:
        # UDP_SEGMENT; see udp(7).  A port can receive the burst in one piece.
        length = len(datagram).to_bytes(2, sys.byteorder)
        client.sendmsg([datagram * count], [(IPPROTO_UDP, 103, length)])
    return [datagram] * count
