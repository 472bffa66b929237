"""
The service that shows the status of another.
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
    Show over HTTP how a service fares: a L{StatusSource<shout.status.resource.StatusSource>} for
    what its figures are, and what its health.
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
        Listen at once; connections are answered from when the reactor runs.

        @param endpoint: where to listen: a server endpoint string of Twisted's.

        @param figures: returns the totals of now.

        @param health: asks whether the service answers; it is started and
            stopped here.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>}, L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>}, L{IReactorTCP
            <twisted.internet.interfaces.IReactorTCP>} and L{IReactorUNIX
            <twisted.internet.interfaces.IReactorUNIX>} provider.

        @raise BindError: when it is not possible to listen there.
        """
        site = HardenedSite(StatusResource(self), reactor)
        self._snapshot = snapshot
        self._health = health
        self._reactor = reactor
        self.port: IListeningPort = listenAt(endpoint, site, reactor)

    def startService(self) -> None:
        """
        Start to watch.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._health.start(self._reactor)
        self._log.info("status at {where}", where=_describe(self.port))

    def stopService(self) -> Deferred[Any]:
        """
        Stop to listen.

        @return: fires when that is done.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        closed = maybeDeferred(self.port.stopListening)
        closed.addErrback(_left)
        return gatherResults([closed, self._health.stop()])

    def snapshot(self) -> Snapshot | Awaitable[Snapshot]:
        """
        Return the totals of now.
        """
        return self._snapshot()

    def check(self) -> Awaitable[Report]:
        """
        Find out whether the service answers.
        """
        return self._health.check()


def _left(failure: Failure) -> None:
    # Privileges may have been shed, or the root folder changed, since the path of
    # the UNIX socket was made.  What stays is taken over by the next server.
    failure.trap(OSError)


def _describe(port: IListeningPort) -> str:
    host: Any = port.getHost()
    if isinstance(host, UNIXAddress):
        return f"UNIX {os.fsdecode(host.name or b'')}"
    return f"http://{authority(host.host, host.port)}/"
