"""
Datagram sockets that systemd hands over; see sd_listen_fds(3).

Twisted has L{twisted.python.systemd.ListenFDs}, but it finds nothing where the
sockets have no names.  And whatever imports L{twisted.internet.endpoints}, as
C{twistd} does while it looks for plugins that are not in its cache, erases the
variables that say what was handed over.  So they are read here, and where they have
been erased, from what the process was started with.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from shout.sockets.bind import BindError

# SD_LISTEN_FDS_START.
_FIRST = 3

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def startedWith() -> Mapping[str, str]:
    """
    Return the environment of this process; where the variables have been erased
    from it since, and the system tells, the one that it was started with.
    """
    if "LISTEN_PID" in os.environ:
        return os.environ
    try:
        with open("/proc/self/environ", "rb") as f:
            text = os.fsdecode(f.read())
    except OSError:
        return os.environ
    pairs = (variable.partition("=") for variable in text.split("\0"))
    return {name: value for name, _, value in pairs}


def inheritedSockets(
    environ: Mapping[str, str] | None = None, first: int = _FIRST
) -> list[socket.socket]:
    """
    Take the sockets that were handed over to this process.

    @param environ: the variables that tell of them; by default L{startedWith}.

    @param first: the lowest of their descriptors.

    @return: the sockets, which do not block and are not inherited by other
        programs; none when nothing was handed over, or to another process.

    @raise BindError: when something else than bound datagram sockets was handed
        over, or less than was said.
    """
    if environ is None:
        environ = startedWith()
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    text = environ.get("LISTEN_FDS", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise BindError(
            f"LISTEN_FDS is {text!r} and not a number of sockets; "
            "unset it, or let systemd set it"
        )
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    with ExitStack() as undo:
        sockets = []
        for index in range(int(text)):
            name = names[index] if index < len(names) else ""
            sockets.append(undo.enter_context(_take(first + index, name)))
        undo.pop_all()
    return sockets


def _take(descriptor: int, name: str) -> socket.socket:
    what = f"descriptor {descriptor}" + (f" ({name})" if name else "")
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as e:
        raise BindError(
            f"{what}, which LISTEN_FDS announces, is not a socket: {e.strerror}"
        ) from e
    if sock.type != socket.SOCK_DGRAM or sock.family not in _FAMILIES:
        sock.detach()
        raise BindError(
            f"{what}, which was handed over, is not a datagram socket of IPv4, IPv6 "
            "or UNIX; use ListenDatagram= in the .socket unit"
        )
    address = sock.getsockname()
    if not (address if sock.family == socket.AF_UNIX else address[1]):
        sock.detach()
        raise BindError(
            f"{what}, which was handed over, is not bound to an address; "
            "use ListenDatagram= in the .socket unit"
        )
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock
