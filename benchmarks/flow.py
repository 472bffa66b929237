"""
Datagrams of one socket that are sent and checked in batches.

The load generator has to use less CPU per datagram than the fastest server, or its own
speed would be measured.  But its datagrams take the same paths through the kernel, so
it saves where it can:

  - Python does nothing per datagram: the expected replies are prepared once, and
    compared with the received ones a batch at a time; see L{ReceiveBatch
    <benchmarks.receive.ReceiveBatch>}.
  - Requests leave as one message that the kernel splits into datagrams
    (C{UDP_SEGMENT}; see udp(7)).  The server receives ordinary ones.
  - One socket acts as many peers: it sends from many addresses in one system call.
    This still costs nearly as much as a reply costs a server in C; the table has a
    note if it costs more.

The payloads are sent in rounds.  All buffers hold one round and the first batch of the
next, so a batch is always contiguous.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.receive import BATCH, CONTROL, ReceiveBatch
from shout.udp.mmsg import (
    addressOf,
    iovec,
    mmsghdr,
    msghdr,
    recvmmsg,
    sendmmsg,
)
from shout.udp.peer import packMessage
from shout.udp.sockopt import raiseReceiveBuffer

MAX_FIXED_POINTS = 96
"""
Number of datagrams that one peer may send that equal the replies to them.  Two servers
in a loop produce the same traffic, so a server may restrict such a peer.  Empty
datagrams always equal their replies: after this number another peer sends them.
"""

# From linux/in.h and linux/udp.h.
_IP_PKTINFO = 8
_UDP_SEGMENT = 103

# The kernel's limits for one message.
_MAX_SEGMENTS = 64
_MAX_SEGMENTED = 65000

_RECEIVE_BUFFER = 4 << 20


class Flow:
    """
    The requests and the replies of one socket.

    @ivar sent: Number of datagrams sent.

    @ivar received: Number of replies received.

    @ivar wrong: Number of wrong replies.

    @ivar example: A wrong reply and the expected one, or an empty string.

    @ivar inFlight: Number of requests without a reply.

    @ivar batchSize: Maximum number of datagrams that one L{exchange} receives.
    """

    def __init__(self, port: int, payloads: Sequence[bytes], sources: bool = False):
        """
        @param port: The port of the server on 127.0.0.1.

        @param payloads: The payloads to send in turn, all of one length.  As many
            datagrams are kept in flight.

        @param sources: L{True} to send each payload from its own address in
            127.0.1.0/24; L{False} to send all from one address.
        """
        self.sent = self.received = self.wrong = self.inFlight = 0
        self.example = ""
        self.batchSize = min(BATCH, len(payloads))
        self._window = len(payloads)
        self._size = len(payloads[0])
        self._port = port
        self._sources = sources
        self._maxAge = MAX_FIXED_POINTS * (self._window if sources else 1)
        self._receiveBatch = ReceiveBatch(self._size, sources)
        self._sock: socket.socket | None = None
        self._prepare(payloads)

    def _prepare(self, payloads: Sequence[bytes]) -> None:
        payloads = [*payloads, *payloads][: self._window + self.batchSize]
        port = self._port.to_bytes(2, "big")
        count, size, stride = len(payloads), self._size, self._receiveBatch.stride
        # Padded, because an empty buffer has no address.
        self._joined = bytearray(b"".join(payloads) + b".")
        self._name = bytearray(struct.pack("=H2s4s8x", 2, port, b"\x7f\0\0\1"))
        indexes = [i % self._window for i in range(count)]
        self._controls = bytearray().join(
            _packetInfo(i, isReceived=False) for i in indexes
        )
        self._vectors = (iovec * count)()
        self._headers = (mmsghdr * count)()
        for i, vector in enumerate(self._vectors):
            vector.base, vector.len = addressOf(self._joined) + i * size, size
            header = msghdr(iov=ctypes.addressof(vector), iovlen=1)
            if self._sources:
                header.name, header.namelen = addressOf(self._name), len(self._name)
                header.control = addressOf(self._controls) + i * CONTROL
                header.controllen = CONTROL
            self._headers[i].hdr = header
        self._view = memoryview(self._joined)
        self._expected = [
            (_packetInfo(i, isReceived=True) if self._sources else bytes(CONTROL))
            + payload.upper()
            for i, payload in zip(indexes, payloads)
        ]
        self._indexes = dict(zip(self._expected, indexes))
        self._expectedSlots = bytearray().join(
            slot.ljust(stride, b"\0") for slot in self._expected
        )
        self._expectedAddress = addressOf(self._expectedSlots)

    def start(self) -> None:
        """
        Begin with a new socket, which is a new peer to the server.  Datagrams that are
        in flight count as lost.
        """
        self.close()
        self._sock = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        raiseReceiveBuffer(sock, _RECEIVE_BUFFER)
        self._segments = 0
        if self._sources:
            sock.bind(("0.0.0.0", 0))
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            connect(sock, self._port, self._size)
            if 0 < self._size <= _MAX_SEGMENTED:
                # An older kernel refuses the option; then datagrams are sent singly.
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, self._size)
                    self._segments = min(_MAX_SEGMENTS, _MAX_SEGMENTED // self._size)
        self._fd = sock.fileno()
        self._age = self._next = self._due = self.inFlight = 0
        self._send(self._window)

    def close(self) -> None:
        """
        Close the socket, if there is one.
        """
        if self._sock is not None:
            self._sock.close()

    def exchange(self, isSending: bool) -> int:
        """
        Receive and check the replies that have arrived, and send as many requests.

        @param isSending: L{False} to send nothing.

        @return: Number of replies received.
        """
        try:
            count = recvmmsg(self._fd, self._receiveBatch.headers, self.batchSize)
        except BlockingIOError:
            return 0
        slots = self._expectedAddress + self._due * self._receiveBatch.stride
        if self._receiveBatch.matches(slots, count):
            self._due = (self._due + count) % self._window
        else:
            self._checkEach(count)
        self.received += count
        self.inFlight -= count
        if isSending and (self._size or self._age < self._maxAge):
            self._send(count)
        elif isSending and not self.inFlight:
            self.start()
        return count

    def _checkEach(self, count: int) -> None:
        # After a loss the following replies are not the next ones expected, but right.
        for slot in self._receiveBatch.take(count):
            index = self._indexes.get(slot)
            if index is None:
                index = self._due
                expected = self._expected[index]
                self.wrong += 1
                self.example = f"{_describe(slot)} instead of {_describe(expected)}"
            self._due = (index + 1) % self._window

    def _send(self, count: int) -> None:
        first, end = self._next, self._next + count
        self._next = end % self._window
        self._age += count
        self.sent += count
        self.inFlight += count
        while first < end:
            if self._segments:
                after = min(end, first + self._segments)
                assert self._sock is not None
                self._sock.send(self._view[first * self._size : after * self._size])
                first = after
            else:
                first += sendmmsg(self._fd, self._headers, end - first, first)


def connect(sock: socket.socket, port: int, size: int) -> None:
    """
    Connect a socket to a port on 127.0.0.1.

    @param size: Length of the datagrams, in bytes.  Empty ones come from an address
        that no socket had before; see L{MAX_FIXED_POINTS}.
    """
    if size == 0:
        address = struct.pack("!I", next(_addresses))
        sock.bind((socket.inet_ntoa(address), 0))
    sock.connect(("127.0.0.1", port))


# 127.1.0.1 and so on.
_addresses = itertools.count(0x7F010001)


def _packetInfo(index: int, isReceived: bool) -> bytes:
    """
    Return the C{IP_PKTINFO} control message (see ip(7)) for the address of a peer: as
    received with a reply to it, or to send from it.
    """
    interface = socket.if_nametoindex("lo") if isReceived else 0
    address = bytes([127, 0, 1, index])
    info = struct.pack("=i4s4s", interface, address, address if isReceived else b"")
    return packMessage(socket.IPPROTO_IP, _IP_PKTINFO, info)


def _describe(slot: bytes) -> str:
    control, payload = slot[:CONTROL], slot[CONTROL:]
    if not any(control):
        return f"{payload[:60]!r}"
    return f"{payload[:60]!r} to {socket.inet_ntoa(control[-8:-4])}"
