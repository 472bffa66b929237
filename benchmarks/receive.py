"""
Buffers for a batch of replies, and a check of their content.

recvmmsg(2) writes headers, which have the lengths, and slots.  Both are compared with
the expected ones in one memcmp(3) each, so the check of every reply costs next to
nothing.
"""

from __future__ import annotations

import ctypes
import socket

from shout.udp.mmsg import HEADER, addressOf, iovec, mmsghdr, msghdr

BATCH = 64
"""
Maximum number of datagrams received in one system call.
"""

CONTROL = socket.CMSG_SPACE(12)
"""
Size of a control message with an C{in_pktinfo}, in bytes; see ip(7).
"""

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class ReceiveBatch:
    """
    Slots for a batch of replies, each with a control message and a payload.
    """

    def __init__(self, size: int, withControl: bool) -> None:
        """
        @param size: Expected length of the replies, in bytes.  The buffers are longer,
            so that a reply that is too long is detected.

        @param withControl: L{True} if the replies must have control messages.
        """
        space = (size // 64 + 1) * 64
        self.stride = CONTROL + space
        self._used = CONTROL + size
        self._slots = bytearray(BATCH * self.stride)
        self._address = addressOf(self._slots)
        self._vectors = (iovec * BATCH)()
        self.headers = (mmsghdr * BATCH)()
        for i, vector in enumerate(self._vectors):
            slot = self._address + i * self.stride
            vector.base, vector.len = slot + CONTROL, space
            self.headers[i].hdr = msghdr(
                iov=ctypes.addressof(vector),
                iovlen=1,
                control=slot,
                controllen=CONTROL if withControl else 0,
            )
        self._blank = bytes(self.headers)
        self._expected = (mmsghdr * BATCH).from_buffer_copy(self.headers)
        for header in self._expected:
            header.len = size

    def matches(self, slots: int, count: int) -> bool:
        """
        Compare the first slots with expected ones.

        @param slots: The memory address of the expected slots.

        @param count: Number of slots to compare.
        """
        length = (count - 1) * self.stride + self._used
        return not (
            _memcmp(self.headers, self._expected, count * HEADER)
            or _memcmp(self._address, slots, length)
        )

    def take(self, count: int) -> list[bytes]:
        """
        Return the first C{count} slots one by one, and reset the headers.
        """
        taken = []
        for i in range(count):
            start = i * self.stride
            end = start + CONTROL + self.headers[i].len
            taken.append(bytes(self._slots[start:end]))
        ctypes.memmove(self.headers, self._blank, len(self._blank))
        return taken
