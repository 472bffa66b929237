"""
A post: where one worker ends, another takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError, gatherResults, succeed
from twisted.python.failure import Failure

from shout.counters import Snapshot
from shout.workers.backoff import Backoff
from shout.workers.channel import Channel


class Process(Protocol):
    """
    A worker's process, such as a L{Child<shout.workers.fork.Child>}.

    @ivar pid: its number.
    """

    pid: int

    def kill(self) -> None:
        """
        End it at once.
        """

    def wait(self, clock: Any) -> Deferred[str]:
        """
        Return what fires when it has ended, with how.
        """


class ISupervisor(Protocol):
    """
    Who has posts, such as a L{Supervisor<shout.workers.supervisor.Supervisor>}.
    """

    def workerReady(self, slot: WorkerSlot) -> None:
        """
        Be told that the worker at a post answers.
        """

    def workerCounted(self, new: Snapshot) -> None:
        """
        Be told what a worker has done since it told last.
        """

    def workerSaid(self, slot: WorkerSlot, level: str, text: str) -> None:
        """
        Be told of an event that a worker would have logged.
        """

    def workerEnded(self, slot: WorkerSlot, what: str, wait: float | None) -> None:
        """
        Be told that a worker has ended otherwise than it was told to.

        @param what: which one, and how.

        @param wait: how many seconds after it another starts; L{None} for no other.
        """

    def workerNotStarted(self, slot: WorkerSlot, why: str, wait: float | None) -> None:
        """
        Be told that the system starts no worker.

        @param wait: in how many seconds it is tried again; L{None} for never.
        """


class WorkerSlot:
    """
    A place where there is always a worker, or soon again.

    @cvar patience: how long, in seconds, a worker that was told to stop may take
        before it is ended.

    @cvar attention: how long, in seconds, to wait for the figures of a worker
        before those that it told last have to do, or to know how one has ended.

    @ivar number: which of the posts it is, from 1.
    """

    patience = 10.0
    attention = 1.0

    def __init__(
        self,
        number: int,
        spawn: Callable[[Channel], Process],
        supervisor: ISupervisor,
        clock: Any,
    ) -> None:
        """
        @param spawn: starts a worker that talks to the channel it is given.

        @param clock: an L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self.number = number
        self._spawn = spawn
        self._supervisor = supervisor
        self._clock = clock
        self._backoff = Backoff()
        self._line: _Line | None = None
        self._process: Process | None = None
        self._next: Any = None
        self._readySince: float | None = None
        self._isStopping = False
        self._stopped: list[Deferred[None]] = []
        self._reaping: set[Deferred[None]] = set()
        self._overdue: Any = None

    @property
    def pid(self) -> int | None:
        """
        The number of the worker's process, if there is one.
        """
        return self._process.pid if self._process else None

    def ask(self) -> Deferred[bool]:
        """
        Ask the worker for its figures.

        @return: fires when it has told, or does not in time, with whether it has.
        """
        if self._line is None or self._readySince is None:
            return succeed(False)
        asked = self._line.ask().addTimeout(self.attention, self._clock)
        return asked.addErrback(_forgo)

    def startWorker(self) -> None:
        """
        Start a worker.
        """
        self._next = self._readySince = None
        self._line = _Line(self, self._supervisor)
        try:
            self._process = self._spawn(self._line)
        except OSError as e:
            wait = self._vacate()
            self._supervisor.workerNotStarted(self, e.strerror or str(e), wait)

    def ready(self) -> None:
        """
        Be told that the worker answers.
        """
        self._readySince = self._clock.seconds()
        self._supervisor.workerReady(self)

    def ended(self) -> None:
        """
        Be told that the worker has gone, or goes.
        """
        assert self._line is not None and self._process is not None
        line, process = self._line, self._process
        # From here on it does nothing more, so the next one need not wait.
        process.kill()
        wait = self._vacate()
        line.answer(False)
        how = process.wait(self._clock).addTimeout(self.attention, self._clock)
        how.addErrback(_kept)
        reaped = how.addCallback(self._reaped, line, process.pid, wait)
        self._reaping.add(reaped)
        reaped.addCallback(lambda _: self._reaping.discard(reaped))

    def _vacate(self) -> float | None:
        self._line = None
        if self._isStopping:
            return None
        self._process = None
        lived = 0.0
        if self._readySince is not None:
            lived = self._clock.seconds() - self._readySince
        wait = self._backoff.after(lived)
        self._next = self._clock.callLater(wait, self.startWorker)
        return wait

    def _reaped(self, how: str, line: _Line, pid: int, wait: float | None) -> None:
        if not line.hasStopped:
            what = f"worker {self.number} (process {pid}) ended: {how}"
            self._supervisor.workerEnded(self, what, wait)
        if wait is None:
            self._gone()

    def stop(self) -> Deferred[None]:
        """
        Have the worker answer what has arrived, and start no other.

        Where one is missing it is started for that.

        @return: fires when it has ended, and when of all before it is known how.
        """
        if not self._isStopping:
            self._isStopping = True
            if self._next is not None:
                self._next.cancel()
                self.startWorker()
            if self._line is not None and self._process is not None:
                self._line.send("stop")
                kill = self._process.kill
                self._overdue = self._clock.callLater(self.patience, kill)
        waitedFor = [*self._reaping]
        if self._process is not None:
            waitedFor.append(Deferred())
            self._stopped.append(waitedFor[-1])
        return gatherResults(waitedFor).addCallback(lambda _: None)

    def _gone(self) -> None:
        self._process = None
        if self._overdue is not None and self._overdue.active():
            self._overdue.cancel()
        stopped, self._stopped = self._stopped, []
        for each in stopped:
            each.callback(None)


def _forgo(failure: Failure) -> bool:
    failure.trap(TimeoutError)
    return False


def _kept(failure: Failure) -> str:
    failure.trap(TimeoutError)
    return "not known how, while something such as a debugger keeps it"


class _Line(Channel):
    """
    The channel to one worker.
    """

    def __init__(self, slot: WorkerSlot, supervisor: ISupervisor) -> None:
        self._slot = slot
        self._supervisor = supervisor
        self.hasStopped = False
        self._isAsked = False
        self._asked: list[Deferred[bool]] = []

    def ask(self) -> Deferred[bool]:
        # One who does not answer is not asked again and again.
        if not self._isAsked:
            self._isAsked = True
            self.send("snapshot")
        self._asked.append(Deferred(self._asked.remove))
        return self._asked[-1]

    def answer(self, isFresh: bool) -> None:
        self._isAsked = False
        asked = [*self._asked]
        self._asked.clear()
        for each in asked:
            each.callback(isFresh)

    def handleReady(self) -> None:
        self._slot.ready()

    def handleSnapshot(self, values: dict[str, Any]) -> None:
        self._supervisor.workerCounted(Snapshot.fromJSON(values))
        self.answer(True)

    def handleStopped(self) -> None:
        self.hasStopped = True

    def handleEvent(self, level: str, text: str) -> None:
        self._supervisor.workerSaid(self._slot, level, text)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._slot.ended()
