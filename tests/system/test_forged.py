"""
Tests for datagrams with a forged source, with real ones on the loopback.
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
from shout.udp.batched import available
from shout.udp.sockopt import raiseReceiveBuffer
from tests.batches import needsBatches
from tests.forging import Forger, whyNot
from tests.twistdcase import TIMEOUT, TwistdCase

# Each process has its own, so that it does not receive what another one forges.
HOST = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}."
VICTIM = HOST + "9"

# The datagrams that start a loop, in capitals or not.
FORGED = [
    [text % i for i in range(number)]
    for text in (b"FORGED %d", b"forged %d")
    for number in (1, 100, 1000)
]

Address = tuple[str, int]


class Sniffer:
    """
    Receives every UDP datagram to one address, whatever its port; see raw(7).
    """

    def __init__(self, case: SynchronousTestCase, host: str) -> None:
        self._socket = socket(AF_INET, SOCK_RAW, IPPROTO_UDP)
        case.addCleanup(self._socket.close)
        self._socket.bind((host, 0))
        # Before that it has received the datagrams to every address.
        while self.receive(0) is not None:
            pass

    def receive(self, timeout: float = TIMEOUT) -> tuple[int, bytes] | None:
        """
        Return the port and the payload of the next datagram, or L{None} if there is
        none within the timeout.
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
        Return the socket of an honest peer.
        """
        client = connectUDP(*address)
        self.addCleanup(client.close)
        return client

    def ask(self, client: socket, datagram: bytes) -> bytes:
        """
        Send an honest datagram, and return the reply.
        """
        client.send(datagram)
        deadline = time.monotonic() + TIMEOUT
        while not select([client], [], [], 0)[0] and time.monotonic() < deadline:
            self.visit(0)
        return client.recv(65535)

    def visit(self, timeout: float) -> bool:
        """
        Do one iteration of a reactor, and return L{True} if there was anything to do.
        """
        ready = select(self.reactor.getReaders(), [], [], timeout)[0]
        for reader in ready:
            reader.doRead()
        isLeft = bool(self.reactor.getDelayedCalls())
        self.reactor.advance(0)
        return bool(ready) or isLeft

    def becomesIdle(self, visits: int = 20_000) -> bool:
        """
        Do iterations of a reactor until nothing arrives any more, and return L{False}
        if that does not happen.
        """
        return not all(self.visit(0.1) for _ in range(visits))

    def test_sourcePort(self) -> None:
        """
        A datagram from port 0, or from a port of a service that answers everybody,
        gets no reply, and is counted.
        """
        service, address = self.serve()
        sniffer = Sniffer(self, VICTIM)
        for port in (0, 7, 19, 53, 123, 1900, 11211):
            self.forger.send(b"forged", (VICTIM, port), address)
        self.forger.send(b"ordinary", (VICTIM, 23000), address)
        self.assertTrue(self.becomesIdle())
        self.assertEqual(sniffer.receive(), (23000, b"ORDINARY"))
        self.assertIsNone(sniffer.receive(0))
        self.assertEqual(service.counters.dropped, {"source port": 7})
        self.assertEqual(service.counters.answered, 1)

    @needsBatches
    def test_broadcast(self) -> None:
        """
        A datagram to the broadcast address gets no reply, and is counted.
        """
        service, (_, port) = self.serve(interface="0.0.0.0")
        sniffer = Sniffer(self, VICTIM)
        for host in ("127.255.255.255", "127.0.0.1"):
            self.forger.send(host.encode() + b" asked", (VICTIM, 23000), (host, port))
        self.assertTrue(self.becomesIdle())
        self.assertEqual(sniffer.receive(), (23000, b"127.0.0.1 ASKED"))
        self.assertIsNone(sniffer.receive(0))
        self.assertEqual(service.counters.dropped, {"broadcast": 1})

    def test_self(self) -> None:
        """
        A loop of a server with itself, at the address that was asked or at another one
        of its own, ends by itself.
        """
        # In the second case the server is both ends of the loop.
        hosts = (("127.0.0.1", 1), (HOST + "2", 2))
        for (host, ends), forged in product(hosts, FORGED):
            service, (_, port) = self.serve(interface="0.0.0.0")
            for text in forged:
                self.forger.send(text, (host, port), ("127.0.0.1", port))
            self.assertTrue(self.becomesIdle())
            self.assertLess(service.counters.answered, len(forged) + ends * 500)
            self.assertGreater(service.counters.dropped["loop"], 0)

    def test_twoShouts(self) -> None:
        """
        A loop between two shouts ends, and each has sent fewer than 500 replies beyond
        the one that each forged datagram gets.
        """
        for forged in FORGED:
            first, address = self.serve()
            second, partner = self.serve(interface=HOST + "2")
            for text in forged:
                self.forger.send(text, partner, address)
            self.assertTrue(self.becomesIdle())
            answered = first.counters.answered, second.counters.answered
            self.assertEqual(first.counters.received, len(forged) + answered[1])
            self.assertEqual(second.counters.received, answered[0])
            self.assertLess(answered[0], len(forged) + 500)
            self.assertLess(answered[1], 500)

    def test_echo(self) -> None:
        """
        A loop between a shout and an echo server ends, and the shout has sent fewer
        than 500 replies beyond the one that each forged datagram gets.
        """
        for forged in FORGED:
            service, address = self.serve()
            echo = Echo()
            self.addCleanup(echo.close)
            self.reactor.addReader(echo)
            for text in forged:
                self.forger.send(text, echo.getsockname(), address)
            self.assertTrue(self.becomesIdle())
            self.reactor.removeReader(echo)
            self.assertEqual(echo.count, service.counters.answered)
            self.assertLess(service.counters.answered, len(forged) + 500)
            self.assertGreater(service.counters.dropped["loop"], 0)

    def test_unguarded(self) -> None:
        """
        Without the rule about loops, a loop between two shouts does not end.
        """

        def unguarded() -> Shout:
            return Shout(Guard(loops=lambda datagram, reply, addr: None))

        _, address = self.serve(unguarded)
        _, partner = self.serve(unguarded, HOST + "2")
        self.forger.send(b"forged", partner, address)
        self.assertFalse(self.becomesIdle(visits=2000))

    def test_honestPeer(self) -> None:
        """
        With tens of thousands of forged sources every table stays within its bounds,
        and every ordinary datagram of an honest peer is answered.
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
            self.assertGreater(length, 1_500)
            self.assertLessEqual(length, 10_000)

    def test_forgedPeer(self) -> None:
        """
        Whatever is forged with its address, every ordinary datagram of an honest peer
        is answered.
        """
        service, address = self.serve()
        client = self.client(address)
        for _ in range(1000):
            self.forger.send(b"FORGED", client.getsockname(), address)
        self.assertTrue(self.becomesIdle())
        self.assertGreater(service.counters.dropped["loop"], 700)
        for _ in range(service.counters.answered):
            self.assertEqual(client.recv(100), b"FORGED")
        for _ in range(500):
            self.assertEqual(self.ask(client, b"honest"), b"HONEST")

    @needsBatches
    def test_log(self) -> None:
        """
        The log gets at most one line per reason, and one more each after the interval
        of the rate limit.
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
            self.assertTrue(self.becomesIdle())
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
        The loops of two servers that 1,000 forged datagrams start end; each has sent
        fewer than 500 replies beyond the one that each forged datagram gets, and has
        logged dropped datagrams at most once.
        """
        servers, addresses = [], []
        for host in (HOST + "1", HOST + "2"):
            server = self.start(
                "twistd", "-n", "--pidfile=", "shout", "-p", "0", "-i", host
            )
            servers.append(server)
            port = self.waitFor(server, f"try it with: nc -u {host} ([0-9]+)")[1]
            addresses.append((host, int(port)))
        sniffer = Sniffer(self, addresses[1][0])
        forger = Forger()
        self.addCleanup(forger.close)
        for text in FORGED[-1]:
            forger.send(text, addresses[1], addresses[0])
        for _ in range(1500):
            if sniffer.receive(1) is None:
                break
        else:
            self.fail("the loop does not end")
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
    An echo server, which answers when the reactor reads.
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
    Return all tables with an entry for each peer.
    """
    tables = [guard.accepted, guard._reasons, guard._loops._buckets]
    return tables if available else [*tables, port._io._peers]
