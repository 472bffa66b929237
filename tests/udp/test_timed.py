"""
Tests for L{shout.udp.timed}.
"""

from __future__ import annotations

import errno
import sys
import time
from typing import Any
from unittest import skipIf

from twisted.internet.task import Clock

from shout.sockets.bind import bindUDP, connectUDP
from shout.sockets.unix import bindUNIX, connectUNIX
from shout.udp import timed
from shout.udp.icmp import ICMPError
from shout.udp.timestamps import IPHeader, TimedIO, enableHeaders
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.udp.timedcase import TimedPortCase

notLinux = "" if sys.platform == "linux" else "only Linux queues ICMP errors"


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
