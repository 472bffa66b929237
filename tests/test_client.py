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
from shout.sockets.bind import bindUDP, connectUDP
from shout.sockets.unix import bindUNIX
from tests.directory import shortDirectory
from tests.families import needsIPv6
from tests.peers import PeerCase


class TwoAddresses:
    """
    The reactor, with a resolver to which every name is C{::1} and
    C{127.0.0.1}.
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
        The host may be a name, of which one family can be chosen.
        """
        port = self.serveUDP()
        reply = await ask(b"hello", "localhost", port, family=socket.AF_INET)
        self.assertEqual(reply, b"HELLO")

    async def test_unix(self) -> None:
        """
        A UNIX socket is asked at its path, also about a datagram that UDP does
        not carry.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        self.assertEqual(await ask(b"hello", unix=path), b"HELLO")
        self.assertEqual(await ask(b"x" * 100000, unix=path), b"X" * 100000)

    async def test_transform(self) -> None:
        """
        The transform of the server says what the reply has to be.
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
        Requests that are made at the same time do not disturb each other.
        """
        port = self.serveUDP()
        replies = await gatherResults(
            [Deferred.fromCoroutine(ask(b"a%d" % n, port=port)) for n in range(50)]
        )
        self.assertEqual(replies, [b"A%d" % n for n in range(50)])

    async def test_noAnswer(self) -> None:
        """
        A server that never answers is asked as often as is wanted.
        """
        peer, port = self.misbehave(lambda datagram: [])
        asking = ask(b"hello", port=port, timeout=0.01, retries=1)
        error = await self.assertFailure(Deferred.fromCoroutine(asking), NoAnswer)
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
        Where nothing listens the request is refused, without any timeout.
        """
        port = self.freePort()
        asking = ask(b"hello", port=port, timeout=86400)
        error = await self.assertFailure(Deferred.fromCoroutine(asking), Refused)
        self.assertEqual(
            str(error), f"127.0.0.1:{port} refused: nothing is listening there"
        )

    async def test_wrongAnswer(self) -> None:
        """
        A server that echoes, cuts or makes things up has answered wrongly.
        """
        for reply in (b"hello", b"HELL", b"", b"\xff"):
            _, port = self.misbehave(partial(lambda reply, _: [reply], reply))
            with self.assertRaises(WrongAnswer) as caught:
                await ask(b"hello", port=port, timeout=0.05)
            self.assertEqual(caught.exception.reply, reply)
            self.assertEqual(caught.exception.count, 3)

    async def test_forgedReplies(self) -> None:
        """
        Garbage, an echo and a reply to something else do not keep the right reply
        from being the answer.
        """
        replies = [b"\xffgarbage", b"hello", b"GOODBYE", b"HELLO"]
        _, port = self.misbehave(lambda datagram: replies)
        self.assertEqual(await ask(b"hello", port=port), b"HELLO")

    async def test_rightAfterTries(self) -> None:
        """
        The right reply to the last try is the answer, whatever came before it.
        """
        replies = iter([b"\xffgarbage", b"hello", b"HELLO"])
        _, port = self.misbehave(lambda datagram: [next(replies)])
        self.assertEqual(await ask(b"hello", port=port, timeout=0.05), b"HELLO")

    async def test_otherSource(self) -> None:
        """
        A reply from anywhere else is not heard.
        """
        (stranger,) = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(stranger.close)
        peer, port = self.misbehave(lambda datagram: [])

        def answer(datagram: bytes, addr: Any) -> None:
            stranger.sendto(datagram.upper(), addr)

        peer.datagramReceived = answer  # type: ignore[method-assign]
        asking = ask(b"hello", port=port, timeout=0.01)
        await self.assertFailure(Deferred.fromCoroutine(asking), NoAnswer)

    async def test_tooLong(self) -> None:
        """
        What no datagram carries is not sent.
        """
        asking = ask(b"x" * 65508, port=self.serveUDP())
        error = await self.assertFailure(Deferred.fromCoroutine(asking), TooLong)
        self.assertEqual(str(error), "65508 bytes do not fit in a datagram")

    async def test_unknownHost(self) -> None:
        """
        A name that cannot be looked up has no address.
        """
        asking = ask(b"hello", "a..b")
        await self.assertFailure(Deferred.fromCoroutine(asking), UnknownHost)

    async def test_noSuchSocket(self) -> None:
        """
        A path where there is no socket refuses.
        """
        path = shortDirectory(self) + "/none"
        asking = ask(b"hello", unix=path)
        error = await self.assertFailure(Deferred.fromCoroutine(asking), Refused)
        self.assertEqual(str(error), f"{path} refused: there is no such socket")

    async def test_leftoverSocket(self) -> None:
        """
        A socket that its server has left behind refuses.
        """
        path = shortDirectory(self) + "/leftover"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as leftover:
            leftover.bind(path)
        asking = ask(b"hello", unix=path)
        error = await self.assertFailure(Deferred.fromCoroutine(asking), Refused)
        self.assertEqual(str(error), f"{path} refused: nothing is listening there")

    async def test_notASocketPath(self) -> None:
        """
        A path that no socket can have is not reachable.
        """
        asking = ask(b"hello", unix="/" + "x" * 200)
        error = await self.assertFailure(Deferred.fromCoroutine(asking), Unreachable)
        self.assertIn("AF_UNIX path too long", str(error))

    async def test_ranges(self) -> None:
        """
        Numbers that make no sense are refused before anything is sent, others are
        not.
        """
        port = "the port must be from 1 to 65535, not "
        others = "the timeout must be above 0, and the retries not below 0"
        for options, message in (
            ({"port": 0}, f"{port}0"),
            ({"port": 65536}, f"{port}65536"),
            ({"timeout": 0}, others),
            ({"timeout": float("nan")}, others),
            ({"retries": -1}, others),
        ):
            asking = Deferred.fromCoroutine(ask(b"hello", **options))
            error = await self.assertFailure(asking, ValueError)
            self.assertEqual(str(error), message)
        for number in (1, 65535):
            client = await connect(port=number)
            await client.close()

    async def test_cancel(self) -> None:
        """
        Cancelling ends it, and closes the socket.
        """
        _, port = self.misbehave(lambda datagram: [])
        asking = Deferred.fromCoroutine(ask(b"hello", port=port))
        asking.cancel()
        await self.assertFailure(asking, CancelledError)

    async def test_secondAddress(self) -> None:
        """
        A name whose first address refuses is asked at its second one.
        """
        port = self.serveUDP()
        reply = await ask(b"hello", "both", port, reactor=TwoAddresses(self.reactor))
        self.assertEqual(reply, b"HELLO")

    async def test_allRefuse(self) -> None:
        """
        A name all of whose addresses refuse has refused, under its own name.
        """
        port = self.freePort()
        asking = ask(b"hello", "both", port, reactor=TwoAddresses(self.reactor))
        error = await self.assertFailure(Deferred.fromCoroutine(asking), Refused)
        self.assertIn(f"both:{port} refused", str(error))

    def test_defaults(self) -> None:
        """
        By default port 9999 of this host is asked, and any other three times with
        a second for each, also by a client.
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

        for asking in ask, askByClient:
            for options in {"port": port}, {}:
                answer = Deferred.fromCoroutine(
                    asking(b"hello", reactor=reactor, **options)
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
        More than a server lets through of what equals its reply is all answered,
        from several ports, of which only one stays open.
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
        So it is where many are under way at a time.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        self.serve(sock)
        client = await self.connect(sock.getsockname()[1], retries=0)
        asked = [b"%d" % number for number in range(300)]
        replies = [Deferred.fromCoroutine(client.ask(each)) for each in asked]
        self.assertEqual(await gatherResults(replies), asked)
        self.assertEqual(len(client._ports), 1)

    async def test_fixedPointsPerPort(self) -> None:
        """
        What equals its reply goes out from another port after some of it; ordinary
        datagrams do not count for that.
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
        What is in flight at former ports when a client is closed fails, too.
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
        To close a client takes until its sockets are closed, those of former
        ports, too.
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
        All that is in flight goes on to the same next address.
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
        All requests go through one socket, and their replies are told apart.
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
        All that is in flight when the first address refuses is answered at the
        second one.
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
        Once something was answered, a refusal is that: there is no going on to
        the next address, where something else may listen.
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
        A client that was refused can ask again once something listens.
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
        What is in flight when a client is closed fails.
        """
        _, port = self.misbehave(lambda datagram: [])
        client = await connect(port=port)
        asking = Deferred.fromCoroutine(client.ask(b"hello"))
        await client.close()
        await self.assertFailure(asking, AskError)

    async def test_stray(self) -> None:
        """
        A reply that comes when none is awaited is reported.
        """
        strayed: Deferred[tuple[bytes, bytes | None]] = Deferred()
        _, port = self.misbehave(lambda datagram: [datagram.upper(), b"more"])
        client = await self.connect(
            port, onUnexpectedReply=lambda *reply: strayed.callback(reply)
        )
        await client.ask(b"hello")
        self.assertEqual(await strayed, (b"more", None))

    async def test_before(self) -> None:
        """
        A datagram that came before the socket was connected is thrown away.
        """
        (sock,) = bindUDP(0, ["127.0.0.1"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"HELLO", sock.getsockname())
        peer, port = self.misbehave(lambda datagram: [])
        sock.connect(("127.0.0.1", port))
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
        # On a busy machine the time is up before the reactor has read the datagram.
        while not peer.received:
            await deferLater(self.reactor, 0.01)
        self.assertEqual((peer.received, unexpected), ([b"hello"], []))


class OpeningTests(SynchronousTestCase):
    """
    Tests for how L{Client} finds an address that can be connected to.
    """

    def open(self, *numbers: int) -> Client:
        """
        Make a client whose addresses fail with the given errors.
        """

        def open(number: int) -> socket.socket:
            raise OSError(number, os.strerror(number))

        openers = [partial(open, number) for number in numbers]
        return Client("peer:1", openers, partial(self.fail, "opened"), None)

    def test_noRoute(self) -> None:
        """
        When there is no way to any address, the last reason is told.
        """
        error = self.assertRaises(
            Unreachable, self.open, errno.EACCES, errno.ENETUNREACH
        )
        self.assertEqual(str(error), "cannot reach peer:1: Network is unreachable")

    def test_noAddress(self) -> None:
        """
        Without any address there is no way either.
        """
        self.assertRaises(Unreachable, self.open)
