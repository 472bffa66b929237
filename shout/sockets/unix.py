"""
From a path to a bound or a connected UNIX datagram socket that does not block.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import tempfile
import uuid
from contextlib import ExitStack, suppress
from typing import Any

from shout.sockets.bind import BindError, discardReceived
from shout.udp.sockopt import raiseReceiveBuffer


def bindUNIX(path: str) -> socket.socket:
    """
    Bind a UNIX datagram socket that every local user may write to.

    @param path: a path, or, on Linux, an abstract name with an C{@} before it.
        A relative path is made absolute, so that every client sees the same
        name.  A socket that a killed server has left behind is taken over.

    @return: a socket that removes the path when it is closed.

    @raise BindError: when it cannot be bound; what is at the path stays.
    """
    if path in ("", "@"):
        raise BindError("the path of the UNIX socket is empty; give one, or @NAME")
    isAbstract = path.startswith("@")
    name = _nameOf(path)
    with ExitStack() as undo:
        sock = undo.enter_context(_PathSocket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.setblocking(False)
        raiseReceiveBuffer(sock)
        try:
            if not isAbstract:
                unlinkStaleSocket(name)
            sock.bind(name)
        except ValueError as e:
            raise BindError(f"{path!r} is not a path: {e}") from e
        except OSError as e:
            raise BindError(explainUNIX(path if isAbstract else name, e)) from e
        undo.pop_all()
    return sock


def _nameOf(path: str) -> str:
    """
    Return how the system names the socket at a path, or with an abstract name.
    """
    return "\0" + path[1:] if path.startswith("@") else os.path.abspath(path)


class _PathSocket(socket.socket):
    """
    A UNIX socket that removes the path it made when it is closed, unless
    something else has taken that path since.
    """

    _path = ""
    _made: tuple[int, int] | None = None

    def bind(self, address: Any) -> None:
        super().bind(address)
        if address[:1] not in ("", "\0"):
            os.chmod(address, 0o666)
            self._path = address
            self._made = _identity(address)

    def close(self) -> None:
        super().close()
        made, self._made = self._made, None
        if made is not None and _identity(self._path) == made:
            # Privileges may have been shed since.  What stays is taken over by
            # the next server.
            with suppress(OSError):
                os.unlink(self._path)


def _identity(path: str) -> tuple[int, int] | None:
    """
    Tell what is at a path apart from what else may come to be there.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def unlinkStaleSocket(path: str, kind: int = socket.SOCK_DGRAM) -> None:
    """
    Remove the socket at a path if nobody listens on it any more.

    @param kind: of the socket that is to take its place.

    @raise OSError: when something lives there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except PermissionError as e:
            # EPERM: it is connected to another peer, and so in use.
            if e.errno == errno.EACCES:
                raise
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def explainUNIX(name: str, error: OSError) -> str:
    """
    Return what is wrong and what to do when a UNIX socket cannot be bound.

    @param name: its path, or its abstract name with an C{@} before it.
    """
    if error.errno == errno.EADDRINUSE:
        return (
            f"the UNIX socket {name} is already in use; "
            "stop the program that has it, or choose another path"
        )
    if error.errno == errno.EEXIST:
        return f"{name} exists and is not a socket; choose another path"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to make the UNIX socket {name}; choose another path"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"no folder to make the UNIX socket {name} in; create it first"
    if error.errno is None:
        # Python's own check, before bind(2): "AF_UNIX path too long".
        return (
            f"the path {name} is too long for a UNIX socket "
            f"({len(os.fsencode(name))} bytes, about 100 fit); choose a shorter one"
        )
    return f"cannot bind the UNIX socket {name}: {error.strerror}"


def connectUNIX(path: str) -> socket.socket:
    """
    Make a UNIX datagram socket that sends to one peer and hears from that peer
    alone.  It has a name of its own, without which the peer could not reply.

    @param path: the peer's path, or its abstract name with an C{@} before it.

    @raise OSError: when nobody listens there.
    """
    peer = _nameOf(path)
    with ExitStack() as undo:
        sock = undo.enter_context(_PathSocket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.setblocking(False)
        if sys.platform == "linux":
            # The kernel picks a free abstract name; see "Autobind" in unix(7).
            sock.bind("")
        else:
            sock.bind(os.path.join(tempfile.gettempdir(), f"shout-{uuid.uuid4()}"))
        sock.connect(peer)
        discardReceived(sock)
        undo.pop_all()
    return sock
