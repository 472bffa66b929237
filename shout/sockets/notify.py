"""
Telling systemd how the service fares; see sd_notify(3) and sd_watchdog_enabled(3).
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
    Tell when another service is ready and when it stops, and that the reactor still
    runs, as often as is asked for.

    Nothing comes of it when nobody listens any more.
    """

    @classmethod
    def fromEnvironment(
        cls,
        service: Any,
        reactor: Any = None,
        environ: Mapping[str, str] | None = None,
    ) -> Notifier | None:
        """
        Make a notifier, if one is asked for.

        @param service: what is to be ready: if it has a C{whenListening}, when
            the Deferred that this returns has fired, or else when it is started.

        @param reactor: by default the global one, when the notifier starts.

        @param environ: the variables that ask for it; by default those of this
            process.
        """
        if environ is None:
            environ = os.environ
        path = environ.get("NOTIFY_SOCKET", "")
        if path[:1] not in ("/", "@"):
            return None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        # Once connected it is found whatever the root folder and the user become.
        with suppress(OSError):
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
        return cls(sock, service, _interval(environ), reactor)

    def __init__(
        self,
        sock: socket.socket,
        service: Any,
        interval: float | None = None,
        reactor: Any = None,
    ) -> None:
        """
        @param sock: connected to who is told; it is closed in the end.

        @param interval: how often to tell that the reactor runs, in seconds, if at
            all.
        """
        self._sock = sock
        self._service = service
        self._interval = interval
        self._reactor = reactor
        self._again: Any = None
        self._feeding = LoopingCall(self._tell, "WATCHDOG=1")

    def startService(self) -> None:
        """
        Begin to tell.
        """
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self._interval is not None:
            self._feeding.clock = self._reactor
            self._feeding.start(self._interval)
        listening = getattr(self._service, "whenListening", lambda: succeed(None))
        listening().addCallback(lambda _: self._tellReady())

    def _tellReady(self) -> None:
        # Without it systemd would give up; there may be no room for it yet.
        if not self._tell("READY=1"):
            self._again = self._reactor.callLater(0.1, self._tellReady)

    def stopService(self) -> Deferred[None]:
        """
        Tell that the service stops.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._feeding.running:
            self._feeding.stop()
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._tell("STOPPING=1")
        self._sock.close()
        return succeed(None)

    def _tell(self, text: str) -> bool:
        """
        Send a message.

        @return: whether it needs not be tried again.
        """
        try:
            self._sock.send(text.encode())
        except BlockingIOError:
            return False
        except OSError:
            # Nobody is there.
            pass
        return True


def _interval(environ: Mapping[str, str]) -> float | None:
    """
    Return half of what the watchdog allows, in seconds, where it watches this
    process.
    """
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2e6
