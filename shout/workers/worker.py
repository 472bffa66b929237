"""
What a worker does: it answers at the sockets that it is given, and tells its parent.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.logger import (
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    globalLogPublisher,
)
from twisted.python.failure import Failure

from shout.counters import Snapshot
from shout.protocol import Shout
from shout.service import ShoutService
from shout.workers.channel import Channel
from shout.workers.fork import Child, fork

try:
    from twisted.internet.epollreactor import EPollReactor as _Reactor
except ImportError:
    from twisted.internet.selectreactor import SelectReactor as _Reactor

# What the parent says itself, for all of its workers.
_PARENTS = {"shout.service.ShoutService", "shout.counters.Counters"}

# How many characters of an event to tell.
_MOST = 20_000


def start(
    channel: Channel,
    sockets: Sequence[socket.socket],
    protocol: Callable[[], Shout],
    reactor: Any,
) -> Child:
    """
    Start a worker.

    @param channel: the parent's end.

    @param sockets: those to answer at; they stay open here.

    @param protocol: as L{ShoutService} takes it.

    @param reactor: the parent's.

    @raise OSError: when the system starts none.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            child = fork(
                partial(work, theirs, sockets, protocol),
                keep=[sock.fileno() for sock in (theirs, *sockets)],
            )
        except OSError:
            ours.close()
            raise
    try:
        channel.open(ours, reactor)
    except OSError:
        child.kill()
        child.wait(reactor)
        raise
    return child


def work(
    channel: socket.socket,
    sockets: Iterable[socket.socket],
    protocol: Callable[[], Shout] = Shout,
) -> None:
    """
    Be a worker, until told to stop or left alone.

    @param channel: leads to the parent.

    @param sockets: those to answer at, as L{ShoutService} takes them.

    @param protocol: as L{ShoutService} takes it.
    """
    # The parent's own reactor is shared with it, and runs already.
    reactor: PosixReactorBase = _Reactor()  # type: ignore[no-untyped-call]
    worker = Worker(ShoutService(sockets, protocol, reactor), reactor)
    _logTo(worker.observe)
    worker.open(channel, reactor)
    reactor.run(installSignalHandlers=False)


def _logTo(observer: Any) -> None:
    # Loggers know no other publisher, and it does not tell to whom it publishes.
    for other in list(globalLogPublisher._observers):
        globalLogPublisher.removeObserver(other)
    globalLogPublisher.addObserver(observer)


class Worker(Channel):
    """
    The end of the channel where a service answers.

    @cvar interval: how often to tell what is new in the figures, in seconds.
    """

    _log = Logger()

    interval = 0.1

    def __init__(self, service: ShoutService, reactor: Any) -> None:
        """
        @param service: answers.

        @param reactor: runs until the service has stopped.
        """
        self._service = service
        self._reactor = reactor
        self._told = Snapshot()
        self._hasRoom = True
        self._isStopping = self._hasStopped = False
        self._telling = LoopingCall(self._tellChanges)
        self._telling.clock = reactor

    def connectionMade(self) -> None:
        """
        Begin to answer, and say so.
        """
        transport: Any = self.transport
        transport.registerProducer(self, True)
        try:
            self._service.startService()
        except Exception:
            # Where the parent's standard error leads is not where it logs.
            self._log.failure("cannot answer")
            transport.unregisterProducer()
            transport.loseConnection()
            self._hasStopped = True
            return
        self._telling.start(self.interval, now=False)
        self.send("ready")

    def handleSnapshot(self) -> None:
        """
        Tell what is new in the figures.
        """
        snapshot = self._service.snapshot()
        self.send("snapshot", (snapshot - self._told).toJSON())
        self._told = snapshot

    def _tellChanges(self) -> None:
        if self._hasRoom and self._service.snapshot() != self._told:
            self.handleSnapshot()

    def observe(self, event: LogEvent) -> None:
        """
        Tell of a log event.
        """
        level = event.get("log_level", LogLevel.info)
        if event.get("log_namespace") in _PARENTS or level < LogLevel.info:
            return
        if self._hasRoom and self.connected:
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            self.send("event", level.name, text[:_MOST])

    def pauseProducing(self) -> None:
        """
        Tell nothing unasked while the parent does not listen.
        """
        self._hasRoom = False

    def resumeProducing(self) -> None:
        """
        Tell what there is again.
        """
        self._hasRoom = True

    def stopProducing(self) -> None:
        """
        Do nothing: the connection has gone.
        """

    def handleStop(self) -> None:
        """
        Answer what has arrived, tell the figures, and end.
        """
        if not self._isStopping:
            self._isStopping = True
            stopped = maybeDeferred(self._service.stopService)
            stopped.addErrback(partial(self._log.failure, "cannot stop"))
            stopped.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        self._hasStopped = True
        if self.connected:
            transport: Any = self.transport
            self.handleSnapshot()
            self.send("stopped")
            transport.unregisterProducer()
            transport.loseConnection()
        else:
            self._reactor.stop()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        End: there is no parent any more, or all is said.
        """
        self.connected = False
        if self._telling.running:
            self._telling.stop()
        if self._hasStopped:
            self._reactor.stop()
        else:
            self.handleStop()
