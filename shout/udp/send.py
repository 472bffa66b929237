"""
Sending many datagrams with one system call.

Datagrams of one length to one peer that stand next to each other leave as one
message with a C{UDP_SEGMENT} control message, so that the kernel walks its send
path once for all of them; see udp(7).  A way that cannot do this refuses; then
they are sent one by one, and such a length is not tried again with that peer.
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
from .peer import NAME, Peer, message

# How many messages one system call is given.  The kernel takes at least as many
# segments in a message (UDP_MAX_SEGMENTS).
_SLOTS = 64

# All segments of a message have to fit into one packet.
_MAX_SEGMENTED = 65000

_VECTOR = ctypes.sizeof(iovec)

# From linux/udp.h.
_UDP_SEGMENT = 103

# How a path says that it does not take segments, or not such long ones.
_CANNOT_SEGMENT = (EINVAL, EIO, EMSGSIZE)


def _canSegment(sock: socket.socket) -> bool:
    """
    Tell whether the kernel knows C{UDP_SEGMENT}: one that does not would send
    all the segments as one datagram.
    """
    try:
        sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
    except OSError:
        return False
    return True


class SendBatch:
    """
    Send datagrams to those who have sent some.

    @ivar bytes: how many bytes of payload were sent.
    @type bytes: L{int}
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: a UDP socket that does not block.
        """
        self._fd = sock.fileno()
        self.bytes = 0
        self._canSegment = _canSegment(sock)
        isIPv4 = sock.family == socket.AF_INET
        nameLength, info = (16, 12) if isIPv4 else (28, 20)
        infoSpace = socket.CMSG_SPACE(info)
        # What follows a peer's envelope, and says how long a segment is.  In a
        # message of one datagram it is left out.
        self._segment = message(socket.IPPROTO_UDP, _UDP_SEGMENT, bytes(2))
        self._controlSpace = infoSpace, infoSpace + len(self._segment)
        stride = NAME + infoSpace + len(self._segment)
        self._envelopes = bytearray((bytes(NAME + infoSpace) + self._segment) * _SLOTS)
        self._vectors = (iovec * _SLOTS)()
        self._headers = headers = (mmsghdr * _SLOTS)()
        envelopes = addressOf(self._envelopes)
        for slot, header in enumerate(headers):
            envelope = envelopes + slot * stride
            header.hdr = msghdr(
                name=envelope,
                namelen=nameLength,
                iov=ctypes.addressof(self._vectors[slot]),
                iovlen=1,
                control=envelope + NAME,
            )
        self._bases = column(self._vectors, "L", iovec.base.offset, _VECTOR)
        self._sizes = column(self._vectors, "L", iovec.len.offset, _VECTOR)
        controls = msghdr.controllen.offset
        self._controlLengths = column(headers, "L", controls, HEADER)
        self._ungrouped = memoryview(array("L", [infoSpace] * _SLOTS))
        size = NAME + infoSpace + socket.CMSG_LEN(0)
        self._segmentSizes = column(self._envelopes, "H", size, stride)

    def send(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> list[int]:
        """
        Send datagrams, in order.

        @param datagrams: the payloads.

        @param peers: for each of them, whom it is for.

        @return: for each one that could not be sent, the number of its error.
        """
        errors: list[int] = []
        start = 0
        while start < len(datagrams):
            end = start + _SLOTS
            failed, sent = self._send(datagrams[start:end], peers[start:end])
            errors += failed
            start += sent
        return errors

    def _send(
        self, datagrams: Sequence[bytes], peers: Sequence[Peer]
    ) -> tuple[list[int], int]:
        """
        Send as many datagrams as there are slots, or those up to the first
        message of several that cannot be sent.

        @return: the numbers of the errors, and how many datagrams are through.
        """
        lengths = list(map(len, datagrams))
        ends = self._group(peers, lengths)
        # What is sent is sent from here, so it must live until then.
        joined = b"".join(datagrams)
        self._layOut(peers, lengths, ends, addressOfBytes(joined))
        errors: list[int] = []
        self.bytes += len(joined)
        for index, number in self._transmit(len(ends)):
            start, end = ends[index - 1] if index else 0, ends[index]
            self.bytes -= sum(lengths[start:end])
            if number not in _CANNOT_SEGMENT or end - start == 1:
                # As it would be without segments, it is the first that fails.
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
        Send what could not be sent as segments, and remember that if it was the
        segments that were refused.
        """
        longest, peer.longestSegment = peer.longestSegment, 0
        errors = self.send(datagrams, [peer] * len(datagrams))
        if number in _CANNOT_SEGMENT and len(errors) < len(datagrams):
            longest = 0 if number == EIO else len(datagrams[0]) - 1
        peer.longestSegment = longest
        return errors

    def _group(self, peers: Sequence[Peer], lengths: Sequence[int]) -> Sequence[int]:
        """
        Make the fewest messages of datagrams.

        @return: for each message, the index after that of its last datagram.
        """
        count = len(lengths)
        if not self._canSegment or not any(map(is_, peers, islice(peers, 1, None))):
            return range(1, count + 1)
        ends: list[int] = []
        start = 0
        while start < count:
            peer, length, end = peers[start], lengths[start], start + 1
            if 0 < length <= peer.longestSegment:
                most = min(count, start + _MAX_SEGMENTED // length)
                while end < most and peers[end] is peer and lengths[end] == length:
                    end += 1
            ends.append(end)
            start = end
        return ends

    def _layOut(
        self,
        peers: Sequence[Peer],
        lengths: Sequence[int],
        ends: Sequence[int],
        address: int,
    ) -> None:
        """
        Prepare messages for L{_transmit}.

        @param address: where the datagrams are, one after the other.
        """
        count = len(ends)
        if count == len(lengths):
            envelopes = self._segment.join(map(_envelopeOf, peers))
            bases = islice(accumulate(lengths, initial=address), count)
            self._bases[:count] = memoryview(array("L", bases))
            self._sizes[:count] = memoryview(array("L", lengths))
            self._controlLengths[:count] = self._ungrouped[:count]
            self._envelopes[: len(envelopes)] = envelopes
            return
        starts = [0, *ends[:-1]]
        envelopes = self._segment.join([peers[start].envelope for start in starts])
        self._envelopes[: len(envelopes)] = envelopes
        for index, (start, end) in enumerate(zip(starts, ends)):
            isGroup = end - start > 1
            size = lengths[start] * (end - start)
            self._bases[index], self._sizes[index] = address, size
            self._controlLengths[index] = self._controlSpace[isGroup]
            if isGroup:
                self._segmentSizes[index] = lengths[start]
            address += size

    def _transmit(self, count: int) -> Iterator[tuple[int, int]]:
        """
        Send messages, also those after one that cannot be sent.

        @return: the index and the error number of each that cannot.
        """
        sent = 0
        while sent < count:
            try:
                sent += sendmmsg(self._fd, self._headers, count - sent, sent)
            except OSError as e:
                yield sent, e.errno or 0
                sent += 1


_envelopeOf = attrgetter("envelope")
