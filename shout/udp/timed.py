"""
A port that measures how long datagrams have waited, and reports each ICMP error.

The kernel's timestamps are those of the wall clock, which can be set at any moment.
So they are compared with the wall clock right after receiving only: the difference is
the time that a datagram has waited in the receive buffer.  All other times are those
of the monotonic clock.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from errno import ECONNREFUSED, ENOTCONN
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from .icmp import enableErrorQueue, explain, readErrorQueue
from .port import DatagramPort
from .timestamps import SEND_SLOTS, SLOTS, TimedBatch, enableTimestamps

# Maximum number of attempts to send while errors of earlier datagrams come in.
_ATTEMPTS = 4

_TimedDatagram = tuple[bytes, int, int, bool]


class TimedPort(DatagramPort):
    """
    A connected port for measuring round trips.

    Its protocol has two methods instead of C{datagramReceived} and
    C{connectionRefused}:

    C{timedDatagramReceived(datagram, now, delay, isFragmented)} receives the payload,
    the time of reading by the clock of the port, the time that the datagram has
    waited until then, both in nanoseconds, and C{True} if it arrived in fragments.
    Without timestamps of the kernel C{delay} is 0 and C{isFragmented} is C{False}.

    C{icmpErrorReceived(datagram, reason)} receives the beginning of the payload that
    an ICMP error quotes, or C{None} if it is unknown, and the description of the
    error.

    @ivar hasKernelTimes: C{True} if the kernel takes the times of arrival.
    """

    maxDatagrams = 256

    hasKernelTimes = False

    _wallClock: Callable[[], int] = staticmethod(time.time_ns)
    _batch: TimedBatch | None = None

    def __init__(
        self,
        sock: socket.socket,
        protocol: DatagramProtocol,
        reactor: Any,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """
        @param sock: A connected datagram socket.

        @param clock: A function that returns a monotonic time in nanoseconds.
        """
        super().__init__(sock, protocol, reactor)
        self._clock = clock
        self._undelivered: Iterator[_TimedDatagram] = iter(())

    def _bindSocket(self) -> None:
        super()._bindSocket()
        enableErrorQueue(self.socket)
        self.hasKernelTimes = enableTimestamps(self.socket)
        if self.hasKernelTimes:
            self._batch = TimedBatch(self.socket)

    @property
    def maxAtOnce(self) -> int:
        """
        The maximum number of datagrams that L{send} accepts.
        """
        return 1 if self._batch is None else SEND_SLOTS

    def _read(self, maxDatagrams: int) -> int:
        # In a nested call the rest of the batch that is being delivered comes first.
        count = self._deliver()
        while count < maxDatagrams and self.connected:
            try:
                self._undelivered = iter(self._receiveTimed())
            except (BlockingIOError, InterruptedError):
                break
            except OSError as e:
                self._handlePeerError(e)
                count += 1
                break
            delivered = self._deliver()
            count += delivered
            # After a batch that is less than half full the socket is usually empty.
            if self._batch is not None and delivered <= SLOTS // 2:
                break
        return count

    def _receiveTimed(self) -> Iterable[_TimedDatagram]:
        if self._batch is None:
            datagram, _ = self._receive()
            return [(datagram, self._clock(), 0, False)]
        datagrams, times, fragmented = self._batch.receive()
        # In this order, a pause between the two cannot shorten a round trip.
        wall, now = self._wallClock(), self._clock()
        return [
            (datagram, now, wall - time, bool(fragmented) and i in fragmented)
            for i, (datagram, time) in enumerate(zip(datagrams, times))
        ]

    def _deliver(self) -> int:
        count = 0
        received: Any = self.protocol.timedDatagramReceived
        for each in self._undelivered:
            count += 1
            try:
                received(*each)
            except BaseException:
                self._log.failure("timedDatagramReceived raised")
        return count

    def _handlePeerError(self, error: OSError) -> None:
        self._reportErrors(error.errno or 0)

    def readConnectionLost(self, reason: Failure) -> None:
        self.startReading()  # type: ignore[no-untyped-call]
        self._reportErrors(0)

    def _reportErrors(self, number: int) -> bool:
        """
        Pass the queued ICMP errors to the protocol.

        @param number: The error number of a failed system call.  With 0 the pending
            error of the socket is used.

        @return: C{True} if there was an error.
        """
        icmpErrors = readErrorQueue(self.socket)
        number = number or self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not icmpErrors and number:
            icmpErrors = [(None, explain(number))]
        for datagram, reason in icmpErrors:
            self.protocol.icmpErrorReceived(datagram, reason)
        return bool(icmpErrors)

    def send(self, datagrams: Sequence[bytes]) -> int:
        """
        Send several datagrams in one system call.

        @param datagrams: At least one payload, and at most L{maxAtOnce}.

        @return: Number of datagrams that the system has accepted, at least one.

        @raise OSError: If the system does not accept the first one.
        """
        for _ in range(_ATTEMPTS):
            try:
                if self._batch is not None and len(datagrams) > 1:
                    return self._batch.send(datagrams)
                self.socket.send(datagrams[0])
                return 1
            except BlockingIOError:
                raise
            except OSError as e:
                if self.addressFamily == socket.AF_UNIX:
                    if e.errno not in (ECONNREFUSED, ENOTCONN):
                        raise
                    # The server may have restarted, with a new socket at its path.
                    self.socket.connect(self._connectedAddr)
                    continue
                # It may be the ICMP error of an earlier datagram.
                isRefused = e.errno == ECONNREFUSED
                if not self._reportErrors(ECONNREFUSED if isRefused else 0):
                    raise
        raise OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))
