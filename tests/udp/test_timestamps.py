"""
Tests for L{shout.udp.timestamps}.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any
from unittest import skipIf

from hypothesis import given, settings
from hypothesis.strategies import binary, lists
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.batched import BatchIO
from shout.udp.port import SLOTS
from shout.udp.sockopt import enablePacketInfo, setTOS, setTTL
from shout.udp.timestamps import (
    IPHeader,
    TimedIO,
    decodeHeader,
    enableHeaders,
    enableTimestamps,
)
from tests.batches import needsBatches
from tests.families import LOOPBACK
from tests.hosts import Hosts, whyNot
from tests.properties import untimed


class TimedIOTests(SynchronousTestCase):
    """
    Tests for L{TimedIO}.
    """

    maxAtOnce = 1

    def open(self, sock: socket.socket) -> Any:
        """
        Return the object to test.
        """
        return TimedIO(sock)

    def pair(self, address: str) -> tuple[Any, socket.socket]:
        """
        Return the object to test, and the peer of its socket.
        """
        (peer,) = bindUDP(0, [address])
        sock = connectUDP(address, peer.getsockname()[1])
        peer.connect(sock.getsockname())
        for each in (peer, sock):
            self.addCleanup(each.close)
        self.assertTrue(enableTimestamps(sock))
        enableHeaders(sock)
        return self.open(sock), peer

    def receiveAll(self, io: Any) -> list[tuple[bytes, int, IPHeader]]:
        """
        Return the datagrams that have arrived, their times and their IP headers.
        """
        received: list[tuple[bytes, int, IPHeader]] = []
        while batch := io.receiveTimed(SLOTS):
            received += zip(*batch)
        return received

    def test_receive(self) -> None:
        """
        Datagrams are received whole and in order, with their arrival times.
        """
        for address in LOOPBACK:
            io, peer = self.pair(address)
            for lengths in ([5], [3, 3, 3], [0, 1, 60000, 2], [1] * 100):
                before = time.time_ns()
                for length in lengths:
                    peer.send(b"x" * length)
                datagrams, times, headers = zip(*self.receiveAll(io))
                self.assertEqual([*map(len, datagrams)], lengths)
                self.assertEqual(list(times), sorted(times))
                # Unless the clock is set during the test.
                self.assertTrue(before <= times[0] <= times[-1] <= time.time_ns())
                self.assertEqual(set(headers), {IPHeader(64, 0)})

    def test_times(self) -> None:
        """
        A time is that of the arrival, not that of reading.
        """
        io, peer = self.pair("127.0.0.1")
        while True:
            peer.send(b"hello")
            sent = time.time_ns()
            # Linux enables timestamps with a delay.
            if self.receiveAll(io)[0][1] <= sent:
                break

    def test_nanoseconds(self) -> None:
        """
        Times have a resolution of nanoseconds.
        """
        io, peer = self.pair("127.0.0.1")
        times: list[int] = []
        for _ in range(20):
            peer.send(b"hello")
            times += [arrival for _, arrival, _ in self.receiveAll(io)]
        self.assertTrue(any(time % 1000 for time in times), times)

    def test_send(self) -> None:
        """
        Datagrams are sent whole and in order.
        """
        io, peer = self.pair("127.0.0.1")

        def check(datagrams: list[bytes]) -> None:
            start = 0
            while start < len(datagrams):
                sent = io.send(datagrams, None, start)
                self.assertEqual(sent, min(self.maxAtOnce, len(datagrams) - start))
                start += sent
            self.assertEqual([peer.recv(65535) for _ in datagrams], datagrams)

        given(lists(binary(max_size=2000), min_size=1, max_size=4))(
            settings(untimed, max_examples=50)(check)
        )()
        check([bytes([number]) * 20_000 for number in range(4)])

    def test_header(self) -> None:
        """
        Each datagram has the TTL or hop limit and the type of service or traffic class
        that it came with.  Equal headers are one object.
        """
        for address in LOOPBACK:
            io, peer = self.pair(address)
            setTTL(peer, 7)
            peer.send(b"1")
            peer.send(b"2")
            setTOS(peer, 184)
            peer.send(b"3")
            headers = [header for *_, header in self.receiveAll(io)]
            self.assertEqual(headers, [(7, 0, False), (7, 0, False), (7, 184, False)])
            self.assertIs(headers[0], headers[1])

    def test_otherMessages(self) -> None:
        """
        Control messages that other code has enabled are ignored.
        """
        [peer] = bindUDP(0, ["127.0.0.1"])
        sock = connectUDP(*peer.getsockname())
        with peer, sock:
            enablePacketInfo(sock)
            io = self.open(sock)
            peer.sendto(b"x", sock.getsockname())
            self.assertEqual(io.receiveTimed(SLOTS), ([b"x"], [0], [IPHeader()]))

    def test_totalBytes(self) -> None:
        """
        Payload bytes received and sent are counted.
        """
        io, peer = self.pair("127.0.0.1")
        peer.send(b"hello")
        self.receiveAll(io)
        io.send([b"no"], None, 0)
        self.assertEqual(io.totalBytes(), (5, 2))

    def test_refused(self) -> None:
        """
        An error of the first datagram is raised.
        """
        io, peer = self.pair("127.0.0.1")
        peer.close()
        self.assertEqual(io.send([b"one"], None, 0), 1)
        self.assertRaises(ConnectionRefusedError, io.send, [b"two", b"three"], None, 0)

    @skipIf(whyNot, whyNot)
    def test_fragments(self) -> None:
        """
        Datagrams that arrived in fragments are reported.
        """
        hosts = Hosts(self)
        for address in ("192.0.2.2", "2001:db8::2"):
            with hosts.on("b"):
                (peer,) = bindUDP(22954, [address])
            with hosts.on("a"):
                sock = connectUDP(address, 22954)
            with peer, sock:
                enableHeaders(sock)
                io = self.open(sock)
                for length in (100, 3000, 0, 5000):
                    peer.sendto(bytes(length), sock.getsockname())
                self.assertEqual(
                    [
                        (len(d), header.isFragmented)
                        for d, _, header in self.receiveAll(io)
                    ],
                    [(100, False), (3000, True), (0, False), (5000, True)],
                )


@needsBatches
class BatchIOTests(TimedIOTests):
    """
    The same tests for C{BatchIO}.
    """

    maxAtOnce = SLOTS

    def open(self, sock: socket.socket) -> Any:
        return BatchIO(sock.fileno(), decodeHeader)


class EnableTimestampsTests(SynchronousTestCase):
    """
    Tests for L{enableTimestamps}.
    """

    def test_unix(self) -> None:
        """
        A UNIX socket has no timestamps.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            self.assertIs(enableTimestamps(ours), False)
            theirs.send(b"x")
            io = TimedIO(ours)
            self.assertEqual(io.receiveTimed(SLOTS), ([b"x"], [0], [IPHeader()]))

    def test_refused(self) -> None:
        """
        A system that refuses the option has no timestamps.
        """

        class RefusingSocket:
            """
            A socket without options.
            """

            family = socket.AF_INET

            def setsockopt(self, *args: object) -> None:
                raise OSError("no such option")

        sock: Any = RefusingSocket()
        self.assertIs(enableTimestamps(sock), False)


class EnableHeadersTests(SynchronousTestCase):
    """
    Tests for L{enableHeaders}.
    """

    def test_otherSystems(self) -> None:
        """
        On other systems than Linux only the options that Python has a number for are
        enabled, as far as the system accepts them.
        """

        class RefusingSocket:
            """
            A socket that records the options, and refuses all.
            """

            family = socket.AF_INET
            options: list[int] = []

            def setsockopt(self, level: int, option: int, value: int) -> None:
                self.options.append(option)
                raise OSError("no such option")

        sock: Any = RefusingSocket()
        enableHeaders(sock)
        self.assertEqual(sock.options, [12, 13, 25])
        self.patch(sys, "platform", "darwin")
        sock.options.clear()
        enableHeaders(sock)
        names = [name for name in ("IP_RECVTTL", "IP_RECVTOS") if hasattr(socket, name)]
        self.assertEqual(sock.options, [getattr(socket, name) for name in names])

    if sys.platform != "linux":
        test_otherSystems.skip = "the numbers are those of Linux"  # type: ignore

    def test_unix(self) -> None:
        """
        A UNIX socket has no IP headers.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            enableHeaders(ours)
            theirs.send(b"x")
            io = TimedIO(ours)
            self.assertEqual(io.receiveTimed(SLOTS), ([b"x"], [0], [IPHeader()]))
