"""
The service that keeps sockets answered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger

from shout.counters import FAMILIES, Counters, Snapshot
from shout.protocol import Shout
from shout.sockets.address import describe, example
from shout.udp.batched import listen
from shout.udp.port import DatagramPort


class SocketService(Service):
    """
    What the services have in common that own sockets and have them answered.

    @ivar counters: the totals of all sockets.
    @type counters: L{Counters}
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: by default the global one, when the service starts.
        """
        self.counters = Counters()
        self._reactor = reactor
        self._isStopped = False

    def startService(self) -> None:
        """
        Be started, once.

        @raise RuntimeError: when the service has been stopped before, which has
            closed its sockets.
        """
        if self._isStopped:
            raise RuntimeError("a stopped service cannot start again: make another")
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor

    def _sayStopped(self, addresses: Iterable[str], lost: int) -> None:
        """
        Log the totals.

        @param lost: how many datagrams the kernel has dropped.
        """
        self._log.info(
            "stopped listening on {addresses}: {counters}",
            addresses=", ".join(addresses),
            counters=self.counters,
        )
        if lost:
            self._log.warn("not even received, for want of buffer: {lost}", lost=lost)


class ShoutService(SocketService):
    """
    Answer the datagrams that arrive at any number of sockets.

    @ivar ports: the listening ports, one per socket, while the service runs.
    @type ports: L{list} of L{DatagramPort}
    """

    _log = Logger()

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        protocol: Callable[[], Shout] = Shout,
        reactor: Any = None,
    ):
        """
        @param sockets: bound datagram sockets that do not block, as
            L{bindUDP<shout.sockets.bind.bindUDP>} and
            L{bindUNIX<shout.sockets.unix.bindUNIX>} make them; the service owns
            them from now on and closes them when it stops.

        @param protocol: called without arguments, once per socket: L{Shout}, or
            a subclass.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider; by default
            the global one, when the service starts.
        """
        super().__init__(reactor)
        self.ports: list[DatagramPort] = []
        self._sockets = list(sockets)
        self._protocol = protocol
        # When the ports were closed, they and the counters said this.
        self._last: Snapshot | None = None

    def startService(self) -> None:
        """
        Start to answer.

        @raise RuntimeError: when the service has been stopped before, which has
            closed its sockets.
        """
        super().startService()
        for sock in self._sockets:
            protocol = self._protocol()
            protocol.counters = self.counters
            protocol.family = FAMILIES[sock.family]
            self.counters.families[protocol.family] += 0
            self.ports.append(listen(sock, protocol, self._reactor))
        self._reactor.callWhenRunning(self._announce)

    def _announce(self) -> None:
        for port in self.ports:
            self._log.info("listening on {address}", address=describe(port.socket))
        for port in self.ports[:1]:
            self._log.info("try it with: {command}", command=example(port.socket))

    def snapshot(self) -> Snapshot:
        """
        Return what the service has done so far; also when it has stopped.
        """
        return self._last or Snapshot.of(self.counters, self.ports)

    def stopService(self) -> Deferred[None]:
        """
        Answer what has already arrived, then close the sockets.

        @return: fires when they are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._isStopped = True
        for sock in self._sockets[len(self.ports) :]:
            sock.close()
        if not self.ports:
            return succeed(None)
        for port in self.ports:
            port.drain()
        addresses = [describe(port.socket) for port in self.ports]
        self._last = self.snapshot()
        lost = self._last.kernelDrops
        ports, self.ports = self.ports, []
        closed = gatherResults([maybeDeferred(port.stopListening) for port in ports])
        return closed.addCallback(lambda _: self._sayStopped(addresses, lost))
