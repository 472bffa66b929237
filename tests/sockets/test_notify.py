"""
Tests for L{shout.sockets.notify}, and for C{twistd shout} when it is to notify.
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


class Slow(Service):
    """
    A service that takes time until it listens.
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

    def told(self) -> list[str]:
        """
        Return what was told since this was called last.
        """
        told = []
        while True:
            try:
                told.append(self.listener.recv(1000).decode())
            except BlockingIOError:
                return told

    def test_interface(self) -> None:
        """
        It is a service.
        """
        verifyObject(IService, self.notifier())

    def test_nobodyAsks(self) -> None:
        """
        Without a socket that can be one, there is no notifier.
        """
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            self.assertIs(
                Notifier.fromEnvironment(Service(), self.reactor, environ), None
            )

    def test_ready(self) -> None:
        """
        It tells that the service is ready once the reactor runs, and when it
        stops.
        """
        notifier = self.notifier()
        notifier.startService()
        self.assertEqual(self.told(), [])
        self.reactor.run()
        self.assertEqual(self.told(), ["READY=1"])
        self.successResultOf(notifier.stopService())
        self.assertEqual(self.told(), ["STOPPING=1"])

    def test_readyLater(self) -> None:
        """
        A service that takes its time is ready when it says so.
        """
        slow = Slow()
        self.notifier(slow).startService()
        self.reactor.run()
        self.assertEqual(self.told(), [])
        slow.listening.callback(None)
        self.assertEqual(self.told(), ["READY=1"])

    def test_watchdog(self) -> None:
        """
        A watchdog is fed twice as often as it wants, until the service stops.
        """
        for environ in (
            {"WATCHDOG_USEC": "3000000"},
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())},
        ):
            self.reactor = MemoryReactorClock()
            notifier = self.notifier(environ=environ)
            notifier.startService()
            self.reactor.run()
            self.assertEqual(self.told(), ["WATCHDOG=1", "READY=1"])
            for _ in range(3):
                self.reactor.advance(1.4)
                self.assertEqual(self.told(), [])
                self.reactor.advance(0.1)
                self.assertEqual(self.told(), ["WATCHDOG=1"])
            self.successResultOf(notifier.stopService())
            self.reactor.advance(10)
            self.assertEqual(self.told(), ["STOPPING=1"])

    def test_noWatchdog(self) -> None:
        """
        No watchdog, one for another process and one that makes no sense are not
        fed.
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
            self.assertEqual(self.told(), ["READY=1"])
            self.reactor.advance(10)
            self.assertEqual(self.told(), [])

    def test_nobodyListens(self) -> None:
        """
        Where nobody listens, or nobody any more, nothing comes of it.
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
        Where who is told does not listen, nothing waits for it.
        """
        notifier = self.notifier(environ={"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        self.assertLess(len(self.told()), 3000)

    def test_readyWhenThereIsRoom(self) -> None:
        """
        That it is ready is told again until there is room for it.
        """
        service = Slow()
        notifier = self.notifier(service, {"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        service.listening.callback(None)
        self.assertNotIn("READY=1", self.told())
        self.reactor.advance(0.1)
        self.assertIn("READY=1", self.told())

    def test_stoppedBeforeThereIsRoom(self) -> None:
        """
        When it stops there is nothing more to be told, not even that it was ready.
        """
        service = Slow()
        notifier = self.notifier(service, {"WATCHDOG_USEC": "2000"})
        notifier.startService()
        self.reactor.run()
        self.reactor.pump([0.001] * 3000)
        service.listening.callback(None)
        self.successResultOf(notifier.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    @skipUnless(sys.platform == "linux", "abstract names exist on Linux alone")
    def test_abstract(self) -> None:
        """
        An abstract name has an C{@} before it.
        """
        self.path = f"@shout-notify-{os.getpid()}"
        self.listener = bindUNIX(self.path)
        self.addCleanup(self.listener.close)
        self.notifier().startService()
        self.reactor.run()
        self.assertEqual(self.told(), ["READY=1"])


class NotifyingTests(TwistdCase):
    """
    Tests for C{twistd shout} that is to notify.
    """

    def setUp(self) -> None:
        super().setUp()
        self.listener = bindUNIX(os.path.join(self.directory, "notify"))
        self.addCleanup(self.listener.close)
        self.listener.settimeout(TIMEOUT)

    def notified(self, *args: str, **environ: str) -> list[str]:
        """
        Run a server that is told to stop when it is ready and has fed a watchdog,
        and return what it told.
        """
        server = self.start(
            *args,
            env={
                **os.environ,
                "NOTIFY_SOCKET": self.listener.getsockname(),
                **environ,
            },
        )
        told: list[str] = []
        while told.count("READY=1") + told.count("WATCHDOG=1") < 5:
            told.append(self.listener.recv(100).decode())
            if told[-1] == "READY=1":
                port = int(self.waitFor(server, r"UDP 127\.0\.0\.1:(\d+)")[1])
                self.assertEqual(ask(connectUDP("127.0.0.1", port), b"hi"), b"HI")
        output = self.finish(server, signal.SIGTERM)
        self.assertNotIn("Traceback", output)
        self.listener.setblocking(False)
        while "STOPPING=1" not in told:
            told.append(self.listener.recv(100).decode())
        self.assertRaises(BlockingIOError, self.listener.recv, 100)
        self.listener.settimeout(TIMEOUT)
        return told

    def test_notifies(self) -> None:
        """
        It tells that it is ready when it answers, feeds the watchdog, and tells
        that it stops, with workers and without.
        """
        start = ["twistd", "-n", "--pidfile=", "shout", "-p", "0", "-i", "127.0.0.1"]
        for workers in ((), ("--workers", "2" if hasReusePortBalancing else "1")):
            told = self.notified(*start, *workers, WATCHDOG_USEC="100000")
            self.assertEqual(told.count("READY=1"), 1)
            self.assertEqual(told.count("WATCHDOG=1"), len(told) - 2)
            self.assertEqual(told[-1], "STOPPING=1")

    @skipUnless(ISROOT, "changing the root folder needs root")
    def test_elsewhere(self) -> None:
        """
        It does so from another root folder and as another user.
        """
        etc = os.path.join(self.directory, "root", "etc")
        os.makedirs(etc)
        with open(os.path.join(etc, "passwd"), "w") as f:
            f.write("nobody:x:65534:65534::/:/bin/false\n")
        told = self.notified(
            "twistd",
            "-n",
            "--pidfile=",
            f"--chroot={os.path.dirname(etc)}",
            "--rundir=/",
            "--uid=65534",
            "--gid=65534",
            "shout",
            "-p",
            "0",
            "-i",
            "127.0.0.1",
            WATCHDOG_USEC="100000",
        )
        self.assertEqual(told[-1], "STOPPING=1")
