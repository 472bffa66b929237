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
import sys
import time
from collections.abc import Callable, Iterator
from errno import EBADF, ECONNREFUSED, ENOTCONN
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from .batched import BatchIO, available
from .icmp import ICMPError, enableErrorQueue, explain, readErrorQueue
from .port import SLOTS, DatagramPort
from .sendtimes import SendNumbers, enableSendTimes
from .sockopt import TTL_MESSAGES
from .timestamps import IPHeader, TimedIO, decodeHeader, enableHeaders, enableTimestamps

# Maximum number of datagrams that one call sends.  More are hardly faster, and the time
# at which each of them leaves becomes less certain.
_SEND_SLOTS = 4

# Maximum number of attempts to send while errors of earlier datagrams come in.
_ATTEMPTS = 4

_TimedDatagram = tuple[bytes, int, int, IPHeader]


class TimedPort(DatagramPort):
    """
    A connected port for measuring round trips.

    Its protocol has two methods instead of C{datagramReceived} and
    C{connectionRefused}:

    C{timedDatagramReceived(datagram, now, delay, header)} receives the payload, the
    time of reading by the clock of the port, the time that the datagram has waited
    until then, both in nanoseconds, and an L{IPHeader}.  Without timestamps of the
    kernel C{delay} is 0, and the fields of the header are unknown.

    C{icmpErrorReceived(error)} receives an L{ICMPError}.

    After L{enableSendTimes}, C{sendTimeReceived(index, time)} receives the time at
    which a datagram has left, by the clock of the port: usually before L{send}
    returns, and always before a reply is passed on.

    @ivar hasKernelTimes: C{True} if the kernel takes the times of arrival.

    @ivar maxAtOnce: Maximum number of datagrams that L{send} accepts.
    """

    hasKernelTimes = False
    maxAtOnce = 1

    _wallClock: Callable[[], int] = staticmethod(time.time_ns)

    def __init__(
        self,
        sock: socket.socket,
        protocol: DatagramProtocol,
        reactor: Any,
        clock: Callable[[], int] = time.monotonic_ns,
        isBatched: bool = True,
    ) -> None:
        """
        @param sock: A connected datagram socket.

        @param clock: A function that returns a monotonic time in nanoseconds.

        @param isBatched: C{True} to receive many datagrams per system call, if the C
            extension is built.
        """
        super().__init__(sock, protocol, reactor)
        self._clock = clock
        self._isBatched = isBatched
        self._timed: Iterator[_TimedDatagram] = iter(())
        self._sendNumbers: SendNumbers | None = None
        # ICMP errors that were read, and are not passed to the protocol yet.
        self._icmpErrors: list[ICMPError] = []

    def _openIO(self, sock: socket.socket) -> Any:
        enableErrorQueue(sock)
        enableHeaders(sock)
        self.hasKernelTimes = enableTimestamps(sock)
        if available and self._isBatched and sock.family != socket.AF_UNIX:
            self.maxAtOnce = _SEND_SLOTS
            return BatchIO(sock.fileno(), decodeHeader)
        return TimedIO(sock)

    def enableSendTimes(self) -> bool:
        """
        Pass the kernel's time of sending of each datagram from now on to the protocol.
        It calls C{sendTimeReceived} with the index of the datagram, counted from 0, and
        the time in nanoseconds.  A datagram that is dropped on this system has no time,
        nor has any with some network drivers.

        @return: C{True} if the kernel can take these times.
        """
        if self._sendNumbers is None and enableSendTimes(self.socket):
            self._sendNumbers = SendNumbers()
        return self._sendNumbers is not None

    def _visit(self, maxDatagrams: int, seconds: float) -> None:
        end = self._seconds() + seconds
        # In a nested call the rest of the batch that is being delivered comes first.
        count = self._deliverTimed()
        while count < maxDatagrams and self.connected and self._seconds() < end:
            try:
                received = self._io.receiveTimed(SLOTS)
            except Exception as e:
                self._handleReceiveError(e)
                count += 1
                continue
            if received is None:
                self._reportTimes()
                return
            # In this order, a pause between the two cannot shorten a round trip.
            wall, now = self._wallClock(), self._clock()
            self._timed = iter(
                [
                    (datagram, now, wall - time if time else 0, header)
                    for datagram, time, header in zip(*received)
                ]
            )
            self._reportTimes()
            count += self._deliverTimed()

    def _deliverTimed(self) -> int:
        count = 0
        received: Any = self.protocol.timedDatagramReceived
        for each in self._timed:
            count += 1
            try:
                received(*each)
            except BaseException:
                self._logException(Failure(), "timedDatagramReceived")
        return count

    def _handlePeerError(self, error: OSError) -> None:
        self._reportErrors(error.errno or 0)

    def readConnectionLost(self, reason: Failure) -> None:
        self.startReading()
        self._reportErrors(0)

    def _reportErrors(self, number: int) -> bool:
        """
        Pass the queued times of sending and ICMP errors to the protocol.

        @param number: The error number of a failed system call.  With 0 the pending
            error of the socket is used.

        @return: C{True} if there was any of them.
        """
        icmpErrors, hasTimes = self._readErrorQueue()
        icmpErrors = self._icmpErrors + icmpErrors
        self._icmpErrors = []
        number = number or self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not icmpErrors and number:
            icmpErrors = [ICMPError(explain(number))]
        for error in icmpErrors:
            try:
                self.protocol.icmpErrorReceived(error)
            except BaseException:
                self._logException(Failure(), "icmpErrorReceived")
        return hasTimes or bool(icmpErrors)

    def _readErrorQueue(self) -> tuple[list[ICMPError], bool]:
        """
        Pass the queued times of sending to the protocol.

        @return: The queued ICMP errors, and C{True} if there were times.
        """
        numbers = self._sendNumbers
        if numbers is None:
            return readErrorQueue(self.socket), False
        sendTimes: list[tuple[int, int]] = []
        icmpErrors = readErrorQueue(self.socket, sendTimes)
        # In this order, a pause between the two cannot shorten a round trip.
        now, wall = self._clock(), self._wallClock()
        for number, sent in sendTimes:
            index = numbers.indexOf(number)
            try:
                self.protocol.sendTimeReceived(index, now - (wall - sent))
            except BaseException:
                self._logException(Failure(), "sendTimeReceived")
        return icmpErrors, bool(sendTimes)

    def _reportTimes(self) -> None:
        if self._sendNumbers is None or not self._reportErrors(0):
            return
        # In some reactors a socket is readable that has nothing but times.  Then uvloop
        # does not watch it any longer.
        if self._isReading:
            self.stopReading()
            self.startReading()

    def send(self, datagrams: list[bytes], ttl: int | None = None) -> int:
        """
        Send several datagrams in one system call.

        @param datagrams: At least one payload, and at most L{maxAtOnce}.

        @param ttl: TTL or hop limit of these datagrams; by default that of the socket.
            With it, each of them is a system call.

        @return: Number of datagrams that the system has accepted, at least one.

        @raise OSError: If the system does not accept the first one, or the port is
            closed.
        """
        if not self.connected:
            raise OSError(EBADF, os.strerror(EBADF))
        for _ in range(_ATTEMPTS):
            try:
                sent = self._sendOnce(datagrams, ttl)
                if self._sendNumbers is not None:
                    self._readTimesOf(sent, self._sendNumbers)
                return sent
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

    def _sendOnce(self, datagrams: list[bytes], ttl: int | None) -> int:
        if ttl is None:
            sent: int = self._io.send(datagrams, None, 0)
            return sent
        message = *TTL_MESSAGES[self.addressFamily], ttl.to_bytes(4, sys.byteorder)
        sent = 0
        try:
            for datagram in datagrams:
                self._sentBytes += self.socket.sendmsg([datagram], [message])
                sent += 1
        except OSError:
            if not sent:
                raise
        return sent

    def _readTimesOf(self, sent: int, numbers: SendNumbers) -> None:
        numbers.sent += sent
        icmpErrors, _ = self._readErrorQueue()
        if icmpErrors:
            # They may be about datagrams that the caller does not know to be sent yet.
            self._icmpErrors += icmpErrors
            self.reactor.callLater(0, self._reportKept)

    def _reportKept(self) -> None:
        if self.connected:
            self._reportErrors(0)
