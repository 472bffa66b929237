"""
Tests for L{shout.udp.timestamps}.
"""

from __future__ import annotations

import socket
import time
from unittest import skipIf

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.batched import BatchIO, available
from shout.udp.peer import decodeRaw
from shout.udp.port import SLOTS
from shout.udp.timestamps import TimedIO, enableTimestamps
from tests.batches import needsBatches
from tests.families import LOOPBACK
from tests.hosts import Hosts, whyNot
from tests.properties import untimed


@needsBatches
class TimedBatchTests(SynchronousTestCase):
    """
    Tests for L{TimedBatch}.
    """

    def pair(self, address: str) -> tuple[TimedBatch, socket.socket]:
        """
        Return a batch, and the peer of its socket.
        """
        (peer,) = bindUDP(0, [address])
        sock = connectUDP(address, peer.getsockname()[1])
        peer.connect(sock.getsockname())
        for each in (peer, sock):
            self.addCleanup(each.close)
        self.assertTrue(enableTimestamps(sock))
        return TimedBatch(sock), peer

    def test_receive(self) -> None:
        """
        Datagrams are received whole and in order, with their arrival times.
        """
        for address in LOOPBACK:
            batch, peer = self.pair(address)
            for lengths in ([5], [3, 3, 3], [0, 1, 60000, 2]):
                before = time.time_ns()
                for length in lengths:
                    peer.send(b"x" * length)
                datagrams, times, fragmented = batch.receive()
                self.assertEqual([*map(len, datagrams)], lengths)
                self.assertEqual(list(times), sorted(times))
                # Unless the clock is set during the test.
                self.assertTrue(before <= times[0] <= times[-1] <= time.time_ns())
                self.assertEqual(fragmented, frozenset())
            self.assertRaises(BlockingIOError, batch.receive)

    def test_times(self) -> None:
        """
        A time is that of the arrival, not that of reading.
        """
        batch, peer = self.pair("127.0.0.1")
        while True:
            peer.send(b"hello")
            sent = time.time_ns()
            # Linux enables timestamps with a delay.
            if batch.receive().times[0] <= sent:
                break

    def test_nanoseconds(self) -> None:
        """
        Times have a resolution of nanoseconds.
        """
        batch, peer = self.pair("127.0.0.1")
        times: list[int] = []
        for _ in range(20):
            peer.send(b"hello")
            times += batch.receive().times
        self.assertTrue(any(time % 1000 for time in times), times)

    def test_many(self) -> None:
        """
        Datagrams beyond the number of slots are received by the next call.
        """
        batch, peer = self.pair("127.0.0.1")
        sent = [b"%d" % number for number in range(SLOTS + 10)]
        for datagram in sent:
            peer.send(datagram)
        received = [*batch.receive().datagrams, *batch.receive().datagrams]
        self.assertEqual(received, sent)

    def test_send(self) -> None:
        """
        Datagrams are sent whole and in order.
        """
        batch, peer = self.pair("127.0.0.1")

        @settings(untimed, max_examples=50)
        @given(st.lists(st.binary(max_size=2000), min_size=1, max_size=SEND_SLOTS))
        def check(datagrams: list[bytes]) -> None:
            self.assertEqual(batch.send(datagrams), len(datagrams))
            self.assertEqual([peer.recv(65535) for _ in datagrams], datagrams)

        check()
        long = [bytes([number]) * 20_000 for number in range(SEND_SLOTS)]
        self.assertEqual(batch.send(long), SEND_SLOTS)
        self.assertEqual([peer.recv(65535) for _ in long], long)

    def test_refused(self) -> None:
        """
        An error of the first datagram is raised.
        """
        batch, peer = self.pair("127.0.0.1")
        peer.close()
        self.assertEqual(batch.send([b"one"]), 1)
        self.assertRaises(ConnectionRefusedError, batch.send, [b"two", b"three"])


@needsBatches
@skipIf(whyNot, whyNot)
class NetworkTests(SynchronousTestCase):
    """
    Tests for L{TimedBatch} between two hosts.
    """

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
                self.assertTrue(enableTimestamps(sock))
                batch = TimedBatch(sock)
                for length in (100, 3000, 0, 5000):
                    peer.sendto(bytes(length), sock.getsockname())
                datagrams, _, fragmented = batch.receive()
                self.assertEqual([*map(len, datagrams)], [100, 3000, 0, 5000])
                self.assertEqual(fragmented, {1, 3})


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
            self.assertFalse(enableTimestamps(ours))
