"""
The service that runs workers.

The sockets stay open here, where nothing is read from them.  So a datagram that
arrives while a worker is missing is not lost: it waits for the successor.
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
from zope.interface import implementer

from shout.counters import Snapshot
from shout.protocol import Responder, Shout
from shout.ratelimitedlog import RateLimitedLog
from shout.service import SocketService, describePort
from shout.sockets.address import describe, example
from shout.udp.sockopt import kernelDrops, kernelDropsSince
from shout.workers.channel import Channel
from shout.workers.slot import ISupervisor, WorkerProcess, WorkerSlot
from shout.workers.worker import spawnWorker

_Spawn = Callable[[Sequence[socket.socket], Channel], WorkerProcess]


@implementer(ISupervisor)
class Supervisor(SocketService):
    """
    Run one worker process for each socket set, and start a successor for each worker
    that exits.

    The totals are those of all workers, up to their last snapshots.

    Workers are forked from this process, which should have no threads at that time.
    Each has a reactor of its own, so C{protocol} must not use the global one.

    @ivar socketSets: The sockets of each worker, until the service has stopped.

    @ivar slots: The places of the workers.
    """

    _log = Logger()

    def __init__(
        self,
        socketSets: Sequence[Sequence[socket.socket]],
        protocol: Callable[[], Responder] = Shout,
        reactor: Any = None,
        spawn: _Spawn | None = None,
    ) -> None:
        """
        @param socketSets: Bound datagram sockets for each worker, as
            L{bindReusePortGroup<shout.workers.reuseport.bindReusePortGroup>} makes
            them.  The service owns them and closes them when it stops.

        @param protocol: L{Shout<shout.protocol.Shout>} or another responder, called in
            the workers without arguments once per socket.

        @param reactor: By default the global reactor, when the service starts.

        @param spawn: Starts a worker that answers at the sockets and opens the channel
            to it.  By default the worker is forked.
        """
        super().__init__(reactor)
        self.slots: list[WorkerSlot] = []
        self.socketSets = list(socketSets)
        self._protocol = protocol
        self._spawn = spawn
        self._notReady: set[WorkerSlot] = set()
        self._listening: Deferred[None] = Deferred()
        self._dropsBefore = list(map(kernelDrops, self._sockets))
        self._kernelDrops = 0
        self._total = Snapshot()

    @property
    def _sockets(self) -> list[socket.socket]:
        return [sock for each in self.socketSets for sock in each]

    def _addresses(self) -> list[str]:
        return list(dict.fromkeys(map(describe, self._sockets)))

    def startService(self) -> None:
        """
        Start the workers, once the reactor runs.
        """
        super().startService()
        self._reactor.callWhenRunning(self._startWorkers)

    def _startWorkers(self) -> None:
        if self._isStopped:
            return
        self._exits = RateLimitedLog(self._warn, self._reactor)
        self._failures = RateLimitedLog(self._warn, self._reactor)
        spawn = self._spawn or partial(spawnWorker, self._protocol, self._reactor)
        self.slots = [
            WorkerSlot(number, partial(spawn, sockets), self, self._reactor)
            for number, sockets in enumerate(self.socketSets, 1)
        ]
        self._notReady.update(self.slots)
        for slot in self.slots:
            slot.startWorker()

    def whenListening(self) -> Deferred[None]:
        """
        Return a Deferred that fires when every worker has begun to answer.
        """
        return self._listening

    def workerReady(self, slot: WorkerSlot) -> None:
        # Successors are not announced.
        if slot not in self._notReady:
            return
        self._notReady.remove(slot)
        if self._notReady:
            return
        for address in dict.fromkeys(map(describePort, self._sockets)):
            self._log.info("listening on {address}", address=address)
        self._log.info(
            "started {count} workers: processes {pids}",
            count=len(self.slots),
            pids=", ".join(str(slot.pid) for slot in self.slots),
        )
        for sock in self._sockets[:1]:
            self._log.info("try it with: {command}", command=example(sock))
        self._listening.callback(None)

    def snapshotReceived(self, new: Snapshot) -> None:
        self._total += new
        self.counters.families = dict(self._total.received)
        self.counters.answered = self._total.replies
        for reason, count in Counter(new.dropped, **new.sendErrors).items():
            if count:
                self.counters.drop(reason, count)

    def eventReceived(self, slot: WorkerSlot, level: str, text: str) -> None:
        self._log.emit(
            LogLevel.levelWithName(level),
            "worker {number}: {text}",
            number=slot.number,
            text=text,
        )

    def workerExited(
        self, slot: WorkerSlot, pid: int, status: str, delay: float | None
    ) -> None:
        text = f"worker {slot.number} (process {pid}) exited: {status}"
        if delay is None:
            self._warn(f"{text}; datagrams that it had received may be unanswered")
        else:
            self._exits.add(f"{text}; another starts {_when(delay)}")

    def workerStartFailed(
        self, slot: WorkerSlot, reason: str, delay: float | None
    ) -> None:
        text = f"worker {slot.number} cannot be started: {reason}"
        if delay is None:
            self._warn(f"{text}; datagrams that have arrived for it are lost")
        else:
            self._failures.add(f"{text}; next attempt {_when(delay)}")

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _snapshot(self) -> Snapshot:
        # The sockets outlive the workers, and so do their drops.
        if self.socketSets:
            drops = map(kernelDropsSince, self._sockets, self._dropsBefore)
            self._kernelDrops = sum(drops)
        return replace(self._total, kernelDrops=self._kernelDrops)

    def snapshot(self) -> Deferred[Snapshot]:
        """
        Return the totals of all workers, present and past.  A worker that does not
        respond in time is included up to its last snapshot.
        """
        requested = gatherResults([slot.requestSnapshot() for slot in self.slots])
        return requested.addCallback(lambda _: self._snapshot())

    async def checkWorkers(self) -> list[str]:
        """
        Return a line for each worker that is missing or does not respond.
        """
        answers = await gatherResults([slot.requestSnapshot() for slot in self.slots])
        return [
            f"worker {slot.number} does not respond"
            for slot, isFresh in zip(self.slots, answers)
            if not isFresh
        ]

    def stopService(self) -> Deferred[None]:
        """
        Let the workers answer the datagrams that have arrived, then close the sockets.

        @return: Fires when the sockets are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._isStopped = True
        stopped = gatherResults([slot.stop() for slot in self.slots])
        return stopped.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        addresses = self._addresses()
        sockets = self._sockets
        if not sockets:
            # Another caller of stopService was first.
            return
        lost = self._snapshot().kernelDrops
        self.socketSets = []
        for sock in sockets:
            sock.close()
        if self.slots:
            self._exits.flush()
            self._failures.flush()
            self._logTotals(addresses, lost)


def _when(delay: float) -> str:
    return f"in {delay:.1f} s" if delay else "at once"
