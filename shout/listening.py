"""
The sockets for the options.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from shout.options import AUTO, DEFAULT_PORT
from shout.sockets.address import describe, familyName, isWildcard, reachedAt
from shout.sockets.bind import FAMILY_OFF, BindError, bindUDP, connectUDP
from shout.sockets.systemd import inheritedSockets
from shout.sockets.unix import bindUNIX
from shout.udp.sockopt import copyTOS
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
    Bind the sockets for the options, or take those that systemd passed.

    @param options: The parsed L{Options<shout.options.Options>}, of which this uses
        the addresses, the number of workers and the limit.

    @return: One set of sockets for each worker, or a single one without workers.

    @raise BindError: One of the addresses cannot be bound.  Then none is.
    """
    with ExitStack() as undo:
        inherited = inheritedSockets()
        for sock in inherited:
            undo.enter_context(sock)
        if inherited and (
            options["port"] is not None or options["interfaces"] or options["unix"]
        ):
            # It would be unclear whether they replace the inherited sockets.
            raise BindError(
                "--port, --interface and --unix cannot be used with sockets from "
                "systemd (LISTEN_FDS); leave them out, and write ListenDatagram= lines "
                "in the .socket unit"
            )
        sockets = inherited or _bind(options, undo)
        workers = options["workers"]
        if workers is None:
            socketSets = [sockets]
        elif inherited:
            socketSets = distribute(sockets, workers or groupSize(sockets))
        else:
            if workers == AUTO:
                workers = len(os.sched_getaffinity(0)) if hasReusePortBalancing else 1
            socketSets = bindReusePortGroup(sockets, workers)
        for sock in (sock for socketSet in socketSets for sock in socketSet):
            undo.enter_context(sock)
        if options["limit"] is not None:
            attachSourceHash(socketSets)
        if options["copy-tos"]:
            for sock in (sock for socketSet in socketSets for sock in socketSet):
                copyTOS(sock)
        undo.pop_all()
    return socketSets


def _bind(options: Mapping[str, Any], undo: ExitStack) -> list[socket.socket]:
    port, interfaces, paths = options["port"], options["interfaces"], options["unix"]
    sockets = []
    if port is not None or interfaces or not paths:
        sockets += bindUDP(DEFAULT_PORT if port is None else port, interfaces)
    for sock in sockets:
        undo.enter_context(sock)
    for path in paths:
        sockets.append(undo.enter_context(bindUNIX(path)))
    return sockets


def warnUnreachable(sockets: Iterable[socket.socket]) -> None:
    """
    Print a warning for each wildcard address whose address family is off.
    """
    for sock in filter(isWildcard, sockets):
        try:
            connectUDP(*reachedAt(sock)).close()
        except OSError as e:
            if e.errno in FAMILY_OFF:
                family = familyName(sock)
                print(
                    f"shout: warning: {describe(sock)} receives no datagrams while "
                    f"{family} is off on this host; turn {family} on, or omit this "
                    "--interface",
                    file=sys.stderr,
                )
