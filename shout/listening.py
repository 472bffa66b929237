"""
The sockets that the options ask for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from shout.options import AUTO, DEFAULT_PORT
from shout.sockets.bind import BindError, bindUDP
from shout.sockets.systemd import inheritedSockets
from shout.sockets.unix import bindUNIX
from shout.workers.reuseport import (
    SocketSet,
    attachSourceHash,
    bindReusePortGroup,
    distribute,
    groupSize,
    hasReusePortBalancing,
)


def openSockets(options: Mapping[str, Any]) -> list[SocketSet]:
    """
    Bind the sockets that are asked for, or take those that systemd hands over.

    @param options: the port, the interfaces, the UNIX paths, the number of workers
        and the limit, as L{Options<shout.tap.Options>} has them.

    @return: a share of the sockets for each worker; a single one without workers.

    @raise BindError: when one of the addresses cannot be listened on; then none is.
    """
    with ExitStack() as undo:
        handed = inheritedSockets()
        sockets = handed or _bind(options)
        for sock in sockets:
            undo.enter_context(sock)
        if handed:
            _refuseAddresses(options)
        socketSets = _share(sockets, bool(handed), options["workers"])
        for sock in (sock for one in socketSets for sock in one):
            undo.enter_context(sock)
        if options["limit"] is not None:
            attachSourceHash(socketSets)
        undo.pop_all()
    return socketSets


def _refuseAddresses(options: Mapping[str, Any]) -> None:
    if options["port"] is not None or options["interfaces"] or options["unix"]:
        # To listen elsewhere too, or to listen nowhere of what was asked for:
        # whoever wrote this meant one of them, and the other would surprise.
        raise BindError(
            "the sockets are handed over (LISTEN_FDS), so --port, --interface and "
            "--unix say nothing; leave them out, and write ListenDatagram= lines "
            "in the .socket unit"
        )


def _share(
    sockets: list[socket.socket], areHandedOver: bool, workers: int | None
) -> list[SocketSet]:
    if workers is None:
        return [sockets]
    if areHandedOver:
        return distribute(sockets, workers or groupSize(sockets))
    if workers == AUTO:
        workers = len(os.sched_getaffinity(0)) if hasReusePortBalancing else 1
    return bindReusePortGroup(sockets, workers)


def _bind(options: Mapping[str, Any]) -> list[socket.socket]:
    port, interfaces, paths = options["port"], options["interfaces"], options["unix"]
    with ExitStack() as undo:
        sockets = []
        if port is not None or interfaces or not paths:
            sockets += bindUDP(DEFAULT_PORT if port is None else port, interfaces)
        for sock in sockets:
            undo.enter_context(sock)
        for path in paths:
            sockets.append(undo.enter_context(bindUNIX(path)))
        undo.pop_all()
    return sockets
