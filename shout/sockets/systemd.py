"""
Socket activation: datagram sockets that systemd passes to the service; see
sd_listen_fds(3).

L{twisted.python.systemd.ListenFDs} is not used, as it ignores sockets without names.
Besides, importing L{twisted.internet.endpoints} erases the variables C{LISTEN_*}.
C{twistd} does that while it looks for plugins that are not in its cache.  Then they are
read from the environment that the process was started with.
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
_UNBOUND = ("", ("0.0.0.0", 0), ("::", 0, 0, 0))


def activationEnvironment() -> Mapping[str, str]:
    """
    Return an environment with the variables C{LISTEN_*}: the present one, or the
    initial one of this process if they have been erased and C{/proc} is available.
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
    Take the sockets that were passed to this process.

    @param environ: The environment; by default that of L{activationEnvironment}.

    @param first: The lowest of their file descriptors.

    @return: The sockets, which are non-blocking and close-on-exec.  The list is empty
        if no sockets were passed, or they were passed to another process.

    @raise BindError: A descriptor is missing, or is not a bound datagram socket.
    """
    environ = activationEnvironment() if environ is None else environ
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
            f"{what} from LISTEN_FDS is not a socket: {e.strerror}; "
            "unset LISTEN_FDS, or let systemd set it"
        ) from e
    problem = ""
    if sock.type != socket.SOCK_DGRAM or sock.family not in _FAMILIES:
        problem = "is not a datagram socket of IPv4, IPv6 or UNIX"
    elif sock.getsockname() in _UNBOUND:
        problem = "is not bound to an address"
    if problem:
        # The descriptor stays open: it may belong to another part of the process.
        sock.detach()
        raise BindError(
            f"{what} from LISTEN_FDS {problem}; use ListenDatagram= in the .socket unit"
        )
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock
