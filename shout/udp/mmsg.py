"""
recvmmsg(2) and sendmmsg(2) through C{ctypes}, the structures of the kernel that they
use, and ways to access one field of many structures at once.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from errno import EINTR
from functools import lru_cache
from os import environ, strerror
from struct import Struct
from typing import Any


class iovec(ctypes.Structure):
    """
    The address and the length of a buffer; see readv(2).
    """

    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class msghdr(ctypes.Structure):
    """
    The buffers of one message; see recvmsg(2).
    """

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class mmsghdr(ctypes.Structure):
    """
    One message of several; see recvmmsg(2).
    """

    _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint32)]


HEADER = ctypes.sizeof(mmsghdr)
"""
Size of an L{mmsghdr} in bytes.
"""


def _systemCall(name: str) -> Any:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    # Setting argtypes, too, would make each call a third slower.
    function.restype = ctypes.c_int
    return function


_recvmmsg = _systemCall("recvmmsg")
_sendmmsg = _systemCall("sendmmsg")

available = (
    sys.platform == "linux"
    and None not in (_recvmmsg, _sendmmsg)
    and not environ.get("SHOUT_PURE_PYTHON")
)
"""
C{True} if the system has both calls, and C{SHOUT_PURE_PYTHON} is not set in the
environment, or empty.
"""


def recvmmsg(fd: int, headers: ctypes.Array[mmsghdr], count: int) -> int:
    """
    Receive messages from a non-blocking socket.

    @param headers: The buffers.

    @param count: Maximum number of messages.

    @return: Number of messages, at least one.

    @raise OSError: The error of the call; C{BlockingIOError} if nothing has arrived.
    """
    done: int
    while (done := _recvmmsg(fd, headers, count, 0, None)) < 0:
        _raiseUnlessInterrupted()
    return done


def sendmmsg(
    fd: int, headers: ctypes.Array[mmsghdr], count: int, first: int = 0
) -> int:
    """
    Send messages, until one cannot be sent.

    @param headers: The messages.

    @param count: Number of messages.

    @param first: Index of the first message.

    @return: Number of messages sent, at least one.

    @raise OSError: If the first one cannot be sent.
    """
    start = ctypes.byref(headers, first * HEADER)
    done: int
    while (done := _sendmmsg(fd, start, count, 0, None)) < 0:
        _raiseUnlessInterrupted()
    return done


def _raiseUnlessInterrupted() -> None:
    number = ctypes.get_errno()
    if number != EINTR:
        raise OSError(number, strerror(number))


def addressOf(buffer: Any) -> int:
    """
    Return the memory address of a writable buffer.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def addressOfBytes(data: bytes) -> int:
    """
    Return the memory address of the content of C{bytes}.  It is valid while the
    object lives, and must not be written to.
    """
    pointer = ctypes.c_char_p(data)
    return ctypes.c_void_p.from_buffer(pointer).value or 0


def column(buffer: Any, format: str, offset: int, stride: int) -> memoryview:
    """
    Return a view of one field of all structures in a buffer.

    @param format: Type of the field, as in the C{struct} module.

    @param offset: Offset of the field in a structure.

    @param stride: Bytes from one structure to the next.
    """
    values = memoryview(buffer).cast("B").cast(format)  # type: ignore[call-overload]
    fields: memoryview = values[offset // values.itemsize :: stride // values.itemsize]
    return fields


@lru_cache(maxsize=128)
def pieces(length: int, stride: int, count: int) -> Struct:
    """
    Return a C{Struct} that unpacks pieces of equal length from a buffer.

    @param length: Length of a piece in bytes.

    @param stride: Bytes from one piece to the next.

    @param count: Number of pieces.
    """
    return Struct(f"{length}s{stride - length}x" * count)


def splitSlots(buffer: Any, lengths: list[int], stride: int) -> Sequence[bytes]:
    """
    Return the datagrams in the slots of a buffer.

    @param buffer: A buffer whose slices are C{bytes}.

    @param lengths: Length of the datagram in each slot.

    @param stride: Bytes from one slot to the next.
    """
    count = len(lengths)
    if lengths.count(lengths[0]) == count:
        return pieces(lengths[0], stride, count).unpack_from(buffer)
    starts = range(0, count * stride, stride)
    return [buffer[start : start + length] for start, length in zip(starts, lengths)]
