"""
Tests for L{shout.status.service}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from shout import bindUDP
from shout.sockets.bind import BindError
from shout.status.health import Health
from shout.status.service import StatusService
from tests.asynccase import AsyncCase
from tests.directory import shortDirectory
from tests.status.fakes import SNAPSHOT


class StatusServiceTests(AsyncCase):
    """
    Tests for L{StatusService}, on real sockets.
    """

    def setUp(self) -> None:
        [self.sock] = bindUDP(0, ["127.0.0.1"])
        self.addCleanup(self.sock.close)
        self.path = os.path.join(shortDirectory(self), "status")
        self.health = Health([self.sock])
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def service(self, endpoint: str) -> StatusService:
        """
        Make a service, which is stopped when the test ends.
        """
        service = StatusService(endpoint, lambda: SNAPSHOT, self.health, reactor)
        self.addCleanup(service.stopService)
        return service

    def test_interface(self) -> None:
        """
        It is a service.
        """
        verifyObject(IService, self.service(f"unix:{self.path}"))

    def test_source(self) -> None:
        """
        The snapshot is that of the callable, and the report that of the health check.
        """
        service: Any = self.service(f"unix:{self.path}")
        self.assertIs(service.snapshot(), SNAPSHOT)
        report: Any = object()
        self.patch(self.health, "check", lambda: succeed(report))
        self.assertIs(self.successResultOf(service.check()), report)

    def test_listensAtOnce(self) -> None:
        """
        The service listens before it is started, so that an endpoint in use is an error
        when the service is made.
        """
        self.service(f"unix:{self.path}")
        with self.assertRaises(BindError):
            self.service(f"unix:{self.path}")

    def test_address(self) -> None:
        """
        The address of the status is logged when the service starts.
        """
        for endpoint, address in (
            ("tcp:0:interface=127.0.0.1", r"http://127\.0\.0\.1:\d+/"),
            (f"unix:{self.path}", f"UNIX {self.path}"),
        ):
            self.service(endpoint).startService()
            lines = [formatEvent(event) for event in self.log]
            self.assertRegex(lines[-1], f"^status at {address}$")

    async def test_stop(self) -> None:
        """
        When the service stops, its path is removed and the sockets of the health check
        are closed.
        """
        service = self.service(f"unix:{self.path}")
        service.startService()
        await service.stopService()
        self.assertFalse(os.path.exists(self.path))
        problems, _ = await self.health.check()
        self.assertEqual(len(problems), 1)

    async def test_pathOutOfReach(self) -> None:
        """
        If the path cannot be removed, as after privileges are dropped, the socket is
        closed without an error.
        """
        service = self.service(f"unix:{self.path}")
        service.startService()
        os.rename(self.path, f"{self.path}-away")
        await service.stopService()
        port: Any = service.port
        self.assertEqual(port.socket.fileno(), -1)
