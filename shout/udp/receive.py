"""
Receiving many datagrams with one system call.

An L{ReceiveBatch} has a fixed number of slots::

    arena      per slot, room for one datagram of any size
    envelopes  per slot, the peer's address and the local address that was asked

Python is slow where it handles one field of one slot at a time.  So it does not:
a strided C{memoryview} reads a field of all slots in one step, C{struct} cuts all
datagrams out of the arena in another, and what the kernel overwrites is put back
by copying a template over it.

With C{UDP_GRO} the kernel gives datagrams that followed each other closely, of
one peer and one length, in one piece; see udp(7).  Such a piece is cut up again
here, as far as one batch goes; the rest waits in the arena for the next one.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, repeat
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from .mmsg import (
    HEADER,
    addressOf,
    column,
    cut,
    iovec,
    mmsghdr,
    msghdr,
    pieces,
    recvmmsg,
)
from .peer import NAME, Peer, Peers, message, messages
from .sockopt import enablePacketInfo

SLOTS = 64
"""
How many datagrams there are in a batch at most; more gains nothing.
"""

# A datagram has at most 65,535 bytes.  The odd rest keeps the beginnings of the
# slots from all falling into the same lines of the processor's cache.
_ROOM = 65536
_STRIDE = _ROOM + 64

# The room for an address and for control messages, among them those that a
# socket from elsewhere may have been asked for.
_ENVELOPE = 256

# Processes that fork must not share what they receive.
_PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS

# From linux/udp.h and linux/in6.h.
_UDP_GRO = 104
_IPV6_FREEBIND = 78
_COALESCED = (socket.IPPROTO_UDP, _UDP_GRO)


class ReceiveBatch:
    """
    Receive datagrams, and tell who sent them and to which local address.

    It takes 4 MiB of address space, of which only what datagrams have filled
    becomes resident.

    @ivar peers: those who have sent something.
    @type peers: L{Peers}

    @ivar bytes: how many bytes of payload have arrived.
    @type bytes: L{int}

    @ivar isEmpty: whether all that was received has been given out.
    @type isEmpty: L{bool}
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: a UDP socket that does not block.  It is made to say which
            local address each datagram was sent to.
        """
        self._fd = sock.fileno()
        self.peers = Peers(sock.family)
        enablePacketInfo(sock)
        # Kernels before 5.0 do not know it.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        # Without it nothing leaves from an address that just a route makes local.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        self.bytes = 0
        self._rest: Iterator[tuple[bytes, Peer]] = iter(())
        self.isEmpty = True
        # How long control messages are where they tell just the local address:
        # of IPv4, of IPv6, or of IPv4 by way of IPv6.
        info4, info6 = socket.CMSG_SPACE(12), socket.CMSG_SPACE(20)
        self._usual = (
            [info4] if sock.family == socket.AF_INET else [info6, info6 + info4]
        )
        self._layOut()

    def _layOut(self) -> None:
        self._arena = mmap(-1, SLOTS * _STRIDE, flags=_PRIVATE)
        self._envelopes = mmap(-1, SLOTS * _ENVELOPE, flags=_PRIVATE)
        arena, envelopes = addressOf(self._arena), addressOf(self._envelopes)
        self._rooms = (iovec * SLOTS)()
        self._headers = headers = (mmsghdr * SLOTS)()
        for slot, header in enumerate(headers):
            room = self._rooms[slot]
            room.base, room.len = arena + slot * _STRIDE, _ROOM
            envelope = envelopes + slot * _ENVELOPE
            header.hdr = msghdr(
                name=envelope,
                namelen=NAME,
                iov=ctypes.addressof(room),
                iovlen=1,
                control=envelope + NAME,
                controllen=_ENVELOPE - NAME,
            )
        self._written = memoryview(headers).cast("B")
        self._template = memoryview(bytes(headers))
        self._lengths = column(headers, "I", mmsghdr.len.offset, HEADER)
        controls = msghdr.controllen.offset
        self._controlLengths = column(headers, "L", controls, HEADER)
        self._usualLengths = [
            memoryview(array("L", [usual] * SLOTS)) for usual in self._usual
        ]

    def receive(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        """
        Receive what has arrived, as far as one batch goes.

        @return: the datagrams, and for each of them its peer; at least one, and
            at most L{SLOTS}.

        @raise OSError: as recvmmsg(2) has it; L{BlockingIOError} when nothing
            has arrived.
        """
        if not self.isEmpty and (batch := self._takeRest()):
            return batch
        # recvmmsg(2) has replaced the sizes of the buffers by those of the last batch.
        self._written[:] = self._template
        count = recvmmsg(self._fd, self._headers, SLOTS)
        if count == 1 and (usual := self._controlLengths[0]) in self._usual:
            # For one slot it is quicker to touch the fields one by one.
            peer = self.peers[self._envelopes[: NAME + usual]]
            datagram = self._arena[: self._lengths[0]]
            self.bytes += len(datagram)
            return [datagram], [peer]
        lengths = self._lengths[:count].tolist()
        self.bytes += sum(lengths)
        for usual, usualLengths in zip(self._usual, self._usualLengths):
            if self._controlLengths[:count] == usualLengths[:count]:
                return self._receive(lengths, NAME + usual)
        self._rest = self._cut(count)
        return self._takeRest()

    def _receive(
        self, lengths: list[int], envelope: int
    ) -> tuple[Sequence[bytes], Sequence[Peer]]:
        """
        Take one datagram from each slot.

        @param lengths: how long they are.

        @param envelope: how long the envelopes are.
        """
        count = len(lengths)
        envelopes = pieces(envelope, _ENVELOPE, count).unpack_from(self._envelopes)
        peers = list(map(self.peers.__getitem__, envelopes))
        return cut(self._arena, lengths, _STRIDE), peers

    def _takeRest(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        batch = list(islice(self._rest, SLOTS))
        self.isEmpty = len(batch) < SLOTS
        return tuple(zip(*batch))  # type: ignore[return-value]

    def _cut(self, count: int) -> Iterator[tuple[bytes, Peer]]:
        """
        Take the datagrams from each slot, whatever is in it.
        """
        for slot in range(count):
            room, envelope = slot * _STRIDE, slot * _ENVELOPE
            control = envelope + NAME
            name = self._envelopes[envelope:control]
            end = control + self._controlLengths[slot]
            length, others = segmentLength(self._envelopes[control:end])
            peer = self.peers[name + others]
            # Where the kernel leaves gaps between messages, the next finds zeros.
            self._envelopes[control:end] = bytes(end - control)
            whole = self._lengths[slot]
            number = whole // length if length else 0
            segments = pieces(length, length, number).unpack_from(self._arena, room)
            yield from zip(segments, repeat(peer))
            if number * length < whole or not whole:
                yield self._arena[room + number * length : room + whole], peer


def segmentLength(control: bytes) -> tuple[int, bytes]:
    """
    Return the length of the datagrams in a slot, of which the last may be
    shorter, or 0 where there is just one; and the other control messages.
    """
    found = dict(messages(control))
    length = int.from_bytes(found.pop(_COALESCED, b""), sys.byteorder)
    return length, b"".join(message(*kind, data) for kind, data in found.items())
