"""
Tests for L{shout.workers.reuseport}.
"""

from __future__ import annotations

import os
import socket
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP, bindUNIX
from shout.sockets.bind import connectUDP
from shout.workers.reuseport import (
    attachSourceHash,
    bindReusePortGroup,
    distribute,
    groupSize,
    hasReusePortBalancing,
)
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR, needsIPv6Sockets
from tests.hosts import Namespaces, whyNot

needsBalancing = skipUnless(hasReusePortBalancing, "only Linux balances datagrams")


class SocketCase(SynchronousTestCase):
    """
    Makes sockets that are closed when the test ends.
    """

    def closed(self, sockets: list[socket.socket]) -> list[socket.socket]:
        """
        Close sockets when the test ends.
        """
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def bind(self, *interfaces: str) -> list[socket.socket]:
        """
        Bind UDP sockets to one port.
        """
        return self.closed(bindUDP(0, interfaces))

    def bindUNIX(self, count: int) -> list[socket.socket]:
        """
        Bind UNIX sockets.
        """
        directory = shortDirectory(self)
        return self.closed(
            [bindUNIX(os.path.join(directory, str(number))) for number in range(count)]
        )

    def bindGroup(
        self, sockets: list[socket.socket], count: int
    ) -> list[list[socket.socket]]:
        """
        Call L{bindReusePortGroup}.
        """
        socketSets = bindReusePortGroup(sockets, count)
        for each in socketSets:
            self.closed(each)
        return socketSets

    def received(self, sock: socket.socket) -> list[tuple[str, int]]:
        """
        Return the sources of the datagrams in a receive buffer.
        """
        sources = []
        while True:
            try:
                sources.append(sock.recvfrom(10)[1][:2])
            except BlockingIOError:
                return sources


class BindReusePortGroupTests(SocketCase):
    """
    Tests for L{bindReusePortGroup}.
    """

    def test_one(self) -> None:
        """
        A single socket set has the sockets themselves, on every system.
        """
        sockets = self.bind(*PAIR) + self.bindUNIX(2)
        self.assertEqual(bindReusePortGroup(sockets, 1), [sockets])

    @needsBalancing
    def test_addresses(self) -> None:
        """
        Each socket set has one non-blocking socket for each address.
        """
        sockets = self.bind(*EVERYWHERE)
        socketSets = self.bindGroup(sockets, 3)
        self.assertEqual(socketSets[0], sockets)
        for each in socketSets:
            self.assertEqual(
                [sock.getsockname() for sock in each],
                [sock.getsockname() for sock in sockets],
            )
            self.assertFalse(any(sock.getblocking() for sock in each))
        numbers = {sock.fileno() for each in socketSets for sock in each}
        self.assertEqual(len(numbers), 3 * len(sockets))

    @needsBalancing
    def test_balancing(self) -> None:
        """
        Many peers reach all socket sets, each datagram reaches one, and all datagrams
        of one peer reach the same.
        """
        for address in LOOPBACK:
            socketSets = self.bindGroup(self.bind(address), 3)
            received: list[set[tuple[str, int]]] = []
            server = socketSets[0][0].getsockname()[:2]
            peers = self.closed([connectUDP(*server) for _ in range(100)])
            for _ in range(5):
                for peer in peers:
                    peer.send(b"x")
            for [sock] in socketSets:
                sources = self.received(sock)
                received.append(set(sources))
                self.assertEqual({sources.count(each) for each in set(sources)}, {5})
            self.assertEqual(sum(map(len, received)), 100)
            self.assertEqual(len(set().union(*received)), 100)
            self.assertNotIn(set(), received)

    @needsBalancing
    def test_secondServer(self) -> None:
        """
        A second server cannot bind the same address, although the sockets of the group
        can share it.
        """
        sockets = self.bind("127.0.0.1")
        self.bindGroup(sockets, 2)
        port = sockets[0].getsockname()[1]
        error = self.assertRaises(BindError, bindUDP, port, ["127.0.0.1"])
        self.assertIn("already in use", str(error))

    @needsBalancing
    def test_UNIX(self) -> None:
        """
        UNIX sockets are distributed in turn.
        """
        [udp] = self.bind("127.0.0.1")
        paths = self.bindUNIX(3)
        first, second = self.bindGroup([udp, *paths], 2)
        self.assertEqual(first, [udp, paths[0], paths[2]])
        self.assertEqual(second[1:], [paths[1]])

    def test_noneIsEmpty(self) -> None:
        """
        There are no empty socket sets.
        """
        paths = self.bindUNIX(2)
        self.assertEqual(bindReusePortGroup(paths, 5), [[path] for path in paths])

    def test_bindFails(self) -> None:
        """
        If a socket cannot be bound, the error has the address and the reason, and the
        sockets bound before it are closed.
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


class DistributeTests(SocketCase):
    """
    Tests for L{distribute} and L{groupSize}.
    """

    @needsBalancing
    def test_distribute(self) -> None:
        """
        Each socket set gets one of the sockets that share an address; UNIX sockets are
        distributed in turn.
        """
        (a, b), (c, d) = self.bindGroup(self.bind(*PAIR), 2)
        [path] = self.bindUNIX(1)
        sockets = [a, b, path, c, d]
        self.assertEqual(groupSize(sockets), 2)
        self.assertEqual(distribute(sockets, 2), [[a, b, path], [c, d]])

    def test_one(self) -> None:
        """
        A single socket set gets all sockets, if no two share an address.
        """
        sockets = self.bind(*PAIR) + self.bindUNIX(2)
        self.assertEqual(groupSize(sockets), 1)
        self.assertEqual(distribute(sockets, 1), [sockets])
        self.assertEqual(groupSize([]), 1)

    def test_tooFew(self) -> None:
        """
        An address with fewer sockets than there are socket sets is an error.
        """
        error = self.assertRaises(BindError, distribute, self.bind("127.0.0.1"), 2)
        self.assertIn("--workers 2 needs 2 sockets for UDP 127.0.0.1", str(error))


@needsBalancing
class AttachSourceHashTests(SocketCase):
    """
    Tests for L{attachSourceHash}.
    """

    def group(self, address: str, count: int) -> list[list[socket.socket]]:
        """
        Bind a group of sockets with a source hash.
        """
        socketSets = self.bindGroup(self.bind(address), count)
        attachSourceHash(socketSets)
        return socketSets

    def hosts(
        self, socketSets: list[list[socket.socket]], hosts: list[str]
    ) -> list[set[str]]:
        """
        Send from eight ports of each host, and return the hosts that have reached each
        socket set.
        """
        [server] = socketSets[0]
        for host in hosts:
            for _ in range(8):
                with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
                    sock.bind((host, 0))
                    sock.sendto(b"x", server.getsockname())
        return [{host for host, _ in self.received(sock)} for [sock] in socketSets]

    def test_IPv4(self) -> None:
        """
        All ports of one IPv4 address reach one socket set, and many addresses reach
        all of them.
        """
        hosts = [f"127.0.0.{number}" for number in range(1, 61)]
        for count in (2, 3, 5):
            received = self.hosts(self.group("127.0.0.1", count), hosts)
            self.assertEqual(sum(map(len, received)), len(hosts))
            self.assertEqual(set().union(*received), set(hosts))
            self.assertNotIn(set(), received)

    def test_spread(self) -> None:
        """
        Addresses that are a power of two apart, as networks assign them, reach all
        socket sets.
        """
        for apart in (2, 16, 256):
            numbers = [n * apart for n in range(1, 61)]
            hosts = [f"127.0.{n >> 8}.{n & 255}" for n in numbers]
            for count in (2, 4):
                received = self.hosts(self.group("127.0.0.1", count), hosts)
                self.assertNotIn(set(), received)

    @needsIPv6Sockets
    def test_mapped(self) -> None:
        """
        An IPv4 address reaches the same socket set through an IPv6 socket.
        """
        hosts = [f"127.0.0.{number}" for number in range(1, 31)]
        expected = self.hosts(self.group("127.0.0.1", 2), hosts)
        sockets: list[socket.socket] = []
        for _ in range(2):
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(sockets[0].getsockname() if sockets else ("::", 0))
            sockets.append(sock)
        attachSourceHash([[sock] for sock in sockets])
        port = sockets[0].getsockname()[1]
        for host in hosts:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((host, 0))
                client.sendto(b"x", ("127.0.0.1", port))
        for sock, those in zip(sockets, expected):
            received = [host for host, _ in self.received(sock)]
            self.assertEqual(len(received), len(those))
            self.assertEqual(set(received), {f"::ffff:{host}" for host in those})

    @skipIf(whyNot, whyNot)
    def test_IPv6(self) -> None:
        """
        All addresses of one /64 reach one socket set, and many networks reach all of
        them.
        """
        host = Namespaces(self, "a")
        host.ip("a", "-6 route add local 2001:db8::/32 dev lo")
        host.set("a", "ipv6/ip_nonlocal_bind", 1)
        networks = [f"2001:db8:0:{number:x}" for number in range(1, 21)]
        addresses = [f"{each}::{number}" for each in networks for number in "12"]
        with host.on("a"):
            received = self.hosts(self.group("::1", 3), addresses)
        self.assertEqual(sum(map(len, received)), len(addresses))
        self.assertNotIn(set(), received)
        for those in received:
            alone = {address.rpartition("::")[0] for address in those}
            self.assertEqual(len(those), 2 * len(alone))

    def test_single(self) -> None:
        """
        A single socket set needs no program.
        """
        [[sock]] = self.group("127.0.0.1", 1)
        self.assertFalse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def test_UNIX(self) -> None:
        """
        A UNIX socket among the others takes no program.
        """
        [sock] = self.bind("127.0.0.1")
        [path] = self.bindUNIX(1)
        socketSets = self.bindGroup([path, sock], 2)
        attachSourceHash(socketSets)

    def test_refused(self) -> None:
        """
        If the system refuses the program, the error has the address.
        """
        sockets = self.bind("127.0.0.1")
        # Without SO_REUSEPORT the socket is in no group.
        error = self.assertRaises(BindError, attachSourceHash, [sockets, sockets])
        self.assertIn(
            "cannot choose the worker by source at UDP 127.0.0.1:", str(error)
        )
