"""
Tests for the errors of L{shout.udp.port}.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from unittest import skipUnless

from twisted.internet.error import MessageLengthError

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.batched import BatchedPort
from tests.batches import needsBatches
from tests.families import eachFamily, needsIPv6
from tests.udp.fakes import FakeIO, RecordingProtocol
from tests.udp.portcase import PortCase

# From linux/in6.h; Python does not have them.
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_DO = 2

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class SendErrorTests(PortCase):
    """
    Tests for datagrams that a port cannot send.
    """

    def test_errors(self) -> None:
        """
        A datagram that cannot be sent is counted by its error number and reported to
        the protocol, and the others are sent.
        """
        reported: list[tuple[int, int]] = []
        for number in (
            errno.EAGAIN,
            errno.ENOBUFS,
            errno.EPERM,
            errno.EACCES,
            errno.ECONNREFUSED,
            errno.ENETUNREACH,
        ):
            port = self.echo()
            FakeIO(port).unsendable[b"xx"] = number
            self.protocol.sendFailed = (  # type: ignore[attr-defined]
                lambda number, count: reported.append((number, count))
            )
            datagrams = [b"x" * i for i in range(5)]
            replies = self.exchange(self.client(port), port, datagrams)
            self.assertEqual(replies, [*datagrams[:2], *datagrams[3:]])
            self.assertEqual(port.sendErrors, {number: 1})
            self.assertEqual(reported.pop(), (number, 1))
            self.assertIn(port, self.reactor.getReaders())

    def test_errorOutsideBatch(self) -> None:
        """
        A datagram that cannot be sent outside a batch is counted, too.
        """
        port = self.echo()
        # Nothing can be sent to port 0.
        port.write(b"x", ("127.0.0.1", 0))
        self.assertEqual(port.sendErrors, {errno.EINVAL: 1})

    @needsIPv6
    def test_tooLongForPath(self) -> None:
        """
        A datagram that is too long for the path is counted, and does not call
        C{connectionRefused}.
        """
        [server] = bindUDP(0, ["::1"])
        self.addCleanup(server.close)
        address = server.getsockname()[:2]
        [unconnected] = bindUDP(0, ["::1"])
        for sock, addr in (unconnected, address), (connectUDP(*address), None):
            port = self.listen(sock, protocol := RecordingProtocol())
            # The longest datagram exceeds the MTU of the loopback.
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
            port.write(bytes(65527), addr)
            self.assertEqual(port.sendErrors, {errno.EMSGSIZE: 1})
            self.assertEqual(protocol.icmpErrors, 0)

    def test_errorWithoutNumber(self) -> None:
        """
        An error without a number is counted as 0.
        """

        class FailingSocket:
            """
            A socket that cannot send.
            """

            def sendto(self, datagram: bytes, addr: Any) -> int:
                raise OSError("for some reason")

        port = self.echo()
        self.patch(port, "socket", FailingSocket())
        port.write(b"x", ("127.0.0.1", 9999))
        self.assertEqual(port.sendErrors, {0: 1})

    @skipUnless(ISROOT, "forging a source port needs root")
    def test_portZero(self) -> None:
        """
        Datagrams with a forged source port 0 are delivered.  The replies cannot be sent
        and are counted, alone and in a batch.
        """
        port = self.echo()
        number = port.getHost().port
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            for count in (1, 3):
                for _ in range(count):
                    ports = (0).to_bytes(2, "big") + number.to_bytes(2, "big")
                    raw.sendto(ports + b"\0\x09\0\0x", ("127.0.0.1", 0))
                port.doRead()
        self.assertEqual(self.protocol.received, [(b"x", ("127.0.0.1", 0))] * 4)
        self.assertEqual(port.sendErrors, {errno.EINVAL: 4})

    def test_longest(self) -> None:
        """
        The longest datagrams of IPv4 and IPv6 are sent, and longer ones raise
        C{MessageLengthError}.
        """
        for address, longest in eachFamily(("127.0.0.1", 65507), ("::1", 65527)):
            port = self.echo(address)
            client = self.client(port)
            peer = client.getsockname()[:2]
            port.write(bytes(longest), peer)
            self.assertEqual(len(client.recv(70_000)), longest)
            tooLong = bytes(longest + 1)
            self.assertRaises(MessageLengthError, port.write, tooLong, peer)
            self.assertEqual(port.sendErrors, {errno.EMSGSIZE: 1})

    def test_receiveRaises(self) -> None:
        """
        Any exception of receiving is logged, and the port stays open.
        """

        def receive(limit: int) -> Any:
            raise MemoryError("no memory")

        port = self.echo()
        client = self.client(port)
        io = FakeIO(port)
        self.patch(io, "receive", receive)
        client.send(b"x")
        port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertIn(port, self.reactor.getReaders())
        del io.receive
        port.doRead()
        self.assertEqual(self.receiveAll(client), [b"x"])

    def test_icmpErrorInBatch(self) -> None:
        """
        If an ICMP error shows while a batch is sent, C{connectionRefused} is called,
        and no more than one reply is lost.
        """
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        port = self.listen(connectUDP(*address))
        restarted: list[socket.socket] = []

        def react(datagram: bytes, addr: Any) -> None:
            if not restarted:
                server.close()
                port.socket.send(b"refused")
                restarted.extend(bindUDP(address[1], [address[0]]))
            port.write(datagram, addr)

        self.protocol.react = react
        for _ in range(5):
            server.sendto(b"x", port.socket.getsockname())
        port.doRead()
        with restarted[0]:
            self.assertEqual(self.receiveAll(restarted[0]), [b"x"] * 4)
        self.assertEqual(self.protocol.icmpErrors, 1)
        self.assertEqual(port.sendErrors, {errno.ECONNREFUSED: 1})

    def test_sendFailedRaises(self) -> None:
        """
        An exception from C{sendFailed} is logged and counted, and the next error is
        reported.
        """
        port = self.echo()
        reported: list[int] = []

        def sendFailed(number: int, count: int) -> None:
            reported.append(number)
            raise ZeroDivisionError()

        self.protocol.sendFailed = sendFailed  # type: ignore[attr-defined]
        FakeIO(port).unsendable = {b"x": errno.ENOBUFS, b"yy": errno.EPERM}
        self.assertEqual(
            self.exchange(self.client(port), port, [b"x", b"yy", b"zzz"]), [b"zzz"]
        )
        self.assertEqual(reported, [errno.ENOBUFS, errno.EPERM])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(port.protocolErrors, 2)

    def test_writeInSendFailed(self) -> None:
        """
        A protocol can write while C{sendFailed} is called.  If that fails, too, it is
        counted, but not reported.
        """
        port = self.echo()
        client = self.client(port)
        reported: list[tuple[int, int]] = []

        def sendFailed(number: int, count: int) -> None:
            reported.append((number, count))
            port.write(b"sorry", ("127.0.0.1", 0))
            port.write(b"sorry", client.getsockname())

        self.protocol.sendFailed = sendFailed  # type: ignore[attr-defined]
        FakeIO(port).unsendable[b"a"] = errno.ENOBUFS
        self.assertEqual(self.exchange(client, port, [b"a"]), [b"sorry"])
        self.protocol.react = lambda datagram, addr: port.write(
            datagram, ("127.0.0.1", 0)
        )
        self.assertEqual(self.exchange(client, port, [b"x"]), [b"sorry"])
        self.assertEqual(reported, [(errno.ENOBUFS, 1), (errno.EINVAL, 1)])
        self.assertEqual(port.sendErrors, {errno.ENOBUFS: 1, errno.EINVAL: 3})

    def test_totalBytes(self) -> None:
        """
        Payload bytes received and sent are counted, and those of datagrams that fail
        are not.
        """
        port = self.echo()
        client = self.client(port)
        io = FakeIO(port)
        for unsendable, number, datagrams, sent in (
            (b"none", 0, [b"alone"], 5),
            (b"none", 0, [b"one", b"two", b"three"], 11),
            (b"one", errno.ENOBUFS, [b"one", b"two", b"three", b""], 8),
            (b"aa", errno.EINVAL, [b"aa", b"bb", b"ccc"], 5),
            (b"bb", errno.EPERM, [b"a", b"bb", b"ccc", b"ccc"], 7),
        ):
            io.unsendable = {unsendable: number}
            before = port.totalBytes()
            replies = self.exchange(client, port, datagrams)
            self.assertEqual(sum(map(len, replies)), sent)
            received = before[0] + sum(map(len, datagrams))
            self.assertEqual(port.totalBytes(), (received, before[1] + sent))


@needsBatches
class BatchedSendErrorTests(SendErrorTests):
    """
    The same tests for L{BatchedPort}.
    """

    portType = BatchedPort
