"""
Whether a service still answers, found out by asking it.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from socket import AF_UNIX
from socket import socket as Socket
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.python.failure import Failure

from shout.addresses import describe, hostAndPort, pathOf, reachedAt
from shout.asking import AskError, Asking
from shout.port import DatagramPort
from shout.sockets import connectUDP
from shout.unix import connectUNIX


@dataclass
class _Target:
    """
    A socket that is asked.

    @ivar name: its address, for people.

    @ivar sockets: those that ask, connected to it.

    @ivar trouble: why there are none, if that is so.

    @ivar ports: what runs on them while it can be asked.
    """

    name: str
    sockets: list[Socket] = field(default_factory=list)
    trouble: str = ""
    ports: list[DatagramPort] = field(default_factory=list)


# What asks is connected once, from sockets that are kept for as long as the
# service lives.  So nobody else can have their addresses, as long as this host has
# them, and a guard can be told to answer these whatever its rules say: a datagram
# that somebody forges in their name makes the service send to a socket that never
# answers.  And it is connected before privileges are shed or the root folder
# changed, after which the path of a UNIX socket may be out of reach.
class Health:
    """
    Ask each socket of a service whether it answers.

    @cvar tries: how many datagrams to send before a socket is given up; one may
        get lost in a receive buffer that is full.

    @cvar timeout: how long to wait for an answer to each, in seconds.

    @ivar sources: the addresses that it asks from, in the form in which a guard
        is given them.
    @type sources: L{frozenset}
    """

    tries = 4
    timeout = 0.25

    def __init__(
        self,
        sockets: Iterable[Socket],
        sources: int = 1,
        also: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        """
        @param sockets: bound datagram sockets, one for each address to ask;
            their addresses are looked at now and the sockets not kept.

        @param sources: from how many places to ask each UDP address: ports and,
            where the system has a choice of them, addresses.  Where several sockets
            share an address with C{SO_REUSEPORT}, the system chooses among them by
            the source, so that it takes more than one to reach them all.

        @param also: returns what else is wrong, in lines.

        @raise OSError: when this process may not open so many sockets (C{EMFILE});
            then none is left open.
        """
        self._also = also
        with ExitStack() as undo:
            self._targets = [_connect(sock, sources, undo) for sock in sockets]
            undo.pop_all()
        self.sources = frozenset(
            _source(sock) for target in self._targets for sock in target.sockets
        )
        self._waiting: list[Deferred[list[str]]] = []

    def start(self, reactor: Any) -> None:
        """
        Be ready to ask.

        @param reactor: an L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        for target in self._targets:
            for sock in target.sockets:
                asking = Asking(
                    target.name,
                    self.timeout,
                    self.tries - 1,
                    bytes.upper,
                    lambda *reply: None,
                    reactor,
                )
                port = DatagramPort(sock, asking, reactor)
                port.startListening()  # type: ignore[no-untyped-call]
                target.ports.append(port)

    def check(self) -> Deferred[list[str]]:
        """
        Ask all sockets.  Whoever wants to know while this is under way is told
        the same.

        @return: fires with a line for each socket that does not answer, which
            takes at most C{tries * timeout} seconds.
        """
        result: Deferred[list[str]] = Deferred()
        self._waiting.append(result)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._askAll()).addBoth(self._tell)
        return result

    def _tell(self, outcome: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            result.callback(outcome)

    async def _askAll(self) -> list[str]:
        datagram = b"shout asks itself " + secrets.token_hex(8).encode()
        asked = [
            [_ask(port, datagram) for port in target.ports] for target in self._targets
        ]
        lines = await self._also() if self._also else []
        for target, answers in zip(self._targets, asked):
            troubles = list(filter(None, await gatherResults(answers)))
            if not answers:
                lines.append(target.trouble or f"{target.name} is not being asked")
            elif troubles and len(answers) > 1:
                count = f"{len(troubles)} of {len(answers)} sources"
                lines.append(f"{troubles[0]} (from {count})")
            else:
                lines += troubles
        return lines

    def stop(self) -> Deferred[Any]:
        """
        Close the sockets.

        @return: fires when they are closed.
        """
        closing = []
        for target in self._targets:
            for sock in target.sockets[len(target.ports) :]:
                sock.close()
            closing += [maybeDeferred(port.stopListening) for port in target.ports]
            target.sockets, target.ports = [], []
        return gatherResults(closing)


def _connect(sock: Socket, count: int, undo: ExitStack) -> _Target:
    target = _Target(describe(sock))
    try:
        for number in range(1 if sock.family == AF_UNIX else count):
            target.sockets.append(undo.enter_context(_connectOnce(sock, number)))
    except OSError as e:
        if e.errno == errno.EMFILE:
            raise
        target.trouble = f"{target.name} cannot be asked: {e.strerror or e}"
    return target


def _connectOnce(sock: Socket, number: int) -> Socket:
    if sock.family == AF_UNIX:
        return connectUNIX(pathOf(sock))
    host, port = reachedAt(sock)
    # All of 127.0.0.0/8 is this host, where there are several sources at all.
    if number and host.startswith("127."):
        # A sandbox may have a word against binding, as SocketBindDeny= of systemd, or
        # no more than one address; and a port may do as well as an address.
        with suppress(OSError):
            return connectUDP(host, port, f"127.0.0.{1 + number}")
    return connectUDP(host, port)


def _source(sock: Socket) -> Any:
    """
    Return the address of a socket as its peers see it.
    """
    address = sock.getsockname()
    return address if sock.family == AF_UNIX else hostAndPort(address)


def _ask(port: DatagramPort, datagram: bytes) -> Deferred[Any]:
    """
    Ask from one port.

    @return: fires with what is wrong, or with an empty string.
    """

    def explain(failure: Failure) -> str:
        failure.trap(AskError)
        return str(failure.value)

    answer: Deferred[Any] = port.protocol.ask(datagram)
    return answer.addCallbacks(lambda reply: "", explain)
