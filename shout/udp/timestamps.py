"""
The memory for many datagrams at a time from and to one peer, and for the times
at which they arrived.

Linux takes the time when a datagram arrives, so that how busy this program is
does not show in it; see SO_TIMESTAMPNS in socket(7).  It comes as the first
control message of a datagram; one that came in fragments has a second, which
says how long they were, and that is all that this asks for.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate, islice
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import NamedTuple

from .mmsg import (
    HEADER,
    addressOf,
    available,
    column,
    cut,
    iovec,
    mmsghdr,
    msghdr,
    recvmmsg,
    sendmmsg,
)

SLOTS = 64
"""
How many datagrams are received at once, at the most.
"""

OUTGOING = 4
"""
How many datagrams are sent at once, at the most.  More would hardly be quicker,
and it would be less certain when each of them left.
"""

# From asm-generic/socket.h, linux/in.h and linux/in6.h; Python does not have them.
_SO_TIMESTAMPNS = 35
_FRAGMENT_SIZES = {
    socket.AF_INET: (socket.IPPROTO_IP, 25),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 77),
}

# A datagram has at most 65,535 bytes.
_ROOM = 65536
_CONTROL = 128
_VECTOR = ctypes.sizeof(iovec)
_LONG = ctypes.sizeof(ctypes.c_long)

# The control message of a struct timespec: two longs, seconds and nanoseconds.
_TIME = socket.CMSG_LEN(0)
_TIME_SPACE = socket.CMSG_SPACE(2 * _LONG)


def enableTimestamps(sock: socket.socket) -> bool:
    """
    Have the system take the times at which datagrams arrive, and tell which came
    in fragments.

    @return: whether it takes the times.
    """
    if not available or sys.platform != "linux" or sock.family not in _FRAGMENT_SIZES:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    with suppress(OSError):
        sock.setsockopt(*_FRAGMENT_SIZES[sock.family], 1)
    return True


class Arrivals(NamedTuple):
    """
    Datagrams that have arrived.

    @ivar datagrams: their payloads.

    @ivar times: when each arrived, by the wall clock, in nanoseconds.

    @ivar fragmented: the indices of those that came in fragments.
    """

    datagrams: Sequence[bytes]
    times: Sequence[int]
    fragmented: frozenset[int]


class TimedBatch:
    """
    Receive and send many datagrams in one system call, on a connected socket of
    which L{enableTimestamps} is true.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: the socket; it has to stay open.
        """
        self._fd = sock.fileno()
        self._arena = _memory(SLOTS)
        self._controls = bytearray(SLOTS * _CONTROL)
        vectors = (iovec * SLOTS)()
        self._incoming = (mmsghdr * SLOTS)()
        arena, controls = addressOf(self._arena), addressOf(self._controls)
        for slot, (vector, header) in enumerate(zip(vectors, self._incoming)):
            vector.base, vector.len = arena + slot * _ROOM, _ROOM
            header.hdr = msghdr(
                iov=ctypes.addressof(vector),
                iovlen=1,
                control=controls + slot * _CONTROL,
                controllen=_CONTROL,
            )
        # The headers know the vectors by their address alone.
        self._vectors = vectors
        self._lengths = column(self._incoming, "I", mmsghdr.len.offset, HEADER)
        offset = mmsghdr.hdr.offset + msghdr.controllen.offset
        self._controlLengths = column(self._incoming, "L", offset, HEADER)
        self._wholeControls = memoryview(array("L", [_CONTROL] * SLOTS))
        self._usualControls = memoryview(array("L", [_TIME_SPACE] * SLOTS))
        self._seconds = column(self._controls, "l", _TIME, _CONTROL)
        self._nanoseconds = column(self._controls, "l", _TIME + _LONG, _CONTROL)

        self._sendBatch = _memory(OUTGOING)
        self._outboxAddress = addressOf(self._sendBatch)
        self._outgoingVectors = (iovec * OUTGOING)()
        self._outgoing = (mmsghdr * OUTGOING)()
        for vector, header in zip(self._outgoingVectors, self._outgoing):
            header.hdr = msghdr(iov=ctypes.addressof(vector), iovlen=1)
        self._bases = column(self._outgoingVectors, "L", iovec.base.offset, _VECTOR)
        self._sizes = column(self._outgoingVectors, "L", iovec.len.offset, _VECTOR)

    def receive(self) -> Arrivals:
        """
        Receive what has arrived, as far as there are slots.

        @raise OSError: as recvmmsg(2) has it; L{BlockingIOError} when nothing
            has arrived.
        """
        self._controlLengths[:] = self._wholeControls
        count = recvmmsg(self._fd, self._incoming, SLOTS)
        times = [
            seconds * 1_000_000_000 + nanoseconds
            for seconds, nanoseconds in zip(
                self._seconds[:count].tolist(), self._nanoseconds[:count].tolist()
            )
        ]
        fragmented: frozenset[int] = frozenset()
        lengths = self._controlLengths[:count]
        if lengths != self._usualControls[:count]:
            fragmented = frozenset(i for i in range(count) if lengths[i] > _TIME_SPACE)
        datagrams = cut(self._arena, self._lengths[:count].tolist(), _ROOM)
        return Arrivals(datagrams, times, fragmented)

    def send(self, datagrams: Sequence[bytes]) -> int:
        """
        Send datagrams, as far as the system takes them.

        @param datagrams: at most L{OUTGOING}.

        @return: how many were sent, at least one.

        @raise OSError: when the first one cannot be sent.
        """
        count = len(datagrams)
        lengths = array("L", map(len, datagrams))
        payload = b"".join(datagrams)
        self._sendBatch[: len(payload)] = payload
        bases = accumulate(lengths, initial=self._outboxAddress)
        self._bases[:count] = memoryview(array("L", islice(bases, count)))
        self._sizes[:count] = memoryview(lengths)
        return sendmmsg(self._fd, self._outgoing, count)


def _memory(slots: int) -> mmap:
    # Processes that fork must not share what they receive and send.
    return mmap(-1, slots * _ROOM, flags=MAP_PRIVATE | MAP_ANONYMOUS)
