"""
The service that shows the status of another over HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from shout.counters import Snapshot
from shout.sockets.address import authority
from shout.status.endpoint import listenAt
from shout.status.health import Health, Report
from shout.status.resource import StatusResource
from shout.status.site import HardenedSite


class StatusService(Service):
    """
    Show the counts and the health of a service over HTTP.

    It is the L{StatusSource<shout.status.resource.StatusSource>} of its resource.

    @ivar port: The listening port.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: str,
        snapshot: Callable[[], Snapshot | Awaitable[Snapshot]],
        health: Health,
        reactor: Any,
    ) -> None:
        """
        Listen.  Connections are accepted once the reactor runs.

        @param endpoint: A server endpoint string; see
            L{listenAt<shout.status.endpoint.listenAt>}.

        @param snapshot: Returns the present totals.

        @param health: The health check, which is started and stopped with this
            service.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>}, L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>}, L{IReactorTCP
            <twisted.internet.interfaces.IReactorTCP>} and L{IReactorUNIX
            <twisted.internet.interfaces.IReactorUNIX>} provider.

        @raise BindError: If the endpoint cannot listen.
        """
        site = HardenedSite(StatusResource(self), reactor)
        self._snapshot = snapshot
        self._health = health
        self._reactor = reactor
        self.port: IListeningPort = listenAt(endpoint, site, reactor)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._health.start(self._reactor)
        self._log.info("status at {where}", where=_describe(self.port))

    def stopService(self) -> Deferred[Any]:
        """
        Close the port and the sockets of the health check.

        @return: Fires when they are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        closed = maybeDeferred(self.port.stopListening)
        closed.addErrback(self._pathNotRemoved)
        return gatherResults([closed, self._health.stop()])

    def _pathNotRemoved(self, failure: Failure) -> None:
        # Privileges may have been dropped, or the root directory changed, since the
        # path of the UNIX socket was made.  The next server takes it over.  Twisted
        # removes the path before it closes the socket.
        failure.trap(OSError)
        port: Any = self.port
        port.socket.close()

    def snapshot(self) -> Snapshot | Awaitable[Snapshot]:
        return self._snapshot()

    def check(self) -> Awaitable[Report]:
        return self._health.check()


def _describe(port: IListeningPort) -> str:
    host: Any = port.getHost()
    if isinstance(host, UNIXAddress):
        return f"UNIX {os.fsdecode(host.name or b'')}"
    return f"http://{authority(host.host, host.port)}/"
