"""
Tests for L{shout.udp.batched}, and through it for L{shout.udp.receive}, L{shout.udp.send}
and L{shout.udp.mmsg}.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any
from unittest import skipIf, skipUnless

from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import Shout, bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.udp import mmsg
from shout.udp import send as outboxModule
from shout.udp.batched import BatchedPort, listen
from shout.udp.mmsg import available, sendmmsg
from shout.udp.peer import hostAndPort
from shout.udp.port import DatagramPort
from shout.udp.receive import SLOTS
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import (
    LOOPBACK,
    eachFamily,
    hasIPv6,
    needsIPv6,
    needsIPv6Sockets,
)
from tests.hosts import Hosts, whyNot
from tests.udp.test_port import (
    AdoptingPortBehaviour,
    RecordingProtocol,
    RefusalTestsBuilder,
)

# From linux/udp.h, linux/in.h, linux/in6.h and asm-generic/socket.h; Python does not
# have them.
UDP_SEGMENT = 103
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_DO = 2
IP_RECVTTL = 12
SO_TIMESTAMP = 29

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class Calls:
    """
    Stands between a port and sendmmsg(2): records how many messages each call is
    given, and can fail or send only some of them.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self.counts: list[int] = []
        self.failures: list[int] = []
        self.most = SLOTS
        case.patch(outboxModule, "sendmmsg", self)

    def __call__(self, fd: int, headers: Any, count: int, first: int) -> int:
        self.counts.append(count)
        if self.failures:
            number = self.failures.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return sendmmsg(fd, headers, min(count, self.most), first)


@needsBatches
class BatchedPortTests(AdoptingPortBehaviour, SynchronousTestCase):
    """
    Tests for L{BatchedPort}.
    """

    portType = BatchedPort

    def echo(self, address: str = "127.0.0.1") -> BatchedPort:
        """
        Start a port whose protocol answers everything as it is.
        """
        [sock] = bindUDP(0, [address])
        self.protocol = RecordingProtocol()
        port: BatchedPort = self.listen(sock)
        self.protocol.react = port.write
        return port

    def exchange(
        self, port: BatchedPort, datagrams: Iterable[bytes]
    ) -> tuple[socket.socket, list[bytes]]:
        """
        Send datagrams from one peer, let the port visit once, and return the
        peer and the replies.
        """
        client = self.client(port)
        return client, self.exchangeFrom(client, port, datagrams)

    def exchangeFrom(
        self, client: socket.socket, port: BatchedPort, datagrams: Iterable[bytes]
    ) -> list[bytes]:
        """
        Send datagrams from a peer, let the port visit once, and return the
        replies.
        """
        for datagram in datagrams:
            client.send(datagram)
        port.doRead()
        return list(self.pending(client))

    def pending(self, client: socket.socket) -> Iterable[bytes]:
        """
        Receive what has arrived.
        """
        while True:
            try:
                yield client.recv(65535)
            except BlockingIOError:
                return

    def test_oneCall(self) -> None:
        """
        Replies to many peers leave in one call, those to one peer in one
        message.
        """
        port = self.echo()
        clients = [self.client(port) for _ in range(8)]
        calls = Calls(self)
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
            self.assertEqual(list(self.pending(client)), [b"x"] * 8)

    def test_segments(self) -> None:
        """
        Only replies of one length that stand next to each other and fit are
        grouped, and all arrive as they were written.
        """
        port = self.echo()
        for datagrams in (
            [b"aa", b"bb", b"c", b"dd", b"", b"", b"e"],
            [bytes([i]) * 1400 for i in range(60)],
            [bytes([i]) * 40000 for i in range(3)],
            [bytes([i]) for i in range(64)],
        ):
            _, replies = self.exchange(port, datagrams)
            self.assertEqual(replies, datagrams)

    def test_manySegments(self) -> None:
        """
        No more are grouped than fit into one packet.
        """
        port = self.echo()
        calls = Calls(self)
        datagrams = [bytes([i]) * 1400 for i in range(60)]
        self.assertEqual(self.exchange(port, datagrams)[1], datagrams)
        self.assertEqual(calls.counts, [2])

    def test_withoutSegments(self) -> None:
        """
        A kernel that does not know segments is not given any.
        """
        self.patch(outboxModule, "_canSegment", lambda sock: False)
        port = self.echo()
        calls = Calls(self)
        datagrams = [b"%d" % (i % 10) for i in range(20)]
        self.assertEqual(self.exchange(port, datagrams)[1], datagrams)
        self.assertEqual(calls.counts, [20])

    def test_segmentsRefused(self) -> None:
        """
        Where the path refuses segments everything is sent one by one, nothing
        is lost or counted, and such a length is not tried again with that peer,
        but with others it is.
        """
        for number, messages in (
            (errno.EINVAL, 1),
            (errno.EMSGSIZE, 1),
            (errno.EIO, 10),
        ):
            port = self.echo()
            calls = Calls(self)
            calls.failures = [number]
            datagrams = [b"%05d" % i for i in range(10)]
            client, replies = self.exchange(port, datagrams)
            self.assertEqual(replies, datagrams)
            self.assertEqual(calls.counts, [1, 10])
            self.assertEqual(port.sendErrors, {})
            shorter = [datagram[:4] for datagram in datagrams]
            shortest = [datagram[4:] for datagram in datagrams]
            for asking, asked, expected in (
                (client, datagrams, 10),
                (client, shorter, messages),
                (client, shortest, messages),
                (self.client(port), datagrams, 1),
            ):
                calls.counts.clear()
                self.assertEqual(self.exchangeFrom(asking, port, asked), asked)
                self.assertEqual(calls.counts, [expected])

    def test_refusedInTheMiddle(self) -> None:
        """
        When a group in the middle is refused, what comes before and after is
        sent too, in order.
        """
        port = self.echo()
        calls = Calls(self)
        calls.most = 1
        calls.failures = [0, errno.EINVAL]
        datagrams = [b"aa", b"bb", b"ccc", b"ddd", b"e", b"f"]
        self.assertEqual(self.exchange(port, datagrams)[1], datagrams)
        self.assertEqual(port.sendErrors, {})

    def test_peerRefused(self) -> None:
        """
        When the replies cannot be sent one by one either, it was not the
        segments that were refused, and they are tried again for others.
        """
        port = self.echo()
        calls = Calls(self)
        calls.failures = [errno.EINVAL] * 4
        client, replies = self.exchange(port, [b"abc"] * 3)
        self.assertEqual(replies, [])
        self.assertEqual(port.sendErrors, {errno.EINVAL: 3})
        calls.counts.clear()
        replies = self.exchangeFrom(client, port, [b"abc"] * 3)
        self.assertEqual(replies, [b"abc"] * 3)
        self.assertEqual(calls.counts, [1])

    def test_partial(self) -> None:
        """
        When a call sends only some of the messages, another sends the rest.
        """
        port = self.echo()
        calls = Calls(self)
        calls.most = 3
        datagrams = [b"x" * i for i in range(10)]
        self.assertEqual(self.exchange(port, datagrams)[1], datagrams)
        self.assertEqual(calls.counts, [10, 7, 4, 1])

    def test_errors(self) -> None:
        """
        What cannot be sent is counted by its error, told to the protocol, and
        keeps nothing else from being sent.
        """
        told: list[tuple[int, int]] = []
        for number in (
            errno.EAGAIN,
            errno.ENOBUFS,
            errno.EPERM,
            errno.EACCES,
            errno.ECONNREFUSED,
            errno.ENETUNREACH,
        ):
            port = self.echo()
            calls = Calls(self)
            calls.most = 2
            calls.failures = [0, number]
            self.protocol.sendFailed = (  # type: ignore[attr-defined]
                lambda number, count: told.append((number, count))
            )
            datagrams = [b"x" * i for i in range(5)]
            replies = self.exchange(port, datagrams)[1]
            self.assertEqual(replies, [*datagrams[:2], *datagrams[3:]])
            self.assertEqual(port.sendErrors, {number: 1})
            self.assertEqual(told.pop(), (number, 1))
            self.assertIn(port, self.reactor.getReaders())

    def test_groupFails(self) -> None:
        """
        When a group cannot be sent, the first of it has failed, and the others
        are tried one by one; the next group is tried as one again.
        """
        port = self.echo()
        calls = Calls(self)
        calls.failures = [errno.ENOBUFS] * 2
        client, replies = self.exchange(port, [b"a", b"b", b"c", b"d"])
        self.assertEqual(replies, [b"c", b"d"])
        self.assertEqual(port.sendErrors, {errno.ENOBUFS: 2})
        calls.counts.clear()
        self.exchangeFrom(client, port, [b"x"] * 5)
        self.assertEqual(calls.counts, [1])

    def test_interrupted(self) -> None:
        """
        A system call that a signal has interrupted is made again.
        """
        port = self.echo()
        clients = self.client(port), self.client(port)

        def interrupt(call: Callable[..., int]) -> Callable[..., int]:
            outcomes = [-1, -1]

            def interrupted(*arguments: Any) -> int:
                ctypes.set_errno(errno.EINTR)
                return outcomes.pop() if outcomes else call(*arguments)

            return interrupted

        for name in "_recvmmsg", "_sendmmsg":
            self.patch(mmsg, name, interrupt(getattr(mmsg, name)))
        for client in clients:
            client.send(b"x")
        port.doRead()
        for client in clients:
            self.assertEqual(list(self.pending(client)), [b"x"])

    def test_errorAtOnce(self) -> None:
        """
        What cannot be sent outside a batch is counted too.
        """
        port = self.echo()
        # Nothing can be sent to port 0.
        port.write(b"x", ("127.0.0.1", 0))
        self.assertEqual(port.sendErrors, {errno.EINVAL: 1})

    @needsIPv6
    def test_tooLongAtOnce(self) -> None:
        """
        So is what the path cannot carry, which is no refusal of the peer.
        """
        [server] = bindUDP(0, ["::1"])
        self.addCleanup(server.close)
        address = server.getsockname()[:2]
        [unconnected] = bindUDP(0, ["::1"])
        for sock, addr in (unconnected, address), (connectUDP(*address), None):
            port = self.listen(sock, protocol := RecordingProtocol())
            # Without fragments the longest is too long for the loopback.
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
            port.write(bytes(65527), addr)
            self.assertEqual(port.sendErrors, {errno.EMSGSIZE: 1})
            self.assertEqual(protocol.refusals, 0)

    def test_errorWithoutNumber(self) -> None:
        """
        An error that has no number is counted as 0.
        """

        class Broken:
            def sendto(self, datagram: bytes, addr: Any) -> int:
                raise OSError("for some reason")

        port = self.echo()
        self.patch(port, "socket", Broken())
        port.write(b"x", ("127.0.0.1", 9999))
        self.assertEqual(port.sendErrors, {0: 1})

    @skipUnless(ISROOT, "forging a source port needs root")
    def test_portZero(self) -> None:
        """
        Datagrams with a forged source port of 0 are delivered, and the replies
        that nothing can take to there are counted, alone and in a batch.
        """
        port = self.echo()
        number = port.getHost().port  # type: ignore[union-attr]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            for count in (1, 3):
                for _ in range(count):
                    ports = (0).to_bytes(2, "big") + number.to_bytes(2, "big")
                    raw.sendto(ports + b"\0\x09\0\0x", ("127.0.0.1", 0))
                port.doRead()
        self.assertEqual(self.protocol.received, [(b"x", ("127.0.0.1", 0))] * 4)
        self.assertEqual(port.sendErrors, {errno.EINVAL: 4})

    def test_beforeListening(self) -> None:
        """
        What has arrived before the port listens is delivered as any other.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        with connectUDP("127.0.0.1", sock.getsockname()[1]) as client:
            client.send(b"early")
            port = self.listen(sock, Shout())
            client.send(b"late")
            port.doRead()
            self.assertEqual(list(self.pending(client)), [b"EARLY", b"LATE"])

    def test_askedBeforeListening(self) -> None:
        """
        That goes for the address that was asked, too.
        """
        [sock], [client] = bindUDP(0, ["0.0.0.0"]), bindUDP(0, ["127.0.0.1"])
        number = sock.getsockname()[1]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        with client:
            for host in ("127.0.0.2", "127.255.255.255"):
                client.sendto(host.encode(), (host, number))
            port = self.listen(sock, protocol := Shout())
            port.doRead()
            self.assertEqual(client.recvfrom(99), (b"127.0.0.2", ("127.0.0.2", number)))
            self.assertEqual(list(self.pending(client)), [])
        self.assertEqual(protocol.counters.dropped, {"broadcast": 1})

    def test_manyReplies(self) -> None:
        """
        A protocol can write more replies than a batch has slots.
        """
        port = self.echo()
        replies = [b"%d" % i for i in range(1000)]

        def react(datagram: bytes, addr: Any) -> None:
            for reply in replies:
                port.write(datagram + reply, addr)

        self.protocol.react = react
        client = self.client(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        got = self.exchangeFrom(client, port, [b"a", b"b"])
        self.assertEqual(got, [d + r for d in (b"a", b"b") for r in replies])

    def test_manyRepliesLeave(self) -> None:
        """
        Of many replies that a protocol writes, those that fill the slots leave
        while it still writes.
        """
        port = self.echo()
        client = self.client(port)
        early: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            for _ in range(SLOTS):
                port.write(datagram, addr)
            early.extend(self.pending(client))

        self.protocol.react = react
        self.assertEqual(self.exchangeFrom(client, port, [b"a", b"b"]), [])
        self.assertEqual(early, [b"a"] * SLOTS + [b"b"] * SLOTS)

    def test_later(self) -> None:
        """
        A peer can be answered after its batch is through, and amidst another,
        from the address that it has asked.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]
        early, late = (connectUDP("127.0.0.2", number) for _ in range(2))
        self.addCleanup(early.close)
        self.addCleanup(late.close)
        for _ in range(2):
            early.send(b"early")
        port.doRead()
        name = self.protocol.received[0][1]
        port.write(b"at once", name)
        self.assertEqual(list(self.pending(early)), [b"at once"])

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            port.write(datagram, name)

        self.protocol.react = react
        for _ in range(2):
            late.send(b"late")
        port.doRead()
        self.assertEqual(list(self.pending(late)), [b"late"] * 2)
        self.assertEqual(list(self.pending(early)), [b"late"] * 2)

    def test_laterInOtherWords(self) -> None:
        """
        What is written to such a peer amidst another's batch arrives in order,
        whatever it is called.
        """
        port = self.echo()
        early, late = self.client(port), self.client(port)
        self.exchangeFrom(early, port, [b"early"])
        name = self.protocol.received[0][1]

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"one", name)
            port.write(b"two", tuple(name))

        self.protocol.react = react
        self.exchangeFrom(late, port, [b"late"] * 2)
        self.assertEqual(list(self.pending(early)), [b"one", b"two"] * 2)

    def test_addressAsked(self) -> None:
        """
        On a port for all addresses a reply leaves from the one that was asked,
        alone and in a batch, with the peer named as it was or in other words.
        """
        for everywhere, addresses in eachFamily(
            ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.1.2.3"]),
            ("::", ["::1"]),
        ):
            for rename in (lambda addr: addr, tuple):
                [sock] = bindUDP(0, [everywhere])
                port = self.listen(sock, protocol := RecordingProtocol())
                protocol.react = lambda datagram, addr, port=port, rename=rename: (
                    port.write(datagram, rename(addr))
                )
                clients = [
                    connectUDP(address, sock.getsockname()[1]) for address in addresses
                ]
                for count in (1, 5):
                    for client in clients:
                        self.addCleanup(client.close)
                        for _ in range(count):
                            client.send(b"x")
                    port.doRead()
                    for client in clients:
                        self.assertEqual(list(self.pending(client)), [b"x"] * count)

    def test_onePeerAsksTwoAddresses(self) -> None:
        """
        One peer that asks two addresses hears from each of them.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        self.protocol.react = port.write
        number = sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.2"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(4):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_onePeerInOtherWords(self) -> None:
        """
        It also does when the protocol calls it by another tuple.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        self.protocol.react = lambda datagram, addr: port.write(datagram, tuple(addr))
        number = sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(3):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_otherOrder(self) -> None:
        """
        One peer that asks two addresses hears from the right ones also when it
        is answered in another order.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]

        def react(datagram: bytes, addr: Any) -> None:
            if len(self.protocol.received) == 2:
                for each in reversed(self.protocol.received):
                    port.write(*each)

        self.protocol.react = react
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            for address in ("127.0.0.2", "127.0.0.3"):
                client.sendto(address.encode(), (address, number))
            port.doRead()
            for _ in range(2):
                reply, (host, _) = client.recvfrom(100)
                self.assertEqual(reply.decode(), host)

    def test_broadcast(self) -> None:
        """
        A datagram that was sent to a broadcast address goes to the protocol's
        C{groupDatagramReceived}, if it has one.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        number = sock.getsockname()[1]
        toGroup: list[bytes] = []

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.sendto(b"one", ("127.0.0.1", number))
                client.sendto(b"all", ("127.255.255.255", number))
                client.sendto(b"two", ("127.0.0.1", number))
            port.doRead()

        send()
        self.assertEqual(
            [d for d, _ in self.protocol.received], [b"one", b"all", b"two"]
        )
        self.protocol.received.clear()
        self.protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            lambda datagram, addr: toGroup.append(datagram)
        )
        send()
        self.assertEqual([d for d, _ in self.protocol.received], [b"one", b"two"])
        self.assertEqual(toGroup, [b"all"])

    def test_bursts(self) -> None:
        """
        Bursts that the kernel has kept together are cut up, delivered and
        answered like any other datagrams.
        """
        for everywhere, address in eachFamily(("0.0.0.0", "127.0.0.2"), ("::", "::1")):
            [sock] = bindUDP(0, [everywhere])
            port = self.listen(sock, protocol := RecordingProtocol())
            protocol.react = port.write
            with connectUDP(address, sock.getsockname()[1]) as client:
                raiseReceiveBuffer(client, 4 << 20)
                expected = []
                for length, count, rest in ((7, 60, 3), (1, 1, 0), (1400, 40, 0)):
                    burst = os.urandom(length * count + rest)
                    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, length)
                    client.send(burst)
                    expected += [
                        burst[start : start + length]
                        for start in range(0, len(burst), length)
                    ]
                    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
                    for single in (b"", bytes(1000)):
                        client.send(single)
                        expected.append(single)
                port.doRead()
                self.assertEqual([d for d, _ in protocol.received], expected)
                self.assertEqual(list(self.pending(client)), expected)

    def test_burstAfterOne(self) -> None:
        """
        So is a burst that comes after a datagram that came alone, from the address
        that it was sent to.
        """
        port = self.echo("0.0.0.0")
        with connectUDP("127.0.0.2", port.socket.getsockname()[1]) as client:
            self.assertEqual(self.exchangeFrom(client, port, [b"alone"]), [b"alone"])
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
            replies = self.exchangeFrom(client, port, [b"abc"])
            self.assertEqual(replies, [b"a", b"b", b"c"])

    def test_burstsAnswered(self) -> None:
        """
        A protocol that answers whole batches answers bursts, too, and a visit
        takes no more of them than of other datagrams: the rest comes with the
        next, also when nothing else has arrived.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock, protocol := Shout())
        with connectUDP("127.0.0.2", sock.getsockname()[1]) as client:
            raiseReceiveBuffer(client, 4 << 20)
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 5)
            bursts = [b"%05x" % i for i in range(0xAB00, 0xAB00 + 900)]
            for start in range(0, 900, 60):
                client.send(b"".join(bursts[start : start + 60]))
            port.doRead()
            self.assertEqual(protocol.counters.received, port.maxDatagrams)
            [call] = self.reactor.getDelayedCalls()
            self.assertEqual(call.getTime(), self.reactor.seconds())
            self.reactor.pump([0] * 4)
            replies = list(self.pending(client))
        self.assertEqual(replies, [each.upper() for each in bursts])
        self.assertEqual(protocol.counters.received, 900)

    def test_burstsPausedFromWithin(self) -> None:
        """
        Nor is it when the protocol pauses the port while it is given some.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        for _ in range(20):
            client.send(bytes(60))
        self.protocol.react = lambda datagram, addr: port.pauseProducing()
        port.doRead()
        self.reactor.pump([1] * 9)
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        self.protocol.react = None
        port.resumeProducing()
        port.resumeProducing()
        self.reactor.pump([0] * 5)
        self.assertEqual(len(self.protocol.received), 1200)

    def test_burstsPaused(self) -> None:
        """
        What is left of bursts is not delivered while the port is paused, and is
        when it is resumed.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        for _ in range(20):
            client.send(bytes(60))
        port.doRead()
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        port.pauseProducing()
        self.reactor.advance(1)
        self.assertEqual(len(self.protocol.received), port.maxDatagrams)
        port.resumeProducing()
        self.reactor.pump([0] * 5)
        self.assertEqual(len(self.protocol.received), 1200)

    def test_burstsDrainedBeyondTheBound(self) -> None:
        """
        That goes also for what is left when draining has reached its bound.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        for _ in range(20):
            client.send(bytes(60))
        port.drain()
        self.assertEqual(len(self.protocol.received), 1200)

    def test_burstsForked(self) -> None:
        """
        What is left of bursts is not touched by what a forked process receives.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 4)
        expected = [b"%04d" % number for number in range(1200)]
        for start in range(0, 1200, 60):
            client.send(b"".join(expected[start : start + 60]))
        port.doRead()
        for _ in range(20):
            client.send(bytes(240))
        forked = os.fork()
        if not forked:
            try:
                port.drain()
            finally:
                os._exit(0)
        os.waitpid(forked, 0)
        port.drain()
        self.assertEqual([d for d, _ in self.protocol.received], expected)

    def test_burstsDrained(self) -> None:
        """
        Draining delivers what is left of bursts, too.
        """
        port = self.echo()
        client = self.client(port)
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        for _ in range(20):
            client.send(bytes(60))
        port.doRead()
        port.drain()
        self.assertEqual(len(self.protocol.received), 1200)

    def test_sameObject(self) -> None:
        """
        A peer is given as the same object each time, and equals the tuple of
        its host and its port.
        """
        port = self.echo()
        client, _ = self.exchange(port, [b"a", b"b"])
        first, second = (addr for _, addr in self.protocol.received)
        self.assertIs(first, second)
        self.assertEqual(first, client.getsockname())
        self.assertEqual(hash(first), hash(client.getsockname()))

    def test_sameObjectAfterBursts(self) -> None:
        """
        Also after bursts, whose envelopes look different, a peer is the same
        object.
        """
        for address in LOOPBACK:
            port = self.echo(address)
            client = self.client(port)
            for number in range(10):
                size = number % 2
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
                client.send(bytes(5))
            port.doRead()
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
            self.protocol.received.clear()
            self.exchangeFrom(client, port, [b"x"] * 20)
            peers = [addr for _, addr in self.protocol.received]
            self.assertEqual(len(peers), 20)
            self.assertEqual(len(set(map(id, peers))), 1)

    def test_wholeBatches(self) -> None:
        """
        The batch that reaches the bound of a visit is delivered whole.
        """
        port = self.echo()
        port.maxDatagrams = SLOTS + 1
        client = self.client(port)
        for _ in range(3 * SLOTS):
            client.send(b"")
        port.doRead()
        self.assertEqual(len(self.protocol.received), 2 * SLOTS)

    def test_boundedBytes(self) -> None:
        """
        A visit ends after a bounded number of bytes, too.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        port.maxBytes = 64 * 1000
        client = self.client(port)
        for _ in range(3 * SLOTS):
            client.send(bytes(1000))
        port.doRead()
        self.assertEqual(len(self.protocol.received), SLOTS)

    def test_boundedMebibyte(self) -> None:
        """
        That is a mebibyte, where the receive buffer holds more.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        port = self.listen(sock)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 4 << 20:
            self.skipTest("the system allows no larger receive buffer")
        client = self.client(port)
        for _ in range(4 * SLOTS):
            client.send(bytes(8192))
        port.doRead()
        self.assertEqual(len(self.protocol.received), 2 * SLOTS)

    def test_totalBytes(self) -> None:
        """
        The bytes that have arrived, and those that were sent, are counted,
        whatever fails in between.
        """
        port = self.echo()
        client = self.client(port)
        calls = Calls(self)
        for failures, datagrams, sent in (
            ([], [b"alone"], 5),
            ([], [b"one", b"two", b"three"], 11),
            ([errno.ENOBUFS], [b"one", b"two", b"three", b""], 8),
            ([errno.EINVAL], [b"aa", b"bb", b"ccc"], 7),
            ([0, errno.EPERM], [b"a", b"bb", b"ccc", b"ccc"], 9),
            ([errno.EPERM], [b"a", b"bb", b"ccc"], 5),
        ):
            calls.failures = failures
            before = port.totalBytes()
            replies = self.exchangeFrom(client, port, datagrams)
            self.assertEqual(sum(map(len, replies)), sent)
            received = before[0] + sum(map(len, datagrams))
            self.assertEqual(port.totalBytes(), (received, before[1] + sent))

    def test_segmentSizes(self) -> None:
        """
        What was sent in segments before has no bearing on what is sent alone.
        """
        port = self.echo()
        client = self.client(port)
        for datagrams in (
            [b"aa", b"aa", b"b", b"cc", b"cc"],
            [b"dddd", b"dddd", b"eeeee", b"fff"],
        ):
            self.assertEqual(self.exchangeFrom(client, port, datagrams), datagrams)

    def test_longest(self) -> None:
        """
        The longest datagrams that IPv4 and IPv6 carry can be sent, and longer
        ones raise.
        """
        for address, longest in eachFamily(("127.0.0.1", 65507), ("::1", 65527)):
            port = self.echo(address)
            client = self.client(port)
            peer = client.getsockname()[:2]
            port.write(bytes(longest), peer)
            self.assertEqual(len(client.recv(70_000)), longest)
            too = bytes(longest + 1)
            self.assertRaises(MessageLengthError, port.write, too, peer)
            self.assertEqual(port.sendErrors, {errno.EMSGSIZE: 1})

    def test_anothersPeer(self) -> None:
        """
        A peer that another port has heard of is like any other address: what is
        written to it does not leave from where it has asked.
        """
        asked = self.echo("127.0.0.2")
        [client] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(client.close)
        client.sendto(b"x", asked.socket.getsockname())
        asked.doRead()
        [(_, peer)] = self.protocol.received
        client.recv(9)

        port = self.echo("127.0.0.3")
        port.write(b"at once", peer)
        self.protocol.react = lambda datagram, addr: port.write(datagram, peer)
        self.exchange(port, [b"one", b"two"])
        for expected in (b"at once", b"one", b"two"):
            self.assertEqual(client.recvfrom(9), (expected, port.socket.getsockname()))
        if hasIPv6:
            self.assertRaises(InvalidAddressError, self.echo("::1").write, b"x", peer)

    def test_anotherOfTheBatch(self) -> None:
        """
        A peer whose datagram is in the same batch is answered from the address
        that it has asked, also when it is called by another tuple.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock)
        clients = [
            connectUDP(address, sock.getsockname()[1])
            for address in ("127.0.0.2", "127.0.0.3")
        ]
        names = [client.getsockname() for client in clients]
        for client in clients:
            self.addCleanup(client.close)
        others = dict(zip(names, reversed(names)))
        self.protocol.react = lambda datagram, addr: port.write(datagram, others[addr])
        for client in clients:
            client.send(b"from %d" % names.index(client.getsockname()))
        port.doRead()
        self.assertEqual(list(self.pending(clients[0])), [b"from 1"])
        self.assertEqual(list(self.pending(clients[1])), [b"from 0"])

    def test_orderAmongStrangers(self) -> None:
        """
        What is written to a peer of the batch and to others leaves in order.
        """
        port = self.echo()
        client, stranger = self.client(port), self.client(port)
        arrived: list[bytes] = []

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            port.write(datagram, stranger.getsockname())
            arrived.append(client.recv(9))

        self.protocol.react = react
        self.exchangeFrom(client, port, [b"one", b"two"])
        self.assertEqual(arrived, [b"one", b"two"])

    def test_refusedAmidstABatch(self) -> None:
        """
        When it turns out that a connected peer has refused something before,
        the protocol is told, and no more than one reply is lost.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        port = self.listen(connectUDP(*address))
        again: list[socket.socket] = []

        def react(datagram: bytes, addr: Any) -> None:
            if not again:
                server.close()
                port.socket.send(b"is anybody there?")
                again.extend(bindUDP(address[1], [address[0]]))
            port.write(datagram, addr)

        self.protocol.react = react
        for _ in range(5):
            server.sendto(b"x", port.socket.getsockname())
        port.doRead()
        with again[0]:
            self.assertEqual(list(self.pending(again[0])), [b"x"] * 4)
        self.assertEqual(self.protocol.refusals, 1)
        self.assertEqual(port.sendErrors, {errno.ECONNREFUSED: 1})

    def test_otherControlMessages(self) -> None:
        """
        What else a socket from elsewhere was made to tell of its datagrams is
        not taken for anything, and bursts are known among it.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
        port = self.listen(sock)
        self.protocol.react = port.write
        client = connectUDP("127.0.0.2", sock.getsockname()[1])
        self.addCleanup(client.close)
        for _ in range(2):
            datagrams = [b"alone"]
            self.assertEqual(self.exchangeFrom(client, port, datagrams), datagrams)
            datagrams = [b"one", b"two", b"", b"four"]
            self.assertEqual(self.exchangeFrom(client, port, datagrams), datagrams)
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 2)
            datagrams = [b"aa", b"bb", b"c"]
            self.assertEqual(self.exchangeFrom(client, port, [b"aabbc"]), datagrams)
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)

    @needsIPv6Sockets
    def test_dualStack(self) -> None:
        """
        On a socket for IPv6 and IPv4 both, IPv4 peers are answered from the
        address that they have asked, and what they send to a group is known as
        such.
        """
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        number = sock.getsockname()[1]
        early = connectUDP("127.0.0.1", number)
        self.addCleanup(early.close)
        early.send(b"early")
        port = self.listen(sock)
        self.protocol.react = port.write
        self.assertEqual(self.exchangeFrom(early, port, []), [b"early"])
        toGroup: list[bytes] = []
        self.protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            lambda datagram, addr: toGroup.append(datagram)
        )
        for address in ("127.0.0.2", *LOOPBACK):
            client = connectUDP(address, number)
            self.addCleanup(client.close)
            for count in (1, 3):
                datagrams = [b"x" * i for i in range(count)]
                self.assertEqual(self.exchangeFrom(client, port, datagrams), datagrams)
        [client] = bindUDP(0, ["127.0.0.1"])
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(b"all", ("127.255.255.255", number))
            client.sendto(b"one", ("127.0.0.3", number))
            port.doRead()
            self.assertEqual(list(self.pending(client)), [b"one"])
        self.assertEqual(toGroup, [b"all"])

    def test_answersNoGroup(self) -> None:
        """
        A protocol that answers whole batches is given what was sent to a group
        by itself.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        port = self.listen(sock, protocol := Shout())
        number = sock.getsockname()[1]
        [client] = bindUDP(0, ["127.0.0.1"])
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for host in ("127.0.0.1", "127.255.255.255", "127.0.0.1"):
                client.sendto(b"to " + host.encode(), (host, number))
            port.doRead()
            self.assertEqual(list(self.pending(client)), [b"TO 127.0.0.1"] * 2)
        self.assertEqual(protocol.counters.dropped, {"broadcast": 1})

    def test_sendFailedRaises(self) -> None:
        """
        What C{sendFailed} raises is logged, and the rest is told as well.
        """
        port = self.echo()
        told: list[int] = []

        def sendFailed(number: int, count: int) -> None:
            told.append(number)
            raise ZeroDivisionError()

        self.protocol.sendFailed = sendFailed  # type: ignore[attr-defined]
        Calls(self).failures = [errno.ENOBUFS, errno.EPERM]
        self.assertEqual(self.exchange(port, [b"x", b"yy", b"zzz"])[1], [b"zzz"])
        self.assertEqual(told, [errno.ENOBUFS, errno.EPERM])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_writesWhenSendingFails(self) -> None:
        """
        A protocol can write when it is told that something could not be sent;
        if that fails too it is counted, and not told.
        """
        port = self.echo()
        client = self.client(port)
        told: list[tuple[int, int]] = []

        def sendFailed(number: int, count: int) -> None:
            told.append((number, count))
            port.write(b"sorry", ("127.0.0.1", 0))
            port.write(b"sorry", client.getsockname())

        self.protocol.sendFailed = sendFailed  # type: ignore[attr-defined]
        Calls(self).failures = [errno.ENOBUFS] * 2
        replies = self.exchangeFrom(client, port, [b"a", b"bb"])
        self.assertEqual(replies, [b"sorry"])
        self.protocol.react = lambda datagram, addr: port.write(
            datagram, ("127.0.0.1", 0)
        )
        self.assertEqual(self.exchangeFrom(client, port, [b"x"]), [b"sorry"])
        self.assertEqual(told, [(errno.ENOBUFS, 2), (errno.EINVAL, 1)])
        self.assertEqual(port.sendErrors, {errno.ENOBUFS: 2, errno.EINVAL: 3})

    def test_closedWithinAVisit(self) -> None:
        """
        When the port is closed on a visit within a visit, nothing is sent by
        the descriptor that it had: that may be another's by then.
        """
        port = self.echo()
        [client], [other] = bindUDP(0, ["127.0.0.1"]), bindUDP(0, ["127.0.0.1"])
        address, number = port.socket.getsockname(), port.fileno()

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)
            if datagram == b"outer":
                client.sendto(b"inner", address)
                port.doRead()
                port.write(b"too late", addr)
            else:
                self.stop(port)
                os.dup2(other.fileno(), number)
                self.addCleanup(os.close, number)

        self.protocol.react = react
        with client, other:
            for datagram in (b"outer", b"never delivered"):
                client.sendto(datagram, address)
            port.doRead()
            for expected in (b"outer", b"inner"):
                self.assertEqual(client.recvfrom(99), (expected, address))
            self.assertRaises(BlockingIOError, client.recv, 99)

    def test_visitWithinAVisit(self) -> None:
        """
        When a protocol lets the reactor go on while it is given a datagram,
        what it has written before and what it writes after are both sent.
        """
        port = self.echo()
        client = self.client(port)

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"before " + datagram, addr)
            if datagram == b"outer":
                client.send(b"inner 1")
                client.send(b"inner 2")
                port.doRead()
            port.write(b"after " + datagram, tuple(addr))

        self.protocol.react = react
        self.assertEqual(
            sorted(self.exchangeFrom(client, port, [b"outer", b"other"])),
            sorted(
                f"{when} {what}".encode()
                for what in ("outer", "other", "inner 1", "inner 2")
                for when in ("before", "after")
            ),
        )

    def test_closedAmidstABatch(self) -> None:
        """
        What was written before the port is closed from within a batch is sent,
        and what is written later is not.
        """
        port = self.echo()

        def react(datagram: bytes, addr: Any) -> None:
            port.write(b"bye", addr)
            self.stop(port)
            port.write(b"too late", addr)

        self.protocol.react = react
        client = self.client(port)
        for _ in range(3):
            client.send(b"x")
        port.doRead()
        self.assertEqual(list(self.pending(client)), [b"bye"])
        self.assertEqual(len(self.protocol.received), 1)

    def test_closedAmidstAFullBatch(self) -> None:
        """
        When the port is closed from within a batch that may not be the last, the
        descriptor that it had, which may be another's by then, is not used again.
        """
        protocols: Iterable[Any] = RecordingProtocol(), Shout()
        for protocol in protocols:
            [sock], [other] = bindUDP(0, ["127.0.0.1"]), bindUDP(0, ["127.0.0.1"])
            port, number = self.listen(sock, protocol), sock.fileno()

            def close(
                datagram: bytes,
                addr: Any = None,
                port: Any = port,
                number: int = number,
                other: socket.socket = other,
            ) -> bytes:
                if port.connected:
                    self.stop(port)
                    os.dup2(other.fileno(), number)
                    self.addCleanup(os.close, number)
                return datagram.upper()

            protocol.react = protocol.transform = close
            with self.client(port) as client, other:
                for _ in range(64):
                    client.send(b"x")
                client.connect(other.getsockname())
                client.send(b"for another")
                port.doRead()
                self.assertEqual(other.recv(99), b"for another")
                self.assertEqual(list(self.pending(client)), [])


@needsBatches
class BatchedRefusalTestsBuilder(RefusalTestsBuilder):
    """
    Tests for a connected L{BatchedPort} on each reactor.
    """

    portType = BatchedPort


if available:
    globals().update(BatchedRefusalTestsBuilder.makeTestCaseClasses())


@needsBatches
@skipIf(whyNot, whyNot)
class NetworkTests(SynchronousTestCase):
    """
    Tests for L{BatchedPort} between two hosts.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.hosts = Hosts(self)
        self.toGroup: list[bytes] = []

    def echo(self, address: str, portType: type[DatagramPort] = BatchedPort) -> Any:
        """
        Start a port on the first host whose protocol answers everything as it
        is.
        """
        with self.hosts.on("a"):
            [sock] = bindUDP(9999, [address])
        self.protocol = RecordingProtocol()
        port = portType(sock, self.protocol, self.reactor)

        def groupReceived(datagram: bytes, addr: Any) -> None:
            self.toGroup.append(datagram)
            port.write(datagram, addr)

        self.protocol.react = port.write
        self.protocol.groupDatagramReceived = (  # type: ignore[attr-defined]
            groupReceived
        )
        port.startListening()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(port.stopListening)
        return port

    def client(self, host: str) -> socket.socket:
        """
        Make a socket on the second host that is connected to the first.
        """
        with self.hosts.on("b"):
            client = connectUDP(host, 9999)
        self.addCleanup(client.close)
        client.settimeout(10)
        raiseReceiveBuffer(client, 4 << 20)
        return client

    def visit(self, port: DatagramPort, count: int) -> list[Any]:
        """
        Let a port visit until so many datagrams have arrived, and return where
        they came from.
        """
        while len(self.protocol.received) < count:
            self.arrive(port)
        peers = [addr for _, addr in self.protocol.received]
        self.protocol.received.clear()
        return peers

    def arrive(self, port: DatagramPort) -> None:
        """
        Wait until something arrives at a port, and let it visit once.
        """
        ready, _, _ = select.select([port], [], [], 10)
        self.assertTrue(ready, "nothing arrives")
        # The names of interfaces are those of where the process is.
        with self.hosts.on("a"):
            port.doRead()

    def test_twoAddresses(self) -> None:
        """
        A host with two addresses answers from the one that was asked.
        """
        port = self.echo("0.0.0.0")
        for address in ("192.0.2.1", "192.0.2.3"):
            client = self.client(address)
            for count in (1, 3):
                for _ in range(count):
                    client.send(b"x")
                self.visit(port, count)
                self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)

    def test_pathMTU(self) -> None:
        """
        Replies that fit the path and replies that do not all arrive whole.
        """
        for everywhere, address in (("0.0.0.0", "192.0.2.1"), ("::", "2001:db8::1")):
            port = self.echo(everywhere)
            client = self.client(address)
            for _ in range(2):
                for size in (1400, 1472, 1473, 3000, 65000, 5):
                    datagrams = [os.urandom(size) for _ in range(5)]
                    for datagram in datagrams:
                        client.send(datagram)
                    self.visit(port, 5)
                    self.assertEqual([client.recv(65535) for _ in range(5)], datagrams)
            self.assertEqual(port.sendErrors, {})

    def test_linkLocal(self) -> None:
        """
        A link-local IPv6 peer is known with its scope, and gets its answers.
        """
        for portType in (BatchedPort, DatagramPort):
            port = self.echo("fe80::1%va", portType)
            client = self.client("fe80::1%vb")
            for count in (1, 3):
                for _ in range(count):
                    client.send(b"x")
                peers = self.visit(port, count)
                self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)
                self.assertEqual(peers[0], ("fe80::2%va", client.getsockname()[1]))
            port.stopListening()
            self.reactor.advance(0)

    def test_source(self) -> None:
        """
        A socket sends from the address that it is told to, also from one that
        means nothing without its scope.
        """
        for host, source in (
            ("192.0.2.1", "192.0.2.2"),
            ("fe80::1%vb", "fe80::2%vb"),
        ):
            with self.hosts.on("b"), connectUDP(host, 9999, source) as client:
                self.assertEqual(hostAndPort(client.getsockname())[0], source)

    def test_linkLocalAsked(self) -> None:
        """
        A peer with a global address that asks a link-local one is answered from
        there.
        """
        port = self.echo("::")
        with self.hosts.on("b"):
            client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            scope = socket.if_nametoindex("vb")
        with client:
            client.settimeout(10)
            client.bind(("2001:db8::2", 0))
            client.connect(("fe80::1", 9999, 0, scope))
            for count in (1, 3):
                for _ in range(count):
                    client.send(b"x")
                self.visit(port, count)
                self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)
        self.assertEqual(port.sendErrors, {})

    def test_addressByRoute(self) -> None:
        """
        An address that is the host's because a route says so answers like any
        other.
        """
        port = self.echo("::")
        self.hosts.ip("a", "-6 route add local 2001:db8:1::/64 dev lo")
        self.hosts.ip("b", "-6 route add 2001:db8:1::/64 via 2001:db8::1")
        client = self.client("2001:db8:1::7")
        for count in (1, 3):
            for _ in range(count):
                client.send(b"x")
            self.visit(port, count)
            self.assertEqual([client.recv(9) for _ in range(count)], [b"x"] * count)

    def test_groups(self) -> None:
        """
        Datagrams sent to a broadcast or a multicast address are known as such,
        and can be answered all the same.
        """
        port = self.echo("0.0.0.0")
        with self.hosts.on("b"):
            [v4, v6] = bindUDP(0)
        with v4, v6:
            v4.settimeout(10)
            v4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for payload, address in ((b"all", "192.0.2.255"), (b"one", "192.0.2.1")):
                v4.sendto(payload, (address, 9999))
                self.arrive(port)
                self.assertEqual(v4.recvfrom(9), (payload, ("192.0.2.1", 9999)))

            port = self.echo("::")
            v6.settimeout(10)
            with self.hosts.on("b"):
                scope = socket.if_nametoindex("vb")
            for payload, address in ((b"all", "ff02::1"), (b"one", "fe80::1")):
                v6.sendto(payload, (address, 9999, 0, scope))
                self.arrive(port)
                self.assertEqual(v6.recvfrom(9)[0], payload)
        self.assertEqual(self.toGroup, [b"all"] * 2)

    def test_noRoute(self) -> None:
        """
        A reply for which there is no way is counted, and the others leave.
        """
        port = self.echo("0.0.0.0")
        good, bad = self.client("192.0.2.1"), self.client("192.0.2.1")
        with self.hosts.on("b"):
            self.hosts.ip("b", "address add 198.51.100.2/32 dev vb")
            self.hosts.ip("a", "route add prohibit 198.51.100.0/24")
            bad = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with bad:
            bad.bind(("198.51.100.2", 0))
            for _ in range(3):
                good.send(b"x")
                bad.sendto(b"x", ("192.0.2.1", 9999))
            self.visit(port, 6)
        self.assertEqual([good.recv(9) for _ in range(3)], [b"x"] * 3)
        self.assertEqual(port.sendErrors, {errno.EACCES: 3})


class ListenTests(SynchronousTestCase):
    """
    Tests for L{listen}.
    """

    def portTypes(self) -> list[type]:
        """
        Listen on a socket of each family, and return the types of the ports.
        """
        path = os.path.join(shortDirectory(self), "s")
        reactor = MemoryReactorClock()
        ports = [
            listen(sock, DatagramProtocol(), reactor)
            for sock in [*bindUDP(0, LOOPBACK), bindUNIX(path)]
        ]
        for port in ports:
            self.assertIn(port, reactor.getReaders())
            port.stopListening()
        reactor.advance(0)
        return [type(port) for port in ports]

    @needsBatches
    def test_batched(self) -> None:
        """
        UDP is read in batches, UNIX sockets are not.
        """
        *udp, unix = self.portTypes()
        self.assertEqual((set(udp), unix), ({BatchedPort}, DatagramPort))

    def test_fallback(self) -> None:
        """
        Where the system calls are missing, UDP goes without batches.
        """
        from shout.udp import batched

        self.patch(batched, "available", False)
        self.assertEqual(set(self.portTypes()), {DatagramPort})

    def test_purePython(self) -> None:
        """
        With C{SHOUT_PURE_PYTHON} in the environment, unless it is empty, UDP goes
        without batches, too.
        """
        script = "from shout.udp.mmsg import available; print(available)"
        hasCalls = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "recvmmsg")
        for value, expected in (("1", False), ("", hasCalls)):
            printed = subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ | {"SHOUT_PURE_PYTHON": value},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            self.assertEqual(printed, f"{expected}\n")
