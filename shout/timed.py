"""
A port that knows when each datagram arrived, and what each refusal refused.

Linux takes the time when a datagram arrives, so that how busy this program is
does not show in it; see SO_TIMESTAMPNS in socket(7).  That is the wall clock,
which can be set at any moment.  So it is not compared with when something was
sent, but only with the wall clock right after receiving: the difference is how
long the datagram has lain waiting, and all else is measured with the monotonic
clock.

An ICMP error stands for one datagram, and quotes it.  With IP_RECVERR the
kernel keeps all of them in a queue, with the quotes; see ip(7).
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from errno import ECONNREFUSED, EMSGSIZE, ENETUNREACH
from socket import SOL_SOCKET
from struct import Struct
from typing import Any

from twisted.python.failure import Failure

from shout.port import DatagramPort

# From asm-generic/socket.h, linux/in.h and linux/in6.h; Python does not have them.
_SO_TIMESTAMPNS = 35
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_RECVFRAGSIZE, _IPV6_RECVFRAGSIZE = 25, 77
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3

# struct timespec.
_TIME = Struct("ll")
# The beginning of struct sock_extended_err in linux/errqueue.h.
_EXTENDED_ERROR = Struct("IBBB")
_FROM_ICMP = (2, 3)

_ANCILLARY = 512

# How often to try to send while the refusals of earlier datagrams come in.
_TRIES = 4

# ICMP's code for "administratively prohibited", in both versions, which the
# error number does not tell from "no route to host".
_PROHIBITED = {(2, 3, 9), (2, 3, 10), (2, 3, 13), (3, 1, 1)}


class TimedPort(DatagramPort):
    """
    A connected port whose protocol can ask how long ago the datagram that it is
    given has arrived, and is told what was refused.

    Its protocol has a method C{refused(datagram, reason)}, which takes what was
    refused as far as that is known, or L{None}, and why, in a few words.

    @ivar delay: how long the datagram that is being delivered has waited since
        it arrived, in nanoseconds; 0 where the system does not tell.
    @type delay: L{int}

    @ivar isFragmented: whether the datagram that is being delivered came in
        fragments; always false where the system does not tell.
    @type isFragmented: L{bool}

    @ivar hasKernelTimes: whether the system takes the times of arrival.
    @type hasKernelTimes: L{bool}
    """

    maxDatagrams = 256

    delay = 0
    isFragmented = False
    hasKernelTimes = False

    _wallClock: Callable[[], int] = staticmethod(time.time_ns)

    def _bindSocket(self) -> None:
        super()._bindSocket()
        self.hasKernelTimes = watch(self.socket)
        self._buffer = bytearray(self._maxLength)

    def _receive(self) -> tuple[bytes, Any]:
        if not self.hasKernelTimes:
            return super()._receive()
        length, ancillary, _, _ = self.socket.recvmsg_into([self._buffer], _ANCILLARY)
        self.delay = 0
        self.isFragmented = False
        for level, kind, data in ancillary:
            if kind == _SO_TIMESTAMPNS and level == SOL_SOCKET:
                seconds, nanoseconds = _TIME.unpack(data)
                arrived = seconds * 1_000_000_000 + nanoseconds
                self.delay = self._wallClock() - arrived
            elif (level, kind) in _FRAGMENT_SIZES:
                self.isFragmented = True
        return bytes(memoryview(self._buffer)[:length]), None

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
        refusals = _refusals(self.socket)
        number = number or self.socket.getsockopt(SOL_SOCKET, socket.SO_ERROR)
        if not refusals and number:
            refusals = [(None, explain(number))]
        for datagram, reason in refusals:
            self.protocol.refused(datagram, reason)
        return bool(refusals)

    def send(self, datagram: bytes) -> None:
        """
        Send a datagram at once.

        @raise OSError: when the system does not take it.
        """
        for _ in range(_TRIES):
            try:
                self.socket.send(datagram)
                return
            except OSError as e:
                # It may be the error of an earlier datagram that shows now.
                isUNIX = self.addressFamily == socket.AF_UNIX
                if isUNIX or isinstance(e, BlockingIOError) or e.errno == EMSGSIZE:
                    raise
                isRefused = e.errno == ECONNREFUSED
                if not self._tellRefusals(ECONNREFUSED if isRefused else 0):
                    raise
        raise OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))


_FRAGMENT_SIZES = {
    (socket.IPPROTO_IP, _IP_RECVFRAGSIZE),
    (socket.IPPROTO_IPV6, _IPV6_RECVFRAGSIZE),
}


def watch(sock: socket.socket) -> bool:
    """
    Have the system tell when datagrams arrive, which came in fragments, and
    which were refused.

    @return: whether it tells the times.
    """
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return False
    if sock.family == socket.AF_INET:
        level, errors, fragments = socket.IPPROTO_IP, _IP_RECVERR, _IP_RECVFRAGSIZE
    else:
        level, errors = socket.IPPROTO_IPV6, _IPV6_RECVERR
        fragments = _IPV6_RECVFRAGSIZE
    for each in (level, errors), (level, fragments):
        try:
            sock.setsockopt(*each, 1)
        except OSError:
            continue
    try:
        sock.setsockopt(SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def allowFragments(sock: socket.socket, isAllowed: bool) -> None:
    """
    Say whether what a socket sends may be cut into fragments on its way.

    @raise OSError: where the system does not have that.
    """
    value = _PMTUDISC_DONT if isAllowed else _PMTUDISC_PROBE
    if sys.platform != "linux":
        raise OSError("only Linux can send with don't-fragment set")
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, value)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, value)


def _refusals(sock: socket.socket) -> list[tuple[bytes | None, str]]:
    """
    Take the errors out of the queue of a socket.

    @return: of each, what it quotes, and why it came.
    """
    refusals: list[tuple[bytes | None, str]] = []
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return refusals
    # No more than a queue holds; what comes meanwhile is for the next time.
    while len(refusals) < 4096:
        try:
            quote, ancillary, _, _ = sock.recvmsg(
                65535, _ANCILLARY, socket.MSG_ERRQUEUE
            )
        except OSError:
            break
        for level, kind, data in ancillary:
            if (level, kind) in _ERRORS and len(data) >= _EXTENDED_ERROR.size:
                number, origin, icmpType, code = _EXTENDED_ERROR.unpack_from(data)
                if (origin, icmpType, code) in _PROHIBITED:
                    reason = "administratively prohibited"
                else:
                    reason = explain(number)
                if origin in _FROM_ICMP:
                    refusals.append((quote, reason))
    return refusals


_ERRORS = {
    (socket.IPPROTO_IP, _IP_RECVERR),
    (socket.IPPROTO_IPV6, _IPV6_RECVERR),
}


def explain(number: int) -> str:
    """
    Say what an error number means where it comes from the network.
    """
    if number == ECONNREFUSED:
        return "port unreachable"
    if number == ENETUNREACH:
        return "network unreachable"
    return os.strerror(number).lower()
