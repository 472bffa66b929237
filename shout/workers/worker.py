"""
A worker: a process that answers at its sockets and reports to its supervisor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import LoopingCall
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText, globalLogPublisher
from twisted.python.failure import Failure

from shout.counters import Snapshot
from shout.protocol import Responder
from shout.service import ShoutService
from shout.workers.channel import Channel
from shout.workers.fork import ForkedProcess, fork

try:
    from twisted.internet.epollreactor import EPollReactor as _Reactor
except ImportError:
    from twisted.internet.selectreactor import SelectReactor as _Reactor

# The supervisor logs these events itself, once for all workers.
_LOGGED_BY_SUPERVISOR = {"shout.service.ShoutService", "shout.counters.Counters"}

# Characters of an event; more may not fit in a message.
_MAX_EVENT_LENGTH = 20_000


def spawnWorker(
    protocol: Callable[[], Responder],
    reactor: Any,
    sockets: Sequence[socket.socket],
    channel: Channel,
) -> ForkedProcess:
    """
    Fork a worker, and open the channel to it.

    @param protocol: As for L{ShoutService<shout.service.ShoutService>}.

    @param reactor: The reactor of this process.

    @param sockets: The sockets of the worker.  They stay open in this process.

    @param channel: The supervisor's end.

    @raise OSError: If the system cannot start a process.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = fork(
            partial(runWorker, protocol, sockets, theirs),
            keep=[sock.fileno() for sock in (theirs, *sockets)],
        )
        try:
            channel.open(ours, reactor)
        except OSError:
            process.kill()
            process.wait(reactor)
            raise
    return process


def runWorker(
    protocol: Callable[[], Responder],
    sockets: Iterable[socket.socket],
    channel: socket.socket,
) -> None:
    """
    Answer datagrams until the supervisor requests a stop or exits.

    @param protocol: As for L{ShoutService<shout.service.ShoutService>}.

    @param sockets: As for L{ShoutService<shout.service.ShoutService>}.

    @param channel: A socket that is connected to the supervisor.
    """
    # The global reactor is the supervisor's, and is running already.
    reactor: PosixReactorBase = _Reactor()  # type: ignore[no-untyped-call]
    worker = Worker(ShoutService(sockets, protocol, reactor), reactor)
    # All loggers publish here, and the publisher has no public list of observers.
    for observer in list(globalLogPublisher._observers):
        globalLogPublisher.removeObserver(observer)
    globalLogPublisher.addObserver(worker.observe)  # type: ignore[arg-type]
    worker.open(channel, reactor)
    reactor.run(installSignalHandlers=False)


class Worker(Channel):
    """
    The worker's end of the channel, which runs the service.

    @cvar interval: Seconds between two looks for changed counts.
    """

    _log = Logger()

    interval = 0.1

    def __init__(self, service: ShoutService, reactor: Any) -> None:
        """
        @param service: The service to start and stop.

        @param reactor: The reactor to stop in the end.
        """
        self._service = service
        self._reactor = reactor
        self._sent = Snapshot()
        self._isPaused = False
        self._isStopping = self._hasStopped = False
        self._reporting = LoopingCall(self._sendChanges)
        self._reporting.clock = reactor

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        try:
            self._service.startService()
        except Exception:
            # This reaches the supervisor's log; standard error may lead elsewhere.
            self._log.failure("cannot start the service in this worker")
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._hasStopped = True
            return
        self._reporting.start(self.interval, now=False)
        self.send("ready")

    def handleSnapshot(self) -> None:
        """
        Send the counts since the last snapshot.
        """
        snapshot = self._service.snapshot()
        self.send("snapshot", (snapshot - self._sent).toJSON())
        self._sent = snapshot

    def _sendChanges(self) -> None:
        if not self._isPaused and self._service.snapshot() != self._sent:
            self.handleSnapshot()

    def observe(self, event: LogEvent) -> None:
        """
        Send a log event.
        """
        level = event.get("log_level", LogLevel.info)
        if event.get("log_namespace") in _LOGGED_BY_SUPERVISOR or level < LogLevel.info:
            return
        if self.connected and not self._isPaused:
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            self.send("event", level.name, text[:_MAX_EVENT_LENGTH])

    def pauseProducing(self) -> None:
        # The supervisor does not read, so nothing is sent but what it requests.
        self._isPaused = True

    def resumeProducing(self) -> None:
        self._isPaused = False

    def stopProducing(self) -> None:
        # connectionLost follows.
        pass

    def handleStop(self) -> None:
        """
        Answer the datagrams that have arrived, send the last counts, and exit.
        """
        if not self._isStopping:
            self._isStopping = True
            stopped = maybeDeferred(self._service.stopService)
            stopped.addErrback(partial(self._log.failure, "cannot stop"))
            stopped.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        self._hasStopped = True
        if self.connected:
            self.handleSnapshot()
            self.send("stopped")
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        else:
            self._reactor.stop()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Exit, after the datagrams that have arrived are answered.
        """
        self.connected = False
        if self._reporting.running:
            self._reporting.stop()
        if self._hasStopped:
            self._reactor.stop()
        else:
            self.handleStop()
