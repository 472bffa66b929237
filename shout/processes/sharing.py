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

import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import cycle

from shout.addresses import describe
from shout.sockets import BindError, newUDP

canShare = sys.platform == "linux"
"""
Whether the system deals out what arrives at an address.
"""

Share = list[socket.socket]


def share(sockets: Sequence[socket.socket], count: int) -> list[Share]:
    """
    Bind more UDP sockets to the addresses of others, and deal all of them out.

    @param sockets: datagram sockets, as L{bindUDP<shout.sockets.bindUDP>} and
        L{bindUNIX<shout.unix.bindUNIX>} make them.

    @param count: how many shares to make, at least 1.

    @return: the shares.  Each has one socket for each UDP address; UNIX sockets go
        to one share each, in turn.  There are no empty ones, and so fewer where
        there are fewer sockets.

    @raise BindError: when a socket cannot be bound.
    """
    shares: list[Share] = [[] for _ in range(count)]
    with ExitStack() as undo:
        for sock in sockets:
            if sock.family == socket.AF_UNIX:
                continue
            shares[0].append(sock)
            for one in shares[1:]:
                one.append(undo.enter_context(_again(sock)))
        undo.pop_all()
    _dealUNIX(sockets, shares)
    return [one for one in shares if one]


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


def most(sockets: Iterable[socket.socket]) -> int:
    """
    Return how many shares L{deal} can make: as many as there are sockets for a UDP
    address, and at least 1.
    """
    return max(map(len, _alike(sockets).values()), default=1)


def deal(sockets: Sequence[socket.socket], count: int) -> list[Share]:
    """
    Deal out sockets that somebody else has bound, C{count} to each UDP address.

    @return: the shares, as L{share} makes them.

    @raise BindError: when there are not so many for an address.
    """
    shares: list[Share] = [[] for _ in range(count)]
    for address, group in _alike(sockets).items():
        if len(group) != count:
            raise BindError(
                f"for {count} workers {address} takes {count} sockets, not the "
                f"{len(group)} handed over; say auto, or see docs/operating.md"
            )
        for one, sock in zip(shares, group):
            one.append(sock)
    _dealUNIX(sockets, shares)
    return [one for one in shares if one]


def _alike(sockets: Iterable[socket.socket]) -> dict[str, list[socket.socket]]:
    groups: dict[str, list[socket.socket]] = {}
    for sock in sockets:
        if sock.family != socket.AF_UNIX:
            groups.setdefault(describe(sock), []).append(sock)
    return groups


def _dealUNIX(sockets: Iterable[socket.socket], shares: list[Share]) -> None:
    paths = (sock for sock in sockets if sock.family == socket.AF_UNIX)
    for one, sock in zip(cycle(shares), paths):
        one.append(sock)
