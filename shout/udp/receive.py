"""
Receiving many datagrams with one system call.

A L{ReceiveBatch} has two buffers with a fixed number of slots::

    payloads   a datagram of any size per slot
    addresses  a raw address per slot: the peer, and the local address

Python is slow when it handles one field of one slot at a time.  So a strided
C{memoryview} reads a field of all slots in one step, a C{Struct} copies all datagrams
out of their buffer in another, and a template restores the headers that the kernel
has overwritten.

With C{UDP_GRO} the kernel coalesces datagrams of one peer and one length that have
arrived in a burst; see udp(7).  The batch splits them again, as far as it has slots.
The rest stays in the buffer for the next batch.
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
    iovec,
    mmsghdr,
    msghdr,
    pieces,
    recvmmsg,
    splitSlots,
)
from .peer import SOCKADDR_SIZE, Peer, Peers, packMessage, unpackMessages
from .sockopt import enablePacketInfo

SLOTS = 64
"""
Maximum number of datagrams in a batch; more do not make it faster.
"""

# A datagram has at most 65,535 bytes.  The odd stride spreads the beginnings of the
# slots over different cache lines of the processor.
_SLOT_SIZE = 65536
_STRIDE = _SLOT_SIZE + 64

# Bytes for a raw address, including control messages that other code has enabled on
# the socket.
_ADDRESS_SIZE = 256

# Private, so that forked processes do not share it.
_PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS

# From linux/udp.h and linux/in6.h.
_UDP_GRO = 104
_IPV6_FREEBIND = 78
_COALESCED = (socket.IPPROTO_UDP, _UDP_GRO)


class ReceiveBatch:
    """
    Receives datagrams with their peers and local addresses.

    It maps 4 MiB of memory, of which only the pages that datagrams have filled become
    resident.

    @ivar peers: The table of peers.

    @ivar bytes: Number of payload bytes received.

    @ivar isEmpty: C{True} if no received datagram is left for the next batch.
    """

    def __init__(self, sock: socket.socket) -> None:
        """
        @param sock: A non-blocking UDP socket.  Its packet information is enabled.
        """
        self._fd = sock.fileno()
        self.peers = Peers(sock.family)
        enablePacketInfo(sock)
        # Kernels before 5.0 do not know it.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        # Without it the kernel refuses to send from an address that is local by a
        # route only.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        self.bytes = 0
        self._rest: Iterator[tuple[bytes, Peer]] = iter(())
        self.isEmpty = True
        # Length of control messages with nothing but packet information: of IPv4, of
        # IPv6, or of IPv4 on a dual-stack socket.
        info4, info6 = socket.CMSG_SPACE(12), socket.CMSG_SPACE(20)
        isIPv4 = sock.family == socket.AF_INET
        self._usual = [info4] if isIPv4 else [info6, info6 + info4]
        self._usualLengths = [
            memoryview(array("L", [usual] * SLOTS)) for usual in self._usual
        ]
        self._allocate()

    def _allocate(self) -> None:
        self._payloads = mmap(-1, SLOTS * _STRIDE, flags=_PRIVATE)
        self._addresses = mmap(-1, SLOTS * _ADDRESS_SIZE, flags=_PRIVATE)
        payloads, addresses = addressOf(self._payloads), addressOf(self._addresses)
        self._vectors = (iovec * SLOTS)()
        self._headers = headers = (mmsghdr * SLOTS)()
        for slot, (vector, header) in enumerate(zip(self._vectors, headers)):
            vector.base, vector.len = payloads + slot * _STRIDE, _SLOT_SIZE
            address = addresses + slot * _ADDRESS_SIZE
            header.hdr = msghdr(
                name=address,
                namelen=SOCKADDR_SIZE,
                iov=ctypes.addressof(vector),
                iovlen=1,
                control=address + SOCKADDR_SIZE,
                controllen=_ADDRESS_SIZE - SOCKADDR_SIZE,
            )
        self._headerBytes = memoryview(headers).cast("B")
        self._template = memoryview(bytes(headers))
        self._lengths = column(headers, "I", mmsghdr.len.offset, HEADER)
        self._controlLengths = column(headers, "L", msghdr.controllen.offset, HEADER)

    def receive(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        """
        Receive a batch.

        @return: The datagrams, and the peer of each; at least one, and at most
            L{SLOTS}.

        @raise OSError: The error of recvmmsg(2); C{BlockingIOError} if nothing has
            arrived.
        """
        if not self.isEmpty and (batch := self._takeRest()):
            return batch
        # recvmmsg(2) replaces the sizes of the buffers by the lengths of the content.
        self._headerBytes[:] = self._template
        count = recvmmsg(self._fd, self._headers, SLOTS)
        if count == 1 and (usual := self._controlLengths[0]) in self._usual:
            # For one slot, direct access to the fields is faster.
            peer = self.peers[self._addresses[: SOCKADDR_SIZE + usual]]
            datagram = self._payloads[: self._lengths[0]]
            self.bytes += len(datagram)
            return [datagram], [peer]
        lengths = self._lengths[:count].tolist()
        self.bytes += sum(lengths)
        for usual, usualLengths in zip(self._usual, self._usualLengths):
            if self._controlLengths[:count] == usualLengths[:count]:
                struct = pieces(SOCKADDR_SIZE + usual, _ADDRESS_SIZE, count)
                addresses = struct.unpack_from(self._addresses)
                peers = list(map(self.peers.__getitem__, addresses))
                return splitSlots(self._payloads, lengths, _STRIDE), peers
        self._rest = self._split(count)
        return self._takeRest()

    def _takeRest(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        batch = list(islice(self._rest, SLOTS))
        self.isEmpty = len(batch) < SLOTS
        return tuple(zip(*batch))  # type: ignore[return-value]

    def _split(self, count: int) -> Iterator[tuple[bytes, Peer]]:
        """
        Yield the datagrams of each slot, coalesced or not, with any control messages.
        """
        for slot in range(count):
            payload, address = slot * _STRIDE, slot * _ADDRESS_SIZE
            control = address + SOCKADDR_SIZE
            end = control + self._controlLengths[slot]
            length, others = segmentLength(self._addresses[control:end])
            peer = self.peers[self._addresses[address:control] + others]
            # The padding between messages is part of the raw address, and the kernel
            # does not write it.
            self._addresses[control:end] = bytes(end - control)
            total = self._lengths[slot]
            number = total // length if length else 0
            struct = pieces(length, length, number)
            yield from zip(struct.unpack_from(self._payloads, payload), repeat(peer))
            if number * length < total or not total:
                yield self._payloads[payload + number * length : payload + total], peer


def segmentLength(control: bytes) -> tuple[int, bytes]:
    """
    Return the length of coalesced datagrams, of which the last may be shorter, or 0
    for a single one; and the ancillary data without the C{UDP_GRO} message.
    """
    found = dict(unpackMessages(control))
    length = int.from_bytes(found.pop(_COALESCED, b""), sys.byteorder)
    return length, b"".join(packMessage(*kind, data) for kind, data in found.items())
