"""
Sockets for several processes that answer at the same addresses.

UDP sockets that have the option C{SO_REUSEPORT} can have one address together, and
the kernel deals the datagrams out to them: by the addresses and the ports of both
ends, so that what one peer sends goes to one socket.  See socket(7).  Only Linux
does it like that.

The first of them is bound without the option, and given it afterwards.  So who has
the address already is noticed, although they would let others in, and so is a second
server that does the same.

There is no such option for UNIX sockets.  Each of them goes to one process.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import cycle

from shout.sockets.address import describe
from shout.sockets.bind import BindError, newUDP

hasReusePortBalancing = sys.platform == "linux"
"""
Whether the system deals out what arrives at an address.
"""

SocketSet = list[socket.socket]


def bindReusePortGroup(sockets: Sequence[socket.socket], count: int) -> list[SocketSet]:
    """
    Bind more UDP sockets to the addresses of others, and deal all of them out.

    @param sockets: datagram sockets, as L{bindUDP<shout.sockets.bind.bindUDP>} and
        L{bindUNIX<shout.sockets.unix.bindUNIX>} make them.

    @param count: how many shares to make, at least 1.

    @return: the shares.  Each has one socket for each UDP address; UNIX sockets go
        to one share each, in turn.  There are no empty ones, and so fewer where
        there are fewer sockets.

    @raise BindError: when a socket cannot be bound.
    """
    socketSets: list[SocketSet] = [[] for _ in range(count)]
    with ExitStack() as undo:
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                continue
            socketSets[0].append(sock)
            for one in socketSets[1:]:
                one.append(undo.enter_context(_again(sock)))
        undo.pop_all()
    _dealUNIX(sockets, socketSets)
    return [one for one in socketSets if one]


def _again(sock: socket.socket) -> socket.socket:
    with ExitStack() as undo:
        try:
            another = undo.enter_context(newUDP(sock.family))
            for each in sock, another:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            another.bind(sock.getsockname())
        except OSError as e:
            raise BindError(
                f"cannot share {describe(sock)} between workers: {e.strerror}"
            ) from e
        undo.pop_all()
    return another


def groupSize(sockets: Iterable[socket.socket]) -> int:
    """
    Return how many shares L{deal} can make: as many as there are sockets for a UDP
    address, and at least 1.
    """
    return max(map(len, _alike(sockets).values()), default=1)


def distribute(sockets: Sequence[socket.socket], count: int) -> list[SocketSet]:
    """
    Deal out sockets that somebody else has bound, C{count} to each UDP address.

    @return: the shares, as L{share} makes them.

    @raise BindError: when there are not so many for an address.
    """
    socketSets: list[SocketSet] = [[] for _ in range(count)]
    for address, group in _alike(sockets).items():
        if len(group) != count:
            raise BindError(
                f"for {count} workers {address} takes {count} sockets, not the "
                f"{len(group)} handed over; say auto, or see docs/operating.md"
            )
        for one, sock in zip(socketSets, group):
            one.append(sock)
    _dealUNIX(sockets, socketSets)
    return [one for one in socketSets if one]


def _alike(sockets: Iterable[socket.socket]) -> dict[str, list[socket.socket]]:
    groups: dict[str, list[socket.socket]] = {}
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            groups.setdefault(describe(sock), []).append(sock)
    return groups


def _dealUNIX(sockets: Iterable[socket.socket], socketSets: list[SocketSet]) -> None:
    paths = (sock for sock in sockets if sock.family == socket.AF_UNIX)
    for one, sock in zip(cycle(socketSets), paths):
        one.append(sock)


# From asm-generic/socket.h; Python does not have it.
_SO_ATTACH_REUSEPORT_CBPF = 51


def attachSourceHash(socketSets: Sequence[Sequence[socket.socket]]) -> None:
    """
    Have all that comes from one source go to one share, whatever its port: all
    from an IPv4 address, or from the /64 of an IPv6 address.

    @param shares: as those of L{shout.workers.reuseport}.

    @raise BindError: when the system refuses.
    """
    program = _bySource(len(socketSets))
    for sock in socketSets[0]:
        if len(socketSets) == 1 or sock.family == socket.AF_UNIX:
            continue
        try:
            # It holds for all sockets at that address.
            _attach(sock, program)
        except OSError as e:
            raise BindError(
                f"cannot keep the sources at {describe(sock)} together: {e.strerror}"
            ) from e


# What follows is a program for the kernel in the language of classic BPF; see
# "Linux Socket Filtering" in the kernel's documentation, and bpf_common.h for the
# numbers.  It is run for each datagram, and returns the number of a socket in the
# order in which they were bound.

_LOAD_WORD = 0x20
_LOAD_BYTE = 0x30
_AND = 0x54
_MULTIPLY = 0x24
_SHIFT_RIGHT = 0x74
_MODULO = 0x94
_XOR_X = 0xAC
_TO_X = 0x07
_IF_EQUAL = 0x15
_JUMP = 0x05
_RETURN_A = 0x16

# Offsets from here on are from the start of the IP header.
_NETWORK = 0xFFF00000

# So that addresses in a row do not go round in a row.  2 to the 32 by the golden
# ratio; see Knuth, The Art of Computer Programming, volume 3, 6.4.
_SPREAD = 0x9E3779B1

_Instruction = tuple[int, int, int, int]


def _bySource(count: int) -> list[_Instruction]:
    return [
        (_LOAD_BYTE, 0, 0, _NETWORK),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, 2, 0x40),
        # IPv4, also where it arrives at an IPv6 socket.
        (_LOAD_WORD, 0, 0, _NETWORK + 12),
        (_JUMP, 0, 0, 5),
        # The first half of an IPv6 address.
        (_LOAD_WORD, 0, 0, _NETWORK + 8),
        (_MULTIPLY, 0, 0, _SPREAD),
        (_TO_X, 0, 0, 0),
        (_LOAD_WORD, 0, 0, _NETWORK + 12),
        (_XOR_X, 0, 0, 0),
        (_MULTIPLY, 0, 0, _SPREAD),
        (_SHIFT_RIGHT, 0, 0, 16),
        (_MODULO, 0, 0, count),
        (_RETURN_A, 0, 0, 0),
    ]


def _attach(sock: socket.socket, program: Sequence[_Instruction]) -> None:
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog, with the padding that a pointer wants.
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, fprog)
