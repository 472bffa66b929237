"""
Workers that are no processes.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from shout.workers.channel import Channel


class FakeWorker:
    """
    A worker's process and its end of the channel.

    @ivar isKilled: whether it was killed.

    @ivar isReaped: whether it was waited for after it had ended.

    @ivar isHeld: whether it cannot be reaped, as when somebody debugs it.
    """

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.isKilled = self.isReaped = self.isHeld = False
        self._how: str | None = None
        self._reaped: Deferred[str] = Deferred()
        self._channel = channel
        self._transport = StringTransport()
        channel.makeConnection(self._transport)

    def says(self, word: str, *values: Any) -> None:
        """
        Tell the parent something.
        """
        self._channel.dataReceived(json.dumps([word, *values]).encode() + b"\n")

    def told(self) -> list[Any]:
        """
        Return what the parent has told since this was called last.
        """
        lines = self._transport.value().splitlines()
        self._transport.clear()
        return [json.loads(line) for line in lines]

    def ends(self, how: str) -> None:
        """
        End.
        """
        self._how = how
        self._channel.connectionLost(Failure(ConnectionDone()))

    def kill(self) -> None:
        """
        Be killed, which does nothing more to what has ended.
        """
        self.isKilled = True

    def wait(self, clock: Any) -> Deferred[str]:
        """
        Be waited for.
        """
        if not self.isHeld:
            self.letGo()
        return self._reaped

    def letGo(self) -> None:
        """
        Be reaped.
        """
        if self._how is None or self.isReaped:
            raise AssertionError("this would wait for ever")
        self.isReaped = True
        self._reaped.callback(self._how)


class Spawner:
    """
    Starts such workers.

    @ivar workers: those that it has started.

    @ivar error: what to raise instead, if anything.
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
