"""
Tests for L{shout.sockets.notify}, and for C{twistd shout} with C{NOTIFY_SOCKET}.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from unittest import skipUnless

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout.sockets.bind import connectUDP
from shout.sockets.notify import Notifier
from shout.sockets.unix import bindUNIX
from shout.workers.reuseport import hasReusePortBalancing
from tests.directory import shortDirectory
from tests.twistdcase import ISROOT, TIMEOUT, TwistdCase, ask

NOTHING: Mapping[str, str] = {}


class SlowService(Service):
    """
    A service that listens when C{listening} fires.
    """

    def __init__(self) -> None:
        self.listening: Deferred[None] = Deferred()

    def whenListening(self) -> Deferred[None]:
        return self.listening


class NotifierTests(SynchronousTestCase):
    """
    Tests for L{Notifier}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.path = os.path.join(shortDirectory(self), "notify")
        self.listener = bindUNIX(self.path)
        self.addCleanup(self.listener.close)

    def notifier(
        self,
        service: Service | None = None,
        environ: Mapping[str, str] = NOTHING,
    ) -> Notifier:
        """
        Make a notifier from the environment.
        """
        notifier = Notifier.fromEnvironment(
            Service() if service is None else service,
            self.reactor,
            {"NOTIFY_SOCKET": self.path, **environ},
        )
        assert notifier is not None
        self.addCleanup(notifier.stopService)
        return notifier

    def messages(self) -> list[str]:
        """
        Return the messages received since the last call.
        """
        messages = []
        while True:
            try:
                messages.append(self.listener.recv(1000).decode())
            except BlockingIOError:
                return messages

    def test_interface(self) -> None:
        """
        It provides C{IService}.
        """
        verifyObject(IService, self.notifier())

    def test_notRequested(self) -> None:
        """
        Without the address of a UNIX socket there is no notifier.
        """
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            self.assertIs(
                Notifier.fromEnvironment(Service(), self.reactor, environ), None
            )

    def test_ready(self) -> None:
        """
        Messages are sent when the reactor runs, and when the service stops.
        """
        notifier = self.notifier()
        notifier.startService()
        self.assertEqual(self.messages(), [])
        self.reactor.run()
        self.assertEqual(self.messages(), ["READY=1"])
        self.successResultOf(notifier.stopService())
        self.assertEqual(self.messages(), ["STOPPING=1"])

    def test_readyLater(self) -> None:
        """
        A service with C{whenListening} is ready when its Deferred fires.
        """
        slow = SlowService()
        self.notifier(slow).startService()
        self.reactor.run()
        self.assertEqual(self.messages(), [])
        slow.listening.callback(None)
        self.assertEqual(self.messages(), ["READY=1"])

    def test_watchdog(self) -> None:
        """
        Watchdog messages are sent twice per timeout, until the service stops.
        """
        for environ in (
            {"WATCHDOG_USEC": "3000000"},
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())},
        ):
            self.reactor = MemoryReactorClock()
            notifier = self.notifier(environ=environ)
            notifier.startService()
            self.reactor.run()
            self.assertEqual(self.messages(), ["WATCHDOG=1", "READY=1"])
            for _ in range(3):
                self.reactor.advance(1.4)
                self.assertEqual(self.messages(), [])
                self.reactor.advance(0.1)
                self.assertEqual(self.messages(), ["WATCHDOG=1"])
            self.successResultOf(notifier.stopService())
            self.reactor.advance(10)
            self.assertEqual(self.messages(), ["STOPPING=1"])

    def test_noWatchdog(self) -> None:
        """
        No watchdog messages are sent without a valid timeout for this process.
        """
        for environ in (
            {},
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "-1"},
        ):
            self.reactor = MemoryReactorClock()
            self.notifier(environ=environ).startService()
            self.reactor.run()
            self.assertEqual(self.messages(), ["READY=1"])
            self.reactor.advance(10)
            self.assertEqual(self.messages(), [])

    def test_noListener(self) -> None:
        """
        Messages are lost without an error if no process listens.
        """
        notifier = self.notifier(environ={"WATCHDOG_USEC": "1000000"})
        self.listener.close()
        late = self.notifier()
        for each in notifier, late:
            each.startService()
        self.reactor.run()
        self.reactor.advance(5)
        for each in notifier, late:
            self.successResultOf(each.stopService())

    def test_full(self) -> None:
        """
        Messages are lost without an error if the socket buffer is full.
        """
        notifier = self.notifier(environ={"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        self.assertLess(len(self.messages()), 3000)

    def test_readyRetried(self) -> None:
        """
        The ready message is retried until the socket buffer has room for it.
        """
        service = SlowService()
        notifier = self.notifier(service, {"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        service.listening.callback(None)
        self.assertNotIn("READY=1", self.messages())
        self.reactor.advance(0.1)
        self.assertIn("READY=1", self.messages())

    def test_retryCancelled(self) -> None:
        """
        The retry is cancelled when the service stops.
        """
        service = SlowService()
        notifier = self.notifier(service, {"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        service.listening.callback(None)
        self.successResultOf(notifier.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    @skipUnless(sys.platform == "linux", "only Linux has abstract names")
    def test_abstract(self) -> None:
        """
        An address that begins with C{@} is an abstract name.
        """
        self.path = f"@shout-notify-{os.getpid()}"
        self.listener = bindUNIX(self.path)
        self.addCleanup(self.listener.close)
        self.notifier().startService()
        self.reactor.run()
        self.assertEqual(self.messages(), ["READY=1"])


class NotifyingTests(TwistdCase):
    """
    Tests for C{twistd shout} with C{NOTIFY_SOCKET}.
    """

    def notified(self, *args: str) -> list[str]:
        """
        Run a server until it is ready and has sent a few watchdog messages, stop it,
        and return its messages.

        @param args: Options of C{twistd}, then C{shout} and its options.
        """
        listener = bindUNIX(self.path("notify"))
        self.addCleanup(listener.close)
        listener.settimeout(TIMEOUT)
        server = self.start(
            *("twistd", "-n", "--pidfile=", *args, "-p", "0", "-i", "127.0.0.1"),
            env={
                **os.environ,
                "NOTIFY_SOCKET": listener.getsockname(),
                "WATCHDOG_USEC": "20000",
            },
        )
        messages: list[str] = []
        while "READY=1" not in messages[:-2]:
            messages.append(listener.recv(100).decode())
            if messages[-1] == "READY=1":
                port = int(self.waitFor(server, r"UDP 127\.0\.0\.1:(\d+)")[1])
                self.assertEqual(ask(connectUDP("127.0.0.1", port), b"hi"), b"HI")
        server.send_signal(signal.SIGTERM)
        # Read at once: the receive buffer holds ten messages.
        while "STOPPING=1" not in messages:
            messages.append(listener.recv(100).decode())
        self.assertNotIn("Traceback", server.communicate(timeout=TIMEOUT)[0])
        listener.setblocking(False)
        self.assertRaises(BlockingIOError, listener.recv, 100)
        return messages

    def test_workers(self) -> None:
        """
        With workers, the service is ready once it answers, keeps the watchdog from
        expiring, and notifies systemd when it stops.
        """
        workers = "2" if hasReusePortBalancing else "1"
        messages = self.notified("shout", "--workers", workers)
        self.assertEqual(messages.count("READY=1"), 1)
        self.assertEqual(messages.count("WATCHDOG=1"), len(messages) - 2)
        self.assertEqual(messages[-1], "STOPPING=1")

    @skipUnless(ISROOT, "changing the root directory needs root")
    def test_chroot(self) -> None:
        """
        The socket of systemd stays usable after chroot and a change of the user.
        """
        etc = self.path("root", "etc")
        os.makedirs(etc)
        with open(os.path.join(etc, "passwd"), "w") as f:
            f.write("nobody:x:65534:65534::/:/bin/false\n")
        messages = self.notified(
            f"--chroot={os.path.dirname(etc)}",
            *("--rundir=/", "--uid=65534", "--gid=65534", "shout"),
        )
        self.assertEqual(messages.count("READY=1"), 1)
        self.assertEqual(messages[-1], "STOPPING=1")
