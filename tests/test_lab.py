"""
Tests for L{tests.lab}.
"""

from __future__ import annotations

import os
from select import select
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.sockopt import allowFragments, omitFlowLabel
from tests.lab import SERVER, Lab, whyNot

_PORT = 7777
_SOURCES = range(40001, 40033)

# Seconds without a datagram after which no more are expected.
_SILENCE = 0.2


class LabTests(SynchronousTestCase):
    """
    Tests for L{Lab}, with plain sockets.
    """

    if whyNot:
        skip = whyNot

    def setUp(self) -> None:
        self.lab = Lab(self, hasLimits=False)
        with self.lab.on("d"):
            self.servers = dict(zip(SERVER, bindUDP(_PORT, SERVER)))
        for server in self.servers.values():
            self.addCleanup(server.close)

    def exchange(self, address: str, size: int = 1) -> tuple[set[int], set[int]]:
        """
        Send a datagram from each source port to the server, and its replies back.

        @return: The source ports with a reply, and those with an ICMP error.
        """
        server = self.servers[address]
        with self.lab.on("a"):
            clients = [
                connectUDP(address, _PORT, sourcePort=port, prepare=omitFlowLabel)
                for port in _SOURCES
            ]
        for client in clients:
            allowFragments(client, False)
            client.send(bytes(size))
        answered: set[int] = set()
        refused: set[int] = set()
        while ready := select([server, *clients], [], [], _SILENCE)[0]:
            for sock in ready:
                if sock is server:
                    server.sendto(*server.recvfrom(size))
                    continue
                try:
                    sock.recv(size)
                    answered.add(sock.getsockname()[1])
                except OSError:
                    refused.add(sock.getsockname()[1])
            if len(answered | refused) == len(clients):
                break
        for client in clients:
            client.close()
        return answered, refused

    def hurt(self, address: str) -> set[int]:
        """
        The source ports that use path 1 there.
        """
        self.lab.forgetPorts()
        self.assertEqual(self.exchange(address)[0], set(_SOURCES))
        return self.lab.ports("there")[1]

    def test_paths(self) -> None:
        """
        Each source port has one path there and one back, whichever socket has it, and
        together they use all paths.
        """
        for address in SERVER:
            self.lab.forgetPorts()
            for _ in range(3):
                self.assertEqual(self.exchange(address), (set(_SOURCES), set()))
            there, back = self.lab.ports("there"), self.lab.ports("back")
            for ports in (there, back):
                self.assertEqual(sorted(p for path in ports for p in path), [*_SOURCES])
                self.assertTrue(all(ports))
            self.assertNotEqual(there, back)

    def test_kill(self) -> None:
        """
        A dead path loses the datagrams of its source ports and no others, on the way
        there or back, until it is repaired.
        """
        for address in SERVER:
            self.hurt(address)
            for way in ("there", "back"):
                hurt = self.lab.ports(way)[2]
                self.lab.kill(2, way)
                answered, refused = self.exchange(address)
                self.assertEqual(answered, set(_SOURCES) - hurt)
                self.assertEqual(refused, set())
                self.lab.heal()
            self.assertEqual(self.exchange(address)[0], set(_SOURCES))

    def test_lose(self) -> None:
        """
        A path that loses nearly everything loses only datagrams of its source ports.
        """
        for address in SERVER:
            hurt = self.hurt(address)
            self.lab.lose(1, 99)
            answered, refused = self.exchange(address)
            lost = set(_SOURCES) - answered
            self.assertTrue(lost)
            self.assertLessEqual(lost, hurt)
            self.assertEqual(refused, set())
            self.lab.heal()

    def test_refuse(self) -> None:
        """
        A router that refuses datagrams sends ICMP errors.
        """
        for address in SERVER:
            hurt = self.hurt(address)
            self.lab.refuse(1)
            self.assertEqual(self.exchange(address), (set(_SOURCES) - hurt, hurt))
            self.lab.heal()

    def test_narrow(self) -> None:
        """
        A narrow path drops datagrams that are larger than its MTU, with ICMP errors or
        without.
        """
        for address in SERVER:
            hurt = self.hurt(address)
            for isSilent in (True, False):
                self.lab.narrow(1, 1400, isSilent=isSilent)
                errors: set[int] = set() if isSilent else hurt
                self.assertEqual(
                    self.exchange(address, 1400), (set(_SOURCES) - hurt, errors)
                )
                self.assertEqual(self.exchange(address, 1352)[0], set(_SOURCES))
                self.lab.heal()
            self.assertEqual(self.exchange(address, 1400)[0], set(_SOURCES))

    @skipUnless(os.path.exists("/dev/net/tun"), "there is no /dev/net/tun")
    def test_delay(self) -> None:
        """
        A slow path delivers everything, by another interface of the router.
        """
        for address in SERVER:
            for way in ("there", "back"):
                self.lab.delay(1, 0.001, way)
                self.assertEqual(self.exchange(address), (set(_SOURCES), set()))
                self.lab.heal()
            self.assertEqual(self.exchange(address), (set(_SOURCES), set()))
