"""
Tests for L{shout.service}.
"""

from __future__ import annotations

import os
import socket
import sys
from unittest import skipUnless

from twisted.application.service import IService, MultiService
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from shout import Shout, ShoutService, UnicodeShout, bindUDP, bindUNIX
from shout.counters import Snapshot
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp.batched import available
from tests.asynccase import AsyncCase
from tests.directory import shortDirectory
from tests.families import EVERYWHERE, LOOPBACK, PAIR, eachFamily


def messages(observer: EventLoggingObserver) -> list[str]:
    """
    Return the messages that a service has logged.
    """
    return [
        event["log_format"].format(**event)
        for event in observer
        if event["log_namespace"] == "shout.service.ShoutService"
    ]


class ShoutServiceTests(TestCase):
    """
    Tests for L{ShoutService}, with a reactor whose events the test triggers.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def service(
        self, sockets: list[socket.socket], protocol: type[Shout] = Shout
    ) -> ShoutService:
        """
        Start a service that is stopped when the test ends.
        """
        service = ShoutService(sockets, protocol, self.reactor)
        service.startService()
        self.reactor.run()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: ShoutService) -> None:
        """
        Stop a service, and wait until it has stopped.
        """
        stopped = service.stopService()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def client(self, sock: socket.socket) -> socket.socket:
        """
        Return a socket that is connected to a socket of the service.
        """
        address = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            client = connectUNIX(address)
        else:
            client = connectUDP(*address[:2])
        self.addCleanup(client.close)
        return client

    def read(self) -> None:
        """
        Read all datagrams that have arrived.  The reactor may need several visits for
        that if the machine is busy.
        """
        for reader in self.reactor.getReaders():
            reader.drain()

    def test_interface(self) -> None:
        """
        It provides C{IService}, and can be the child of another service.
        """
        service = ShoutService([])
        verifyObject(IService, service)
        parent = MultiService()
        service.setServiceParent(parent)
        self.assertEqual(list(parent), [service])

    def test_answers(self) -> None:
        """
        Datagrams are answered at sockets of every address family.
        """
        sockets = bindUDP(0, PAIR)
        sockets.append(bindUNIX(os.path.join(shortDirectory(self), "s")))
        clients = [self.client(sock) for sock in sockets]
        service = self.service(sockets)
        for client in clients:
            client.send(b"hello")
        self.read()
        self.assertEqual([client.recv(100) for client in clients], [b"HELLO"] * 3)
        self.assertEqual(service.counters.received, 3)
        self.assertEqual(service.counters.answered, 3)

    def test_protocol(self) -> None:
        """
        The protocol can be chosen.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        client = self.client(sock)
        self.service([sock], UnicodeShout)
        client.send("straße".encode())
        self.read()
        self.assertEqual(client.recv(100), b"STRASSE")

    def test_announces(self) -> None:
        """
        When the reactor runs, every address is logged with the port that is bound, and
        then a command to try it with.
        """
        path = os.path.join(shortDirectory(self), "s")
        sockets = [*bindUDP(0), bindUNIX(path)]
        port = sockets[0].getsockname()[1]
        kind = "batched" if available else "portable"
        self.service(sockets)
        self.assertEqual(
            messages(self.log),
            [
                *(
                    f"listening on UDP {authority(each, port)} ({kind})"
                    for each in EVERYWHERE
                ),
                f"listening on UNIX {path}",
                f"try it with: nc -u 127.0.0.1 {port}",
            ],
        )

    def test_announcesUNIX(self) -> None:
        """
        The command for a UNIX socket is C{shout}.
        """
        path = os.path.join(shortDirectory(self), "s")
        self.service([bindUNIX(path)])
        self.assertEqual(
            messages(self.log)[-1], f"try it with: shout --unix {path} hello"
        )

    def test_announcesOneAddress(self) -> None:
        """
        The command uses the address of the service.
        """
        [sock] = bindUDP(0, [PAIR[1]])
        port = sock.getsockname()[1]
        self.service([sock])
        self.assertEqual(messages(self.log)[-1], f"try it with: nc -u {PAIR[1]} {port}")

    def test_stopAnswers(self) -> None:
        """
        On stop the datagrams that have arrived are answered before the sockets are
        closed.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        client = self.client(sock)
        service = self.service([sock])
        for number in range(200):
            client.send(b"q%d" % number)
        self.stop(service)
        replies = [client.recv(100) for _ in range(200)]
        self.assertEqual(replies, [b"Q%d" % number for number in range(200)])
        self.assertEqual(sock.fileno(), -1)

    def test_stopRemovesPaths(self) -> None:
        """
        On stop the path of a UNIX socket is removed.
        """
        path = os.path.join(shortDirectory(self), "s")
        self.stop(self.service([bindUNIX(path)]))
        self.assertFalse(os.path.lexists(path))

    def test_neverStarted(self) -> None:
        """
        A service that has not been started closes its sockets when it is stopped.
        """
        path = os.path.join(shortDirectory(self), "s")
        sock = bindUNIX(path)
        self.successResultOf(ShoutService([sock]).stopService())
        self.assertEqual(sock.fileno(), -1)
        self.assertFalse(os.path.exists(path))

    def test_startedAgain(self) -> None:
        """
        A service that has been stopped cannot be started again.
        """
        service = self.service(bindUDP(0, ["127.0.0.1"]))
        self.stop(service)
        self.assertRaises(RuntimeError, service.startService)

    def test_totals(self) -> None:
        """
        On stop the counters are logged, with the reasons for drops.
        """
        path = os.path.join(shortDirectory(self), "s")
        sock = bindUNIX(path)
        client = self.client(sock)
        service = self.service([sock])
        client.send(b"x")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"x", path)
        self.stop(service)
        self.assertEqual(
            messages(self.log)[-1],
            f"stopped listening on UNIX {path}: "
            "received 2, answered 1, dropped 1 (1 unnamed peer)",
        )

    @skipUnless(sys.platform == "linux", "only Linux counts kernel drops")
    def test_kernelDrops(self) -> None:
        """
        On stop the number of datagrams dropped by the kernel is logged.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        client = self.client(sock)
        service = self.service([sock])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(100):
            client.send(bytes(100))
        self.stop(service)
        lost = 100 - service.counters.received
        self.assertEqual(
            messages(self.log)[-1],
            f"{lost} datagrams dropped by the kernel: receive buffer full",
        )
        self.assertEqual(service.snapshot().kernelDrops, lost)

    def test_snapshot(self) -> None:
        """
        A snapshot has counters for each address family.  It can be taken before the
        service starts, while it runs and after it has stopped.
        """
        sockets = bindUDP(0, LOOPBACK)
        sockets.append(bindUNIX(os.path.join(shortDirectory(self), "s")))
        sent = dict(zip((*eachFamily("ipv4", "ipv6"), "unix"), (3, 2, 1)))
        total = sum(sent.values())
        self.assertEqual(ShoutService([]).snapshot(), Snapshot())
        service = self.service(sockets)
        for sock, count in zip(sockets, sent.values()):
            client = self.client(sock)
            for _ in range(count):
                client.send(b"12bytes long")
        self.read()
        running = service.snapshot()
        self.assertEqual(running.received, sent)
        self.assertEqual(running.receivedBytes, 12 * total)
        self.assertEqual(running.replyBytes, 12 * total)
        self.assertEqual(running.replies, total)
        self.stop(service)
        self.assertEqual(service.snapshot(), running)

    def test_vanishedPeer(self) -> None:
        """
        A reply to a UNIX peer that no longer exists is counted as a send error.
        """
        sock = bindUNIX(os.path.join(shortDirectory(self), "s"))
        service = self.service([sock])
        with self.client(sock) as client:
            client.send(b"x")
        self.read()
        self.assertEqual(service.counters.dropped, {"ECONNREFUSED": 1})
        self.assertEqual(service.snapshot().sendErrors, {"ECONNREFUSED": 1})
        self.assertEqual(service.snapshot().replies, 0)
        self.assertEqual(self.reactor.getReaders(), service.ports)


class RunningShoutServiceTests(AsyncCase):
    """
    Tests for L{ShoutService} with the global reactor.
    """

    async def test_answers(self) -> None:
        """
        By default the global reactor is used.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        service = ShoutService([sock], Shout)
        service.startService()
        self.addCleanup(service.stopService)
        with connectUDP(*sock.getsockname()) as client:
            client.send(b"hello")
            while not service.counters.answered:
                await deferLater(reactor, 0)
            self.assertEqual(client.recv(100), b"HELLO")
