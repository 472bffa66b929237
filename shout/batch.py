"""
The memory for many datagrams at a time, laid out so that Python touches it
seldom.

A L{Batch} has a fixed number of slots::

    arena      per slot, room for one received datagram of any size
    envelopes  per slot, the peer's address and the local address that was asked
    outbox     the replies, one after the other

Python is slow where it handles one field of one slot at a time.  So it does not:
a strided C{memoryview} reads or writes a field of all slots in one step, C{struct}
cuts all datagrams out of the arena in another, and what the kernel overwrites is
put back by copying a template over it.

A reply reuses the envelope of what it answers.  That says where to send it, and
the control message in it, sent back as it came, has the kernel answer from the
very address that was asked; see IP_PKTINFO in ip(7).

Replies of one length to one peer that stand next to each other leave as one
message with a C{UDP_SEGMENT} control message, so that the kernel walks its send
path once for all of them; see udp(7).  A path that cannot do this refuses; then
they are sent one by one, and such a length is not tried again.

The other way round, with C{UDP_GRO} a burst from one peer that the kernel has
kept together comes in one slot, and is cut up here.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EINVAL, EIO, EMSGSIZE
from functools import lru_cache
from itertools import accumulate, islice
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from operator import is_

from shout._mmsg import (
    addressOf,
    cmsghdr,
    column,
    iovec,
    mmsghdr,
    msghdr,
    pieces,
    recvmmsg,
    sendmmsg,
)
from shout.peer import ENVELOPE, IP_PKTINFO, NAME, PKTINFO, Peer, Peers

SLOTS = 64
"""
How many datagrams one system call takes at most; more gains nothing.
"""

# A datagram has at most 65,535 bytes.  The odd rest keeps the beginnings of the
# slots from all falling into the same lines of the processor's cache.
_ROOM = 65536
_STRIDE = _ROOM + 64

# Processes that fork must not share what they receive and send.
_PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS

_HEADER = ctypes.sizeof(mmsghdr)
_VECTOR = ctypes.sizeof(iovec)

# From linux/udp.h.
_UDP_SEGMENT = 103
_UDP_GRO = 104

# The control message of a burst comes before the one of the local address.
_BURST = socket.CMSG_SPACE(4)

# The kernel's own limits for one message: UDP_MAX_SEGMENTS, and one packet.
_MAX_SEGMENTS = 64
_MAX_SEGMENTED = 65000

# How a path says that it does not take segments, or not such long ones.
_CANNOT_SEGMENT = (EINVAL, EIO, EMSGSIZE)

_ZEROS = memoryview(array("I", bytes(4 * SLOTS)))


@lru_cache(maxsize=128)
def _vectors(address: int, length: int) -> bytes:
    """
    Point a vector at each of the pieces of one length from an address on.
    """
    vectors = (iovec * SLOTS)()
    for slot, vector in enumerate(vectors):
        vector.base, vector.len = address + slot * length, length
    return bytes(vectors)


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


def _coalesce(sock: socket.socket) -> None:
    """
    Ask for bursts to come in one piece; older kernels do not know this.
    """
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)


class Batch:
    """
    Receive datagrams, and send the replies to them.

    It takes 4 MiB of address space for what is received and as much for what is
    sent, of which only what datagrams have filled becomes resident.

    @ivar toGroups: the indices of those datagrams, among the ones received last,
        that were sent to a broadcast or multicast address.
    @type toGroups: L{list} of L{int}
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: a UDP socket that does not block.  It is made to say which
            local address each datagram was sent to.
        """
        self._fd = sock.fileno()
        self._isIPv4 = sock.family == socket.AF_INET
        if self._isIPv4:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._nameLength, self._infoSpace = 16, socket.CMSG_SPACE(12)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._nameLength, self._infoSpace = 28, socket.CMSG_SPACE(20)
        self._envelopeLength = NAME + self._infoSpace
        self._segmentSpace = socket.CMSG_SPACE(2)
        self._longestSegment = _MAX_SEGMENTED if _canSegment(sock) else 0
        self._cache = Peers(sock.family)
        self._used = 0
        self._peers: list[Peer] = []
        # The slot of each datagram, where there are more of them than slots.
        self._slots: list[int] = []
        self.toGroups: list[int] = []
        _coalesce(sock)
        self._layOutIncoming()
        self._layOutOutgoing()

    def _layOutIncoming(self) -> None:
        self._arena = mmap(-1, SLOTS * _STRIDE, flags=_PRIVATE)
        self._envelopes = bytearray(SLOTS * ENVELOPE)
        self._envelopesAddress = addressOf(self._envelopes)
        self._firstEnvelope = memoryview(self._envelopes)[: self._envelopeLength]
        self._rooms = (iovec * SLOTS)()
        arena = addressOf(self._arena)
        for slot, room in enumerate(self._rooms):
            room.base, room.len = arena + slot * _STRIDE, _ROOM
        headers = self._headers(self._rooms, self._envelopesAddress + NAME)
        for header in headers:
            header.hdr.controllen += _BURST
        self._incoming = ctypes.addressof(headers)
        self._received = memoryview(headers).cast("B")
        self._empty = memoryview(bytes(headers))
        self._lengths = column(headers, "I", mmsghdr.len.offset, _HEADER)
        controls = msghdr.controllen.offset
        self._controlLengths = column(headers, "L", controls, _HEADER)
        self._usualLengths = memoryview(array("L", [self._infoSpace] * SLOTS))
        if self._isIPv4:
            # struct in_pktinfo: interface, local address, destination.
            self._interfaces = column(self._envelopes, "I", PKTINFO, ENVELOPE)
            self._locals = column(self._envelopes, "I", PKTINFO + 4, ENVELOPE)
            self._destinations = column(self._envelopes, "I", PKTINFO + 8, ENVELOPE)
        else:
            # struct in6_pktinfo: destination, interface.
            self._interfaces = column(self._envelopes, "I", PKTINFO + 16, ENVELOPE)
            self._destinations = column(self._envelopes, "B", PKTINFO, ENVELOPE)

    def _layOutOutgoing(self) -> None:
        self._outbox = mmap(-1, SLOTS * _ROOM, flags=_PRIVATE)
        self._outboxAddress = addressOf(self._outbox)
        # The control messages of grouped replies: as in the envelope, and how
        # long a segment is.
        self._controls = bytearray(SLOTS * ENVELOPE)
        for slot in range(SLOTS):
            start = slot * ENVELOPE + self._infoSpace
            segment = cmsghdr.from_buffer(self._controls, start)
            segment.len = socket.CMSG_LEN(2)
            segment.level = socket.IPPROTO_UDP
            segment.type = _UDP_SEGMENT
        self._outgoing = (iovec * SLOTS)()
        self._vectors = memoryview(self._outgoing).cast("B")
        self._bases = column(self._outgoing, "L", iovec.base.offset, _VECTOR)
        self._sizes = column(self._outgoing, "L", iovec.len.offset, _VECTOR)
        # Headers for one reply to each slot, in order ...
        self._single = self._headers(self._outgoing, self._envelopesAddress + NAME)
        # ... and headers for any number of replies to any slot.
        self._grouped = self._headers(self._outgoing, addressOf(self._controls))
        names, lengths = msghdr.name.offset, msghdr.controllen.offset
        self._groupNames = column(self._grouped, "L", names, _HEADER)
        self._groupControlLengths = column(self._grouped, "L", lengths, _HEADER)
        sizes = self._infoSpace + socket.CMSG_LEN(0)
        self._segmentSizes = column(self._controls, "H", sizes, ENVELOPE)

    def _headers(
        self, vectors: ctypes.Array[iovec], controls: int
    ) -> ctypes.Array[mmsghdr]:
        headers = (mmsghdr * SLOTS)()
        for slot, header in enumerate(headers):
            header.hdr = msghdr(
                name=self._envelopesAddress + slot * ENVELOPE,
                namelen=self._nameLength,
                iov=ctypes.addressof(vectors[slot]),
                iovlen=1,
                control=controls + slot * ENVELOPE,
                controllen=self._infoSpace,
            )
        return headers

    def receive(self) -> tuple[Sequence[bytes], list[Peer]]:
        """
        Receive what has arrived, as far as there are slots.

        @return: the datagrams, and for each of them its peer.  There are usually
            at most as many as slots, and never more than 64 times as many.

        @raise OSError: as recvmmsg(2) has it; L{BlockingIOError} when nothing
            has arrived.
        """
        used = self._used * _HEADER
        self._received[:used] = self._empty[:used]
        self._used = count = recvmmsg(self._fd, self._incoming, SLOTS)
        if count == 1 and self._controlLengths[0] == self._infoSpace:
            return self._receiveOne()
        bursts = None
        if self._controlLengths[:count] != self._usualLengths[:count]:
            bursts = self._findBursts(count)
        # Left in, a reply would leave by the interface that the datagram came in
        # by, whatever the routes say.
        self._interfaces[:count] = _ZEROS[:count]
        self.toGroups = self._findGroups(count)
        envelopes = pieces(self._envelopeLength, ENVELOPE, count)
        self._peers = list(
            map(self._cache.__getitem__, envelopes.unpack_from(self._envelopes))
        )
        lengths = self._lengths[:count].tolist()
        datagrams: Sequence[bytes]
        if lengths.count(lengths[0]) == count:
            datagrams = pieces(lengths[0], _STRIDE, count).unpack_from(self._arena)
        else:
            datagrams = [
                self._arena[start : start + length]
                for start, length in zip(range(0, len(self._arena), _STRIDE), lengths)
            ]
        if bursts is None:
            self._slots = []
            return datagrams, self._peers
        return self._cut(datagrams, bursts)

    def _receiveOne(self) -> tuple[Sequence[bytes], list[Peer]]:
        # For a single slot, to touch its fields one by one is the quicker way.
        self._interfaces[0] = 0
        if self._isIPv4:
            isToGroup = self._destinations[0] != self._locals[0]
        else:
            isToGroup = self._destinations[0] == 0xFF
        self.toGroups = self._findGroups(1) if isToGroup else []
        self._slots = []
        self._peers = [self._cache[self._firstEnvelope.tobytes()]]
        return [self._arena[: self._lengths[0]]], self._peers

    def _findBursts(self, count: int) -> dict[int, int]:
        """
        Find the slots with more than one datagram, and make their envelopes like
        the others.

        @return: for each such slot, the length of its datagrams; the last one
            may be shorter.
        """
        bursts = {}
        for slot in range(count):
            if self._controlLengths[slot] == self._infoSpace:
                continue
            start = slot * ENVELOPE + NAME
            size = start + socket.CMSG_LEN(0)
            bursts[slot] = int.from_bytes(
                self._envelopes[size : size + 4], sys.byteorder
            )
            end = start + self._infoSpace
            self._envelopes[start:end] = self._envelopes[start + _BURST : end + _BURST]
        return bursts

    def _cut(
        self, datagrams: Sequence[bytes], bursts: dict[int, int]
    ) -> tuple[Sequence[bytes], list[Peer]]:
        single: list[bytes] = []
        self._slots = []
        for slot, datagram in enumerate(datagrams):
            length = bursts.get(slot) or len(datagram) or 1
            cuts = range(0, len(datagram) or 1, length)
            single += [datagram[start : start + length] for start in cuts]
            self._slots += [slot] * len(cuts)
        toGroups = set(self.toGroups)
        self.toGroups = [i for i, slot in enumerate(self._slots) if slot in toGroups]
        return single, [self._peers[slot] for slot in self._slots]

    def _findGroups(self, count: int) -> list[int]:
        destinations = self._destinations[:count]
        if self._isIPv4:
            # The local address is the one that was asked, unless that is a
            # group's, which nothing can be sent from.
            locals = self._locals[:count]
            if destinations == locals:
                return []
            # What came before the kernel was told to say has neither.
            return [i for i in range(count) if destinations[i] != locals[i] != 0]
        if 0xFF not in destinations.tobytes():
            return []
        groups = [slot for slot in range(count) if destinations[slot] == 0xFF]
        for slot in groups:
            # Without a local address the kernel chooses one.
            start = slot * ENVELOPE + PKTINFO
            self._envelopes[start : start + 16] = bytes(16)
        return groups

    def send(self, replies: Sequence[bytes], indices: Sequence[int]) -> list[int]:
        """
        Send replies, in order.

        @param replies: the payloads.

        @param indices: for each reply, the index of a datagram from its peer,
            among those received last.

        @return: for each reply that could not be sent, the number of its error.
        """
        slots = [self._slots[i] for i in indices] if self._slots else indices
        if len(replies) <= SLOTS:
            return self._send(replies, slots, self._longestSegment)
        errors = []
        for start in range(0, len(replies), SLOTS):
            end = start + SLOTS
            errors += self._send(
                replies[start:end], [*slots[start:end]], self._longestSegment
            )
        return errors

    def _send(
        self, replies: Sequence[bytes], slots: Sequence[int], longestSegment: int
    ) -> list[int]:
        count = len(replies)
        lengths = list(map(len, replies))
        if sum(lengths) > len(self._outbox):
            if count == 1:
                return [EMSGSIZE]
            half = count // 2
            return [
                *self._send(replies[:half], slots[:half], longestSegment),
                *self._send(replies[half:], [*slots[half:]], longestSegment),
            ]
        isUniform = lengths.count(lengths[0]) == count
        if isUniform:
            pieces(lengths[0], lengths[0], count).pack_into(self._outbox, 0, *replies)
        else:
            joined = b"".join(replies)
            self._outbox[: len(joined)] = joined
        isInOrder = isinstance(slots, range)
        peers = self._peers if isInOrder else [self._peers[slot] for slot in slots]
        if longestSegment and any(map(is_, peers, islice(peers, 1, None))):
            isInOrder = False
        if not isInOrder:
            ends = self._group(slots, peers, lengths, longestSegment)
            return self._sendGroups(replies, slots, ends)
        if isUniform:
            size = count * _VECTOR
            vectors = _vectors(self._outboxAddress, lengths[0])
            self._vectors[:size] = vectors[:size]
        else:
            bases = accumulate(lengths, initial=self._outboxAddress)
            self._bases[:count] = memoryview(array("L", islice(bases, count)))
            self._sizes[:count] = memoryview(array("L", lengths))
        return [number for _, number in self._transmit(self._single, count)]

    def _group(
        self,
        slots: Sequence[int],
        peers: Sequence[Peer],
        lengths: Sequence[int],
        longestSegment: int,
    ) -> list[int]:
        """
        Make the fewest messages of the replies in the outbox.

        @return: for each message, the index after that of its last reply.
        """
        ends: list[int] = []
        start, base, count = 0, self._outboxAddress, len(lengths)
        while start < count:
            peer, length, end = peers[start], lengths[start], start + 1
            if 0 < length <= longestSegment:
                most = min(count, start + min(_MAX_SEGMENTS, _MAX_SEGMENTED // length))
                while end < most and peers[end] is peer and lengths[end] == length:
                    end += 1
            message = len(ends)
            control, envelope = message * ENVELOPE, slots[start] * ENVELOPE
            self._controls[control : control + self._infoSpace] = self._envelopes[
                envelope + NAME : envelope + self._envelopeLength
            ]
            self._groupNames[message] = self._envelopesAddress + envelope
            controlLength = self._infoSpace
            if end - start > 1:
                self._segmentSizes[message] = length
                controlLength += self._segmentSpace
            self._groupControlLengths[message] = controlLength
            size = length * (end - start)
            self._bases[message], self._sizes[message] = base, size
            base += size
            ends.append(end)
            start = end
        return ends

    def _sendGroups(
        self, replies: Sequence[bytes], slots: Sequence[int], ends: Sequence[int]
    ) -> list[int]:
        errors: list[int] = []
        for message, number in self._transmit(self._grouped, len(ends)):
            start, end = ends[message - 1] if message else 0, ends[message]
            if end - start == 1 or number not in _CANNOT_SEGMENT:
                errors += [number] * (end - start)
                continue
            # Sending uses the memory that this was sent from, so what is left
            # has to be laid out again.
            singly = self._send(replies[start:end], [*slots[start:end]], 0)
            if len(singly) < end - start:
                # It was not the peer that was refused, but the segments.
                longest = 0 if number == EIO else len(replies[start]) - 1
                self._longestSegment = min(longest, self._longestSegment)
            errors += singly
            if end < len(replies):
                errors += self._send(
                    replies[end:], [*slots[end:]], self._longestSegment
                )
            break
        return errors

    def _transmit(
        self, headers: ctypes.Array[mmsghdr], count: int
    ) -> Iterator[tuple[int, int]]:
        """
        Send messages, also those after one that cannot be sent.

        @return: the index and the error number of each that cannot.
        """
        address = ctypes.addressof(headers)
        sent = 0
        while sent < count:
            try:
                sent += sendmmsg(self._fd, address + sent * _HEADER, count - sent)
            except OSError as e:
                yield sent, e.errno or 0
                sent += 1
