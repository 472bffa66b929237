"""
Tests for L{shout.workers.reuseport}.
"""

from __future__ import annotations

import os
import socket
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.workers.reuseport import (
    bindReusePortGroup,
    distribute,
    groupSize,
    hasReusePortBalancing,
)
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR


class SharingCase(SynchronousTestCase):
    """
    Makes sockets that are closed when the test ends.
    """

    def bind(self, *interfaces: str) -> list[socket.socket]:
        """
        Bind UDP sockets at one port.
        """
        return self.closed(bindUDP(0, interfaces))

    def bindUNIX(self, count: int) -> list[socket.socket]:
        """
        Bind UNIX sockets.
        """
        folder = shortDirectory(self)
        return self.closed(
            [bindUNIX(os.path.join(folder, str(number))) for number in range(count)]
        )

    def closed(self, sockets: list[socket.socket]) -> list[socket.socket]:
        """
        Close sockets in the end.
        """
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def bindGroup(
        self, sockets: list[socket.socket], count: int
    ) -> list[list[socket.socket]]:
        """
        Share sockets.
        """
        socketSets = bindReusePortGroup(sockets, count)
        for one in socketSets:
            self.closed(one)
        return socketSets


class ShareTests(SharingCase):
    """
    Tests for L{share}.
    """

    def test_one(self) -> None:
        """
        A single share has the sockets themselves, whatever the system.
        """
        sockets = self.bind(*PAIR) + self.bindUNIX(2)
        self.assertEqual(bindReusePortGroup(sockets, 1), [sockets])

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_addresses(self) -> None:
        """
        Each share has one socket for each address, which does not block.
        """
        sockets = self.bind(*EVERYWHERE)
        socketSets = self.bindGroup(sockets, 3)
        self.assertEqual(socketSets[0], sockets)
        for one in socketSets:
            self.assertEqual(
                [sock.getsockname() for sock in one],
                [sock.getsockname() for sock in sockets],
            )
            self.assertFalse(any(sock.getblocking() for sock in one))
        numbers = {sock.fileno() for one in socketSets for sock in one}
        self.assertEqual(len(numbers), 3 * len(sockets))

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_dealsOut(self) -> None:
        """
        What many peers send goes to all of them, each datagram to one, and all
        that one peer sends to the same.
        """
        for address in LOOPBACK:
            socketSets = self.bindGroup(self.bind(address), 3)
            received: list[set[int]] = []
            server = socketSets[0][0].getsockname()[:2]
            peers = self.closed([connectUDP(*server) for _ in range(100)])
            for _ in range(5):
                for peer in peers:
                    peer.send(b"x")
            for [sock] in socketSets:
                ports = self.received(sock)
                received.append(set(ports))
                self.assertEqual({ports.count(port) for port in set(ports)}, {5})
            self.assertEqual(sum(map(len, received)), 100)
            self.assertEqual(len(set().union(*received)), 100)
            self.assertNotIn(set(), received)

    def received(self, sock: socket.socket) -> list[int]:
        """
        Return the source ports of what waits in a socket.
        """
        ports = []
        while True:
            try:
                ports.append(sock.recvfrom(10)[1][1])
            except BlockingIOError:
                return ports

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_secondServer(self) -> None:
        """
        A second server at the same address is refused, although these sockets
        would let others in.
        """
        sockets = self.bind("127.0.0.1")
        self.bindGroup(sockets, 2)
        port = sockets[0].getsockname()[1]
        error = self.assertRaises(BindError, bindUDP, port, ["127.0.0.1"])
        self.assertIn("already in use", str(error))

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_UNIX(self) -> None:
        """
        UNIX sockets go to one share each, in turn.
        """
        [udp] = self.bind("127.0.0.1")
        paths = self.bindUNIX(3)
        first, second = self.bindGroup([udp, *paths], 2)
        self.assertEqual(first, [udp, paths[0], paths[2]])
        self.assertEqual(second[1:], [paths[1]])

    def test_noneIsEmpty(self) -> None:
        """
        There are no shares without sockets.
        """
        paths = self.bindUNIX(2)
        self.assertEqual(bindReusePortGroup(paths, 5), [[path] for path in paths])

    def test_cannotBeShared(self) -> None:
        """
        A socket that cannot be bound again is said to be, and what was bound
        before it is released.
        """
        made = []

        class Failing(socket.socket):
            def bind(self, address: object) -> None:
                made.append(self)
                if len(made) == 2:
                    raise OSError(24, "Too many open files")
                super().bind(address)  # type: ignore[arg-type]

        sockets = self.bind("127.0.0.1")
        self.patch(socket, "socket", Failing)
        error = self.assertRaises(BindError, bindReusePortGroup, sockets, 3)
        self.assertRegex(str(error), "cannot share UDP 127.0.0.1:.* Too many open")
        self.assertEqual([sock.fileno() for sock in made], [-1, -1])


class DealTests(SharingCase):
    """
    Tests for L{deal} and L{most}.
    """

    @skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
    def test_deal(self) -> None:
        """
        Sockets that have an address together are dealt out, and UNIX sockets in
        turn.
        """
        (a, b), (c, d) = self.bindGroup(self.bind(*PAIR), 2)
        [path] = self.bindUNIX(1)
        sockets = [a, b, path, c, d]
        self.assertEqual(groupSize(sockets), 2)
        self.assertEqual(distribute(sockets, 2), [[a, b, path], [c, d]])

    def test_one(self) -> None:
        """
        One share takes one socket for each address.
        """
        sockets = self.bind(*PAIR) + self.bindUNIX(2)
        self.assertEqual(groupSize(sockets), 1)
        self.assertEqual(distribute(sockets, 1), [sockets])
        self.assertEqual(groupSize([]), 1)

    def test_tooFew(self) -> None:
        """
        More shares than there are sockets for an address cannot be dealt out.
        """
        error = self.assertRaises(BindError, distribute, self.bind("127.0.0.1"), 2)
        self.assertIn("for 2 workers UDP 127.0.0.1", str(error))
