"""
Room for a batch of replies, and what they have to be.

What recvmmsg(2) writes is headers, which have the lengths, and slots.  Each of the
two is compared with what it has to be in one memcmp(3), so that checking every reply
costs next to nothing.
"""

from __future__ import annotations

import ctypes
import socket

from shout.udp.mmsg import HEADER, addressOf, iovec, mmsghdr, msghdr

BATCH = 64
"""
How many datagrams are received in one system call.
"""

CONTROL = socket.CMSG_SPACE(12)
"""
The room for a control message with an C{in_pktinfo}; see ip(7).
"""

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class ReceiveBatch:
    """
    Slots for a batch of replies: a control message and a text each.
    """

    def __init__(self, size: int, withControl: bool) -> None:
        """
        @param size: how long the replies have to be.  There is room for more, so
            that what is too long is seen to be.

        @param withControl: whether there have to be control messages.
        """
        room = (size // 64 + 1) * 64
        self.stride = CONTROL + room
        self._used = CONTROL + size
        self._slots = bytearray(BATCH * self.stride)
        self._address = addressOf(self._slots)
        self._vectors = (iovec * BATCH)()
        self.headers = (mmsghdr * BATCH)()
        for i, vector in enumerate(self._vectors):
            slot = self._address + i * self.stride
            vector.base, vector.len = slot + CONTROL, room
            self.headers[i].hdr = msghdr(
                iov=ctypes.addressof(vector),
                iovlen=1,
                control=slot,
                controllen=CONTROL if withControl else 0,
            )
        self._blank = bytes(self.headers)
        self._wanted = (mmsghdr * BATCH).from_buffer_copy(self.headers)
        for header in self._wanted:
            header.len = size

    def holds(self, slots: int, count: int) -> bool:
        """
        Tell whether the first C{count} slots equal those at an address.
        """
        length = (count - 1) * self.stride + self._used
        return not (
            _memcmp(self.headers, self._wanted, count * HEADER)
            or _memcmp(self._address, slots, length)
        )

    def take(self, count: int) -> list[bytes]:
        """
        Return the first slots one by one, and put the headers back in order.
        """
        taken = []
        for i in range(count):
            start = i * self.stride
            end = start + CONTROL + self.headers[i].len
            taken.append(bytes(self._slots[start:end]))
        ctypes.memmove(self.headers, self._blank, len(self._blank))
        return taken
