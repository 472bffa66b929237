"""
Datagrams of one socket that are sent and checked in batches.

The load has to cost less per datagram than the fastest of the servers, or it would
be the load that is measured.  But it walks the same paths of the kernel as they do,
so it saves where it can:

  - Nothing is done per datagram in Python: what has to come back is laid out once,
    and compared with what does a batch at a time; see L{ReceiveBatch}.
  - Requests leave as one message that the kernel cuts into datagrams
    (C{UDP_SEGMENT}; see udp(7)).  The server receives ordinary ones.
  - Many peers are one socket that sends from many addresses, in one system call.
    Even so this costs nearly what it costs a server in C; the table says where it
    costs more.

Texts are sent round and round.  Everything is laid out for one round and the first
batch of the next, so that a batch always lies in one piece.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.inbox import BATCH, CONTROL, ReceiveBatch
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

LIFE = 96
"""
How many times a peer may send what equals the reply to it.  Two servers that answer
each other look like that, and so a server may well restrain such a peer.  Empty
datagrams are like that always: after so many, other peers send them.
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
    What one socket sends, and what it gets.

    @ivar sent: how many datagrams, all in all.

    @ivar received: how many replies.

    @ivar wrong: how many of these were wrong.

    @ivar example: one that was wrong, and what it should have been.

    @ivar underWay: how many replies are awaited.

    @ivar most: how many datagrams one turn takes.
    """

    def __init__(self, port: int, texts: Sequence[bytes], sources: bool = False):
        """
        @param port: where to, on 127.0.0.1.

        @param texts: what to send, in turn; all have one length.  There are as
            many under way.

        @param sources: whether to send each of them from an address of its own,
            of 127.0.1.0/24, instead of the same.
        """
        self.sent = self.received = self.wrong = self.underWay = 0
        self.example = ""
        self.most = min(BATCH, len(texts))
        self._window = len(texts)
        self._size = len(texts[0])
        self._port = port
        self._sources = sources
        self._life = LIFE * (self._window if sources else 1)
        self._receiveBatch = ReceiveBatch(self._size, sources)
        self._sock: socket.socket | None = None
        self._layOut(texts)

    def _layOut(self, texts: Sequence[bytes]) -> None:
        rounds = [*texts, *texts][: self._window + self.most]
        port = self._port.to_bytes(2, "big")
        count, size, stride = len(rounds), self._size, self._receiveBatch.stride
        # Padded, since an empty buffer has no address.
        self._joined = bytearray(b"".join(rounds) + b".")
        self._name = bytearray(struct.pack("=H2s4s8x", 2, port, b"\x7f\0\0\1"))
        places = [i % self._window for i in range(count)]
        self._controls = bytearray().join(_source(i, asked=False) for i in places)
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
        self._capitals = [
            (_source(i, asked=True) if self._sources else bytes(CONTROL)) + text.upper()
            for i, text in zip(places, rounds)
        ]
        self._places = dict(zip(self._capitals, places))
        self._wanted = bytearray().join(
            slot.ljust(stride, b"\0") for slot in self._capitals
        )
        self._wantedAddress = addressOf(self._wanted)

    def start(self) -> None:
        """
        Give up what is under way and begin, with a socket of which the server has
        not heard before.
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
                # An older kernel refuses; then they are sent singly.
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, self._size)
                    self._segments = min(_MAX_SEGMENTS, _MAX_SEGMENTED // self._size)
        self._fd = sock.fileno()
        self._age = self._next = self._due = self.underWay = 0
        self._send(self._window)

    def close(self) -> None:
        """
        Close the socket.
        """
        if self._sock is not None:
            self._sock.close()

    def turn(self, goOn: bool) -> int:
        """
        Receive what has come, check it, and send as much again.

        @param goOn: whether to send.

        @return: how many replies there were.
        """
        try:
            count = recvmmsg(self._fd, self._receiveBatch.headers, self.most)
        except BlockingIOError:
            return 0
        slots = self._wantedAddress + self._due * self._receiveBatch.stride
        if self._receiveBatch.holds(slots, count):
            self._due = (self._due + count) % self._window
        else:
            self._examine(count)
        self.received += count
        self.underWay -= count
        if goOn and (self._size or self._age < self._life):
            self._send(count)
        elif goOn and not self.underWay:
            self.start()
        return count

    def _examine(self, count: int) -> None:
        # Where one was lost, those after it are not what was due, but right.
        for slot in self._receiveBatch.take(count):
            place = self._places.get(slot)
            if place is None:
                place = self._due
                due = self._capitals[place]
                self.wrong += 1
                self.example = f"{_describe(slot)} instead of {_describe(due)}"
            self._due = (place + 1) % self._window

    def _send(self, count: int) -> None:
        first, end = self._next, self._next + count
        self._next = end % self._window
        self._age += count
        self.sent += count
        self.underWay += count
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

    @param size: how long the datagrams will be.  Empty ones come from an address
        that no socket had before; see L{LIFE}.
    """
    if size == 0:
        address = struct.pack("!I", next(_addresses))
        sock.bind((socket.inet_ntoa(address), 0))
    sock.connect(("127.0.0.1", port))


# 127.1.0.1 and so on.
_addresses = itertools.count(0x7F010001)


def _source(place: int, asked: bool) -> bytes:
    """
    Return a control message that has a datagram sent from an address, or that says
    that a reply was sent to this address; see IP_PKTINFO in ip(7).
    """
    interface = socket.if_nametoindex("lo") if asked else 0
    address = bytes([127, 0, 1, place])
    info = struct.pack("=i4s4s", interface, address, address if asked else b"")
    return packMessage(socket.IPPROTO_IP, _IP_PKTINFO, info)


def _describe(slot: bytes) -> str:
    control, text = slot[:CONTROL], slot[CONTROL:]
    if not any(control):
        return f"{text[:60]!r}"
    return f"{text[:60]!r} to {socket.inet_ntoa(control[-8:-4])}"
