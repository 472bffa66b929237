"""
Tests for L{shout.udp.send}, through a port that echoes.
"""

from __future__ import annotations

import errno

from shout.udp import send
from tests.batches import needsBatches
from tests.udp.fakes import FakeSendmmsg
from tests.udp.portcase import BatchedPortCase


@needsBatches
class SendBatchTests(BatchedPortCase):
    """
    Tests for L{SendBatch<shout.udp.send.SendBatch>}.
    """

    def test_oneCall(self) -> None:
        """
        Replies to many peers are sent in one call, and those to one peer as one
        message.
        """
        port = self.echo()
        clients = [self.client(port) for _ in range(8)]
        calls = FakeSendmmsg(self)
        for _ in range(4):
            for client in clients:
                client.send(b"x")
        port.doRead()
        for client in clients:
            for _ in range(4):
                client.send(b"x")
        port.doRead()
        self.assertEqual(calls.counts, [32, 8])
        for client in clients:
            self.assertEqual(self.receiveAll(client), [b"x"] * 8)

    def test_segments(self) -> None:
        """
        Adjacent replies of one length are grouped if they fit, and all arrive as they
        were written.
        """
        port = self.echo()
        for datagrams in (
            [b"aa", b"bb", b"c", b"dd", b"", b"", b"e"],
            [bytes([i]) * 1400 for i in range(60)],
            [bytes([i]) * 40000 for i in range(3)],
            [bytes([i]) for i in range(64)],
        ):
            replies = self.exchange(self.client(port), port, datagrams)
            self.assertEqual(replies, datagrams)

    def test_maxSegmented(self) -> None:
        """
        A message holds no more segments than fit into one packet.
        """
        port = self.echo()
        calls = FakeSendmmsg(self)
        datagrams = [bytes([i]) * 1400 for i in range(60)]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(calls.counts, [2])

    def test_withoutSegments(self) -> None:
        """
        Without C{UDP_SEGMENT} in the kernel, each reply is a message.
        """
        self.patch(send, "_canSegment", lambda sock: False)
        port = self.echo()
        calls = FakeSendmmsg(self)
        datagrams = [b"%d" % (i % 10) for i in range(20)]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(calls.counts, [20])

    def test_segmentsRejected(self) -> None:
        """
        If the path rejects segments, the replies are sent one by one, without an error.
        Segments of that length are not tried again with that peer, but with others.
        """
        for number, messages in (
            (errno.EINVAL, 1),
            (errno.EMSGSIZE, 1),
            (errno.EIO, 10),
        ):
            port = self.echo()
            calls = FakeSendmmsg(self)
            calls.failures = [number]
            datagrams = [b"%05d" % i for i in range(10)]
            client = self.client(port)
            replies = self.exchange(client, port, datagrams)
            self.assertEqual(replies, datagrams)
            self.assertEqual(calls.counts, [1, 10])
            self.assertEqual(port.sendErrors, {})
            shorter = [datagram[:4] for datagram in datagrams]
            shortest = [datagram[4:] for datagram in datagrams]
            for sender, sent, expected in (
                (client, datagrams, 10),
                (client, shorter, messages),
                (client, shortest, messages),
                (self.client(port), datagrams, 1),
            ):
                calls.counts.clear()
                self.assertEqual(self.exchange(sender, port, sent), sent)
                self.assertEqual(calls.counts, [expected])

    def test_rejectedInTheMiddle(self) -> None:
        """
        If a group in the middle is rejected, the datagrams before and after it are sent
        in order.
        """
        port = self.echo()
        calls = FakeSendmmsg(self)
        calls.limit = 1
        calls.failures = [0, errno.EINVAL]
        datagrams = [b"aa", b"bb", b"ccc", b"ddd", b"e", b"f"]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(port.sendErrors, {})

    def test_pathFails(self) -> None:
        """
        If the replies cannot be sent one by one either, segments are tried again.
        """
        port = self.echo()
        calls = FakeSendmmsg(self)
        calls.failures = [errno.EINVAL] * 4
        client = self.client(port)
        replies = self.exchange(client, port, [b"abc"] * 3)
        self.assertEqual(replies, [])
        self.assertEqual(port.sendErrors, {errno.EINVAL: 3})
        calls.counts.clear()
        replies = self.exchange(client, port, [b"abc"] * 3)
        self.assertEqual(replies, [b"abc"] * 3)
        self.assertEqual(calls.counts, [1])

    def test_partial(self) -> None:
        """
        If a call sends only some of the messages, another call sends the rest.
        """
        port = self.echo()
        calls = FakeSendmmsg(self)
        calls.limit = 3
        datagrams = [b"x" * i for i in range(10)]
        self.assertEqual(self.exchange(self.client(port), port, datagrams), datagrams)
        self.assertEqual(calls.counts, [10, 7, 4, 1])

    def test_groupFails(self) -> None:
        """
        If a group fails, its first datagram has failed, and the others are sent one by
        one.  The next group is sent as one message again.
        """
        port = self.echo()
        calls = FakeSendmmsg(self)
        calls.failures = [errno.ENOBUFS] * 2
        client = self.client(port)
        replies = self.exchange(client, port, [b"a", b"b", b"c", b"d"])
        self.assertEqual(replies, [b"c", b"d"])
        self.assertEqual(port.sendErrors, {errno.ENOBUFS: 2})
        calls.counts.clear()
        self.exchange(client, port, [b"x"] * 5)
        self.assertEqual(calls.counts, [1])

    def test_segmentSizes(self) -> None:
        """
        The segment size of an earlier message does not affect single datagrams.
        """
        port = self.echo()
        client = self.client(port)
        for datagrams in (
            [b"aa", b"aa", b"b", b"cc", b"cc"],
            [b"dddd", b"dddd", b"eeeee", b"fff"],
        ):
            self.assertEqual(self.exchange(client, port, datagrams), datagrams)
