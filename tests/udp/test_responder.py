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

PEER = ("192.0.2.1", 4000)


class Reversing(BatchResponder):
    """
    Answers with the reverse, not at all to C{quiet}, with too much to C{huge},
    and raises on C{bad}.
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


class FailingTransport(FakeDatagramTransport):
    """
    A transport that cannot send.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, packet: bytes, addr: Any = None) -> None:
        raise self.error


class BatchResponderTests(SynchronousTestCase):
    """
    Tests for L{BatchResponder} on any transport.
    """

    def test_answers(self) -> None:
        """
        A datagram that comes alone is answered to where it came from.
        """
        protocol, transport = Reversing(), FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.datagramReceived(b"abc", PEER)
        self.assertEqual(transport.written, [(b"cba", PEER)])

    def test_noAnswer(self) -> None:
        """
        Where there is no answer nothing is sent.
        """
        protocol, transport = Reversing(), FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.datagramReceived(b"quiet", PEER)
        self.assertEqual(transport.written, [])

    def test_sendFailed(self) -> None:
        """
        What cannot be sent is told and not raised.
        """
        for error, number in (
            (OSError(EPERM, "a firewall"), EPERM),
            (OSError("no number"), 0),
            (MessageLengthError("too long"), EMSGSIZE),
        ):
            protocol = Reversing()
            protocol.makeConnection(FailingTransport(error))
            protocol.datagramReceived(b"abc", PEER)
            self.assertEqual(protocol.failures, [(number, 1)])

    def test_noAnswersGiven(self) -> None:
        """
        A subclass has to say what the answers are.
        """
        protocol = BatchResponder()
        self.assertRaises(NotImplementedError, protocol.answer, [b"abc"], [PEER])

    def test_unnamed(self) -> None:
        """
        A UNIX socket without a name cannot be answered, which is told.
        """
        reactor = MemoryReactorClock()
        protocol = Reversing()
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
class BatchedAnsweringTests(SynchronousTestCase):
    """
    Tests for L{BatchResponder} on a L{BatchedPort}.
    """

    def exchange(self, protocol: BatchResponder, *datagrams: bytes) -> list[bytes]:
        """
        Send datagrams to a protocol in one batch, and return the replies.
        """
        reactor = MemoryReactorClock()
        [sock] = bindUDP(0, ["127.0.0.1"])
        self.port = BatchedPort(sock, protocol, reactor)
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
        It is asked about a whole batch in one call.
        """
        protocol = Reversing()
        self.assertEqual(
            self.exchange(protocol, b"ab", b"cd", b"efg"), [b"ba", b"dc", b"gfe"]
        )
        self.assertEqual(protocol.calls, [3])

    def test_someAnswers(self) -> None:
        """
        Those that get no answer are left out.
        """
        for datagrams, replies in (
            ((b"ab", b"quiet", b"cd"), [b"ba", b"dc"]),
            ((b"quiet", b"quiet"), []),
        ):
            self.assertEqual(self.exchange(Reversing(), *datagrams), replies)

    def test_someAnswersOfMany(self) -> None:
        """
        Then the others still go to where they belong.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        reactor = MemoryReactorClock()
        port = BatchedPort(sock, Reversing(), reactor)
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

    def test_tooManyAnswers(self) -> None:
        """
        Two answers to one datagram are none, which is logged.
        """

        class Talkative(Reversing):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return [b"one", b"two"]

        self.assertEqual(self.exchange(Talkative(), b"ab"), [])
        [failure] = self.flushLoggedErrors(ValueError)
        self.assertIn("one answer for each datagram", str(failure))

    def test_raises(self) -> None:
        """
        When one of them makes it raise that is logged, and the rest is answered.
        """
        protocol = Reversing()
        self.assertEqual(self.exchange(protocol, b"ab", b"bad", b"cd"), [b"ba", b"dc"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raisesAlone(self) -> None:
        """
        When it raises for a datagram that comes alone that is logged, and it is not
        asked again.
        """
        protocol = Reversing()
        self.assertEqual(self.exchange(protocol, b"bad"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.calls, [1])

    def test_notBytes(self) -> None:
        """
        Answers that are not bytes are logged, and the port goes on.
        """

        class Confused(Reversing):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return [datagram.decode() for datagram in datagrams]

        self.assertEqual(self.exchange(Confused(), b"ab", b"cd"), [])
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_bytesLike(self) -> None:
        """
        Answers of any type that holds bytes are sent, and asked for once.
        """

        class Mutable(Reversing):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                answers = super().answer(datagrams, addrs)
                return [bytearray(answer or b"") for answer in answers]

        protocol = Mutable()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.calls, [2])

    def test_tooFew(self) -> None:
        """
        When there are fewer answers than datagrams, it is asked about them one
        by one.
        """

        class Forgetful(Reversing):
            def answer(self, datagrams: Any, addrs: Any) -> Any:
                return super().answer(datagrams, addrs)[:1]

        protocol = Forgetful()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.calls, [2, 1, 1])

    def test_aloneTooLong(self) -> None:
        """
        So it is with one that comes alone.
        """
        protocol = Reversing()
        self.assertEqual(self.exchange(protocol, b"huge"), [])
        self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
        self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_tooLong(self) -> None:
        """
        Answers that do not fit a datagram are told of, and the rest is sent.
        """
        for datagram in (b"huge", b"vast"):
            protocol = Reversing()
            replies = self.exchange(protocol, b"ab", datagram, b"cd")
            self.assertEqual(replies, [b"ba", b"dc"])
            self.assertEqual(protocol.failures, [(EMSGSIZE, 1)])
            self.assertEqual(self.port.sendErrors, {EMSGSIZE: 1})

    def test_ownDatagramReceived(self) -> None:
        """
        A subclass that overrides C{datagramReceived} is given each datagram.
        """

        class Spying(Reversing):
            def __init__(self) -> None:
                super().__init__()
                self.seen: list[bytes] = []

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.seen.append(datagram)
                super().datagramReceived(datagram, addr)

        protocol = Spying()
        self.assertEqual(self.exchange(protocol, b"ab", b"cd"), [b"ba", b"dc"])
        self.assertEqual(protocol.seen, [b"ab", b"cd"])
