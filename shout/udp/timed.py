"""
A port that knows when each datagram arrived, and what each refusal refused.

The kernel's time of arrival is that of the wall clock, which can be set at any
moment.  So it is not compared with when something was sent, but only with the
wall clock right after receiving: the difference is how long the datagram has
lain waiting, and all else is measured with the monotonic clock.
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
from .timestamps import OUTGOING, SLOTS, TimedBatch, enableTimestamps

# How often to try to send while the refusals of earlier datagrams come in.
_TRIES = 4

_Arrival = tuple[bytes, int, int, bool]


class TimedPort(DatagramPort):
    """
    A connected port whose protocol is told how long ago each datagram has
    arrived, and what was refused.

    Instead of C{datagramReceived} its protocol has a method C{arrived(datagram,
    now, delay, isFragmented)}: the payload, when it was read by the clock of the
    port, how long it had waited by then, both in nanoseconds, and whether it came
    in fragments.  Where the system does not tell, it has not waited, and did not.

    Its protocol also has a method C{refused(datagram, reason)}, which takes what
    was refused as far as that is known, or L{None}, and why, in a few words.

    @ivar hasKernelTimes: whether the system takes the times of arrival.
    @type hasKernelTimes: L{bool}
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
        @param sock: as for L{DatagramPort}, but connected.

        @param protocol: has the methods C{arrived} and C{refused}.

        @param reactor: as for L{DatagramPort}.

        @param clock: returns the time, in nanoseconds that never go back.
        """
        super().__init__(sock, protocol, reactor)
        self._clock = clock
        self._arrivals: Iterator[_Arrival] = iter(())

    def _bindSocket(self) -> None:
        super()._bindSocket()
        enableErrorQueue(self.socket)
        self.hasKernelTimes = enableTimestamps(self.socket)
        if self.hasKernelTimes:
            self._batch = TimedBatch(self.socket)

    @property
    def maxAtOnce(self) -> int:
        """
        How many datagrams L{send} takes, at the most.
        """
        return 1 if self._batch is None else OUTGOING

    def _read(self, maxDatagrams: int) -> int:
        # When this is called while a batch is being delivered, the rest of that
        # comes first.
        taken = self._deliver()
        while taken < maxDatagrams and self.connected:
            try:
                self._arrivals = iter(self._arrived())
            except (BlockingIOError, InterruptedError):
                break
            except OSError as e:
                self._peerFailed(e)
                taken += 1
                break
            delivered = self._deliver()
            taken += delivered
            # A batch that is far from full says that nothing more waits.
            if self._batch is not None and delivered <= SLOTS // 2:
                break
        return taken

    def _arrived(self) -> Iterable[_Arrival]:
        if self._batch is None:
            datagram, _ = self._receive()
            return [(datagram, self._clock(), 0, False)]
        datagrams, times, fragmented = self._batch.receive()
        # In this order, so that a pause between the two makes no round trip
        # shorter than it was.
        wall, now = self._wallClock(), self._clock()
        return [
            (datagram, now, wall - time, bool(fragmented) and i in fragmented)
            for i, (datagram, time) in enumerate(zip(datagrams, times))
        ]

    def _deliver(self) -> int:
        count = 0
        arrived: Any = self.protocol.timedDatagramReceived
        for each in self._arrivals:
            count += 1
            try:
                arrived(*each)
            except BaseException:
                self._log.failure("arrived raised")
        return count

    def _peerFailed(self, error: OSError) -> None:
        self._tellRefusals(error.errno or 0)

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Go on after errors that the peer or the network has caused.
        """
        self.startReading()  # type: ignore[no-untyped-call]
        self._tellRefusals(0)

    def _tellRefusals(self, number: int) -> bool:
        """
        Tell the protocol what was refused.

        @param number: the error that has shown; 0 to ask the socket for it.

        @return: whether anything was.
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
        Send some datagrams at once, as far as the system takes them.

        @param datagrams: at least one, and at most L{maxAtOnce}.

        @return: how many were sent, at least one.

        @raise OSError: when the system does not take the first one.
        """
        for _ in range(_TRIES):
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
                    # Another server may have taken the place of the first.
                    self.socket.connect(self._connectedAddr)
                    continue
                # It may be the error of an earlier datagram that shows now.
                isRefused = e.errno == ECONNREFUSED
                if not self._tellRefusals(ECONNREFUSED if isRefused else 0):
                    raise
        raise OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))
