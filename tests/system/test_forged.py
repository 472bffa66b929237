"""
Tests for what datagrams with a forged source do, with real ones on the loopback.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from itertools import product
from select import select
from socket import AF_INET, IPPROTO_UDP, SOCK_RAW, socket
from typing import Any
from unittest import skipIf

from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from shout import Shout, ShoutService, bindUDP
from shout.counters import Counters
from shout.guard import Guard, LoopGuard
from shout.sockets.bind import connectUDP
from shout.udp.mmsg import available
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.forging import Forger, whyNot
from tests.system.test_twistd import PATIENCE, TwistdCase

# Each process has its own, so that it does not hear what another one forges.
HOST = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}."
VICTIM = HOST + "9"

# What a loop is started with, capitals or not.
FORGED = [
    [text % i for i in range(number)]
    for text in (b"FORGED %d", b"forged %d")
    for number in (1, 100, 1000)
]

Address = tuple[str, int]


class Ear:
    """
    Hears every UDP datagram to one address, whatever its port; see raw(7).
    """

    def __init__(self, case: SynchronousTestCase, host: str) -> None:
        self._socket = socket(AF_INET, SOCK_RAW, IPPROTO_UDP)
        case.addCleanup(self._socket.close)
        self._socket.bind((host, 0))
        # Until then it has heard everything.
        while self.hear(0) is not None:
            pass

    def hear(self, timeout: float = PATIENCE) -> tuple[int, bytes] | None:
        """
        Return the port and the payload of the next datagram, or L{None} after so
        many seconds of silence.
        """
        if not select([self._socket], [], [], timeout)[0]:
            return None
        # Neither header has options: 20 bytes of IP and 8 of UDP.
        packet = self._socket.recv(65535)
        return int.from_bytes(packet[22:24], "big"), packet[28:]


@skipIf(whyNot, whyNot)
class ForgedTests(TestCase):
    """
    Tests for L{ShoutService}, with a reactor that does nothing by itself.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.run()
        self.forger = Forger()
        self.addCleanup(self.forger.close)

    def serve(
        self,
        protocol: Callable[[], Shout] = Shout,
        interface: str = "127.0.0.1",
    ) -> tuple[ShoutService, Address]:
        """
        Start a service that is stopped when the test ends, and return it and its
        address.
        """
        sockets = bindUDP(0, [interface])
        address: Address = sockets[0].getsockname()
        service = ShoutService(sockets, protocol, self.reactor)
        service.counters = Counters(self.reactor.seconds)
        service.startService()
        self.addCleanup(self.stop, service)
        return service, address

    def stop(self, service: ShoutService) -> None:
        """
        Stop a service at once.
        """
        stopped = service.stopService()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def client(self, address: Address) -> socket:
        """
        Return an honest peer.
        """
        client = connectUDP(*address)
        self.addCleanup(client.close)
        return client

    def ask(self, client: socket, datagram: bytes) -> bytes:
        """
        Send an honest datagram, and return what comes.
        """
        client.send(datagram)
        deadline = time.monotonic() + PATIENCE
        while not select([client], [], [], 0)[0] and time.monotonic() < deadline:
            self.visit(0)
        return client.recv(65535)

    def visit(self, timeout: float) -> bool:
        """
        Do what a reactor does once, and say whether there was anything to do.
        """
        ready = select(self.reactor.getReaders(), [], [], timeout)[0]
        for reader in ready:
            reader.doRead()
        isLeft = bool(self.reactor.getDelayedCalls())
        self.reactor.advance(0)
        return bool(ready) or isLeft

    def fallSilent(self, visits: int = 20_000) -> bool:
        """
        Do what a reactor does until nothing arrives any more, and say whether
        that came about.
        """
        return not all(self.visit(0.2) for _ in range(visits))

    def test_sourcePort(self) -> None:
        """
        What seems to come from port 0, or from a service that answers anybody,
        gets no reply, and is counted.
        """
        service, address = self.serve()
        ear = Ear(self, VICTIM)
        for port in (0, 7, 19, 53, 123, 1900, 11211):
            self.forger.send(b"forged", (VICTIM, port), address)
        self.forger.send(b"ordinary", (VICTIM, 23000), address)
        self.assertTrue(self.fallSilent())
        self.assertEqual(ear.hear(), (23000, b"ORDINARY"))
        self.assertIsNone(ear.hear(0))
        self.assertEqual(service.counters.dropped, {"source port": 7})
        self.assertEqual(service.counters.answered, 1)

    @needsBatches
    def test_broadcast(self) -> None:
        """
        What was sent to the broadcast address gets no reply, and is counted.
        """
        service, (_, port) = self.serve(interface="0.0.0.0")
        ear = Ear(self, VICTIM)
        for host in ("127.255.255.255", "127.0.0.1"):
            self.forger.send(host.encode() + b" asked", (VICTIM, 23000), (host, port))
        self.assertTrue(self.fallSilent())
        self.assertEqual(ear.hear(), (23000, b"127.0.0.1 ASKED"))
        self.assertIsNone(ear.hear(0))
        self.assertEqual(service.counters.dropped, {"broadcast": 1})

    def test_self(self) -> None:
        """
        A server that is made to answer itself, at the address that was asked or
        at another one of its own, falls silent by itself.
        """
        # In the second case the server is both ends of the loop.
        hosts = (("127.0.0.1", 1), (HOST + "2", 2))
        for (host, ends), forged in product(hosts, FORGED):
            service, (_, port) = self.serve(interface="0.0.0.0")
            for text in forged:
                self.forger.send(text, (host, port), ("127.0.0.1", port))
            self.assertTrue(self.fallSilent())
            self.assertLess(service.counters.answered, len(forged) + ends * 500)
            self.assertGreater(service.counters.dropped["loop"], 0)

    def test_twoShouts(self) -> None:
        """
        Two shouts that are made to answer each other fall silent, and each has
        sent fewer than 500 replies beyond the one that each forged datagram
        gets.
        """
        for forged in FORGED:
            first, address = self.serve()
            second, partner = self.serve(interface=HOST + "2")
            for text in forged:
                self.forger.send(text, partner, address)
            self.assertTrue(self.fallSilent())
            answered = first.counters.answered, second.counters.answered
            self.assertEqual(first.counters.received, len(forged) + answered[1])
            self.assertEqual(second.counters.received, answered[0])
            self.assertLess(answered[0], len(forged) + 500)
            self.assertLess(answered[1], 500)

    def test_echo(self) -> None:
        """
        A shout and an echo server that are made to answer each other fall
        silent, and the shout has sent fewer than 500 replies beyond the one that
        each forged datagram gets.
        """
        for forged in FORGED:
            service, address = self.serve()
            echo = Echo()
            self.addCleanup(echo.close)
            self.reactor.addReader(echo)
            for text in forged:
                self.forger.send(text, echo.getsockname(), address)
            self.assertTrue(self.fallSilent())
            self.reactor.removeReader(echo)
            self.assertEqual(echo.count, service.counters.answered)
            self.assertLess(service.counters.answered, len(forged) + 500)
            self.assertGreater(service.counters.dropped["loop"], 0)

    def test_unguarded(self) -> None:
        """
        Without the rule about loops two shouts go on for ever.
        """

        def unguarded() -> Shout:
            return Shout(Guard(loops=lambda datagram, reply, addr: None))

        _, address = self.serve(unguarded)
        _, partner = self.serve(unguarded, HOST + "2")
        self.forger.send(b"forged", partner, address)
        self.assertFalse(self.fallSilent(visits=2000))

    def test_honestPeer(self) -> None:
        """
        Tens of thousands of forged sources leave every table within its bounds,
        and an honest peer has every ordinary datagram answered meanwhile.
        """
        guard = Guard()
        service, address = self.serve(lambda: Shout(guard))
        tables = tablesOf(guard, service.ports[0])
        highest = [0] * len(tables)
        client = self.client(address)
        sources = ((f"127.78.{i >> 8}.{i & 255}", 23000) for i in range(30_000))
        for number in range(100):
            for _ in range(150):
                self.forger.send(b"forged", next(sources), address)
                self.forger.send(b"FORGED", next(sources), address)
            reply = self.ask(client, b"honest %d" % number)
            self.assertEqual(reply, b"HONEST %d" % number)
            highest = list(map(max, highest, map(len, tables)))
        self.assertEqual(service.counters.received, 30_100)
        dropped = service.counters.dropped
        self.assertLessEqual(set(dropped), {"loop"})
        self.assertLessEqual(dropped["loop"], 15_000 / LoopGuard.period)
        for length in highest:
            self.assertGreater(length, 5_000)
            self.assertLessEqual(length, 10_000)

    def test_inAnothersName(self) -> None:
        """
        Whatever is forged in its name, an honest peer has every ordinary
        datagram answered.
        """
        service, address = self.serve()
        client = self.client(address)
        for _ in range(1000):
            self.forger.send(b"FORGED", client.getsockname(), address)
        self.assertTrue(self.fallSilent())
        self.assertGreater(service.counters.dropped["loop"], 700)
        for _ in range(service.counters.answered):
            self.assertEqual(client.recv(100), b"FORGED")
        for _ in range(500):
            self.assertEqual(self.ask(client, b"honest"), b"HONEST")

    @needsBatches
    def test_quiet(self) -> None:
        """
        Meanwhile the log gets at most one line per reason, and one more each
        when the quiet period is over.
        """
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        past = 0
        _, (_, port) = self.serve(interface="0.0.0.0")

        def storm() -> list[tuple[str, int]]:
            nonlocal past
            for number in range(400):
                self.forger.send(b"forged", (VICTIM, number), ("127.0.0.1", port))
                self.forger.send(b"FORGED", (VICTIM, 23000), ("127.0.0.1", port))
                source, all_ = (VICTIM, 23000 + number), ("127.255.255.255", port)
                self.forger.send(b"forged", source, all_)
            self.assertTrue(self.fallSilent())
            events, past = log[past:], len(log)
            return sorted(
                (event["reason"], event["count"])
                for event in events
                if event["log_namespace"] == "shout.counters.Counters"
            )

        firsts = [("broadcast", 1), ("loop", 1), ("source port", 1)]
        self.assertEqual(storm(), firsts)
        self.reactor.advance(29.9)
        self.assertEqual(storm(), [])
        self.reactor.advance(0.1)
        self.assertEqual(
            [reason for reason, count in storm() if count > 400],
            [reason for reason, _ in firsts],
        )


@skipIf(whyNot, whyNot)
class ForgedTwistdTests(TwistdCase):
    """
    Tests for C{twistd shout}.
    """

    def test_twoShouts(self) -> None:
        """
        Two servers that are made to answer each other by 1,000 forged datagrams
        fall silent, each has sent fewer than 500 replies beyond the one that
        each forged datagram gets, and has logged at most once what it dropped.
        """
        servers, addresses = [], []
        for host in (HOST + "1", HOST + "2"):
            server = self.start(
                "twistd", "-n", "--pidfile=", "shout", "-p", "0", "-i", host
            )
            servers.append(server)
            port = self.waitFor(server, f"try it with: nc -u {host} ([0-9]+)")[1]
            addresses.append((host, int(port)))
        ear = Ear(self, addresses[1][0])
        forger = Forger()
        self.addCleanup(forger.close)
        for text in FORGED[-1]:
            forger.send(text, addresses[1], addresses[0])
        for _ in range(1500):
            if ear.hear(1) is None:
                break
        else:
            self.fail("they go on")
        beyond, logged = [], 0
        for server, forged in zip(servers, (1000, 0)):
            output = self.finish(server, signal.SIGTERM)
            answered = re.search("received [0-9]+, answered ([0-9]+),", output)
            assert answered is not None, output
            beyond.append(int(answered[1]) - forged)
            lines = output.count("not answered:")
            self.assertLessEqual(lines, 1, output)
            logged += lines
        self.assertGreater(logged, 0)
        self.assertLess(max(beyond), 500)
        self.assertGreater(min(beyond), 0)


class Echo(socket):
    """
    Answers everything as it is, when a reactor has it read.
    """

    def __init__(self) -> None:
        [sock] = bindUDP(0, [HOST + "3"])
        raiseReceiveBuffer(sock, 4 << 20)
        super().__init__(sock.family, sock.type, fileno=sock.detach())
        self.count = 0

    def doRead(self) -> None:
        datagram, addr = self.recvfrom(65535)
        self.count += 1
        self.sendto(datagram, addr)


def tablesOf(guard: Any, port: Any) -> list[Any]:
    """
    Return everything that remembers peers.
    """
    tables = [guard.accepted, guard._reasons, guard._loops._buckets]
    return [*tables, port._receiveBatch.peers] if available else tables
