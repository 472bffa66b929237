"""
Which of the sockets that have one address together gets a datagram.

By itself the kernel looks at the addresses and the ports of both ends, so that what
one source sends from many ports goes to all of them.  It can be given a program that
decides instead.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

from shout.addresses import describe
from shout.sockets import BindError

# From asm-generic/socket.h; Python does not have it.
_SO_ATTACH_REUSEPORT_CBPF = 51


def keepSourcesTogether(shares: Sequence[Sequence[socket.socket]]) -> None:
    """
    Have all that comes from one source go to one share, whatever its port: all
    from an IPv4 address, or from the /64 of an IPv6 address.

    @param shares: as those of L{shout.processes.sharing}.

    @raise BindError: when the system refuses.
    """
    program = _bySource(len(shares))
    for sock in shares[0]:
        if len(shares) == 1 or sock.family == socket.AF_UNIX:
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
