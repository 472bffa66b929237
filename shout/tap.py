"""
From the command line of C{twistd shout} to a service.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService, Service

from shout.guard import Guard, Limit
from shout.listening import openSockets, warnUnreachable
from shout.options import Options
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets.address import describe, example
from shout.sockets.bind import BindError
from shout.sockets.notify import Notifier
from shout.sources import Allow, SourceRule, refuseReflectors
from shout.workers.reuseport import SocketSet
from shout.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from shout.status.health import Health


def makeService(
    options: Options, reactor: Any = None
) -> ShoutService | Supervisor | MultiService:
    """
    Bind the sockets, or take those that systemd passed, and make the service.

    This runs before C{twistd} daemonizes and drops privileges, so the user sees errors
    on the terminal.

    @return: The service that answers.  With C{--status} or C{NOTIFY_SOCKET} it is in a
        C{MultiService}, together with a service for each of these.

    @raise SystemExit: An address cannot be bound.  The message is one line.
    """
    try:
        socketSets = openSockets(options)
    except BindError as e:
        sys.exit(f"shout: {e}")
    if options["interfaces"]:
        warnUnreachable(socketSets[0])
    guard = _guard(options)
    protocol = partial(UnicodeShout if options["unicode"] else Shout, guard)
    service: ShoutService | Supervisor
    if options["workers"] is None:
        service = ShoutService(socketSets[0], protocol, reactor)
    else:
        service = Supervisor(socketSets, protocol, reactor)
    children: list[Service] = [service]
    if options["status"] is not None:
        children.append(_status(service, socketSets, guard, options["status"], reactor))
    notifier = Notifier.fromEnvironment(service, reactor)
    if notifier is not None:
        children.append(notifier)
    if len(children) == 1:
        return service
    parent = MultiService()
    for child in children:
        child.setServiceParent(parent)
    return parent


def _guard(options: Options) -> Guard:
    sources: list[SourceRule] = [refuseReflectors]
    if options["allow"]:
        sources.append(Allow(options["allow"]))
    limits = [] if options["limit"] is None else [Limit(options["limit"])]
    return Guard(sources, rules=limits)


def _status(
    service: ShoutService | Supervisor,
    socketSets: Sequence[SocketSet],
    guard: Guard,
    endpoint: str,
    reactor: Any,
) -> Service:
    """
    Make the service for C{--status}, whose health checks the guard always answers.
    """
    with ExitStack() as undo:
        undo.callback(service.stopService)
        try:
            # Imported here because it needs an optional package, and takes time.
            from shout.status.service import StatusService

            health = _health(service, socketSets)
            undo.callback(health.stop)
            if reactor is None:
                from twisted.internet import reactor
            status = StatusService(endpoint, service.snapshot, health, reactor)
        except BindError as e:
            sys.exit(f"shout: --status: {e}")
        except ModuleNotFoundError as e:
            command = f"{sys.executable} -m pip install {e.name}"
            sys.exit(f"shout: --status needs {e.name}; install it with: {command}")
        except OSError as e:
            if e.errno != errno.EMFILE:
                raise
            sys.exit(
                "shout: --status needs more file descriptors than this process may "
                "open; raise the limit with ulimit -n, or with LimitNOFILE= in a unit"
            )
        guard.exempt.update(health.sources)
        undo.pop_all()
    return status


def _health(
    service: ShoutService | Supervisor, socketSets: Sequence[SocketSet]
) -> Health:
    from shout.status.health import Health

    # Of the sockets that share an address, one is enough.
    sockets = {
        (describe(sock), example(sock)): sock
        for socketSet in socketSets
        for sock in socketSet
    }.values()
    if isinstance(service, ShoutService):
        return Health(sockets)
    sources = 1
    if len(socketSets) > 1:
        # Enough sources for the kernel to reach most workers, and few enough to leave
        # most of the usual 1,024 file descriptors.
        sources = max(1, min(8 * len(socketSets), 64, 256 // len(sockets)))
    return Health(sockets, sources, service.checkWorkers)
