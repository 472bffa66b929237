"""
Tests for L{shout.udp.responder}.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from errno import EDESTADDRREQ, EMSGSIZE, EPERM
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.testing import FakeDatagramTransport, MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.udp.batched import BatchedPort
from shout.udp.port import DatagramPort
from shout.udp.responder import BatchResponder
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.transports import FailingTransport
from tests.udp.portcase import PortCase

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


class PortTests(PortCase):
    """
    Tests for L{BatchResponder} on a L{DatagramPort}.
    """

    def answersOf(self, protocol: BatchResponder, *datagrams: bytes) -> list[bytes]:
        """
        Send datagrams to a protocol before its port reads, and return the replies.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        self.port = self.listen(sock, protocol)
        return self.exchange(self.client(self.port), self.port, datagrams)

    def listenUNIX(self, sock: socket, protocol: BatchResponder) -> DatagramPort:
        """
        Start a port on a UNIX socket.
        """
        port = DatagramPort(sock, protocol, self.reactor, seconds=self.reactor.seconds)
        port.startListening()
        self.addCleanup(self.stop, port)
        return port

    def answering(self, answer: Callable[[list[bytes]], Any]) -> ReversingResponder:
        """
        Return a responder whose replies a function makes.
        """

        class Answering(ReversingResponder):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                self.calls.append(len(datagrams))
                return answer(datagrams)

        return Answering()

    def always(self, replies: Any) -> ReversingResponder:
        """
        Return a responder whose C{answer} always returns the same.
        """
        return self.answering(lambda datagrams: replies)

    def replacing(self, replies: dict[bytes, Any]) -> ReversingResponder:
        """
        Return a responder that echoes datagrams, except some.
        """
        return self.answering(
            lambda datagrams: [replies.get(each, each) for each in datagrams]
        )

    def test_someReplies(self) -> None:
        """
        Datagrams without a reply are skipped.
        """
        for datagrams, replies in (
            ((b"ab", b"quiet", b"cd"), [b"ba", b"dc"]),
            ((b"quiet", b"quiet"), []),
        ):
            self.assertEqual(self.answersOf(ReversingResponder(), *datagrams), replies)

    def test_someRepliesOfManyPeers(self) -> None:
        """
        Then the other replies are still sent to the right peers.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock, ReversingResponder())
        quiet, client = self.client(port), self.client(port)
        quiet.send(b"quiet")
        client.send(b"ab")
        port.doRead()
        self.assertEqual(self.receiveAll(client), [b"ba"])
        self.assertEqual(self.receiveAll(quiet), [])

    def test_wrongNumber(self) -> None:
        """
        If C{answer} returns more replies than it was passed datagrams, or none, that is
        logged, and the port continues.
        """
        for replies in [b"one"] * 9, []:
            protocol = self.always(replies)
            self.assertEqual(self.answersOf(protocol, b"ab"), [])
            [failure] = self.flushLoggedErrors(ValueError)
            self.assertIn("one answer for each datagram", str(failure))
            client = self.client(self.port)
            for count in 3, 5:
                datagrams = [b"ab"] * 2
                self.assertEqual(self.exchange(client, self.port, datagrams), [])
                self.assertEqual(self.port.protocolErrors, count)
            self.assertLessEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_raises(self) -> None:
        """
        An exception for one datagram is logged, and the others are answered.
        """
        for datagrams, replies in (
            ([b"ab", b"bad", b"cd"], [b"ba", b"dc"]),
            ([b"bad", b"cd"], [b"dc"]),
        ):
            self.assertEqual(self.answersOf(ReversingResponder(), *datagrams), replies)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(self.port.protocolErrors, 1)

    def test_raisesAlone(self) -> None:
        """
        An exception for a single datagram is logged, and the call is not repeated.
        """
        protocol = ReversingResponder()
        self.assertEqual(self.answersOf(protocol, b"bad"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.calls, [1])

    def test_notBytes(self) -> None:
        """
        Replies that are not bytes are counted, the first one is logged, and the others
        are sent.
        """
        for wrong in "text", 5, [b"x"], object():
            protocol = self.replacing({b"no": wrong})
            replies = self.answersOf(protocol, b"1", b"no", b"22", b"no", b"3")
            self.assertEqual(replies, [b"1", b"22", b"3"])
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
            self.assertEqual(self.port.protocolErrors, 2)

    def test_bytesLike(self) -> None:
        """
        Replies can be any bytes-like objects.
        """
        protocol = self.answering(lambda datagrams: [*map(bytearray, datagrams)])
        self.assertEqual(self.answersOf(protocol, b"ab", b"cd"), [b"ab", b"cd"])

    def test_exceptions(self) -> None:
        """
        Exceptions among the replies are counted and the first one is logged, C{None} is
        no reply, and the other replies are sent to their peers.
        """
        special = {b"bad": KeyError(), b"exit": SystemExit(), b"none": None}
        for datagrams in (
            [b"1", b"bad", b"none", b"2", b"exit"],
            [b"none", b"none", b"bad", b"1", b"bad"],
            [b"1", b"2", b"bad", b"3"],
            [b"bad", b"bad", b"none"],
            [b"1", b"none"],
        ):
            protocol = self.replacing(special)
            replies = self.answersOf(protocol, *datagrams)
            self.assertEqual(replies, [each for each in datagrams if len(each) == 1])
            count = datagrams.count(b"bad") + datagrams.count(b"exit")
            self.assertEqual(self.port.protocolErrors, count)
            logged = self.flushLoggedErrors(KeyError, SystemExit)
            self.assertEqual(len(logged), min(count, 1))

    def test_anyIterable(self) -> None:
        """
        The replies can be in a tuple or any other iterable.
        """
        for convert in tuple, deque, iter:
            protocol = self.answering(convert)
            self.assertEqual(
                self.answersOf(protocol, b"a", b"b", b"cc"), [b"a", b"b", b"cc"]
            )
        for wrong in 5, None, b"abc", {"a": 1}:
            protocol = self.always(wrong)
            self.assertEqual(self.answersOf(protocol, b"a", b"b", b"cc"), [])
            self.assertEqual(self.port.protocolErrors, 3)
            self.assertIn(self.port, self.reactor.getReaders())
            self.flushLoggedErrors(TypeError, ValueError)

    def test_fewer(self) -> None:
        """
        If there are fewer replies than datagrams, C{answer} is called again with the
        other datagrams.
        """
        protocol = self.answering(lambda datagrams: datagrams[:2])
        datagrams = [b"%d" % i for i in range(9)]
        self.assertEqual(self.answersOf(protocol, *datagrams), datagrams)
        self.assertLessEqual(len(protocol.calls), 6)

    def test_peersOfRest(self) -> None:
        """
        Then each reply still goes to the right peer.
        """
        protocol = self.answering(lambda datagrams: datagrams[:1])
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock, protocol)
        clients = [self.client(port) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(b"%d" % number)
        port.doRead()
        for number, client in enumerate(clients):
            self.assertEqual(self.receiveAll(client), [b"%d" % number])

    def test_aloneTooLong(self) -> None:
        """
        A single reply that is too long calls C{sendFailed}.
        """
        protocol = ReversingResponder()
        self.assertEqual(self.answersOf(protocol, b"huge"), [])
        self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
        self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_tooLong(self) -> None:
        """
        Replies that are too long call C{sendFailed}, and the others are sent.
        """
        for datagram in (b"huge", b"vast"):
            protocol = ReversingResponder()
            replies = self.answersOf(protocol, b"ab", datagram, b"cd")
            self.assertEqual(replies, [b"ba", b"dc"])
            self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
            self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_writtenTooLong(self) -> None:
        """
        If a subclass overrides C{datagramReceived}, a reply that is too long counts
        once, too, on a UDP and on a UNIX socket.
        """

        class Overriding(ReversingResponder):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)

        directory = shortDirectory(self)
        client = bindUNIX(os.path.join(directory, "c"))
        self.addCleanup(client.close)
        server = bindUNIX(os.path.join(directory, "s"))
        client.connect(server.getsockname())
        replies = self.answersOf(protocol := Overriding(), b"vast", b"ab")
        unix = self.listenUNIX(server, unixProtocol := Overriding())
        replies += self.exchange(client, unix, [b"vast", b"ab"])
        self.assertEqual(replies, [b"ba", b"ba"])
        for responder, port in (protocol, self.port), (unixProtocol, unix):
            self.assertEqual(responder.failures, [(EMSGSIZE, 1)])
            self.assertEqual(port.sendErrors, {EMSGSIZE: 1})

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
        self.assertEqual(self.answersOf(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.seen, [b"ab", b"cd"])


@needsBatches
class BatchedPortTests(PortTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort

    def test_oneCall(self) -> None:
        """
        A whole batch is answered in one call.
        """
        protocol = ReversingResponder()
        self.assertEqual(
            self.answersOf(protocol, b"ab", b"cd", b"efg"), [b"ba", b"dc", b"gfe"]
        )
        self.assertEqual(protocol.calls, [3])
