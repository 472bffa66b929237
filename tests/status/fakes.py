"""
A service whose status a test sets.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from shout.counters import Snapshot
from shout.status.health import Report

SNAPSHOT = Snapshot(
    received={"ipv4": 10, "ipv6": 5, "unix": 0},
    receivedBytes=999,
    replies=9,
    replyBytes=888,
    dropped={"loop": 3, "source port": 1},
    sendErrors={"ENOBUFS": 2},
    kernelDrops=7,
)
"""
A snapshot in which every count is different.
"""


class FakeStatusSource:
    """
    A L{StatusSource<shout.status.resource.StatusSource>} for tests.

    @ivar current: The snapshot to return.

    @ivar report: The report to return.
    """

    def __init__(self) -> None:
        self.current: Snapshot | Deferred[Snapshot] = SNAPSHOT
        self.report: Deferred[Report] = Deferred()

    def snapshot(self) -> Snapshot | Deferred[Snapshot]:
        return self.current

    def check(self) -> Deferred[Report]:
        return self.report
