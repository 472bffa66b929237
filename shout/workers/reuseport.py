"""
Groups of sockets that share their addresses, one for each worker.

UDP sockets with the option C{SO_REUSEPORT} can be bound to the same address.  On Linux
the kernel then distributes the datagrams among them by a hash of both addresses and
both ports, so that one peer always reaches the same socket; see socket(7).  The first
socket is bound without the option and gets it afterwards.  So a port that is in use is
noticed, even if its owner has set the option, and so is a second server.

To choose the socket by the source address alone, a program in classic BPF is attached
to the group.  The kernel runs it for each datagram, and it returns the index of a
socket in the order in which they were bound.  See "Linux Socket Filtering" in the
kernel's documentation, and linux/bpf_common.h for the numbers.

UNIX sockets cannot be shared like that.  Each of them belongs to one worker.
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
C{True} if the system distributes datagrams among the sockets of a group.
"""

SocketSet = list[socket.socket]

# From asm-generic/socket.h; Python does not have it.
_SO_ATTACH_REUSEPORT_CBPF = 51

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

# Neighbouring addresses are spread by multiplication with 2 to the 32 over the golden
# ratio; see Knuth, The Art of Computer Programming, volume 3, 6.4.
_SPREAD = 0x9E3779B1


def bindReusePortGroup(sockets: Sequence[socket.socket], count: int) -> list[SocketSet]:
    """
    Bind more UDP sockets to the addresses of given ones, and distribute all of them.

    @param sockets: Datagram sockets, as L{bindUDP<shout.sockets.bind.bindUDP>} and
        L{bindUNIX<shout.sockets.unix.bindUNIX>} make them.

    @param count: Number of socket sets to make, at least 1.

    @return: The socket sets.  Each has one socket for each UDP address; the UNIX
        sockets are distributed in turn.  Empty sets are left out.

    @raise BindError: If a socket cannot be bound.
    """
    socketSets: list[SocketSet] = [[] for _ in range(count)]
    with ExitStack() as undo:
        for sock in sockets:
            if sock.family != socket.AF_UNIX:
                socketSets[0].append(sock)
                for each in socketSets[1:]:
                    each.append(_bindAgain(sock, undo))
        undo.pop_all()
    return _addUNIX(sockets, socketSets)


def _bindAgain(sock: socket.socket, undo: ExitStack) -> socket.socket:
    try:
        another = undo.enter_context(newUDP(sock.family))
        for each in sock, another:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        another.bind(sock.getsockname())
    except OSError as e:
        raise BindError(
            f"cannot share {describe(sock)} between workers: {e.strerror}"
        ) from e
    return another


def groupSize(sockets: Iterable[socket.socket]) -> int:
    """
    Return the number of socket sets that L{distribute} can make: the number of
    sockets for one UDP address, and at least 1.
    """
    return max(map(len, _groups(sockets).values()), default=1)


def distribute(sockets: Sequence[socket.socket], count: int) -> list[SocketSet]:
    """
    Distribute sockets that are already bound, C{count} to each UDP address.

    @return: The socket sets, like those of L{bindReusePortGroup}.

    @raise BindError: If an address has another number of sockets.
    """
    socketSets: list[SocketSet] = [[] for _ in range(count)]
    for address, group in _groups(sockets).items():
        if len(group) != count:
            raise BindError(
                f"--workers {count} needs {count} sockets for {address}, but systemd "
                f"passed {len(group)}; use --workers auto, or see docs/operating.md"
            )
        for each, sock in zip(socketSets, group):
            each.append(sock)
    return _addUNIX(sockets, socketSets)


def _groups(sockets: Iterable[socket.socket]) -> dict[str, list[socket.socket]]:
    groups: dict[str, list[socket.socket]] = {}
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            groups.setdefault(describe(sock), []).append(sock)
    return groups


def _addUNIX(
    sockets: Iterable[socket.socket], socketSets: list[SocketSet]
) -> list[SocketSet]:
    paths = (sock for sock in sockets if sock.family == socket.AF_UNIX)
    for each, sock in zip(cycle(socketSets), paths):
        each.append(sock)
    return [each for each in socketSets if each]


def attachSourceHash(socketSets: Sequence[Sequence[socket.socket]]) -> None:
    """
    Choose the socket by the source address alone: all datagrams from one IPv4 address,
    or from one /64 of IPv6, then reach the same socket set.

    @param socketSets: As L{bindReusePortGroup} and L{distribute} return them.

    @raise BindError: If the system refuses.
    """
    if len(socketSets) == 1:
        return
    program = _sourceHash(len(socketSets))
    for sock in (each for each in socketSets[0] if each.family != socket.AF_UNIX):
        try:
            # The kernel applies it to all sockets at that address.
            _attach(sock, program)
        except OSError as e:
            raise BindError(
                f"cannot choose the worker by source at {describe(sock)}: {e.strerror}"
            ) from e


_Instruction = tuple[int, int, int, int]


def _sourceHash(count: int) -> list[_Instruction]:
    return [
        (_LOAD_BYTE, 0, 0, _NETWORK),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, 2, 0x40),
        # IPv4, also if it arrives at an IPv6 socket.
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
    # struct sock_fprog; "@" adds the padding before the pointer.
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, fprog)
