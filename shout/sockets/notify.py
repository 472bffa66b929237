"""
Notifications to systemd; see sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall


class Notifier(Service):
    """
    A service that notifies systemd when another service is ready and when it stops.

    It also keeps the watchdog from expiring as long as the reactor runs.

    Messages are lost without an error if the socket of systemd no longer exists.
    """

    @classmethod
    def fromEnvironment(
        cls,
        service: Any,
        reactor: Any = None,
        environ: Mapping[str, str] | None = None,
    ) -> Notifier | None:
        """
        Make a notifier if C{NOTIFY_SOCKET} is set.

        @param service: The service to report.  It is ready when it is started or, if
            it has a method C{whenListening}, when the Deferred of that fires.

        @param reactor: The reactor; by default the global one, when the notifier
            starts.

        @param environ: The environment; by default that of this process.
        """
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        if path[:1] not in ("/", "@"):
            return None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        # Connected now: chroot and a change of the user can make the path unusable.
        with suppress(OSError):
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
        return cls(sock, service, _watchdogInterval(environ), reactor)

    def __init__(
        self,
        sock: socket.socket,
        service: Any,
        interval: float | None = None,
        reactor: Any = None,
    ) -> None:
        """
        @param sock: A connected datagram socket, which is closed on stop.

        @param interval: Seconds between two watchdog messages; C{None} for no
            watchdog.
        """
        self._sock = sock
        self._service = service
        self._interval = interval
        self._reactor = reactor
        self._retry: Any = None
        self._watchdog = LoopingCall(self._send, "WATCHDOG=1")

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self._interval is not None:
            self._watchdog.clock = self._reactor
            self._watchdog.start(self._interval)
        listening = getattr(self._service, "whenListening", lambda: succeed(None))
        listening().addCallback(lambda _: self._sendReady())

    def _sendReady(self) -> None:
        # A full socket buffer is temporary, and systemd would time out without this.
        if not self._send("READY=1"):
            self._retry = self._reactor.callLater(0.1, self._sendReady)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._watchdog.running:
            self._watchdog.stop()
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._send("STOPPING=1")
        self._sock.close()
        return succeed(None)

    def _send(self, message: str) -> bool:
        """
        Send a message.

        @return: C{False} if the socket buffer was full.
        """
        try:
            self._sock.send(message.encode())
        except BlockingIOError:
            return False
        except OSError:
            # The socket of systemd no longer exists.
            pass
        return True


def _watchdogInterval(environ: Mapping[str, str]) -> float | None:
    """
    Return half of the watchdog's timeout, in seconds; C{None} if there is no watchdog
    for this process.
    """
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2e6
