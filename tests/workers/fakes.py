"""
Workers without processes, and a supervisor that records its callbacks.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from shout.counters import Snapshot
from shout.workers.channel import Channel
from shout.workers.slot import ISupervisor, WorkerSlot


class FakeWorker:
    """
    The process of a worker and its end of the channel, both driven by a test.

    @ivar isKilled: C{True} if the process was killed.

    @ivar isReaped: C{True} if the process was reaped.

    @ivar isHeld: C{True} if the process cannot be reaped, as in a debugger.
    """

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.isKilled = self.isReaped = self.isHeld = False
        self._status: str | None = None
        self._reaped: Deferred[str] = Deferred()
        self._channel = channel
        self._transport = StringTransport()
        channel.makeConnection(self._transport)

    def send(self, name: str, *values: Any) -> None:
        """
        Send a message to the supervisor.
        """
        self._channel.dataReceived(json.dumps([name, *values]).encode() + b"\n")

    def received(self) -> list[Any]:
        """
        Return the messages since the last call.
        """
        lines = self._transport.value().splitlines()
        self._transport.clear()
        return [json.loads(line) for line in lines]

    def exit(self, status: str) -> None:
        """
        Exit, which closes the channel.
        """
        self._status = status
        self._channel.connectionLost(Failure(ConnectionDone()))

    def kill(self) -> None:
        self.isKilled = True

    def wait(self, clock: Any) -> Deferred[str]:
        if not self.isHeld:
            self.reap()
        return self._reaped

    def reap(self) -> None:
        """
        Let the process be reaped.

        @raise AssertionError: If it has not exited, or has been reaped before.
        """
        if self._status is None or self.isReaped:
            raise AssertionError("nothing to reap")
        self.isReaped = True
        self._reaped.callback(self._status)


class FakeSpawner:
    """
    Starts fake workers.

    @ivar workers: The workers that were started.

    @ivar error: The exception to raise instead, if any.
    """

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.error: OSError | None = None

    def __call__(self, channel: Channel) -> FakeWorker:
        if self.error is not None:
            raise self.error
        worker = FakeWorker(1001 + len(self.workers), channel)
        self.workers.append(worker)
        return worker


@implementer(ISupervisor)
class FakeSupervisor:
    """
    Records its callbacks.

    @ivar calls: The name and the arguments of each call, without the slot.
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def workerReady(self, slot: WorkerSlot) -> None:
        self.calls.append("ready")

    def snapshotReceived(self, new: Snapshot) -> None:
        self.calls.append(("snapshot", new))

    def eventReceived(self, slot: WorkerSlot, level: str, text: str) -> None:
        self.calls.append(("event", level, text))

    def workerExited(
        self, slot: WorkerSlot, pid: int, status: str, delay: float | None
    ) -> None:
        self.calls.append(("exited", pid, status, delay))

    def workerStartFailed(
        self, slot: WorkerSlot, reason: str, delay: float | None
    ) -> None:
        self.calls.append(("start failed", reason, delay))
