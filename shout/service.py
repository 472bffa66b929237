"""
The service that answers the datagrams at its sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger

from shout.counters import FAMILIES, Counters, Snapshot
from shout.protocol import Responder, Shout
from shout.sockets.address import describe, example
from shout.udp.listening import listen, portTypeFor
from shout.udp.port import DatagramPort


def describePort(sock: socket.socket) -> str:
    """
    Return the address of a socket for people, with the kind of port for UDP.
    """
    if sock.family == socket.AF_UNIX:
        return describe(sock)
    return f"{describe(sock)} ({portTypeFor(sock.family).kind})"


class SocketService(Service):
    """
    The base of services that own sockets.

    @ivar counters: The L{Counters} of all sockets.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: The reactor; by default the global one, when the service starts.
        """
        self.counters = Counters()
        self._reactor = reactor
        self._isStopped = False

    def startService(self) -> None:
        """
        Start, which is possible once.

        @raise RuntimeError: The service has been stopped, which closed its sockets.
        """
        if self._isStopped:
            raise RuntimeError("a stopped service cannot start again: make another")
        super().startService()  # type: ignore[no-untyped-call]
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor

    def _logTotals(self, addresses: Iterable[str], kernelDrops: int) -> None:
        """
        Log the counters when the sockets have been closed.

        @param kernelDrops: Number of datagrams dropped by the kernel.
        """
        self._log.info(
            "stopped listening on {addresses}: {counters}",
            addresses=", ".join(addresses),
            counters=self.counters,
        )
        if kernelDrops:
            self._log.warn(
                "{count} datagrams dropped by the kernel: receive buffer full",
                count=kernelDrops,
            )


class ShoutService(SocketService):
    """
    A service that answers the datagrams at any number of sockets.

    @ivar ports: The listening L{DatagramPort<shout.udp.port.DatagramPort>}s, one per
        socket, while the service runs.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        protocol: Callable[[], Responder] = Shout,
        reactor: Any = None,
    ):
        """
        @param sockets: Bound, non-blocking datagram sockets, as from L{bindUDP
            <shout.sockets.bind.bindUDP>} and L{bindUNIX<shout.sockets.unix.bindUNIX>}.
            The service owns them, and closes them when it stops.

        @param protocol: Called without arguments, once per socket: L{Shout} or
            another L{Responder}.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} provider; by default the global
            reactor, when the service starts.
        """
        super().__init__(reactor)
        self.ports: list[DatagramPort] = []
        self._sockets = list(sockets)
        self._protocol = protocol
        # Taken when the ports are closed.
        self._last: Snapshot | None = None

    def startService(self) -> None:
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
            self._log.info("listening on {address}", address=describePort(port.socket))
        for port in self.ports[:1]:
            self._log.info("try it with: {command}", command=example(port.socket))

    def snapshot(self) -> Snapshot:
        """
        Return the counters, also after the service has stopped.
        """
        return self._last or Snapshot.of(self.counters, self.ports)

    def stopService(self) -> Deferred[None]:
        """
        Answer the datagrams that have already arrived, then close the sockets.

        @return: A Deferred that fires when they are closed.
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
        kernelDrops = self._last.kernelDrops
        ports, self.ports = self.ports, []
        closed = gatherResults([maybeDeferred(port.stopListening) for port in ports])
        return closed.addCallback(lambda _: self._logTotals(addresses, kernelDrops))
