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

from shout.addresses import describe, example
from shout.figures import Figures
from shout.processes.channel import Channel
from shout.processes.post import Post, Process
from shout.processes.worker import start
from shout.protocol import Shout
from shout.ratelimitedlog import RateLimitedLog
from shout.service import AnsweringService
from shout.sockets import dropped, droppedSince


class WorkersService(AnsweringService):
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
    @type posts: L{list} of L{Post}
    """

    _log = Logger()

    def __init__(
        self,
        shares: Sequence[Sequence[socket.socket]],
        protocol: Callable[[], Shout] = Shout,
        reactor: Any = None,
        spawn: Callable[[Sequence[socket.socket], Channel], Process] | None = None,
    ) -> None:
        """
        @param shares: for each worker, the bound datagram sockets that it answers
            at, as L{share<shout.processes.sharing.share>} makes them; the service
            owns them from now on and closes them when it stops.

        @param protocol: called in the workers without arguments, once per socket:
            L{Shout}, or a subclass.

        @param reactor: by default the global one, when the service starts.

        @param spawn: starts a worker that answers at sockets and talks to a channel;
            by default it is forked.
        """
        super().__init__(reactor)
        self.posts: list[Post] = []
        self.shares = list(shares)
        self._protocol = protocol
        self._spawn = spawn or self._start
        self._missing: set[Post] = set()
        self._listening: Deferred[None] = Deferred()
        self._dropsBefore = list(map(dropped, self._sockets))
        self._kernelDrops = 0
        self._told = Figures()

    @property
    def _sockets(self) -> list[socket.socket]:
        return [sock for share in self.shares for sock in share]

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
        for number, sockets in enumerate(self.shares, 1):
            spawn = partial(self._spawn, sockets)
            self.posts.append(Post(number, spawn, self, self._reactor))
        self._missing.update(self.posts)
        for post in self.posts:
            post.fill()

    def _start(self, sockets: Sequence[socket.socket], channel: Channel) -> Process:
        return start(channel, sockets, self._protocol, self._reactor)

    def whenListening(self) -> Deferred[None]:
        """
        Return what fires once every worker has begun to answer.
        """
        return self._listening

    def workerReady(self, post: Post) -> None:
        """
        Say where it listens, when all workers are ready for the first time.
        """
        if post not in self._missing:
            return
        self._missing.remove(post)
        if self._missing:
            return
        for address in self._addresses():
            self._log.info("listening on {address}", address=address)
        self._log.info(
            "with {count} workers: processes {pids}",
            count=len(self.posts),
            pids=", ".join(str(post.pid) for post in self.posts),
        )
        for sock in self._sockets[:1]:
            self._log.info("try it with: {command}", command=example(sock))
        self._listening.callback(None)

    def workerCounted(self, new: Figures) -> None:
        """
        Count what a worker has counted, which says what was dropped.
        """
        self._told += new
        self.counters.families = dict(self._told.received)
        self.counters.answered = self._told.replies
        for reason, count in Counter(new.dropped, **new.sendErrors).items():
            if count:
                self.counters.drop(reason, count)

    def workerSaid(self, post: Post, level: str, text: str) -> None:
        """
        Log what a worker would have logged.
        """
        self._log.emit(
            LogLevel.levelWithName(level),
            "worker {number}: {text}",
            number=post.number,
            text=text,
        )

    def workerEnded(self, post: Post, what: str, wait: float | None) -> None:
        """
        Log that a worker has ended.
        """
        if wait is None:
            self._warn(f"{what}; what it had in hand is lost")
        else:
            self._ends.add(f"{what}; another starts {_when(wait)}")

    def workerNotStarted(self, post: Post, why: str, wait: float | None) -> None:
        """
        Log that a worker cannot be started.
        """
        what = f"worker {post.number} cannot be started: {why}"
        if wait is None:
            self._warn(f"{what}; what has arrived for it is lost")
        else:
            self._failures.add(f"{what}; tried again {_when(wait)}")

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _total(self) -> Figures:
        # The sockets outlive the workers, and so do their drops.
        if self.shares:
            drops = map(droppedSince, self._sockets, self._dropsBefore)
            self._kernelDrops = sum(drops)
        return replace(self._told, kernelDrops=self._kernelDrops)

    def figures(self) -> Deferred[Figures]:
        """
        Return what the workers have done so far, the dead ones too: of those that
        have not told in their last second, up to then.
        """
        asked = gatherResults([post.ask() for post in self.posts])
        return asked.addCallback(lambda _: self._total())

    def missing(self) -> Deferred[list[str]]:
        """
        Return a line for each worker that is not there, or does nothing.
        """

        def lines(answers: list[bool]) -> list[str]:
            return [
                f"worker {post.number} does not answer"
                for post, isFresh in zip(self.posts, answers)
                if not isFresh
            ]

        asked = gatherResults([post.ask() for post in self.posts])
        return asked.addCallback(lines)

    def stopService(self) -> Deferred[None]:
        """
        Have the workers answer what has already arrived, then close the sockets.

        @return: fires when they are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._isStopped = True
        stopped = gatherResults([post.stop() for post in self.posts])
        return stopped.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        addresses = self._addresses()
        sockets = self._sockets
        if not sockets:
            # Somebody else has waited for this, too.
            return
        lost = self._total().kernelDrops
        self.shares = []
        for sock in sockets:
            sock.close()
        if self.posts:
            self._ends.flush()
            self._failures.flush()
            self._sayStopped(addresses, lost)


def _when(wait: float) -> str:
    return f"in {wait:.1f} s" if wait else "at once"
