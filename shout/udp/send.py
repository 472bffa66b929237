"""
Sending many datagrams with one system call.

Adjacent datagrams of one length to one peer leave as one message with a
C{UDP_SEGMENT} control message, so that the kernel walks its send path once for all of
them; see udp(7).  Some paths reject that.  Then the datagrams are sent one by one, and
such a length is not tried again with that peer.
"""

from __future__ import annotations

import ctypes
import socket
from array import array
from collections.abc import Iterator, Sequence
from errno import EINVAL, EIO, EMSGSIZE
from itertools import accumulate, islice
from operator import attrgetter, is_

from .mmsg import (
    HEADER,
    addressOf,
    addressOfBytes,
    column,
    iovec,
    mmsghdr,
    msghdr,
    sendmmsg,
)
from .peer import SOCKADDR_SIZE, Peer, packMessage

# Maximum number of messages per system call.  The kernel takes at least as many
# segments in a message (UDP_MAX_SEGMENTS).
_SLOTS = 64

# All segments of a message have to fit into one packet.
_MAX_SEGMENTED = 65000

_VECTOR = ctypes.sizeof(iovec)

# From linux/udp.h.
_UDP_SEGMENT = 103

# Errors of paths that do not support segments, or not of that length.
_CANNOT_SEGMENT = (EINVAL, EIO, EMSGSIZE)


def _canSegment(sock: socket.socket) -> bool:
    """
    Return C{True} if the kernel supports C{UDP_SEGMENT}.  Otherwise it would send all
    the segments as one datagram.
    """
    try:
        sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
    except OSError:
        return False
    return True


class SendBatch:
    """
    Sends datagrams to peers.

    @ivar bytes: Number of payload bytes sent.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A non-blocking UDP socket.
        """
        self._fd = sock.fileno()
        self.bytes = 0
        self._canSegment = _canSegment(sock)
        isIPv4 = sock.family == socket.AF_INET
        nameLength, info = (16, 12) if isIPv4 else (28, 20)
        infoSpace = socket.CMSG_SPACE(info)
        # The control message with the segment size stands after the raw address of
        # each peer.  In a message of one datagram the control length excludes it.
        self._segment = packMessage(socket.IPPROTO_UDP, _UDP_SEGMENT, bytes(2))
        self._controlSpace = infoSpace, infoSpace + len(self._segment)
        size = SOCKADDR_SIZE + infoSpace
        stride = size + len(self._segment)
        self._addresses = bytearray((bytes(size) + self._segment) * _SLOTS)
        self._vectors = (iovec * _SLOTS)()
        self._headers = headers = (mmsghdr * _SLOTS)()
        addresses = addressOf(self._addresses)
        for slot, header in enumerate(headers):
            address = addresses + slot * stride
            header.hdr = msghdr(
                name=address,
                namelen=nameLength,
                iov=ctypes.addressof(self._vectors[slot]),
                iovlen=1,
                control=address + SOCKADDR_SIZE,
            )
        self._bases = column(self._vectors, "L", iovec.base.offset, _VECTOR)
        self._sizes = column(self._vectors, "L", iovec.len.offset, _VECTOR)
        self._controlLengths = column(headers, "L", msghdr.controllen.offset, HEADER)
        self._ungrouped = memoryview(array("L", [infoSpace] * _SLOTS))
        segmentSize = size + socket.CMSG_LEN(0)
        self._segmentSizes = column(self._addresses, "H", segmentSize, stride)

    def send(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> list[int]:
        """
        Send datagrams, in order.

        @param datagrams: The payloads.

        @param peers: The recipient of each.

        @return: The error number of each datagram that could not be sent.
        """
        errors: list[int] = []
        start = 0
        while start < len(datagrams):
            end = start + _SLOTS
            failed, done = self._send(datagrams[start:end], peers[start:end])
            errors += failed
            start += done
        return errors

    def _send(
        self, datagrams: Sequence[bytes], peers: Sequence[Peer]
    ) -> tuple[list[int], int]:
        """
        Send at most one datagram per slot, up to and including the first message of
        several datagrams that cannot be sent.

        @return: The error numbers, and the number of datagrams that are done.
        """
        lengths = list(map(len, datagrams))
        ends = self._group(peers, lengths)
        # The kernel reads from this object, so it must live until the call returns.
        joined = b"".join(datagrams)
        self._prepare(peers, lengths, ends, addressOfBytes(joined))
        errors: list[int] = []
        self.bytes += len(joined)
        for index, number in self._transmit(len(ends)):
            start, end = ends[index - 1] if index else 0, ends[index]
            self.bytes -= sum(lengths[start:end])
            if number not in _CANNOT_SEGMENT or end - start == 1:
                # The error is that of the first datagram.
                errors.append(number)
                start += 1
            if start < end:
                errors += self._sendSingly(datagrams[start:end], peers[start], number)
                self.bytes -= sum(lengths[end:])
                return errors, end
        return errors, len(datagrams)

    def _sendSingly(
        self, datagrams: Sequence[bytes], peer: Peer, number: int
    ) -> list[int]:
        """
        Send datagrams that could not be sent as segments.  If that succeeds, the path
        does not support such segments, and the peer's C{maxSegment} is lowered.
        """
        maxSegment, peer.maxSegment = peer.maxSegment, 0
        errors = self.send(datagrams, [peer] * len(datagrams))
        if number in _CANNOT_SEGMENT and len(errors) < len(datagrams):
            maxSegment = 0 if number == EIO else len(datagrams[0]) - 1
        peer.maxSegment = maxSegment
        return errors

    def _group(self, peers: Sequence[Peer], lengths: Sequence[int]) -> Sequence[int]:
        """
        Group datagrams into the fewest messages.

        @return: For each message, the index after that of its last datagram.
        """
        count = len(lengths)
        if not self._canSegment or not any(map(is_, peers, islice(peers, 1, None))):
            return range(1, count + 1)
        ends: list[int] = []
        start = 0
        while start < count:
            peer, length, end = peers[start], lengths[start], start + 1
            if 0 < length <= peer.maxSegment:
                limit = min(count, start + _MAX_SEGMENTED // length)
                while end < limit and peers[end] is peer and lengths[end] == length:
                    end += 1
            ends.append(end)
            start = end
        return ends

    def _prepare(
        self,
        peers: Sequence[Peer],
        lengths: Sequence[int],
        ends: Sequence[int],
        base: int,
    ) -> None:
        """
        Fill the headers, the vectors and the raw addresses for L{_transmit}.

        @param base: Memory address of the joined datagrams.
        """
        count = len(ends)
        if count == len(lengths):
            addresses = self._segment.join(map(_rawAddress, peers))
            bases = islice(accumulate(lengths, initial=base), count)
            self._bases[:count] = memoryview(array("L", bases))
            self._sizes[:count] = memoryview(array("L", lengths))
            self._controlLengths[:count] = self._ungrouped[:count]
            self._addresses[: len(addresses)] = addresses
            return
        starts = [0, *ends[:-1]]
        addresses = self._segment.join([peers[start].rawAddress for start in starts])
        self._addresses[: len(addresses)] = addresses
        for index, (start, end) in enumerate(zip(starts, ends)):
            isGroup = end - start > 1
            size = lengths[start] * (end - start)
            self._bases[index], self._sizes[index] = base, size
            self._controlLengths[index] = self._controlSpace[isGroup]
            if isGroup:
                self._segmentSizes[index] = lengths[start]
            base += size

    def _transmit(self, count: int) -> Iterator[tuple[int, int]]:
        """
        Send the prepared messages, including those after one that fails.

        @return: The index and the error number of each that could not be sent.
        """
        sent = 0
        while sent < count:
            try:
                sent += sendmmsg(self._fd, self._headers, count - sent, sent)
            except OSError as e:
                yield sent, e.errno or 0
                sent += 1


_rawAddress = attrgetter("rawAddress")
