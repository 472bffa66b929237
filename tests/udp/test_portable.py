"""
Tests for L{shout.udp.portable}.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.udp.peer import decode
from shout.udp.portable import UDPIO, UNIXIO
from shout.udp.sockopt import enablePacketInfo
from tests.directory import shortDirectory


class UNIXIOTests(SynchronousTestCase):
    """
    Tests for L{UNIXIO}.
    """

    def setUp(self) -> None:
        directory = shortDirectory(self)
        self.sock = bindUNIX(f"{directory}/server")
        self.client = bindUNIX(f"{directory}/client")
        self.client.connect(self.sock.getsockname())
        for each in self.sock, self.client:
            self.addCleanup(each.close)
        self.io = UNIXIO(self.sock)

    def test_receive(self) -> None:
        """
        Datagrams of any size arrive whole and in order, with the path of the peer, and
        C{None} when nothing has arrived.
        """
        for limit in 1, 3, 64:
            sizes = 0, 5, 150_000, 1
            for size in sizes:
                self.client.send(bytes(size))
            received: list[bytes] = []
            while batch := self.io.receive(limit):
                self.assertLessEqual(len(batch[0]), limit)
                self.assertEqual({*batch[1]}, {self.client.getsockname()})
                received += batch[0]
            self.assertEqual([*map(len, received)], [*sizes])
        self.assertEqual(self.io.totalBytes(), (3 * 150_006, 0))

    def test_unnamed(self) -> None:
        """
        The peer of a socket without a path is C{None}.  It cannot be answered.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", self.sock.getsockname())
        self.assertEqual(self.io.receive(64), ([b"x"], [None]))
        error = self.assertRaises(OSError, self.io.send, [b"x"], [None], 0)
        self.assertEqual(error.errno, errno.EDESTADDRREQ)

    def test_send(self) -> None:
        """
        Sending stops at a datagram that cannot be sent.  The error is raised if that is
        the first one.
        """
        name = self.client.getsockname()
        peers = [name, name, name + "-missing", None, name]
        datagrams = [b"a", b"b", b"c", b"d", b"e"]
        self.assertEqual(self.io.send(datagrams, peers, 0), 2)
        self.assertRaises(FileNotFoundError, self.io.send, datagrams, peers, 2)
        self.assertRaises(OSError, self.io.send, datagrams, peers, 3)
        self.assertEqual(self.io.send(datagrams, peers, 4), 1)
        self.assertEqual([self.client.recv(9) for _ in range(3)], [b"a", b"b", b"e"])
        self.assertEqual(self.io.totalBytes(), (0, 3))

    def test_notBytes(self) -> None:
        """
        Sending anything else than bytes raises C{TypeError}, to any peer.
        """
        for peer in self.client.getsockname(), None:
            wrong: Any = [None]
            self.assertRaises(TypeError, self.io.send, wrong, [peer], 0)


class UDPIOTests(SynchronousTestCase):
    """
    Tests for L{UDPIO}.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        enablePacketInfo(self.sock)
        self.client = connectUDP(*self.sock.getsockname())
        for each in self.sock, self.client:
            self.addCleanup(each.close)
        self.decoded = 0
        self.io = UDPIO(self.sock, self.decode)

    def decode(self, *address: Any) -> Any:
        """
        Count and decode an address.
        """
        self.decoded += 1
        return decode(*address)

    def test_limit(self) -> None:
        """
        At most as many datagrams as asked for are received, in order, and C{None} when
        nothing has arrived.
        """
        for limit in 1, 2, 3, 4, 5, 64:
            for count in 1, 2, 3, 4, 5, 7:
                sent = [b"%d" % number for number in range(count)]
                for datagram in sent:
                    self.client.send(datagram)
                received: list[bytes] = []
                while batch := self.io.receive(limit):
                    expected = min(limit, count - len(received))
                    self.assertEqual(len(batch[0]), expected)
                    self.assertEqual(len(batch[1]), expected)
                    received += batch[0]
                self.assertEqual(received, sent)

    def test_twoAddresses(self) -> None:
        """
        A peer that sends to two local addresses in turn is two peers, from which
        replies go back the same way.
        """
        [sock] = bindUDP(0, ["0.0.0.0"])
        self.addCleanup(sock.close)
        enablePacketInfo(sock)
        io = UDPIO(sock, decode)
        number = sock.getsockname()[1]
        hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.2"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for host in hosts:
                client.sendto(host.encode(), (host, number))
            datagrams, peers = io.receive(64) or ([], [])
            self.assertEqual(io.send(datagrams, peers, 0), 3)
            for host in hosts:
                reply = client.recvfrom(99)
                self.assertEqual(reply, (host.encode(), (host, number)))

    def test_remembered(self) -> None:
        """
        A peer is decoded once, and is the same object again.
        """
        peers = []
        other = connectUDP(*self.sock.getsockname())
        self.addCleanup(other.close)
        for client in [self.client, other] * 3:
            client.send(b"x")
            _, received = self.io.receive(64) or ([], [])
            peers += received
        names = [self.client.getsockname(), other.getsockname()]
        self.assertEqual(peers, names * 3)
        self.assertEqual((len(set(map(id, peers))), self.decoded), (2, 2))

    def test_bounded(self) -> None:
        """
        The number of peers that are remembered is bounded.
        """
        self.io.maxPeers = 3
        for _ in range(10):
            with connectUDP(*self.sock.getsockname()) as client:
                client.send(b"x")
            self.assertIsNotNone(self.io.receive(64))
            self.assertLessEqual(len(self.io._peers), 3)

    def test_sendStops(self) -> None:
        """
        Sending stops at a datagram that cannot be sent.  The error is raised if that is
        the first one.
        """
        self.client.send(b"x")
        _, [peer] = self.io.receive(1) or ([], [])
        datagrams = [b"a", b"b", bytes(70_000), b"c"]
        self.assertEqual(self.io.send(datagrams, [peer] * 4, 1), 1)
        error = self.assertRaises(OSError, self.io.send, datagrams, [peer] * 4, 2)
        self.assertEqual(error.errno, errno.EMSGSIZE)
        self.assertEqual(self.io.send(datagrams, [peer] * 4, 3), 1)
        self.assertEqual([self.client.recv(9), self.client.recv(9)], [b"b", b"c"])

    def test_errorAfterDatagrams(self) -> None:
        """
        An error after some datagrams is raised by the next call, and there is more
        until then.
        """

        def receive(*sizes: int) -> Any:
            if not results:
                raise OSError(errno.ENOMEM, "no memory")
            return results.pop()

        results: list[Any] = [(b"x", [], 0, ("127.0.0.1", 4000))] * 5
        self.io._recvmsg = receive
        self.patch(self.io, "_isReadable", lambda timeout: [(0, 0)])
        self.assertEqual((self.io.receive(64) or ([], []))[0], [b"x"] * 5)
        self.patch(self.io, "_isReadable", lambda timeout: [])
        self.assertTrue(self.io.hasMore())
        error = self.assertRaises(OSError, self.io.receive, 64)
        self.assertEqual(error.errno, errno.ENOMEM)
        self.assertFalse(self.io.hasMore())

    def test_withoutMessages(self) -> None:
        """
        Where sockets have no C{recvmsg} and C{sendmsg}, C{recvfrom} and C{sendto} are
        used.  The local address is not known then.
        """

        class Simple:
            """
            A socket with only those methods.
            """

            def __init__(self, sock: socket.socket) -> None:
                self.recvfrom, self.sendto = sock.recvfrom, sock.sendto
                self.fileno = sock.fileno

        simple: Any = Simple(self.sock)
        io = UDPIO(simple, decode)
        for datagram in b"a", b"b":
            self.client.send(datagram)
        datagrams, peers = io.receive(64) or ([], [])
        self.assertEqual((datagrams, peers[0].ancillaryData), ([b"a", b"b"], []))
        self.assertEqual(io.send(datagrams, peers, 0), 2)
        self.assertEqual([self.client.recv(9), self.client.recv(9)], [b"a", b"b"])
        self.assertIsNone(io.receive(64))

    def test_closed(self) -> None:
        """
        A closed socket raises C{OSError}.
        """
        self.sock.close()
        self.assertRaises(OSError, self.io.receive, 1)
        self.assertEqual(self.sock.type, socket.SOCK_DGRAM)
