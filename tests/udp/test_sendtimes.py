"""
Tests for L{shout.udp.sendtimes}, and for the times of sending of a L{TimedPort
<shout.udp.timed.TimedPort>}.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import SkipTest, skipIf, skipUnless

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.sockets.unix import bindUNIX, connectUNIX
from shout.udp import timed
from shout.udp.sendtimes import SendNumbers, enableSendTimes
from shout.udp.timed import TimedPort
from tests.directory import shortDirectory
from tests.families import LOOPBACK
from tests.hosts import Hosts, whyNot
from tests.properties import untimed
from tests.udp.reactors import REACTORS
from tests.udp.timedcase import RecordingTimedProtocol, TimedPortCase

if TYPE_CHECKING:
    Mixin = SynchronousTestCase
else:
    Mixin = object

notLinux = "" if sys.platform == "linux" else "only Linux takes times of sending"


class SendNumbersTests(SynchronousTestCase):
    """
    Tests for L{SendNumbers}.
    """

    @untimed
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans())))
    def test_failed(self, sends: list[tuple[int, int, bool]]) -> None:
        """
        If some datagrams were counted that have failed, the index is right from the
        next on whose time is read at once.
        """
        numbers, counted = SendNumbers(), 0
        for sent, failed, isReadAtOnce in sends:
            counted += failed
            first = counted
            numbers.sent += sent
            counted += sent
            if isReadAtOnce:
                self.assertEqual(
                    [numbers.indexOf(number) for number in range(first, counted)][-1:],
                    [numbers.sent - 1] if sent else [],
                )
                # In a second look at the same numbers.
                self.assertEqual(
                    [numbers.indexOf(number) for number in range(first, counted)],
                    [*range(numbers.sent - sent, numbers.sent)],
                )

    def test_late(self) -> None:
        """
        The times can come in any order.
        """
        numbers = SendNumbers()
        numbers.sent = 5
        self.assertEqual([numbers.indexOf(each) for each in (3, 0, 4)], [3, 0, 4])

    def test_wrapped(self) -> None:
        """
        The numbers of the kernel wrap around at 32 bits.
        """
        numbers = SendNumbers()
        numbers.sent = (1 << 32) + 2
        for number, index in ((1, 1), (0, 0), ((1 << 32) - 1, -1)):
            self.assertEqual(numbers.indexOf(number), (1 << 32) + index)


class EnableSendTimesTests(SynchronousTestCase):
    """
    Tests for L{enableSendTimes}.
    """

    def test_unsupported(self) -> None:
        """
        Other systems than Linux, and a system that refuses the option, take no times.
        """

        class RefusingSocket:
            """
            A socket without options.
            """

            family = socket.AF_INET

            def setsockopt(self, *args: object) -> None:
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

        sock: Any = RefusingSocket()
        self.assertFalse(enableSendTimes(sock))
        self.patch(sys, "platform", "darwin")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            self.assertFalse(enableSendTimes(sock))


class SendTimesTests(TimedPortCase):
    """
    Tests for the times of sending of a L{TimedPort}.
    """

    if notLinux:
        skip = notLinux

    async def test_order(self) -> None:
        """
        Each datagram sent since the times were enabled has an index and a time, which
        comes before its reply.
        """
        for address in LOOPBACK:
            port, protocol = self.listen(connectUDP(address, self.serveUDP(address)))
            port.send([b"before"])
            await protocol.called
            self.assertTrue(port.enableSendTimes())
            for ttl in (None, 64):
                for datagrams in ([b"one"], [b"two", b"three"][: port.maxAtOnce]):
                    self.assertEqual(port.send(datagrams, ttl), len(datagrams))
            count = 2 * (1 + min(2, port.maxAtOnce))
            while len(protocol.received) < 1 + count:
                await protocol.called
            indexes = [index for index, _ in protocol.sendTimes]
            self.assertEqual(indexes, [*range(count)])
            calls = protocol.calls[1:]
            for end in range(len(calls)):
                each = Counter(calls[:end])
                self.assertGreaterEqual(
                    each["sendTimeReceived"], each["timedDatagramReceived"]
                )

    async def test_times(self) -> None:
        """
        The time is that of the port's clock.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._clock = lambda: 10**10
        port._wallClock = lambda: time.time_ns() + 10**9
        port.enableSendTimes()
        port.send([b"hello"])
        ((index, sent),) = protocol.sendTimes
        self.assertEqual(index, 0)
        # The wall clock is a second ahead.
        self.assertLess(sent, 10**10 - 10**9)

    async def test_off(self) -> None:
        """
        Without L{TimedPort.enableSendTimes} there are no times.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port.send([b"hello"])
        await protocol.called
        self.assertEqual(protocol.calls, ["timedDatagramReceived"])

    async def test_twice(self) -> None:
        """
        If the times are enabled again, the indexes go on.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        for _ in range(2):
            self.assertTrue(port.enableSendTimes())
            port.send([b"hello"])
        self.assertEqual([index for index, _ in protocol.sendTimes], [0, 1])

    async def test_replies(self) -> None:
        """
        Replies have their delays and headers as without times of sending.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port._wallClock = lambda: time.time_ns() + 10**9
        port.enableSendTimes()
        for _ in range(2):
            port.send([b"hello"])
            while len(protocol.received) < len(protocol.sendTimes):
                await protocol.called
        (_, delay, header), (_, _, second) = protocol.received
        self.assertLess(10**9, delay)
        self.assertEqual((header.ttl, header.tos), (64, 0))
        self.assertIs(header, second)

    async def test_icmpErrors(self) -> None:
        """
        All ICMP errors are passed on after C{send} has returned, and all times.
        """
        for address in LOOPBACK:
            (sock,) = bindUDP(0, [address])
            number = sock.getsockname()[1]
            sock.close()
            port, protocol = self.listen(connectUDP(address, number))
            port.enableSendTimes()
            sent = [b"one", b"two", b"three"]
            for datagram in sent:
                before = len(protocol.icmpErrors)
                port.send([datagram])
                self.assertEqual(len(protocol.icmpErrors), before)
                while len(protocol.icmpErrors) == before:
                    await protocol.called
            self.assertEqual([error.quote for error in protocol.icmpErrors], sent)
            self.assertEqual([index for index, _ in protocol.sendTimes], [0, 1, 2])

    async def test_closedMeanwhile(self) -> None:
        """
        An ICMP error that has been read is not passed on once the port is closed.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.freePort()))
        port.enableSendTimes()
        port.send([b"hello"])
        port.connectionLost()
        port._reportKept()
        self.assertEqual(protocol.icmpErrors, [])
        port.stopReading()

    async def test_failed(self) -> None:
        """
        Datagrams that cannot be sent have no index.
        """
        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        port.enableSendTimes()
        for _ in range(2):
            port.send([b"hello"])
            self.assertRaises(OSError, port.send, [b"x" * 65508])
        self.assertEqual([index for index, _ in protocol.sendTimes], [0, 1])

    async def test_raises(self) -> None:
        """
        Exceptions of the protocol are logged, and the datagram counts as sent.
        """

        def raising(*args: object) -> None:
            raise ZeroDivisionError()

        port, protocol = self.listen(connectUDP("127.0.0.1", self.serveUDP()))
        self.patch(protocol, "sendTimeReceived", raising)
        port.enableSendTimes()
        self.assertEqual(port.send([b"hello"]), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_unix(self) -> None:
        """
        A UNIX socket has no times of sending.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        port, protocol = self.listen(connectUNIX(path))
        self.assertFalse(port.enableSendTimes())
        port.send([b"hello"])
        await protocol.called
        self.assertEqual(protocol.calls, ["timedDatagramReceived"])

    @skipIf(whyNot, whyNot)
    @skipUnless(shutil.which("tc"), "tc is not installed (Debian: iproute2)")
    async def test_queued(self) -> None:
        """
        The time of a datagram that waits in the queue of the network device comes when
        it leaves.  A datagram that a full queue drops has no index.
        """
        hosts = Hosts(self)
        # At most one datagram waits, for about a quarter of a second.
        queue = "tc qdisc add dev va root tbf rate 16kbit burst 1600 limit 1600"
        with hosts.on("a"):
            if subprocess.run(queue.split(), check=False).returncode:
                raise SkipTest("the kernel has no token bucket filter")
        with hosts.on("b"):
            [server] = bindUDP(22956, ["192.0.2.2"])
        self.addCleanup(server.close)
        with hosts.on("a"):
            sock = connectUDP("192.0.2.2", 22956)
        port, protocol = self.listen(sock)
        port.enableSendTimes()

        async def leave(count: int) -> None:
            while len(protocol.sendTimes) < count:
                await protocol.called

        port.send([bytes(1000)])
        await leave(1)
        port.send([bytes(1000)])
        self.assertEqual(len(protocol.sendTimes), 1)
        error = self.assertRaises(OSError, port.send, [bytes(1000)])
        self.assertEqual(error.errno, errno.ENOBUFS)
        await leave(2)
        port.send([b"small"])
        await leave(3)
        self.assertEqual([index for index, _ in protocol.sendTimes], [0, 1, 2])
        self.assertEqual(protocol.icmpErrors, [])


class PortableSendTimesTests(SendTimesTests):
    """
    The same tests without the C extension.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(timed, "available", False)


class LateSendTimesTestsBuilder(ReactorBuilder, Mixin):
    """
    Tests for times of sending on each of the reactors for Unix.
    """

    _reactors = REACTORS

    if notLinux:
        skip = notLinux

    def test_late(self) -> None:
        """
        A time that is queued after a datagram was sent wakes the reactor.
        """
        reactor = self.buildReactor()
        [server] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(server.close)

        def send() -> None:
            # As if the datagram waited in a queue.
            patch = self.patch(timed, "readErrorQueue", lambda *_: [])
            port.send([b"x"])
            patch.restore()

        class Repeating(RecordingTimedProtocol):
            def sendTimeReceived(self, index: int, time: int) -> None:
                super().sendTimeReceived(index, time)
                if index < 2:
                    send()
                else:
                    reactor.stop()

        protocol = Repeating()
        port = TimedPort(connectUDP(*server.getsockname()), protocol, reactor)
        port.startListening()
        port.enableSendTimes()
        send()
        self.runReactor(reactor, timeout=10)
        self.assertEqual([index for index, _ in protocol.sendTimes], [0, 1, 2])


globals().update(LateSendTimesTestsBuilder.makeTestCaseClasses())
