"""
The server to measure.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EMFILE
from ipaddress import ip_address
from typing import Any

from shout.client import addressesOf, explain
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from shout.udp.sockopt import (
    allowFragments,
    bindToDevice,
    omitFlowLabel,
    setTOS,
    setTTL,
)

# The IP header without options and the UDP header (RFC 791, RFC 8200, RFC 768).
_HEADERS_IPv4, _HEADERS_IPv6 = 28, 48

# The largest length in a UDP header (RFC 768) less the headers it includes, and the
# capacity of a UNIX socket's default send buffer.
_LARGEST_IPv4, _LARGEST_IPv6, _LARGEST_UNIX = 65507, 65527, 212960


class OptionError(Exception):
    """
    An option of a socket is wrong on this host.  The message is one line for the user.
    """


@dataclass(frozen=True)
class SocketOptions:
    """
    The options of the sockets that send probes.

    @ivar source: Address of this host to send from; empty for the one that the routing
        table selects.

    @ivar device: Name of the network device to send and receive through; empty for
        the one that the routing table selects.

    @ivar ttl: TTL or hop limit, from 1 to 255; C{None} for the default of the system.

    @ivar tos: Type of service or traffic class, from 0 to 255; C{None} for 0.

    @ivar mayFragment: C{False} to send with don't-fragment set, C{True} to send
        without; C{None} for the default of the system, which sets it unless the
        datagram is known to be too large.

    @ivar isShared: C{True} to let sockets that connect to different targets share a
        source port.
    """

    source: str = ""
    device: str = ""
    ttl: int | None = None
    tos: int | None = None
    mayFragment: bool | None = None
    isShared: bool = False

    def prepare(self, sock: socket.socket) -> None:
        """
        Set the options of a socket that is not bound yet.

        @raise OptionError: If the system rejects one.
        """
        # Routers may choose a path by the flow label, and a source port means a path.
        omitFlowLabel(sock)
        if self.isShared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.device:
            with _explained(f"send through {self.device}"):
                bindToDevice(sock, self.device)
        if self.ttl is not None:
            with _explained("set the TTL"):
                setTTL(sock, self.ttl)
        if self.tos is not None:
            with _explained("set the type of service"):
                setTOS(sock, self.tos)
        may = self.mayFragment
        if may is not None and not allowFragments(sock, may):
            raise OptionError("cannot set don't-fragment: not on this system")


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """
    Turn the error of an option into an L{OptionError}.
    """
    try:
        yield
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise OptionError(f"cannot {action}: {reason}") from e


@dataclass(frozen=True)
class Target:
    """
    A server to measure.

    @ivar host: The name, address or path of a UNIX socket that the user gave.

    @ivar address: The IPv4 or IPv6 address, or the path of a UNIX socket.

    @ivar port: The UDP port; C{None} for a UNIX socket.
    """

    host: str
    address: str
    port: int | None

    def open(
        self, options: SocketOptions = SocketOptions(), sourcePort: int = 0
    ) -> socket.socket:
        """
        Return a new socket, connected to the server.

        @param options: The options of the socket, unless it is a UNIX socket.

        @param sourcePort: UDP port to send from; 0 for any.

        @raise OptionError: If an option is wrong on this host.

        @raise OSError: If the server cannot be reached.
        """
        if self.port is None:
            return connectUNIX(self.address)
        source, peer = options.source, (self.address, self.port)
        try:
            return connectUDP(*peer, source, sourcePort, options.prepare)
        except OSError as e:
            if source and e.errno == EADDRNOTAVAIL:
                reason = f"{source} is not an address of this host; see `ip address`"
                raise OptionError(reason) from e
            if source:
                raise OSError(e.errno, f"{e.strerror} from {source}") from e
            raise

    def isOnThisHost(self, options: SocketOptions = SocketOptions()) -> bool:
        """
        Return C{True} if datagrams to the server do not leave this host.

        @param options: The options of the socket that sends them.
        """
        if self.port is None:
            return True
        try:
            with self.open(SocketOptions(device=options.device)) as sock:
                here, there = sock.getsockname()[0], sock.getpeername()[0]
        except OSError:
            return False
        # Unless another source is set, a datagram to an address of this host has that
        # address as its source, too.
        areLoopback = ip_address(here).is_loopback and ip_address(there).is_loopback
        return bool(here == there or areLoopback)

    @property
    def isIPv6(self) -> bool:
        """
        C{True} if the server has an IPv6 address.
        """
        return self.port is not None and ":" in self.address

    @property
    def headers(self) -> int:
        """
        Length of the IP and UDP headers of a datagram to the server, in bytes; 0 for a
        UNIX socket.
        """
        if self.port is None:
            return 0
        return _HEADERS_IPv6 if self.isIPv6 else _HEADERS_IPv4

    @property
    def largest(self) -> int:
        """
        Size of the largest datagram to the server, in bytes.
        """
        if self.port is None:
            return _LARGEST_UNIX
        return _LARGEST_IPv6 if self.isIPv6 else _LARGEST_IPv4

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        where = authority(self.address, self.port)
        return where if self.host == self.address else f"{self.host} ({where})"


async def resolveTarget(
    host: str,
    port: int,
    unix: str | None,
    family: int,
    reactor: Any,
    options: SocketOptions = SocketOptions(),
) -> Target:
    """
    Find the first reachable address of a server.

    @param host: A name, an IPv4 address or an IPv6 address.

    @param port: The UDP port, 1 to 65535.

    @param unix: The path of a UNIX socket, or its abstract name after an C{@}; it
        takes the place of C{host} and C{port}.

    @param family: C{socket.AF_INET} or C{socket.AF_INET6} to use addresses of one
        family only; otherwise C{socket.AF_UNSPEC}.

    @param reactor: An L{IReactorPluggableNameResolver
        <twisted.internet.interfaces.IReactorPluggableNameResolver>} provider.

    @param options: The options of the sockets that will send.

    @raise UnknownHost: If C{host} has no address.

    @raise OptionError: If an option is wrong on this host.

    @raise Unreachable: If none of the addresses, or not the UNIX socket, can be
        reached.

    @raise Refused: If there is no UNIX socket at C{unix}.
    """
    if unix is not None:
        targets = [Target(unix, unix, None)]
    else:
        addresses = await addressesOf(host, port, family, reactor)
        targets = [Target(host, address, port) for address in addresses]
    error: OSError | None = None
    for target in targets:
        try:
            target.open(options).close()
        except OSError as e:
            error = e
        else:
            return target
    raise explain(targets[0].host, error)


def openSockets(
    targets: Sequence[Target], sourcePorts: Sequence[int], options: SocketOptions
) -> list[list[socket.socket]]:
    """
    Return the sockets of each target, one for each source port.

    @param sourcePorts: The ports to send from; 0 for any.

    @raise OptionError: If an option is wrong on this host.

    @raise OSError: If a socket cannot be opened; then none is.
    """
    with ExitStack() as undo:

        def open(target: Target, port: int) -> socket.socket:
            try:
                return undo.enter_context(target.open(options, port))
            except OSError as e:
                count = len(targets) * len(sourcePorts)
                reason = _explainOpening(e.errno or 0, port, count)
                raise OSError(e.errno, reason or e.strerror) from e

        sockets = [[open(target, port) for port in sourcePorts] for target in targets]
        undo.pop_all()
    return sockets


def _explainOpening(number: int, port: int, count: int) -> str:
    """
    Return the reason why one of many sockets cannot be opened, if it is known.
    """
    if number == EMFILE:
        return f"the limit of open files is too low for {count:,}; see `ulimit -n`"
    if port:
        return f"source port {port}: {os.strerror(number).lower()}"
    if number in (EAGAIN, EADDRINUSE):
        return (
            f"there are too few source ports for {count:,}; "
            "targets can share them with --source-ports"
        )
    return ""


def openBeside(
    sockets: Sequence[socket.socket], options: SocketOptions
) -> list[socket.socket]:
    """
    Return an unconnected socket on the source port of each socket.  It receives the
    datagrams that others than the peer send to that port.

    @param sockets: Connected UDP sockets.

    @return: The sockets; none on systems other than Linux, where such a socket could
        receive the datagrams of the peer, too.

    @raise OSError: If a socket cannot be opened; then none is.
    """
    beside: list[socket.socket] = []
    if sys.platform != "linux":
        return beside
    with ExitStack() as undo:
        for sock in sockets:
            other = undo.enter_context(socket.socket(sock.family, socket.SOCK_DGRAM))
            other.setblocking(False)
            options.prepare(other)
            if sock.family == socket.AF_INET6:
                other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Only now, as the kernel gives the same free port to several sockets that
            # have this option.
            for each in (sock, other):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("", sock.getsockname()[1]))
            beside.append(other)
        undo.pop_all()
    return beside


def sourcePortOf(sock: socket.socket) -> int | None:
    """
    Return the UDP port that a socket sends from, or C{None} for a UNIX socket.
    """
    address = sock.getsockname()
    return address[1] if isinstance(address, tuple) else None
