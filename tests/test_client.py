"""
Tests for L{shout.client}.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import shout
from shout import (
    AskError,
    NoAnswer,
    Refused,
    ShoutService,
    UnicodeShout,
    WrongAnswer,
    ask,
)
from shout.client import Client, TooLong, UnknownHost, Unreachable, connect
from shout.request import RequestProtocol
from shout.sockets.bind import bindUDP, connectUDP, discardReceived
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import needsIPv6
from tests.peers import PeerCase


class TwoAddresses:
    """
    The reactor, with a resolver that returns C{::1} and C{127.0.0.1} for every name.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(
        self, receiver: IResolutionReceiver, host: str, port: int, *_: object
    ) -> None:
        receiver.addressResolved(IPv6Address("UDP", "::1", port))
        receiver.addressResolved(IPv4Address("UDP", "127.0.0.1", port))
        receiver.resolutionComplete()


class AskTests(PeerCase):
    """
    Tests for L{ask}.
    """

    async def test_answer(self) -> None:
        """
        The reply is the datagram in capitals.
        """
        port = self.serveUDP()
        self.assertEqual(await ask(b"hello\xff\n", port=port), b"HELLO\xff\n")

    async def test_empty(self) -> None:
        """
        An empty datagram has an empty reply.
        """
        self.assertEqual(await ask(b"", port=self.serveUDP()), b"")

    @needsIPv6
    async def test_ipv6(self) -> None:
        """
        The host may be an IPv6 address.
        """
        port = self.serveUDP("::1")
        self.assertEqual(await ask(b"hello", "::1", port), b"HELLO")

    async def test_name(self) -> None:
        """
        The host may be a name, and its addresses can be limited to one family.
        """
        port = self.serveUDP()
        reply = await ask(b"hello", "localhost", port, family=socket.AF_INET)
        self.assertEqual(reply, b"HELLO")

    async def test_unix(self) -> None:
        """
        The server may be at a UNIX socket, which carries longer datagrams than UDP.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        self.assertEqual(await ask(b"hello", unix=path), b"HELLO")
        self.assertEqual(await ask(b"x" * 100000, unix=path), b"X" * 100000)

    async def test_transform(self) -> None:
        """
        The transform of the server yields the right reply.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        port = sock.getsockname()[1]
        self.serve(sock, protocol=UnicodeShout)
        reply = await ask(
            "straße".encode(), port=port, transform=UnicodeShout().transform
        )
        self.assertEqual(reply, b"STRASSE")

    async def test_many(self) -> None:
        """
        Simultaneous requests do not disturb each other.
        """
        port = self.serveUDP()
        replies = await gatherResults(
            [Deferred.fromCoroutine(ask(b"a%d" % n, port=port)) for n in range(50)]
        )
        self.assertEqual(replies, [b"A%d" % n for n in range(50)])

    async def test_noAnswer(self) -> None:
        """
        If the server does not answer, the datagram is sent again C{retries} times.
        """
        peer, port = self.misbehave(lambda datagram: [])
        request = ask(b"hello", port=port, timeout=0.01, retries=1)
        error = await self.assertFailure(Deferred.fromCoroutine(request), NoAnswer)
        self.assertIn(f"127.0.0.1:{port} to 2 tries", str(error))
        self.assertEqual(peer.received, [b"hello", b"hello"])

    async def test_retry(self) -> None:
        """
        One reply to any of the tries is enough.
        """
        peer, port = self.misbehave(
            lambda datagram: [datagram.upper()] if len(peer.received) > 1 else []
        )
        self.assertEqual(await ask(b"hello", port=port, timeout=0.01), b"HELLO")

    async def test_refused(self) -> None:
        """
        If nothing listens there, the request is refused without any timeout.
        """
        port = self.freePort()
        request = ask(b"hello", port=port, timeout=86400)
        error = await self.assertFailure(Deferred.fromCoroutine(request), Refused)
        self.assertEqual(
            str(error), f"127.0.0.1:{port} refused: nothing is listening there"
        )

    async def test_wrongAnswer(self) -> None:
        """
        A reply that is echoed, cut or garbage is wrong.
        """
        replies = [b"hello", b"HELL", b"", b"\xff"]
        requests: list[Deferred[Any]] = []
        for reply in replies:
            _, port = self.misbehave(partial(lambda reply, _: [reply], reply))
            request = Deferred.fromCoroutine(ask(b"hello", port=port, timeout=0.1))
            requests.append(self.assertFailure(request, WrongAnswer))
        errors = await gatherResults(requests)
        self.assertEqual([error.reply for error in errors], replies)
        self.assertEqual([error.count for error in errors], [3] * 4)

    async def test_forgedReplies(self) -> None:
        """
        The right reply may follow garbage, an echo and a reply to another datagram.
        """
        replies = [b"\xffgarbage", b"hello", b"GOODBYE", b"HELLO"]
        _, port = self.misbehave(lambda datagram: replies)
        self.assertEqual(await ask(b"hello", port=port), b"HELLO")

    async def test_rightAfterTries(self) -> None:
        """
        The right reply to the last try counts, whatever arrived before it.
        """
        replies = iter([b"\xffgarbage", b"hello", b"HELLO"])
        _, port = self.misbehave(lambda datagram: [next(replies)])
        self.assertEqual(await ask(b"hello", port=port, timeout=0.05), b"HELLO")

    async def test_otherSource(self) -> None:
        """
        A reply from another address is ignored.
        """
        (stranger,) = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(stranger.close)
        peer, port = self.misbehave(lambda datagram: [])

        def answer(datagram: bytes, addr: Any) -> None:
            stranger.sendto(datagram.upper(), addr)

        peer.datagramReceived = answer  # type: ignore[method-assign]
        request = ask(b"hello", port=port, timeout=0.01)
        await self.assertFailure(Deferred.fromCoroutine(request), NoAnswer)

    async def test_tooLong(self) -> None:
        """
        A payload that does not fit in a datagram is not sent.
        """
        request = ask(b"x" * 65508, port=self.serveUDP())
        error = await self.assertFailure(Deferred.fromCoroutine(request), TooLong)
        self.assertEqual(str(error), "65508 bytes do not fit in a datagram")

    async def test_unknownHost(self) -> None:
        """
        An invalid name has no address.
        """
        request = ask(b"hello", "a..b")
        await self.assertFailure(Deferred.fromCoroutine(request), UnknownHost)

    async def test_noSuchSocket(self) -> None:
        """
        A path without a socket is refused.
        """
        path = shortDirectory(self) + "/none"
        request = ask(b"hello", unix=path)
        error = await self.assertFailure(Deferred.fromCoroutine(request), Refused)
        self.assertEqual(str(error), f"{path} refused: there is no such socket")

    async def test_leftoverSocket(self) -> None:
        """
        A socket that its server has left behind is refused.
        """
        path = shortDirectory(self) + "/leftover"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as leftover:
            leftover.bind(path)
        request = ask(b"hello", unix=path)
        error = await self.assertFailure(Deferred.fromCoroutine(request), Refused)
        self.assertEqual(str(error), f"{path} refused: nothing is listening there")

    async def test_notASocketPath(self) -> None:
        """
        A path that is too long for a socket is unreachable.
        """
        request = ask(b"hello", unix="/" + "x" * 200)
        error = await self.assertFailure(Deferred.fromCoroutine(request), Unreachable)
        self.assertIn("AF_UNIX path too long", str(error))

    async def test_ranges(self) -> None:
        """
        Numbers out of range are refused before anything is sent; the limits are in
        range.
        """
        port = "the port must be from 1 to 65535, not "
        others = "the timeout must be above 0 and the retries at least 0, not "
        for options, message in (
            ({"port": 0}, f"{port}0"),
            ({"port": 65536}, f"{port}65536"),
            ({"timeout": 0}, f"{others}0 and 2"),
            ({"timeout": float("nan")}, f"{others}nan and 2"),
            ({"retries": -1}, f"{others}1.0 and -1"),
        ):
            request = Deferred.fromCoroutine(ask(b"hello", **options))
            error = await self.assertFailure(request, ValueError)
            self.assertEqual(str(error), message)
        for number in (1, 65535):
            client = await connect(port=number)
            await client.close()

    async def test_cancel(self) -> None:
        """
        Cancelling ends the request, and closes the socket.
        """
        _, port = self.misbehave(lambda datagram: [])
        request = Deferred.fromCoroutine(ask(b"hello", port=port))
        request.cancel()
        await self.assertFailure(request, CancelledError)

    async def test_secondAddress(self) -> None:
        """
        If the first address of a name refuses, the second one is used.
        """
        port = self.serveUDP()
        reply = await ask(b"hello", "both", port, reactor=TwoAddresses(self.reactor))
        self.assertEqual(reply, b"HELLO")

    async def test_allRefuse(self) -> None:
        """
        If all addresses of a name refuse, the error has the name.
        """
        port = self.freePort()
        request = ask(b"hello", "both", port, reactor=TwoAddresses(self.reactor))
        error = await self.assertFailure(Deferred.fromCoroutine(request), Refused)
        self.assertIn(f"both:{port} refused", str(error))

    def test_defaults(self) -> None:
        """
        The defaults are port 9999 of this host and three tries of one second each,
        also for a client.
        """
        [silent] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(silent.close)
        port = silent.getsockname()[1]
        reactor = MemoryReactorClock()

        async def askByClient(datagram: bytes, **options: Any) -> bytes:
            client = await connect(**options)
            try:
                return await client.ask(datagram)
            finally:
                await client.close()

        for function in ask, askByClient:
            for options in {"port": port}, {}:
                answer = Deferred.fromCoroutine(
                    function(b"hello", reactor=reactor, **options)
                )
                reactor.pump([0, *[0.5] * 5])
                if options:
                    self.assertNoResult(answer)
                reactor.pump([0.5, 0])
                error = self.failureResultOf(answer, NoAnswer, Refused).value
                self.assertIn(f"127.0.0.1:{options.get('port', 9999)} ", str(error))
                if options:
                    self.assertIn("3 tries in 3.0 seconds", str(error))

    def test_exported(self) -> None:
        """
        The package has the function, and the exceptions that it raises.
        """
        self.assertIs(shout.ask, ask)
        for error in (NoAnswer, Refused, WrongAnswer):
            self.assertTrue(issubclass(error, AskError))


class ClientTests(PeerCase):
    """
    Tests for L{connect} and L{Client}.
    """

    async def connect(self, port: int, **options: Any) -> Client:
        """
        Make a client that is closed when the test ends.
        """
        client = await connect(port=port, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def test_fixedPoints(self) -> None:
        """
        Datagrams that equal their replies are all answered, though the server limits
        their rate: they leave from several ports, of which only one stays open.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        self.serve(sock)
        client = await self.connect(sock.getsockname()[1], retries=0)
        for number in range(1000):
            datagram = b"%d" % number
            self.assertEqual(await client.ask(datagram), datagram)
        self.assertEqual((len(client._ports), len(client._closing)), (1, 0))

    async def test_fixedPointsTogether(self) -> None:
        """
        Simultaneous datagrams that equal their replies are all answered, too.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        self.serve(sock)
        client = await self.connect(sock.getsockname()[1], retries=0)
        datagrams = [b"%d" % number for number in range(300)]
        replies = [Deferred.fromCoroutine(client.ask(each)) for each in datagrams]
        self.assertEqual(await gatherResults(replies), datagrams)
        self.assertEqual(len(client._ports), 1)

    async def test_fixedPointsPerPort(self) -> None:
        """
        After some datagrams that equal their replies, the next ones leave from another
        port; ordinary datagrams do not count.
        """
        peer, port = self.misbehave(lambda datagram: [])
        sources: list[Any] = []

        def answer(datagram: bytes, addr: Any) -> None:
            sources.append(addr)
            assert peer.transport is not None
            peer.transport.write(datagram.upper(), addr)

        peer.datagramReceived = answer  # type: ignore[method-assign]
        client = await self.connect(port)
        client.fixedPointsPerPort = 4
        for datagram in b"1 a 2 b 3 4 5 6 7 8 c".split():
            await client.ask(datagram)
        counts = [sources.count(source) for source in dict.fromkeys(sources)]
        self.assertEqual(counts, [5, 4, 2])

    async def test_closedWithFormerPorts(self) -> None:
        """
        Closing a client fails the requests in flight at former ports, too.
        """
        _, port = self.misbehave(lambda datagram: [])
        client = await connect(port=port)
        client.fixedPointsPerPort = 1
        answers = [Deferred.fromCoroutine(client.ask(b"1")) for _ in range(3)]
        await client.close()
        for answer in answers:
            await self.assertFailure(answer, AskError)

    async def test_closing(self) -> None:
        """
        Closing a client waits until all of its sockets are closed.
        """
        reactor = MemoryReactorClock()
        client = await connect(port=self.freePort(), reactor=reactor)
        client.fixedPointsPerPort = 1
        answer = Deferred.fromCoroutine(client.ask(b"1"))
        closed = Deferred.fromCoroutine(client.close())
        self.assertNoResult(closed)
        reactor.advance(0)
        self.successResultOf(closed)
        self.failureResultOf(answer, AskError)

    async def test_nextAddressOnce(self) -> None:
        """
        All requests in flight move to the same next address.
        """
        port = self.serveUDP()
        openers = [
            partial(connectUDP, "127.0.0.1", number)
            for number in (self.freePort(), port, self.freePort())
        ]
        transform: Any = bytes.upper
        makeProtocol = partial(
            RequestProtocol, "peer", 1, 2, transform, lambda *reply: None, self.reactor
        )
        client = Client("peer", openers, makeProtocol, self.reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        replies = await gatherResults(
            [Deferred.fromCoroutine(client.ask(b"a%d" % n)) for n in range(3)]
        )
        self.assertEqual(replies, [b"A0", b"A1", b"A2"])

    async def test_oneSocket(self) -> None:
        """
        All requests leave from one socket, and each gets its own reply.
        """
        peer, port = self.misbehave(lambda datagram: [])
        sources = set()

        def answerLater(datagram: bytes, addr: Any) -> None:
            sources.add(addr)
            peer.received.append(datagram)
            if len(peer.received) == 3:
                assert peer.transport is not None
                for each in reversed(peer.received):
                    peer.transport.write(each.upper(), addr)

        peer.datagramReceived = answerLater  # type: ignore[method-assign]
        client = await self.connect(port)
        self.assertEqual(client.peer, f"127.0.0.1:{port}")
        replies = await gatherResults(
            [Deferred.fromCoroutine(client.ask(b"a%d" % n)) for n in range(3)]
        )
        self.assertEqual(replies, [b"A0", b"A1", b"A2"])
        self.assertEqual(len(sources), 1)

    async def test_secondAddress(self) -> None:
        """
        If the first address refuses, all requests in flight move to the second one.
        """
        port = self.serveUDP()
        reactor = TwoAddresses(self.reactor)
        client = await self.connect(port, host="both", reactor=reactor)
        replies = await gatherResults(
            [Deferred.fromCoroutine(client.ask(b"a%d" % n)) for n in range(5)]
        )
        self.assertEqual(replies, [b"A%d" % n for n in range(5)])

    @needsIPv6
    async def test_answeredAddress(self) -> None:
        """
        After the first reply, a refusal fails the request: another server may listen
        at the next address.
        """
        (sock,) = bindUDP(0, ["::1"])
        port = sock.getsockname()[1]
        service = ShoutService([sock], reactor=self.reactor)
        service.startService()
        client = await self.connect(
            port, host="both", reactor=TwoAddresses(self.reactor)
        )
        self.assertEqual(await client.ask(b"hello"), b"HELLO")
        await service.stopService()
        self.serve(*bindUDP(port, ["127.0.0.1"]))
        await self.assertFailure(Deferred.fromCoroutine(client.ask(b"again")), Refused)

    async def test_survivesRefusal(self) -> None:
        """
        A client that was refused can be used again.
        """
        port = self.freePort()
        client = await self.connect(port)
        for _ in range(2):
            await self.assertFailure(
                Deferred.fromCoroutine(client.ask(b"hello")), Refused
            )
        self.serve(*bindUDP(port, ["127.0.0.1"]))
        self.assertEqual(await client.ask(b"hello"), b"HELLO")

    async def test_closed(self) -> None:
        """
        Closing a client fails the requests in flight.
        """
        _, port = self.misbehave(lambda datagram: [])
        client = await connect(port=port)
        request = Deferred.fromCoroutine(client.ask(b"hello"))
        await client.close()
        await self.assertFailure(request, AskError)

    async def test_unexpected(self) -> None:
        """
        A reply that arrives when no request is in flight is reported.
        """
        unexpected: Deferred[tuple[bytes, bytes | None]] = Deferred()
        _, port = self.misbehave(lambda datagram: [datagram.upper(), b"more"])
        client = await self.connect(
            port, onUnexpectedReply=lambda *reply: unexpected.callback(reply)
        )
        await client.ask(b"hello")
        self.assertEqual(await unexpected, (b"more", None))

    async def test_before(self) -> None:
        """
        A datagram that arrived before the socket was connected is discarded.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"HELLO", sock.getsockname())
        peer, port = self.misbehave(lambda datagram: [])
        sock.connect(("127.0.0.1", port))
        discardReceived(sock)
        unexpected: list[object] = []
        makeProtocol = partial(
            RequestProtocol,
            "peer",
            0.01,
            0,
            bytes.upper,
            lambda *reply: unexpected.append(reply),
            self.reactor,
        )
        client = Client("peer", [lambda: sock], makeProtocol, self.reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        await self.assertFailure(Deferred.fromCoroutine(client.ask(b"hello")), NoAnswer)
        # On a busy machine the timeout may pass before the reactor reads the datagram.
        while not peer.received:
            await deferLater(self.reactor, 0.01)
        self.assertEqual((peer.received, unexpected), ([b"hello"], []))


class OpeningTests(SynchronousTestCase):
    """
    Tests for the search of L{Client} for an address that can be connected to.
    """

    def open(self, *numbers: int) -> Client:
        """
        Make a client whose addresses fail with some error numbers.
        """

        def open(number: int) -> socket.socket:
            raise OSError(number, os.strerror(number))

        openers = [partial(open, number) for number in numbers]
        return Client("peer:1", openers, partial(self.fail, "opened"), None)

    def test_noRoute(self) -> None:
        """
        If there is no route to any address, the message has the last error.
        """
        error = self.assertRaises(
            Unreachable, self.open, errno.EACCES, errno.ENETUNREACH
        )
        self.assertEqual(str(error), "cannot reach peer:1: Network is unreachable")

    def test_noAddress(self) -> None:
        """
        Without any address the peer is unreachable, too.
        """
        self.assertRaises(Unreachable, self.open)
