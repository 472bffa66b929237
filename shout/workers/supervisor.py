"""
The service that has several processes keep sockets answered.

The sockets stay open here, where nobody reads them.  So nothing that arrives while a
worker is missing is lost: it waits for the next one.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger, LogLevel

from shout.counters import Snapshot
from shout.protocol import Shout
from shout.ratelimitedlog import RateLimitedLog
from shout.service import SocketService
from shout.sockets.address import describe, example
from shout.udp.sockopt import kernelDrops, kernelDropsSince
from shout.workers.channel import Channel
from shout.workers.slot import Process, WorkerSlot
from shout.workers.worker import start


class Supervisor(SocketService):
    """
    Have a number of worker processes answer, one for each share of the sockets, and
    start another where one ends.

    The totals are those of all workers, as far as they have told.

    Workers are forked from this process, which should have no threads then, and each
    has a reactor of its own; so C{protocol} must not use the global one.

    @ivar shares: for each worker, the sockets that it answers at, until the service
        has stopped.
    @type shares: L{list} of sequences of sockets

    @ivar posts: the workers' places.
    @type posts: L{list} of L{WorkerSlot}
    """

    _log = Logger()

    def __init__(
        self,
        socketSets: Sequence[Sequence[socket.socket]],
        protocol: Callable[[], Shout] = Shout,
        reactor: Any = None,
        spawn: Callable[[Sequence[socket.socket], Channel], Process] | None = None,
    ) -> None:
        """
        @param shares: for each worker, the bound datagram sockets that it answers
            at, as L{share<shout.workers.reuseport.share>} makes them; the service
            owns them from now on and closes them when it stops.

        @param protocol: called in the workers without arguments, once per socket:
            L{Shout}, or a subclass.

        @param reactor: by default the global one, when the service starts.

        @param spawn: starts a worker that answers at sockets and talks to a channel;
            by default it is forked.
        """
        super().__init__(reactor)
        self.slots: list[WorkerSlot] = []
        self.socketSets = list(socketSets)
        self._protocol = protocol
        self._spawn = spawn or self._start
        self._missing: set[WorkerSlot] = set()
        self._listening: Deferred[None] = Deferred()
        self._dropsBefore = list(map(kernelDrops, self._sockets))
        self._kernelDrops = 0
        self._told = Snapshot()

    @property
    def _sockets(self) -> list[socket.socket]:
        return [sock for share in self.socketSets for sock in share]

    def _addresses(self) -> list[str]:
        return list(dict.fromkeys(map(describe, self._sockets)))

    def startService(self) -> None:
        """
        Start the workers, once the reactor runs.

        @raise RuntimeError: when the service has been stopped before, which has
            closed its sockets.
        """
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self._isStopped:
            return
        self._ends = RateLimitedLog(self._warn, self._reactor)
        self._failures = RateLimitedLog(self._warn, self._reactor)
        for number, sockets in enumerate(self.socketSets, 1):
            spawn = partial(self._spawn, sockets)
            self.slots.append(WorkerSlot(number, spawn, self, self._reactor))
        self._missing.update(self.slots)
        for slot in self.slots:
            slot.startWorker()

    def _start(self, sockets: Sequence[socket.socket], channel: Channel) -> Process:
        return start(channel, sockets, self._protocol, self._reactor)

    def whenListening(self) -> Deferred[None]:
        """
        Return what fires once every worker has begun to answer.
        """
        return self._listening

    def workerReady(self, slot: WorkerSlot) -> None:
        """
        Say where it listens, when all workers are ready for the first time.
        """
        if slot not in self._missing:
            return
        self._missing.remove(slot)
        if self._missing:
            return
        for address in self._addresses():
            self._log.info("listening on {address}", address=address)
        self._log.info(
            "with {count} workers: processes {pids}",
            count=len(self.slots),
            pids=", ".join(str(slot.pid) for slot in self.slots),
        )
        for sock in self._sockets[:1]:
            self._log.info("try it with: {command}", command=example(sock))
        self._listening.callback(None)

    def workerCounted(self, new: Snapshot) -> None:
        """
        Count what a worker has counted, which says what was dropped.
        """
        self._told += new
        self.counters.families = dict(self._told.received)
        self.counters.answered = self._told.replies
        for reason, count in Counter(new.dropped, **new.sendErrors).items():
            if count:
                self.counters.drop(reason, count)

    def workerSaid(self, slot: WorkerSlot, level: str, text: str) -> None:
        """
        Log what a worker would have logged.
        """
        self._log.emit(
            LogLevel.levelWithName(level),
            "worker {number}: {text}",
            number=slot.number,
            text=text,
        )

    def workerEnded(self, slot: WorkerSlot, what: str, wait: float | None) -> None:
        """
        Log that a worker has ended.
        """
        if wait is None:
            self._warn(f"{what}; what it had in hand is lost")
        else:
            self._ends.add(f"{what}; another starts {_when(wait)}")

    def workerNotStarted(self, slot: WorkerSlot, why: str, wait: float | None) -> None:
        """
        Log that a worker cannot be started.
        """
        what = f"worker {slot.number} cannot be started: {why}"
        if wait is None:
            self._warn(f"{what}; what has arrived for it is lost")
        else:
            self._failures.add(f"{what}; tried again {_when(wait)}")

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _total(self) -> Snapshot:
        # The sockets outlive the workers, and so do their drops.
        if self.socketSets:
            drops = map(kernelDropsSince, self._sockets, self._dropsBefore)
            self._kernelDrops = sum(drops)
        return replace(self._told, kernelDrops=self._kernelDrops)

    def snapshot(self) -> Deferred[Snapshot]:
        """
        Return what the workers have done so far, the dead ones too: of those that
        have not told in their last second, up to then.
        """
        asked = gatherResults([slot.ask() for slot in self.slots])
        return asked.addCallback(lambda _: self._total())

    def missing(self) -> Deferred[list[str]]:
        """
        Return a line for each worker that is not there, or does nothing.
        """

        def lines(answers: list[bool]) -> list[str]:
            return [
                f"worker {slot.number} does not answer"
                for slot, isFresh in zip(self.slots, answers)
                if not isFresh
            ]

        asked = gatherResults([slot.ask() for slot in self.slots])
        return asked.addCallback(lines)

    def stopService(self) -> Deferred[None]:
        """
        Have the workers answer what has already arrived, then close the sockets.

        @return: fires when they are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._isStopped = True
        stopped = gatherResults([slot.stop() for slot in self.slots])
        return stopped.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        addresses = self._addresses()
        sockets = self._sockets
        if not sockets:
            # Somebody else has waited for this, too.
            return
        lost = self._total().kernelDrops
        self.socketSets = []
        for sock in sockets:
            sock.close()
        if self.slots:
            self._ends.flush()
            self._failures.flush()
            self._logTotals(addresses, lost)


def _when(wait: float) -> str:
    return f"in {wait:.1f} s" if wait else "at once"
