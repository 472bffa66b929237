"""
Bound and connected UNIX datagram sockets.
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
    Bind a non-blocking UNIX datagram socket that every local user may write to.

    The stale socket of a killed server at that path is replaced.

    @param path: A path or, on Linux, C{@} and an abstract name.  A relative path is
        made absolute, so that it means the same socket to every client.

    @return: A socket that removes its path when it is closed.

    @raise BindError: The socket cannot be bound.  The path is left as it is.
    """
    if path in ("", "@"):
        raise BindError("the path of the UNIX socket is empty; give one, or @NAME")
    isAbstract = path.startswith("@")
    name = _systemName(path)
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


def _systemName(path: str) -> str:
    """
    Convert a path, or C{@} and an abstract name, to the form that bind(2) takes.
    """
    return "\0" + path[1:] if path.startswith("@") else os.path.abspath(path)


class _PathSocket(socket.socket):
    """
    A UNIX socket that removes its path when it is closed, unless the path has been
    replaced.
    """

    _path = ""
    _boundTo: tuple[int, int] | None = None

    def bind(self, address: Any) -> None:
        super().bind(address)
        if address[:1] not in ("", "\0"):
            os.chmod(address, 0o666)
            self._path = address
            self._boundTo = _inode(address)

    def close(self) -> None:
        super().close()
        boundTo, self._boundTo = self._boundTo, None
        if boundTo is not None and _inode(self._path) == boundTo:
            # Privileges may have been dropped since.  The next server replaces a path
            # that could not be removed.
            with suppress(OSError):
                os.unlink(self._path)


def _inode(path: str) -> tuple[int, int] | None:
    """
    Return the device and the inode number of a path, if it exists.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def unlinkStaleSocket(path: str, kind: int = socket.SOCK_DGRAM) -> None:
    """
    Remove the socket at a path if no process listens on it.

    @param kind: Type of the socket that will be bound to the path.

    @raise OSError: A process listens on it, or it is not a socket.
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
            # EPERM: it is connected to another peer, so it is in use.
            if e.errno == errno.EACCES:
                raise
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def explainUNIX(name: str, error: OSError) -> str:
    """
    Return one line with the cause and a remedy for an error of bind(2).

    @param name: The path, or C{@} and the abstract name.
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
        return f"no directory for the UNIX socket {name}; create it first"
    if error.errno is None:
        # Python checks the length before bind(2): "AF_UNIX path too long".
        return (
            f"the path {name} is too long for a UNIX socket "
            f"({len(os.fsencode(name))} bytes, about 100 fit); choose a shorter one"
        )
    return f"cannot bind the UNIX socket {name}: {error.strerror}"


def connectUNIX(path: str) -> socket.socket:
    """
    Make a non-blocking UNIX datagram socket that is connected to one peer.

    It is bound to an address of its own, as the peer could not reply without one.

    @param path: The path of the peer, or C{@} and its abstract name.

    @raise OSError: No process listens there.
    """
    peer = _systemName(path)
    with ExitStack() as undo:
        sock = undo.enter_context(_PathSocket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.setblocking(False)
        if sys.platform == "linux":
            # The kernel selects a free abstract name; see "Autobind" in unix(7).
            sock.bind("")
        else:
            sock.bind(os.path.join(tempfile.gettempdir(), f"shout-{uuid.uuid4()}"))
        sock.connect(peer)
        discardReceived(sock)
        undo.pop_all()
    return sock
