"""
Tests for L{shout.workers.reuseport}.
"""

from __future__ import annotations

import socket
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP
from shout.workers.reuseport import (
    attachSourceHash,
    bindReusePortGroup,
    hasReusePortBalancing,
)
from tests.families import needsIPv6Sockets
from tests.hosts import Hosts, whyNot


@skipUnless(hasReusePortBalancing, "only Linux deals datagrams out")
class KeepSourcesTogetherTests(SynchronousTestCase):
    """
    Tests for L{attachSourceHash}.
    """

    def socketSets(self, address: str, count: int) -> list[list[socket.socket]]:
        """
        Share a socket among so many.
        """
        socketSets = bindReusePortGroup(bindUDP(0, [address]), count)
        for [sock] in socketSets:
            self.addCleanup(sock.close)
        attachSourceHash(socketSets)
        return socketSets

    def sources(
        self, socketSets: list[list[socket.socket]], hosts: list[str]
    ) -> list[set[str]]:
        """
        Send from eight ports of each host, and return what came to each share.
        """
        [server] = socketSets[0]
        for host in hosts:
            for _ in range(8):
                with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
                    sock.bind((host, 0))
                    sock.sendto(b"x", server.getsockname())
        received: list[set[str]] = []
        for [sock] in socketSets:
            received.append(set())
            while True:
                try:
                    received[-1].add(sock.recvfrom(10)[1][0])
                except BlockingIOError:
                    break
        return received

    def test_IPv4(self) -> None:
        """
        All ports of one IPv4 address go to one share, and the addresses go to all
        of them.
        """
        hosts = [f"127.0.0.{number}" for number in range(1, 61)]
        for count in (2, 3, 5):
            received = self.sources(self.socketSets("127.0.0.1", count), hosts)
            self.assertEqual(sum(map(len, received)), len(hosts))
            self.assertEqual(set().union(*received), set(hosts))
            self.assertNotIn(set(), received)

    def test_spread(self) -> None:
        """
        So do addresses that are a power of two apart, as networks deal them out.
        """
        for apart in (2, 16, 256):
            numbers = [n * apart for n in range(1, 61)]
            hosts = [f"127.0.{n >> 8}.{n & 255}" for n in numbers]
            for count in (2, 4):
                received = self.sources(self.socketSets("127.0.0.1", count), hosts)
                self.assertNotIn(set(), received)

    @needsIPv6Sockets
    def test_mapped(self) -> None:
        """
        An IPv4 address goes to the same share where it arrives at an IPv6 socket.
        """
        hosts = [f"127.0.0.{number}" for number in range(1, 31)]
        expected = self.sources(self.socketSets("127.0.0.1", 2), hosts)
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
            received = {sock.recvfrom(10)[1][0] for _ in those}
            self.assertEqual(received, {f"::ffff:{host}" for host in those})
            self.assertRaises(BlockingIOError, sock.recv, 10)

    @skipIf(whyNot, whyNot)
    def test_IPv6(self) -> None:
        """
        All addresses of one /64 go to one share, and the networks go to all of
        them.
        """
        hosts = Hosts(self)
        networks = [f"2001:db8:0:{number:x}" for number in range(1, 21)]
        addresses = [f"{each}::{host}" for each in networks for host in "12"]
        for address in addresses:
            hosts.ip("a", f"address add {address}/128 dev lo nodad")
        with hosts.on("a"):
            received = self.sources(self.socketSets("::1", 3), addresses)
        self.assertEqual(sum(map(len, received)), len(addresses))
        self.assertNotIn(set(), received)
        for those in received:
            alone = {address.rpartition("::")[0] for address in those}
            self.assertEqual(len(those), 2 * len(alone))

    def test_single(self) -> None:
        """
        One share has everything already.
        """
        [[sock]] = self.socketSets("127.0.0.1", 1)
        self.assertFalse(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def test_refused(self) -> None:
        """
        Where the system takes no such program, that is said.
        """
        sockets = bindUDP(0, ["127.0.0.1"])
        for sock in sockets:
            self.addCleanup(sock.close)
        # It does not share its address.
        error = self.assertRaises(BindError, attachSourceHash, [sockets, sockets])
        self.assertIn("cannot keep the sources", str(error))
