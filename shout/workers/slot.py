"""
A place for one worker: when the worker exits, a successor is started.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.python.failure import Failure
from zope.interface import Interface

from shout.counters import Snapshot
from shout.workers.backoff import Backoff
from shout.workers.channel import Channel


class WorkerProcess(Protocol):
    """
    The part of L{ForkedProcess<shout.workers.fork.ForkedProcess>} that a slot uses.
    """

    pid: int

    def kill(self) -> None: ...

    def wait(self, clock: Any) -> Deferred[str]: ...


class ISupervisor(Interface):
    """
    The owner of worker slots.
    """

    def workerReady(slot: WorkerSlot) -> None:
        """
        Called when a worker has begun to answer.
        """

    def snapshotReceived(new: Snapshot) -> None:
        """
        Called when a worker has sent its counts since its last snapshot.
        """

    def eventReceived(slot: WorkerSlot, level: str, text: str) -> None:
        """
        Called when a worker has sent a log event.
        """

    def workerExited(
        slot: WorkerSlot, pid: int, status: str, delay: float | None
    ) -> None:
        """
        Called when a worker has exited unexpectedly.

        @param status: The exit status or the signal.

        @param delay: Seconds from the exit to the start of a successor; C{None} if
            there is none.
        """

    def workerStartFailed(slot: WorkerSlot, reason: str, delay: float | None) -> None:
        """
        Called when the system cannot start a process.

        @param delay: Seconds until the next attempt; C{None} if there is none.
        """


class WorkerSlot:
    """
    A place for one worker at a time.

    @cvar stopTimeout: Seconds that a worker may take to stop before it is killed.

    @cvar replyTimeout: Seconds to wait for the snapshot of a worker.

    @cvar reapTimeout: Seconds to wait for the exit status of a worker.

    @ivar number: The number of the slot, from 1.

    @ivar pid: The process ID of the worker; C{None} if there is no worker.
    """

    stopTimeout = 10.0
    replyTimeout = 1.0
    reapTimeout = 1.0

    def __init__(
        self,
        number: int,
        spawn: Callable[[Channel], WorkerProcess],
        supervisor: ISupervisor,
        clock: Any,
    ) -> None:
        """
        @param spawn: Starts a worker and opens the channel to it.

        @param clock: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self.number = number
        self.pid: int | None = None
        self._spawn = spawn
        self._supervisor = supervisor
        self._clock = clock
        self._backoff = Backoff()
        self._channel: _SlotChannel | None = None
        self._process: WorkerProcess | None = None
        self._restart: Any = None
        self._readySince: float | None = None
        self._isStopping = False
        self._killTimer: Any = None
        self._unreaped: set[Deferred[None]] = set()

    def requestSnapshot(self) -> Deferred[bool]:
        """
        Request a snapshot from the worker.

        @return: Fires with C{True} when the snapshot has arrived, or with C{False}
            when C{replyTimeout} is over or the worker has exited.
        """
        if self._channel is None or self._readySince is None:
            return succeed(False)
        return self._channel.requestSnapshot().addTimeout(
            self.replyTimeout, self._clock, lambda result, timeout: False
        )

    def startWorker(self) -> None:
        self._restart = self._readySince = None
        self._channel = _SlotChannel(self, self._supervisor)
        try:
            self._process = self._spawn(self._channel)
        except OSError as e:
            delay = self._scheduleRestart()
            self._supervisor.workerStartFailed(self, e.strerror or str(e), delay)
        else:
            self.pid = self._process.pid
            self._unreaped.add(self._channel.reaped)

    def workerReady(self) -> None:
        self._readySince = self._clock.seconds()
        self._supervisor.workerReady(self)

    def workerExited(self) -> None:
        """
        Called when the channel is closed: the worker has exited, or is about to.
        """
        assert self._channel is not None and self._process is not None
        channel, process = self._channel, self._process
        # A worker without a channel does nothing more, so a successor may start now.
        process.kill()
        if self._killTimer is not None and self._killTimer.active():
            self._killTimer.cancel()
        delay = self._scheduleRestart()
        channel.finishRequests(False)
        status = process.wait(self._clock).addTimeout(
            self.reapTimeout,
            self._clock,
            lambda result, timeout: "status unknown, a debugger may hold the process",
        )
        status.addCallback(self._reaped, channel, process.pid, delay)

    def _scheduleRestart(self) -> float | None:
        self._channel = self._process = self.pid = None
        if self._isStopping:
            return None
        since = self._readySince
        uptime = 0.0 if since is None else self._clock.seconds() - since
        delay = self._backoff.delayAfter(uptime)
        self._restart = self._clock.callLater(delay, self.startWorker)
        return delay

    def _reaped(
        self, status: str, channel: _SlotChannel, pid: int, delay: float | None
    ) -> None:
        if not channel.hasStopped:
            self._supervisor.workerExited(self, pid, status, delay)
        self._unreaped.remove(channel.reaped)
        channel.reaped.callback(None)

    def stop(self) -> Deferred[None]:
        """
        Stop the worker after it has answered the datagrams that have arrived.  A
        missing worker is started for that.

        @return: Fires when all workers of this slot have been reaped.
        """
        if not self._isStopping:
            self._isStopping = True
            if self._restart is not None:
                self._restart.cancel()
                self.startWorker()
            if self._channel is not None and self._process is not None:
                self._channel.send("stop")
                kill = self._process.kill
                self._killTimer = self._clock.callLater(self.stopTimeout, kill)
        return gatherResults(self._unreaped).addCallback(lambda _: None)


class _SlotChannel(Channel):
    """
    The supervisor's end of the channel to a worker.

    @ivar hasStopped: C{True} if the worker has stopped as requested.

    @ivar reaped: Fires when the worker has been reaped, or C{reapTimeout} is over.
    """

    def __init__(self, slot: WorkerSlot, supervisor: ISupervisor) -> None:
        self._slot = slot
        self._supervisor = supervisor
        self.hasStopped = False
        self.reaped: Deferred[None] = Deferred()
        self._isRequested = False
        self._requests: list[Deferred[bool]] = []

    def requestSnapshot(self) -> Deferred[bool]:
        # Requests do not pile up for a worker that does not respond.
        if not self._isRequested:
            self._isRequested = True
            self.send("snapshot")
        self._requests.append(Deferred(self._requests.remove))
        return self._requests[-1]

    def finishRequests(self, isFresh: bool) -> None:
        self._isRequested = False
        requests = [*self._requests]
        self._requests.clear()
        for each in requests:
            each.callback(isFresh)

    def handleReady(self) -> None:
        self._slot.workerReady()

    def handleSnapshot(self, values: dict[str, Any]) -> None:
        self._supervisor.snapshotReceived(Snapshot.fromJSON(values))
        self.finishRequests(True)

    def handleStopped(self) -> None:
        self.hasStopped = True

    def handleEvent(self, level: str, text: str) -> None:
        self._supervisor.eventReceived(self._slot, level, text)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._slot.workerExited()
