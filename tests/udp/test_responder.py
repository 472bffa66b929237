"""
Tests for L{shout.udp.responder}.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EDESTADDRREQ, EMSGSIZE, EPERM
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.testing import FakeDatagramTransport, MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from shout.udp.port import DatagramPort
from shout.udp.responder import BatchResponder
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.transports import FailingTransport

PEER = ("192.0.2.1", 4000)


class ReversingResponder(BatchResponder):
    """
    A responder that reverses datagrams.  It does not answer C{quiet}, answers C{huge}
    and C{vast} with replies that are too long, and raises on C{bad}.

    @ivar calls: Number of datagrams of each call of C{answer}.

    @ivar failures: Arguments of each call of C{sendFailed}.
    """

    noisy = False

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.failures: list[tuple[int, int]] = []

    def answer(
        self, datagrams: Sequence[bytes], addrs: Sequence[Any]
    ) -> Sequence[bytes | None]:
        self.calls.append(len(datagrams))
        if b"bad" in datagrams:
            raise ZeroDivisionError()
        special = {b"quiet": None, b"huge": bytes(100_000), b"vast": bytes(10_000_000)}
        return [special.get(datagram, datagram[::-1]) for datagram in datagrams]

    def sendFailed(self, number: int, count: int) -> None:
        self.failures.append((number, count))


class BatchResponderTests(SynchronousTestCase):
    """
    Tests for L{BatchResponder} on any transport.
    """

    def test_answers(self) -> None:
        """
        The reply to a single datagram is written to its sender.
        """
        protocol, transport = ReversingResponder(), FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.datagramReceived(b"abc", PEER)
        self.assertEqual(transport.written, [(b"cba", PEER)])

    def test_noReply(self) -> None:
        """
        C{None} sends no reply.
        """
        protocol, transport = ReversingResponder(), FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.datagramReceived(b"quiet", PEER)
        self.assertEqual(transport.written, [])

    def test_exception(self) -> None:
        """
        An exception that C{answer} returns is raised, as is one that it raises.
        """

        class Failing(BatchResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return [KeyError(datagram) for datagram in datagrams]

        for protocol in Failing(), ReversingResponder():
            transport = FakeDatagramTransport()
            protocol.makeConnection(transport)
            with self.assertRaises((KeyError, ZeroDivisionError)):
                protocol.datagramReceived(b"bad", PEER)
            self.assertEqual(transport.written, [])

    def test_sendFailed(self) -> None:
        """
        An error while sending calls C{sendFailed}, and is not raised.
        """
        for error, number in (
            (OSError(EPERM, "a firewall"), EPERM),
            (OSError("no number"), 0),
            (MessageLengthError("too long"), EMSGSIZE),
        ):
            protocol = ReversingResponder()
            protocol.makeConnection(FailingTransport(error))
            protocol.datagramReceived(b"abc", PEER)
            self.assertEqual(protocol.failures, [(number, 1)])

    def test_abstract(self) -> None:
        """
        A subclass has to override C{answer}.
        """
        protocol = BatchResponder()
        self.assertRaises(NotImplementedError, protocol.answer, [b"abc"], [PEER])

    def test_unnamed(self) -> None:
        """
        A reply to a UNIX socket without a path calls C{sendFailed}.
        """
        reactor = MemoryReactorClock()
        protocol = ReversingResponder()
        path = os.path.join(shortDirectory(self), "s")
        port = DatagramPort(bindUNIX(path), protocol, reactor)
        port.startListening()
        with socket(AF_UNIX, SOCK_DGRAM) as client:
            client.sendto(b"abc", path)
            port.doRead()
        self.assertEqual(protocol.failures, [(EDESTADDRREQ, 1)])
        port.stopListening()
        reactor.advance(0)


@needsBatches
class BatchedPortTests(SynchronousTestCase):
    """
    Tests for L{BatchResponder} on a L{BatchedPort}.
    """

    def exchange(self, protocol: BatchResponder, *datagrams: bytes) -> list[bytes]:
        """
        Send datagrams to a protocol in one batch, and return the replies.
        """
        reactor = MemoryReactorClock()
        [sock] = bindUDP(0, ["127.0.0.1"])
        self.port = BatchedPort(sock, protocol, reactor, seconds=reactor.seconds)
        self.port.startListening()
        replies = []
        with connectUDP(*sock.getsockname()) as client:
            for datagram in datagrams:
                client.send(datagram)
            self.port.doRead()
            while True:
                try:
                    replies.append(client.recv(65535))
                except BlockingIOError:
                    break
        self.port.stopListening()
        reactor.advance(0)
        return replies

    def test_oneCall(self) -> None:
        """
        A whole batch is answered in one call.
        """
        protocol = ReversingResponder()
        self.assertEqual(
            self.exchange(protocol, b"ab", b"cd", b"efg"), [b"ba", b"dc", b"gfe"]
        )
        self.assertEqual(protocol.calls, [3])

    def test_someReplies(self) -> None:
        """
        Datagrams without a reply are skipped.
        """
        for datagrams, replies in (
            ((b"ab", b"quiet", b"cd"), [b"ba", b"dc"]),
            ((b"quiet", b"quiet"), []),
        ):
            self.assertEqual(self.exchange(ReversingResponder(), *datagrams), replies)

    def test_someRepliesOfManyPeers(self) -> None:
        """
        Then the other replies are still sent to the right peers.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        reactor = MemoryReactorClock()
        port = BatchedPort(sock, ReversingResponder(), reactor, seconds=reactor.seconds)
        port.startListening()
        address = sock.getsockname()
        with connectUDP(*address) as quiet, connectUDP(*address) as client:
            quiet.send(b"quiet")
            client.send(b"ab")
            port.doRead()
            self.assertEqual(client.recv(99), b"ba")
            self.assertRaises(BlockingIOError, quiet.recv, 99)
        port.stopListening()
        reactor.advance(0)

    def test_tooMany(self) -> None:
        """
        If there are more replies than datagrams, that is logged, and nothing is sent.
        """

        class TooMany(ReversingResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return [b"one", b"two"]

        self.assertEqual(self.exchange(TooMany(), b"ab"), [])
        [failure] = self.flushLoggedErrors(ValueError)
        self.assertIn("one answer for each datagram", str(failure))

    def test_raises(self) -> None:
        """
        An exception for one datagram is logged, and the others are answered.
        """
        protocol = ReversingResponder()
        self.assertEqual(self.exchange(protocol, b"ab", b"bad", b"cd"), [b"ba", b"dc"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raisesAlone(self) -> None:
        """
        An exception for a single datagram is logged, and the call is not repeated.
        """
        protocol = ReversingResponder()
        self.assertEqual(self.exchange(protocol, b"bad"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.calls, [1])

    def test_notBytes(self) -> None:
        """
        Replies that are not bytes are counted, the first one is logged, and the port
        continues.
        """

        class Text(ReversingResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return [datagram.decode() for datagram in datagrams]

        self.assertEqual(self.exchange(Text(), b"ab", b"cd"), [])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.port.protocolErrors, 2)

    def test_bytesLike(self) -> None:
        """
        Replies can be any bytes-like objects.
        """

        class BytesLike(ReversingResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                answers = super().answer(datagrams, addrs)
                return [bytearray(answer or b"") for answer in answers]

        protocol = BytesLike()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.calls, [2])

    def test_tooFew(self) -> None:
        """
        If there are fewer replies than datagrams, C{answer} is called again with the
        other datagrams.
        """

        class TooFew(ReversingResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return super().answer(datagrams, addrs)[:1]

        protocol = TooFew()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.calls, [2, 1])

    def test_aloneTooLong(self) -> None:
        """
        A single reply that is too long calls C{sendFailed}.
        """
        protocol = ReversingResponder()
        self.assertEqual(self.exchange(protocol, b"huge"), [])
        self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
        self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_tooLong(self) -> None:
        """
        Replies that are too long call C{sendFailed}, and the others are sent.
        """
        for datagram in (b"huge", b"vast"):
            protocol = ReversingResponder()
            replies = self.exchange(protocol, b"ab", datagram, b"cd")
            self.assertEqual(replies, [b"ba", b"dc"])
            self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
            self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_ownDatagramReceived(self) -> None:
        """
        A subclass that overrides C{datagramReceived} receives each datagram.
        """

        class Overriding(ReversingResponder):
            def __init__(self) -> None:
                super().__init__()
                self.seen: list[bytes] = []

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.seen.append(datagram)
                super().datagramReceived(datagram, addr)

        protocol = Overriding()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.seen, [b"ab", b"cd"])
