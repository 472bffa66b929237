"""
From the command line of C{twistd shout} to a service.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from socket import socket
from typing import Any

from twisted.application.service import MultiService, Service

from shout.guard import Guard, Limit
from shout.listening import openSockets
from shout.options import Options
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets.address import describe, example, familyName, isWildcard, reachedAt
from shout.sockets.bind import FAMILY_OFF, BindError, connectUDP
from shout.sockets.notify import Notifier
from shout.sources import Allow, SourceRule, refuseReflectors
from shout.status.health import Health
from shout.workers.reuseport import SocketSet
from shout.workers.supervisor import Supervisor


def makeService(
    options: Options, reactor: Any = None
) -> ShoutService | Supervisor | MultiService:
    """
    Bind the sockets, or take those that systemd hands over, and make the service
    that answers at them.

    That happens here, before C{twistd} daemonizes and sheds privileges, so that
    what is wrong is said where the user sees it.

    @return: that service; with C{--status}, and where systemd wants to be told how
        it fares, together with one more for each.

    @raise SystemExit: when one of the addresses cannot be listened on.
    """
    try:
        socketSets = openSockets(options)
    except BindError as e:
        sys.exit(f"shout: {e}")
    if options["interfaces"]:
        _warnUnreachable(socketSets[0])
    guard = _guard(options)
    answer = partial(UnicodeShout if options["unicode"] else Shout, guard)
    service: ShoutService | Supervisor
    if options["workers"] is None:
        service = ShoutService(socketSets[0], answer, reactor)
    else:
        service = Supervisor(socketSets, answer, reactor)
    beside: list[Service] = []
    if options["status"] is not None:
        beside.append(_status(service, socketSets, guard, options["status"], reactor))
    notifier = Notifier.fromEnvironment(service, reactor)
    if notifier is not None:
        beside.append(notifier)
    if not beside:
        return service
    services = MultiService()
    for each in service, *beside:
        each.setServiceParent(services)
    return services


def _warnUnreachable(sockets: Sequence[socket]) -> None:
    """
    Print a warning for each wildcard address whose family is switched off.
    """
    for sock in sockets:
        if not isWildcard(sock):
            continue
        try:
            connectUDP(*reachedAt(sock)).close()
        except OSError as e:
            if e.errno in FAMILY_OFF:
                family = familyName(sock)
                print(
                    f"shout: warning: {describe(sock)} gets no datagrams as long as "
                    f"{family} is off on this host; switch {family} on, or omit this "
                    "--interface",
                    file=sys.stderr,
                )


def _status(
    service: ShoutService | Supervisor,
    socketSets: Sequence[SocketSet],
    guard: Guard,
    endpoint: str,
    reactor: Any,
) -> Service:
    with ExitStack() as undo:
        undo.callback(service.stopService)
        try:
            health = _health(service, socketSets)
            undo.callback(health.stop)
            if reactor is None:
                from twisted.internet import reactor
            from shout.status.service import StatusService

            status = StatusService(endpoint, service.snapshot, health, reactor)
        except BindError as e:
            sys.exit(f"shout: --status: {e}")
        except ModuleNotFoundError as e:
            command = f"{sys.executable} -m pip install {e.name}"
            sys.exit(f"shout: --status needs {e.name}; get it with: {command}")
        except OSError as e:
            if e.errno != errno.EMFILE:
                raise
            sys.exit(
                "shout: --status takes more descriptors than this process may have; "
                "allow it more with ulimit -n, or with LimitNOFILE= in a unit"
            )
        guard.exempt.update(health.sources)
        undo.pop_all()
    return status


def _health(
    service: ShoutService | Supervisor, socketSets: Sequence[SocketSet]
) -> Health:
    # One of those that share an address does for all of them.
    sockets = {
        (describe(sock), example(sock)): sock for share in socketSets for sock in share
    }.values()
    if isinstance(service, ShoutService):
        return Health(sockets)
    # From so many places that datagrams reach most workers, if not all, and from no
    # more in all than leaves most of the 1,024 descriptors that are usual.
    sources = (
        min(8 * len(socketSets), 64, 256 // len(sockets)) if len(socketSets) > 1 else 1
    )
    return Health(sockets, max(sources, 1), service.checkWorkers)


def _guard(options: Options) -> Guard:
    sources: list[SourceRule] = [refuseReflectors]
    if options["allow"]:
        sources.append(Allow(options["allow"]))
    limits = [] if options["limit"] is None else [Limit(options["limit"])]
    return Guard(sources, rules=limits)
