"""
Tests for L{shout.udp.timed}.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from typing import Any
from unittest import skipIf

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock

from shout.sockets.bind import bindUDP, connectUDP
from shout.sockets.unix import bindUNIX, connectUNIX
from shout.udp import timed
from shout.udp.icmp import TIME_EXCEEDED, ICMPError
from shout.udp.sockopt import allowFragments
from shout.udp.timed import TimedPort
from shout.udp.timestamps import IPHeader, TimedIO, enableHeaders
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.hosts import Hosts, whyNot
from tests.peers import PeerCase

notLinux = "" if sys.platform == "linux" else "only Linux queues ICMP errors"


class RecordingTimedProtocol(DatagramProtocol):
    """
    A protocol that records the calls of a L{TimedPort}.

    @ivar received: Each datagram with its delay and its IP header.

    @ivar icmpErrors: The ICMP errors.

    @ivar called: Fires with the next call.
    """

    noisy = False

    def __init__(self) -> None:
        self.called: Deferred[None] = Deferred()
        self.received: list[tuple[bytes, int, IPHeader]] = []
        self.icmpErrors: list[ICMPError] = []

    def timedDatagramReceived(
        self, datagram: bytes, now: int, delay: int, header: IPHeader
    ) -> None:
        self.received.append((datagram, delay, header))
        self._call()

    def icmpErrorReceived(self, error: ICMPError) -> None:
        self.icmpErrors.append(error)
        self._call()

    def _call(self) -> None:
        called, self.called = self.called, Deferred()
        called.callback(None)


class CountingNothing:
    """
    The part of an IO that counts bytes.
    """

    def totalBytes(self) -> tuple[int, int]:
        return 0, 0


class RefusingIO(CountingNothing):
    """
    An IO whose first sends fail with C{ECONNREFUSED}.
    """

    def __init__(self, times: int) -> None:
        """
        @param times: Number of sends that fail.
        """
        self._times = times

    def send(self, datagrams: list[bytes], peers: None, start: int) -> int:
        if self._times:
            self._times -= 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return len(datagrams)


class TimedPortCase(PeerCase):
    """
    Starts timed ports, and stops them when the test ends.
    """

    def listen(self, sock: socket.socket) -> tuple[TimedPort, RecordingTimedProtocol]:
        """
        Start a port on a socket.
        """
        protocol = RecordingTimedProtocol()
        port = TimedPort(sock, protocol, self.reactor)
        # So a visit does not end early on a busy machine.
        port._seconds = Clock().seconds
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, protocol


class TimedPortTests(TimedPortCase):
    """
    Tests for L{TimedPort}.
    """

    @skipIf(notLinux, notLinux)
    async def test_delay(self) -> None:
        """
        The time that a datagram has waited in the receive buffer is passed on.
        """
        for address in LOOPBACK:
            server = self.serveUDP(address)
            port, protocol = self.listen(connectUDP(address, server))
            port._wallClock = lambda: time.time_ns() + 10**9
            port.send([b"hello"])
            await protocol.called
            ((datagram, delay, header),) = protocol.received
            self.assertEqual((datagram, header), (b"HELLO", IPHeader(64, 0)))
            self.assertTrue(port.hasKernelTimes)
            # The wall clock is a second ahead.
            self.assertLess(10**9, delay)

    async def test_anySize(self) -> None:
        """
        Datagrams of any size arrive whole.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        for length in (0, 1, 65507):
            port.send([b"x" * length])
            await protocol.called
            self.assertEqual(protocol.received[-1][0], b"X" * length)

    async def test_unix(self) -> None:
        """
        A UNIX socket has no timestamps, and carries long datagrams.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        port, protocol = self.listen(connectUNIX(path))
        port.send([b"x" * 100_000])
        await protocol.called
        self.assertEqual(protocol.received, [(b"X" * 100_000, 0, IPHeader())])
        self.assertFalse(port.hasKernelTimes)

    async def test_icmpErrors(self) -> None:
        """
        Each ICMP error quotes its datagram, and the port stays open.
        """
        for address in LOOPBACK:
            (sock,) = bindUDP(0, [address])
            number = sock.getsockname()[1]
            sock.close()
            port, protocol = self.listen(connectUDP(address, number))
            sent = [b"one", b"two", b"three"]
            # The ICMP error of one shows when the next is sent.
            for datagram in sent:
                port.send([datagram])
            while len(protocol.icmpErrors) < 3:
                await protocol.called
            self.assertEqual(
                protocol.icmpErrors,
                [ICMPError("port unreachable", address, each) for each in sent],
            )
            self.serve(*bindUDP(number, [address]))
            port.send([b"hello"])
            await protocol.called
            self.assertEqual(protocol.received[0][0], b"HELLO")

    if notLinux:
        test_icmpErrors.skip = notLinux  # type: ignore[attr-defined]

    async def test_unixRestarted(self) -> None:
        """
        While the server of a UNIX socket is down, sending raises.  After it has
        restarted at the same path, datagrams are answered.
        """
        path = shortDirectory(self) + "/shout"
        first = bindUNIX(path)
        port, protocol = self.listen(connectUNIX(path))
        first.close()
        for _ in range(2):
            self.assertRaises(FileNotFoundError, port.send, [b"hello"])
        self.serve(bindUNIX(path))
        port.send([b"hello"])
        while not protocol.received:
            await protocol.called
        self.assertEqual(protocol.received, [(b"HELLO", 0, IPHeader())])

    async def test_unquoted(self) -> None:
        """
        Without an error queue, an ICMP error that shows when the next datagram is
        sent is reported without a quote, and that datagram is sent.
        """
        self.patch(timed, "enableErrorQueue", lambda sock: None)
        port, protocol = self.listen(connectUDP("127.0.0.1", self.freePort()))
        port.send([b"one"])
        self.assertEqual((port.send([b"two"]), protocol.received), (1, []))
        self.assertEqual(protocol.icmpErrors, [ICMPError("port unreachable")])

    async def test_attempts(self) -> None:
        """
        While errors of earlier datagrams come in, sending is repeated up to three
        times.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        self.patch(timed, "readErrorQueue", lambda sock: [ICMPError("refused")])
        real = port.socket
        self.addCleanup(setattr, port, "socket", real)
        for times, isSent in ((3, True), (4, False)):
            port._io = RefusingIO(times)
            protocol.icmpErrors.clear()
            if isSent:
                self.assertEqual(port.send([b"hello"]), 1)
            else:
                self.assertRaises(ConnectionRefusedError, port.send, [b"hello"])
            self.assertEqual(len(protocol.icmpErrors), times)

    async def test_nested(self) -> None:
        """
        A nested read delivers the rest of the batch first, and receives no more if
        that is enough.
        """

        class FullIO(CountingNothing):
            """
            An IO that counts its calls.
            """

            calls = 0

            def receiveTimed(self, limit: int) -> tuple[list[Any], ...]:
                self.calls += 1
                return [b"a", b"b", b"c", b"d"], [0] * 4, [IPHeader()] * 4

        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._io = io = FullIO()
        received: list[bytes] = []

        def timedDatagramReceived(datagram: bytes, *_: object) -> None:
            received.append(datagram)
            if datagram == b"a":
                port._visit(2, 1)

        self.patch(protocol, "timedDatagramReceived", timedDatagramReceived)
        port._visit(1, 1)
        self.assertEqual((received, io.calls), ([b"a", b"b", b"c", b"d"], 1))

    async def test_errorsWhileReceiving(self) -> None:
        """
        An error of receiving does not end a visit, and an exception of any other kind
        is logged.
        """

        class FailingIO(CountingNothing):
            """
            An IO that fails twice before it receives.
            """

            results: list[Any] = [
                OSError(errno.EHOSTUNREACH, "no route"),
                MemoryError(),
                ([b"a"], [0], [IPHeader()]),
                None,
            ]

            def receiveTimed(self, limit: int) -> Any:
                result = self.results.pop(0)
                if isinstance(result, Exception):
                    raise result
                return result

        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._io = FailingIO()
        port.doRead()
        self.assertEqual(len(protocol.received), 1)
        self.assertEqual(len(protocol.icmpErrors), 1)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    async def test_closed(self) -> None:
        """
        A closed port does not send on its file descriptor, which another socket may
        have by then.
        """
        port, _ = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        await port.stopListening()
        error = self.assertRaises(OSError, port.send, [b"x"])
        self.assertEqual(error.errno, errno.EBADF)

    async def test_visitEnds(self) -> None:
        """
        A visit ends after its time although more datagrams arrive.
        """

        class EndlessIO(CountingNothing):
            """
            An IO that always receives.
            """

            def receiveTimed(self, limit: int) -> tuple[list[Any], ...]:
                clock.advance(0.002)
                return [b"a"], [0], [IPHeader()]

        clock = Clock()
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._io = EndlessIO()
        port._seconds = clock.seconds
        port.doRead()
        self.assertEqual(len(protocol.received), 3)

    async def test_partial(self) -> None:
        """
        C{send} returns the number of datagrams that the system has accepted.
        """

        class PartialIO(CountingNothing):
            """
            An IO that does not send the last datagram.
            """

            def send(self, datagrams: list[bytes], peers: None, start: int) -> int:
                return len(datagrams) - 1

        port, _ = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._io = PartialIO()
        self.assertEqual(port.send([b"one", b"two", b"three"]), 2)

    async def test_ttl(self) -> None:
        """
        Datagrams sent with a TTL or hop limit have that, and others that of the
        socket.
        """
        for address in LOOPBACK:
            (server,) = bindUDP(0, [address])
            self.addCleanup(server.close)
            enableHeaders(server)
            port, _ = self.listen(connectUDP(address, server.getsockname()[1]))
            self.assertEqual(port.send([b"one", b"three"], 3), 2)
            self.assertEqual(port.send([b"x"]), 1)
            io = TimedIO(server)
            headers = [(io.receiveTimed(1) or [[]])[-1] for _ in range(3)]
            self.assertEqual([header.ttl for (header,) in headers], [3, 3, 64])
            self.assertEqual(port.totalBytes(), (0, 9))

    async def test_ttlPartial(self) -> None:
        """
        With a TTL too, an error of a datagram but the first is not raised.
        """
        port, _ = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        tooLong = b"x" * 65508
        self.assertEqual(port.send([b"hello", tooLong, b"hello"], 64), 1)
        self.assertRaises(OSError, port.send, [tooLong, b"hello"], 64)
        self.assertEqual(port.totalBytes(), (0, 5))

    async def test_tooLong(self) -> None:
        """
        Sending a datagram that is too long raises, and is not an ICMP error.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        error = self.assertRaises(OSError, port.send, [b"x" * 65508])
        self.assertEqual(error.errno, errno.EMSGSIZE)
        port.send([b"hello"])
        await protocol.called
        self.assertEqual((len(protocol.received), protocol.icmpErrors), (1, []))

    async def test_raises(self) -> None:
        """
        Exceptions of the protocol are logged, and the port stays open.
        """

        def raising(*args: object) -> None:
            raise ZeroDivisionError()

        [server] = bindUDP(0, ["127.0.0.1"])
        sock = connectUDP(*server.getsockname())
        port, protocol = self.listen(sock)
        for name in "timedDatagramReceived", "icmpErrorReceived":
            self.patch(protocol, name, raising)
        for _ in range(2):
            server.sendto(b"x", sock.getsockname())
        server.close()
        port.doRead()
        self.assertEqual(port.protocolErrors, 2)
        port.send([b"x"])
        port.doRead()
        self.assertEqual(port.protocolErrors, 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class PortableTimedPortTests(TimedPortTests):
    """
    The same tests without the C extension.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(timed, "available", False)


class NetworkTests(TimedPortCase):
    """
    Tests for L{TimedPort} between two hosts.
    """

    if whyNot:
        skip = whyNot

    async def icmpError(
        self, hosts: Hosts, address: str = "192.0.2.2", ttl: int | None = None
    ) -> tuple[str, str | None]:
        """
        Return the description and the sender of the ICMP error that a datagram causes.
        """
        with hosts.on("a"):
            sock = connectUDP(address, 22951)
        port, protocol = self.listen(sock)
        self.assertEqual(port.send([b"hello"], ttl), 1)
        await protocol.called
        (error,) = protocol.icmpErrors
        self.assertEqual(error.quote, b"hello")
        self.assertEqual(port.totalBytes(), (0, 5))
        return error.reason, error.sender

    async def test_prohibited(self) -> None:
        """
        A prohibited route and a closed port have different descriptions.
        """
        hosts = Hosts(self)
        hosts.ip("a", "route add 198.51.100.0/24 via 192.0.2.2")
        hosts.ip("b", "route add prohibit 198.51.100.0/24")
        with hosts.on("b"), open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        expected = ("administratively prohibited", "192.0.2.2")
        self.assertEqual(await self.icmpError(hosts, "198.51.100.1"), expected)
        expected = ("port unreachable", "192.0.2.2")
        self.assertEqual(await self.icmpError(hosts), expected)

    async def test_routingLoop(self) -> None:
        """
        In a routing loop, the TTL of a datagram reaches 0.
        """
        hosts = Hosts(self)
        for network, gateway in (
            ("198.51.100.0/24", "192.0.2."),
            ("2001:db8:1::/64", "2001:db8::"),
        ):
            for host, other in (("a", 2), ("b", 1)):
                hosts.ip(host, f"route add {network} via {gateway}{other}")
        with hosts.on("b"):
            for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{switch}", "w") as file:
                    file.write("1")
        for address, router in (
            ("198.51.100.1", "192.0.2.2"),
            ("2001:db8:1::1", "2001:db8::2"),
        ):
            error = await self.icmpError(hosts, address, ttl=1)
            self.assertEqual(error, (TIME_EXCEEDED, router))

    async def test_fragments(self) -> None:
        """
        A datagram that arrived in fragments is reported as such.
        """
        hosts = Hosts(self, mtu=1400)
        for address in ("192.0.2.2", "2001:db8::2"):
            with hosts.on("b"):
                sockets = bindUDP(22952, [address])
            self.serve(*sockets)
            with hosts.on("a"):
                sock = connectUDP(address, 22952)
            allowFragments(sock, True)
            port, protocol = self.listen(sock)
            for length, isFragmented in ((100, False), (3000, True)):
                port.send([b"x" * length])
                await protocol.called
                self.assertEqual(protocol.received[-1][2].isFragmented, isFragmented)

    async def test_dontFragment(self) -> None:
        """
        With don't-fragment set, a datagram that exceeds the MTU of the network is not
        sent.  One that exceeds the path MTU of the route is.
        """
        hosts = Hosts(self, mtu=1400)
        for address in ("192.0.2.2", "2001:db8::2"):
            hosts.ip("a", f"route add {address} dev va mtu 1300")
        for address, largest in (("192.0.2.2", 1372), ("2001:db8::2", 1352)):
            with hosts.on("a"):
                sock = connectUDP(address, 22953)
            allowFragments(sock, False)
            port, _ = self.listen(sock)
            port.send([b"x" * largest])
            error = self.assertRaises(OSError, port.send, [b"x" * (largest + 1)])
            self.assertEqual(error.errno, errno.EMSGSIZE)
