"""
Batches of datagrams from and to one peer, with the kernel's receive timestamps.

Linux takes the time when a datagram arrives, so a busy process does not distort it;
see C{SO_TIMESTAMPNS} in socket(7).  The timestamp is the first control message of a
datagram.  A datagram that arrived in fragments has a second control message with
their size, and no other option is enabled.
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
    iovec,
    mmsghdr,
    msghdr,
    recvmmsg,
    sendmmsg,
    splitSlots,
)

SLOTS = 64
"""
Maximum number of datagrams that one call receives.
"""

SEND_SLOTS = 4
"""
Maximum number of datagrams that one call sends.  More are hardly faster, and the time
at which each of them leaves becomes less certain.
"""

# From asm-generic/socket.h, linux/in.h and linux/in6.h; Python does not have them.
_SO_TIMESTAMPNS = 35
_RECVFRAGSIZE = {
    socket.AF_INET: (socket.IPPROTO_IP, 25),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 77),
}

# A datagram has at most 65,535 bytes.
_SLOT_SIZE = 65536
_CONTROL = 128
_VECTOR = ctypes.sizeof(iovec)
_LONG = ctypes.sizeof(ctypes.c_long)

# The control message of a struct timespec: two longs, seconds and nanoseconds.
_TIMESPEC = socket.CMSG_LEN(0)
_TIMESPEC_SPACE = socket.CMSG_SPACE(2 * _LONG)


def enableTimestamps(sock: socket.socket) -> bool:
    """
    Make the kernel pass on a timestamp with each datagram, and the size of fragments.

    @return: C{True} if there will be timestamps.
    """
    if not available or sys.platform != "linux" or sock.family not in _RECVFRAGSIZE:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    with suppress(OSError):
        sock.setsockopt(*_RECVFRAGSIZE[sock.family], 1)
    return True


class Arrivals(NamedTuple):
    """
    Datagrams with their timestamps.

    @ivar datagrams: The payloads.

    @ivar times: Arrival time of each by the wall clock, in nanoseconds.

    @ivar fragmented: Indices of the datagrams that arrived in fragments.
    """

    datagrams: Sequence[bytes]
    times: Sequence[int]
    fragmented: frozenset[int]


class TimedBatch:
    """
    Receives and sends many datagrams per system call.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A connected socket for which L{enableTimestamps} has returned
            C{True}.  It must stay open.
        """
        self._fd = sock.fileno()
        # Private, so that forked processes do not share it.
        private = MAP_PRIVATE | MAP_ANONYMOUS
        self._payloads = mmap(-1, SLOTS * _SLOT_SIZE, flags=private)
        self._controls = bytearray(SLOTS * _CONTROL)
        # The headers refer to the vectors by address only.
        self._vectors = (iovec * SLOTS)()
        self._headers = (mmsghdr * SLOTS)()
        payloads, controls = addressOf(self._payloads), addressOf(self._controls)
        for slot, (vector, header) in enumerate(zip(self._vectors, self._headers)):
            vector.base, vector.len = payloads + slot * _SLOT_SIZE, _SLOT_SIZE
            header.hdr = msghdr(
                iov=ctypes.addressof(vector),
                iovlen=1,
                control=controls + slot * _CONTROL,
                controllen=_CONTROL,
            )
        self._lengths = column(self._headers, "I", mmsghdr.len.offset, HEADER)
        offset = mmsghdr.hdr.offset + msghdr.controllen.offset
        self._controlLengths = column(self._headers, "L", offset, HEADER)
        self._bufferLengths = memoryview(array("L", [_CONTROL] * SLOTS))
        self._usualLengths = memoryview(array("L", [_TIMESPEC_SPACE] * SLOTS))
        self._seconds = column(self._controls, "l", _TIMESPEC, _CONTROL)
        self._nanoseconds = column(self._controls, "l", _TIMESPEC + _LONG, _CONTROL)

        self._sendBuffer = bytearray(SEND_SLOTS * _SLOT_SIZE)
        self._sendAddress = addressOf(self._sendBuffer)
        self._sendVectors = (iovec * SEND_SLOTS)()
        self._sendHeaders = (mmsghdr * SEND_SLOTS)()
        for vector, header in zip(self._sendVectors, self._sendHeaders):
            header.hdr = msghdr(iov=ctypes.addressof(vector), iovlen=1)
        self._bases = column(self._sendVectors, "L", iovec.base.offset, _VECTOR)
        self._sizes = column(self._sendVectors, "L", iovec.len.offset, _VECTOR)

    def receive(self) -> Arrivals:
        """
        Receive a batch of at most L{SLOTS} datagrams.

        @raise OSError: The error of recvmmsg(2); C{BlockingIOError} if nothing has
            arrived.
        """
        self._controlLengths[:] = self._bufferLengths
        count = recvmmsg(self._fd, self._headers, SLOTS)
        seconds = self._seconds[:count].tolist()
        nanoseconds = self._nanoseconds[:count].tolist()
        times = [s * 1_000_000_000 + ns for s, ns in zip(seconds, nanoseconds)]
        fragmented: frozenset[int] = frozenset()
        controls = self._controlLengths[:count]
        if controls != self._usualLengths[:count]:
            longer = (i for i in range(count) if controls[i] > _TIMESPEC_SPACE)
            fragmented = frozenset(longer)
        lengths = self._lengths[:count].tolist()
        datagrams = splitSlots(self._payloads, lengths, _SLOT_SIZE)
        return Arrivals(datagrams, times, fragmented)

    def send(self, datagrams: Sequence[bytes]) -> int:
        """
        Send datagrams.

        @param datagrams: At most L{SEND_SLOTS} payloads.

        @return: Number of datagrams that the system has accepted, at least one.

        @raise OSError: If the first one cannot be sent.
        """
        count = len(datagrams)
        lengths = array("L", map(len, datagrams))
        joined = b"".join(datagrams)
        self._sendBuffer[: len(joined)] = joined
        bases = accumulate(lengths, initial=self._sendAddress)
        self._bases[:count] = memoryview(array("L", islice(bases, count)))
        self._sizes[:count] = memoryview(lengths)
        return sendmmsg(self._fd, self._sendHeaders, count)
