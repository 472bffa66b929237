"""
Listening at a Twisted endpoint string without delay.

C{twistd} starts a service after it has daemonized and dropped privileges.  That is too
late to bind a port below 1024, and to show the user an error.
"""

from __future__ import annotations

import errno
import os
from socket import SOCK_STREAM
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from shout.sockets.bind import BindError
from shout.sockets.unix import explainUNIX, unlinkStaleSocket

_EXAMPLES = (
    r"tcp:9990:interface=127.0.0.1, tcp6:9990:interface=\:\:1 "
    "or unix:/run/shout/status"
)

# Number of connections to accept in one visit by the reactor.
_MAX_ACCEPTS = 10


class _ReactorProxy:
    """
    A reactor that replaces the UNIX socket of a killed server without a lock file.
    Twisted's lock file has a process ID, which changes when C{twistd} daemonizes.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUNIX(
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        if address.startswith("@"):
            raise BindError(
                f"{address} is an abstract name, which has no permissions that could "
                f"be set; give a path, such as /run/shout/status or ./{address}"
            )
        path = os.path.abspath(address)
        try:
            unlinkStaleSocket(path, SOCK_STREAM)
            port: IListeningPort = self._reactor.listenUNIX(
                path, factory, backlog, mode
            )
        except OSError as e:
            raise BindError(explainUNIX(path, e)) from e
        except CannotListenError as e:
            raise BindError(explainUNIX(path, e.socketError)) from e
        return port


def listenAt(
    description: str, factory: IProtocolFactory, reactor: Any
) -> IListeningPort:
    """
    Listen for connections.

    @param description: A server endpoint string; see
        L{serverFromString<twisted.internet.endpoints.serverFromString>}.

    @param factory: The factory of the protocols.

    @param reactor: An L{IReactorTCP<twisted.internet.interfaces.IReactorTCP>} and
        L{IReactorUNIX<twisted.internet.interfaces.IReactorUNIX>} provider.

    @raise BindError: If the endpoint cannot listen, or not without delay.
    """
    # This import removes LISTEN_FDS from the environment, so it has to wait until the
    # sockets from systemd have been taken.
    from twisted.internet.endpoints import serverFromString

    outcome: list[Any] = []
    try:
        endpoint = serverFromString(_ReactorProxy(reactor), description)
        listening = endpoint.listen(factory)
        listening.addBoth(outcome.append)
        if not outcome:
            listening.cancel()
            raise BindError(
                f"{description!r} needs time to start listening; use {_EXAMPLES}"
            )
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        if not IListeningPort.providedBy(outcome[0]):
            raise BindError(
                f"{description!r} does not listen for connections; use {_EXAMPLES}"
            )
    except BindError:
        raise
    except CannotListenError as e:
        raise BindError(_explain(description, e.socketError)) from e
    except OSError as e:
        raise BindError(_explain(description, e)) from e
    except Exception as e:
        # The text of a TypeError is about functions of Twisted.
        cause = "" if isinstance(e, TypeError) else " ".join(str(e).split())
        because = f" ({cause.rstrip('.')})" if cause else ""
        raise BindError(
            f"{description!r} is not an endpoint{because}; try {_EXAMPLES}"
        ) from e
    port: IListeningPort = outcome[0]
    if isinstance(port, tcp.Port):
        _limitAccepts(port)
    return port


def _limitAccepts(port: tcp.Port) -> None:
    # Twisted accepts up to 100 connections in one visit, and under load 20 more each
    # time, while other descriptors wait.  A connection that is aborted to make room
    # keeps its descriptor until the visit ends.
    accept = port.doRead

    def doRead() -> None:
        port.numberAccepts = _MAX_ACCEPTS
        accept()  # type: ignore[no-untyped-call]

    port.doRead = doRead  # type: ignore[method-assign]


def _explain(description: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{description!r} is already in use; "
            "stop the program that has it, or choose another port"
        )
    if error.errno == errno.EACCES:
        return (
            f"no permission to listen at {description!r}; "
            "ports below 1024 usually need root, choose a higher one"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{description!r} has an address that is not of this host; "
            "`ip address` lists the addresses of this host"
        )
    return f"cannot listen at {description!r}: {error.strerror or error}"
