"""
recvmmsg(2) and sendmmsg(2), which move many datagrams in one system call,
through ctypes: the calls, the kernel's structures, and ways to touch the same
field of many of them in one step.
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
    Where the bytes of a message are; see readv(2).
    """

    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class msghdr(ctypes.Structure):
    """
    All there is to a message; see recv(2).
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
    One message of many; see recvmmsg(2).
    """

    _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint32)]


HEADER = ctypes.sizeof(mmsghdr)
"""
How many bytes there are from one L{mmsghdr} of an array to the next.
"""


class cmsghdr(ctypes.Structure):
    """
    What stands before the data of a control message; see cmsg(3).
    """

    _fields_ = [
        ("len", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("type", ctypes.c_int),
    ]


def _systemCall(name: str) -> Any:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    # Without argtypes a call is a third quicker.
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
Whether this system has the two calls, and C{SHOUT_PURE_PYTHON} in the environment
does not forbid them.
"""


def recvmmsg(fd: int, headers: ctypes.Array[mmsghdr], count: int) -> int:
    """
    Receive messages, without waiting for any.

    @param headers: where they go.

    @param count: how many at most.

    @return: how many were filled, at least one.

    @raise OSError: L{BlockingIOError} when there is nothing to receive.
    """
    done: int = _recvmmsg(fd, headers, count, 0, None)
    while done < 0:
        _raiseUnlessInterrupted()
        done = _recvmmsg(fd, headers, count, 0, None)
    return done


def sendmmsg(
    fd: int, headers: ctypes.Array[mmsghdr], count: int, first: int = 0
) -> int:
    """
    Send messages, as far as there is room for them.

    @param headers: the messages.

    @param count: how many of them.

    @param first: from which on.

    @return: how many were sent, at least one.

    @raise OSError: when the first one cannot be sent.
    """
    start = ctypes.byref(headers, first * HEADER)
    done: int = _sendmmsg(fd, start, count, 0, None)
    while done < 0:
        _raiseUnlessInterrupted()
        done = _sendmmsg(fd, start, count, 0, None)
    return done


def _raiseUnlessInterrupted() -> None:
    number = ctypes.get_errno()
    if number != EINTR:
        raise OSError(number, strerror(number))


def addressOf(buffer: Any) -> int:
    """
    Return the address of a writable buffer.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def addressOfBytes(data: bytes) -> int:
    """
    Return the address of bytes, to be read from while they live.
    """
    pointer = ctypes.c_char_p(data)
    return ctypes.c_void_p.from_buffer(pointer).value or 0


def column(buffer: Any, format: str, offset: int, stride: int) -> memoryview:
    """
    View the same field of all the structures that follow each other in a buffer.

    @param format: the type of the field, as L{struct} has it.

    @param offset: where it stands in the first structure.

    @param stride: how many bytes there are from one structure to the next.
    """
    values = memoryview(buffer).cast("B").cast(format)  # type: ignore[call-overload]
    fields: memoryview = values[offset // values.itemsize :: stride // values.itemsize]
    return fields


@lru_cache(maxsize=128)
def pieces(length: int, stride: int, count: int) -> Struct:
    """
    Return what cuts pieces of one length out of a buffer, or puts them into one.

    @param stride: how many bytes there are from one piece to the next.

    @param count: how many pieces there are.
    """
    return Struct(f"{length}s{stride - length}x" * count)


def cut(arena: Any, lengths: list[int], stride: int) -> Sequence[bytes]:
    """
    Return the datagrams that stand at the beginning of the slots of an arena.

    @param arena: a buffer whose slices are bytes.

    @param lengths: how long each datagram is.

    @param stride: how many bytes there are from one slot to the next.
    """
    count = len(lengths)
    if lengths.count(lengths[0]) == count:
        return pieces(lengths[0], stride, count).unpack_from(arena)
    starts = range(0, count * stride, stride)
    return [arena[start : start + length] for start, length in zip(starts, lengths)]
