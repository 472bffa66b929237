"""
The portable port: a UDP or UNIX datagram port for any protocol.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from errno import ECONNREFUSED, EDESTADDRREQ, EMSGSIZE
from operator import attrgetter
from socket import AF_INET, AF_INET6, AF_UNIX, SO_ERROR, SO_RCVBUF, SOL_SOCKET
from socket import socket as Socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.base import BasePort
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import MulticastPort
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from .peer import Peer, decode, hostAndPort
from .portable import UDPIO, UNIXIO
from .responder import MAX_HOLD, BatchResponder, Reply
from .sockopt import (
    RECEIVE_BUFFER,
    allowForeignSource,
    enablePacketInfo,
    kernelDrops,
    kernelDropsSince,
    raiseReceiveBuffer,
)

SLOTS = 64
"""
Maximum number of messages per system call; more do not make it faster.
"""

DEFAULT_PACKET_SIZE = 8192
"""
Twisted's default for C{maxPacketSize}, with which datagrams arrive whole here.
"""

Batch = tuple[list[bytes], list[Any]]
"""
Datagrams, and the peer of each.
"""

# Seconds between two log lines about exceptions of one method.
_QUIET_PERIOD = 30.0

# Number of exceptions of datagramReceived that a noisy port logs in that time.
_NOISY_LINES = 5


# On a connected socket, an ICMP error makes a poll or epoll reactor close the port as
# if the connection were lost.  It calls readConnectionLost first if the port provides
# IHalfCloseableDescriptor; that clears the error and starts reading again.
@implementer(IHalfCloseableDescriptor)
class DatagramPort(MulticastPort):
    """
    A port for an existing datagram socket: IPv4, IPv6 or UNIX, bound or connected.

    Datagrams arrive whole.  A reply leaves from the local address that its peer has
    sent to.  To reply after C{datagramReceived} has returned, pass the same C{addr}
    object to L{write}: an equal tuple lacks the local address.

    A visit by the reactor handles a bounded number of datagrams, and ends after
    L{maxVisit} seconds.  A datagram that cannot be sent is counted, and no exception is
    raised.  A connected port survives ICMP errors.

    A L{BatchResponder<shout.udp.responder.BatchResponder>} answers many datagrams in
    one call.

    A protocol may have two methods that Twisted does not call:
    C{groupDatagramReceived(datagram, addr)} receives the datagrams that were sent to
    a broadcast or multicast address, and C{sendFailed(number, count)} is called with
    an error number and the number of datagrams that could not be sent.

    @cvar kind: The kind of port in one word, for people.

    @cvar maxDatagrams: Number of datagrams after which a visit by the reactor ends.

    @cvar maxVisit: Seconds after which a visit by the reactor ends.

    @cvar maxDrain: Seconds after which L{drain} ends.

    @cvar receiveBuffer: Bytes of receive buffer to request from the system.

    @cvar noisy: C{True} for a port that logs when it starts and when it is closed, like
        Twisted's, and the first few exceptions of C{datagramReceived} instead of one.

    @ivar sendErrors: Number of datagrams that could not be sent, by error number.

    @ivar protocolErrors: Number of exceptions that the protocol has raised.

    @ivar peerError: The last ICMP error on a connected port, such as a
        C{ConnectionRefusedError} for port unreachable.
    """

    _log = Logger()

    kind = "portable"
    maxDatagrams = 256
    maxVisit = 0.005
    maxDrain = 1.0
    receiveBuffer = RECEIVE_BUFFER
    noisy = False

    peerError: OSError | None = None

    socket: Socket
    reactor: Any
    _connectedAddr: Any

    # Number of datagrams to ask for first in a visit.
    _firstLimit = 1

    # Bytes of receive buffer that even an empty datagram occupies.
    _leastMemory = 512

    # True if datagrams that are sent together are cheaper.
    _canHold = False

    def __init__(
        self,
        sock: Socket,
        protocol: DatagramProtocol,
        reactor: Any,
        maxPacketSize: int = DEFAULT_PACKET_SIZE,
        seconds: Callable[[], float] = time.monotonic,
    ):
        """
        @param sock: A bound or connected datagram socket.  The port makes it
            non-blocking, and closes it when it stops listening.

        @param protocol: The protocol.  It receives each datagram with the host and
            the port of the peer, or with the path of its UNIX socket.  A link-local
            IPv6 host includes its scope, as in C{fe80::1%eth0}.

        @param reactor: An L{IReactorFDSet
            <twisted.internet.interfaces.IReactorFDSet>} and L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @param maxPacketSize: Number of bytes at which datagrams are cut.  With
            Twisted's default they arrive whole.

        @param seconds: Returns the present time in seconds.
        """
        super().__init__(0, protocol, "", maxPacketSize, reactor)
        self.addressFamily = sock.family
        self.socket = sock
        # The UDP header's length field less the headers (RFC 768, 791, 8200).  A
        # datagram on a UNIX socket is limited by the send buffer.
        limits: dict[int, int] = {AF_INET: 65507, AF_INET6: 65527}
        self._maxPayload = limits.get(sock.family, 1 << 31)
        self.sendErrors: Counter[int] = Counter()
        self.protocolErrors = 0
        self._seconds = seconds
        self._io: Any = None
        self._totalBytes = (0, 0)
        self._sentBytes = self._kernelDrops = 0
        self._logTimes: dict[str, deque[float]] = {}
        # Batches that were received and are not delivered yet.
        self._rest: deque[Batch] = deque()
        self._readAgainCall: Any = None
        self._isReading = False
        # What is left of the batch that is being delivered, its peers, and the present
        # one.
        self._undelivered: Iterator[tuple[bytes, Any]] | None = None
        self._peers: list[Any] = []
        self._peer: Any = None
        self._peersByAddress: dict[Any, Peer] = {}
        self._hasGroupPeers = False
        # Datagrams that are written while a batch is being delivered, and their peers.
        self._isHolding = False
        self._pending: list[bytes] = []
        self._recipients: list[Peer] = []
        # Names of the methods of the protocol that are being called about an error.
        self._reporting: set[str] = set()

    def _bindSocket(self) -> None:
        sock = self.socket
        self.fileno = sock.fileno  # type: ignore[method-assign]
        sock.setblocking(False)
        raiseReceiveBuffer(sock, self.receiveBuffer)
        self._initialDrops = kernelDrops(sock)
        isUNIX = sock.family == AF_UNIX
        host = sock.getsockname()
        self._realPortNumber = host if isUNIX else host[1]
        try:
            peer = sock.getpeername()
        except OSError:
            pass
        else:
            self._connectedAddr = peer if isUNIX else hostAndPort(peer)
        self._io = self._openIO(sock)
        self.connected = True
        if self.noisy:
            prefix = self._getLogPrefix(self.protocol)
            log.msg(f"{prefix} starting on {self._realPortNumber}")

    def _openIO(self, sock: Socket) -> Any:
        if sock.family == AF_UNIX:
            return UNIXIO(sock)
        enablePacketInfo(sock)
        allowForeignSource(sock)
        return UDPIO(sock, lambda *address: self._adopt(decode(*address)))

    def _adopt(self, peer: Peer) -> Peer:
        peer.owner = self
        # Only Linux accepts the address of the peer on a connected socket.
        if self._connectedAddr and sys.platform != "linux":
            peer.sockaddr = None
        self._hasGroupPeers |= peer.isMulticastOrBroadcast
        return peer

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        address = self.socket.getsockname()
        if self.addressFamily == AF_UNIX:
            return UNIXAddress(os.fsencode(address))
        if self.addressFamily == AF_INET6:
            return IPv6Address("UDP", *address)
        return IPv4Address("UDP", *address)

    @property
    def kernelDrops(self) -> int:
        """
        The number of datagrams that the kernel has dropped since the port started
        because the receive buffer was full; 0 on systems other than Linux.
        A lower bound: the kernel counts a coalesced burst (C{UDP_GRO}) as one.
        """
        if self.connected:
            self._kernelDrops = kernelDropsSince(self.socket, self._initialDrops)
        return self._kernelDrops

    def totalBytes(self) -> tuple[int, int]:
        """
        Return the number of payload bytes received, and of those sent.
        """
        if self._io is not None:
            self._totalBytes = self._io.totalBytes()
        received, sent = self._totalBytes
        return received, sent + self._sentBytes

    def doRead(self) -> None:
        self._visit(self.maxDatagrams, self.maxVisit)
        # Datagrams that are left do not make the socket readable.
        if self._rest:
            self._readAgainLater()

    def _readAgainLater(self) -> None:
        if self._isReading and self._readAgainCall is None:
            self._readAgainCall = self.reactor.callLater(0, self._readAgain)

    def _readAgain(self) -> None:
        self._readAgainCall = None
        self.doRead()

    def startReading(self) -> None:
        super().startReading()  # type: ignore[no-untyped-call]
        self._isReading = True
        if self._rest:
            self._readAgainLater()

    def stopReading(self) -> None:
        super().stopReading()  # type: ignore[no-untyped-call]
        self._isReading = False
        call, self._readAgainCall = self._readAgainCall, None
        if call is not None:
            call.cancel()

    def drain(self) -> None:
        """
        Deliver all datagrams that have arrived.

        It ends although more arrive meanwhile: after as many datagrams as the receive
        buffer can hold, and after L{maxDrain} seconds.
        """
        size = self.socket.getsockopt(SOL_SOCKET, SO_RCVBUF)
        self._visit(size // self._leastMemory, self.maxDrain)

    def _visit(self, maxDatagrams: int, seconds: float) -> None:
        """
        Receive and deliver datagrams until none is left.

        @param maxDatagrams: Number of datagrams and errors after which it ends.

        @param seconds: Seconds after which it ends.
        """
        end = self._seconds() + seconds
        count, limit = 0, self._firstLimit
        while self.connected:
            done = self._readBatch(limit, end)
            count += done
            if not done or not self.connected:
                return
            if not self._rest and not self._hasMore():
                return
            if count >= maxDatagrams or self._seconds() >= end:
                return
            # The portable port receives the first few one by one, so that their replies
            # do not wait.
            limit = min(SLOTS if count > 2 else limit, maxDatagrams - count)

    def _hasMore(self) -> bool:
        """
        Return C{True} if more datagrams may have arrived.
        """
        more: bool = self._io.hasMore()
        return more

    def _readBatch(self, limit: int, end: float) -> int:
        """
        Receive a batch of datagrams, and deliver at most L{SLOTS} of them.

        @param limit: Maximum number of messages to receive.

        @param end: The time after which no further datagram is delivered.

        @return: Number of datagrams that are delivered; 0 if none had arrived.  An
            error counts as one.
        """
        if self._undelivered is not None:
            # A nested call: the protocol runs the reactor while it receives a datagram.
            # Its replies so far are sent, and the rest of its batch comes next.
            self._flush()
            self._keep(self._undelivered)
        try:
            batch = self._rest.popleft() if self._rest else self._io.receive(limit)
        except Exception as e:
            self._handleReceiveError(e)
            return 1
        if batch is None:
            return 0
        datagrams, peers = batch
        if len(datagrams) > SLOTS:
            self._rest.appendleft((datagrams[SLOTS:], peers[SLOTS:]))
            datagrams, peers = datagrams[:SLOTS], peers[:SLOTS]
        if self.maxPacketSize != DEFAULT_PACKET_SIZE:
            datagrams = [each[: self.maxPacketSize] for each in datagrams]
        received = getattr(self.protocol.datagramReceived, "__func__", None)
        if received is _receivedByResponder:
            return self._answer(datagrams, peers, end)
        return self._deliver(datagrams, peers, end)

    def _handleReceiveError(self, error: Exception) -> None:
        # uvloop does not watch a socket any longer after an error.
        if self._isReading:
            self.stopReading()
            self.startReading()
        if isinstance(error, OSError):
            self._handlePeerError(error)
        else:
            self._logException(Failure(error), "receive")

    def _keep(self, undelivered: Iterator[tuple[bytes, Any]]) -> None:
        """
        Keep the rest of a batch to be delivered next.
        """
        rest = list(undelivered)
        if rest:
            datagrams, peers = map(list, zip(*rest))
            self._rest.appendleft((datagrams, peers))

    def _answer(self, datagrams: list[bytes], peers: list[Any], end: float) -> int:
        """
        Pass datagrams to a L{BatchResponder}, and send its replies.

        @param end: The time after which no further datagram is delivered.

        @return: Number of datagrams that are delivered.
        """
        if self._hasGroupPeers and any(map(_isMulticastOrBroadcast, peers)):
            return self._deliver(datagrams, peers, end)
        protocol: Any = self.protocol
        count = len(datagrams)
        try:
            replies = protocol.answer(datagrams, peers)
            if type(replies) is not list:
                replies = list(replies)
            done = len(replies)
            if not 0 < done <= count:
                raise ValueError("there must be one answer for each datagram")
        except BaseException:
            if count > 1:
                # One by one, only the datagrams that raise remain unanswered.
                return self._deliver(datagrams, peers, end)
            self._logException(Failure(), "answer")
            return 1
        if self.connected:
            if done < count:
                self._rest.appendleft((datagrams[done:], peers[done:]))
            self._send(replies, peers)
        return done

    def _deliver(self, datagrams: list[bytes], peers: list[Any], end: float) -> int:
        """
        Pass datagrams to the protocol one by one, and send what it writes meanwhile.

        @param end: The time after which no further datagram is delivered.

        @return: Number of datagrams that are delivered.
        """
        received = self.protocol.datagramReceived
        groupReceived = getattr(self.protocol, "groupDatagramReceived", received)
        outer = (
            self._undelivered,
            self._peers,
            self._peer,
            self._peersByAddress,
            self._isHolding,
        )
        undelivered = self._undelivered = zip(datagrams, peers)
        self._peers, self._peersByAddress = peers, {}
        isBatch = len(peers) > 1
        self._isHolding = self._canHold and isBatch
        seconds, done = self._seconds, 0
        flushTime = seconds() + MAX_HOLD if isBatch else 0.0
        try:
            for datagram, peer in undelivered:
                self._peer = peer
                done += 1
                try:
                    if self._hasGroupPeers and peer.isMulticastOrBroadcast:
                        groupReceived(datagram, peer)
                    else:
                        received(datagram, peer)
                except BaseException:
                    self._logException(Failure(), "datagramReceived")
                if not isBatch:
                    break
                now = seconds()
                if now >= flushTime:
                    self._flush()
                    flushTime = now + MAX_HOLD
                if not self.connected:
                    break
                if now >= end:
                    self._keep(undelivered)
            self._flush()
        finally:
            (
                self._undelivered,
                self._peers,
                self._peer,
                self._peersByAddress,
                self._isHolding,
            ) = outer
        return done

    def _logException(self, failure: Failure, method: str) -> None:
        self.protocolErrors += 1
        now = self._seconds()
        lines = _NOISY_LINES if self.noisy and method == "datagramReceived" else 1
        times = self._logTimes.setdefault(method, deque(maxlen=lines))
        if len(times) < lines or now - times[0] >= _QUIET_PERIOD:
            times.append(now)
            self._log.failure(
                "{method} raised (exceptions so far: {count})",
                failure,
                method=method,
                count=self.protocolErrors,
            )

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram: at once, or on a L{BatchedPort
        <shout.udp.batched.BatchedPort>} after the batch that is being delivered.

        @param datagram: The payload.

        @param addr: The peer: a host and a port, or the path of a UNIX socket;
            C{None} on a connected port.

        @raise MessageLengthError: If the datagram is too long for the socket.

        @raise InvalidAddressError: If the host is not an IP address of the port's
            family.
        """
        isPeer = type(addr) is Peer and addr.owner is self
        peer = addr if isPeer else self._findPeer(addr)
        if peer is None or not self.connected:
            self._flush()
            self._writeTo(datagram, addr)
            return
        if type(datagram) is not bytes:
            datagram = memoryview(datagram).tobytes()
        if len(datagram) > self._maxPayload:
            raise self._tooLong()
        if self._isHolding:
            self._pending.append(datagram)
            self._recipients.append(peer)
            if len(self._pending) == SLOTS:
                self._flush()
        else:
            self._send([datagram], [peer])

    def _findPeer(self, addr: Any) -> Peer | None:
        """
        Return the peer that equals an address in the batch that is being delivered, if
        there is one.
        """
        peer: Peer | None = self._peer
        if type(peer) is not Peer:
            return None
        if addr == peer:
            return peer
        if not self._peersByAddress:
            self._peersByAddress = dict(zip(self._peers, self._peers))
        return self._peersByAddress.get(addr)

    def _flush(self) -> None:
        datagrams, peers = self._pending, self._recipients
        if datagrams and self.connected:
            self._pending, self._recipients = [], []
            self._send(datagrams, peers)

    def _writeTo(self, datagram: bytes, addr: Any) -> None:
        """
        Send a datagram to an address that is not that of a L{Peer}.
        """
        isUNIX = self.addressFamily == AF_UNIX
        try:
            if self._connectedAddr:
                assert isUNIX or addr in (None, self._connectedAddr)
                sent: Any = self.socket.send(datagram)
            elif not isUNIX:
                sent = super().write(datagram, addr)
            elif addr is None:
                raise OSError(EDESTADDRREQ, os.strerror(EDESTADDRREQ))
            else:
                sent = self.socket.sendto(datagram, addr)
            self._sentBytes += sent or 0
        except (MessageLengthError, OSError) as e:
            number = EMSGSIZE if isinstance(e, MessageLengthError) else e.errno or 0
            # A path may take less than the socket does.
            if number == EMSGSIZE and (isUNIX or len(datagram) > self._maxPayload):
                raise self._tooLong() from e
            self._countErrors([number])

    def _tooLong(self) -> MessageLengthError:
        self.sendErrors[EMSGSIZE] += 1
        return MessageLengthError("message too long")

    def _send(self, datagrams: Sequence[Reply], peers: list[Any]) -> None:
        """
        Send datagrams, except those that are C{None} or an exception.
        """
        errors: list[int] = []
        start = 0
        while start < len(datagrams):
            try:
                start += self._io.send(datagrams, peers, start)
            except OSError as e:
                if not self._sendAlone(datagrams, peers, start, e):
                    errors.append(e.errno or 0)
                start += 1
            except TypeError:
                rest = datagrams[start:]
                datagrams, peers = self._sendable(rest, peers[start:])
                if set(map(type, rest)) == {bytes}:
                    raise
                start = 0
        if errors:
            self._countErrors(errors)

    def _sendable(
        self, replies: Sequence[Reply], peers: list[Any]
    ) -> tuple[list[bytes], list[Any]]:
        """
        Return the replies that can be sent as bytes, and the peer of each.  Exceptions
        are logged.
        """
        pairs = []
        for reply, peer in zip(replies, peers):
            try:
                if isinstance(reply, BaseException):
                    self._logException(Failure(reply), "answer")
                elif reply is not None:
                    pairs.append((memoryview(reply).tobytes(), peer))
            except BaseException:
                self._logException(Failure(), "answer")
        return [reply for reply, _ in pairs], [peer for _, peer in pairs]

    def _sendAlone(
        self, datagrams: Sequence[Any], peers: list[Any], index: int, error: OSError
    ) -> bool:
        """
        Send a datagram that could not be sent together with others.

        @return: C{True} if it is sent.
        """
        return False

    def _countErrors(self, errors: Sequence[int]) -> None:
        """
        Count errors, and call the protocol's C{sendFailed} for each error number.
        """
        if ECONNREFUSED in errors:
            self._handlePeerError(OSError(ECONNREFUSED, os.strerror(ECONNREFUSED)))
        for number, count in Counter(errors).items():
            self.sendErrors[number] += count
            self._report("sendFailed", number, count)

    def _handlePeerError(self, error: OSError) -> None:
        # On an unconnected socket a pending ICMP error may be about any peer, so it
        # is ignored.
        if self._connectedAddr:
            self.peerError = error
            self._report("connectionRefused")

    def _report(self, name: str, *args: Any) -> None:
        """
        Call a method of the protocol, if it has that, about an error.
        """
        method = getattr(self.protocol, name, None)
        # No recursion when a write from within the method fails, too.
        if method is None or name in self._reporting:
            return
        outer, self._isHolding = self._isHolding, False
        self._reporting.add(name)
        try:
            method(*args)
        except BaseException:
            self._logException(Failure(), name)
        finally:
            self._isHolding = outer
            self._reporting.remove(name)

    def readConnectionLost(self, reason: Failure) -> None:
        """
        Called when the socket has a pending error.  The port stays open.
        """
        number = self.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        self.startReading()
        self._handlePeerError(OSError(number, os.strerror(number)))

    def writeConnectionLost(self, reason: Failure) -> None:
        # A datagram socket has no half to close.
        pass

    def stopListening(self) -> Any:
        # A protocol may call it again before the port is closed.
        pending = getattr(self, "d", None)
        return pending or super().stopListening()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._flush()
        # The counters are gone with the socket.
        self._kernelDrops = self.kernelDrops
        self.totalBytes()
        # Its table of peers refers to the port.
        self._io = None
        if self.noisy:
            log.msg(f"(UDP Port {self._realPortNumber} Closed)")
        self._realPortNumber = None
        self._rest.clear()
        BasePort.connectionLost(self, reason)  # type: ignore[no-untyped-call]
        self.protocol.doStop()
        self.socket.close()
        if hasattr(self, "d"):
            self.d.callback(None)
            del self.d


_isMulticastOrBroadcast = attrgetter("isMulticastOrBroadcast")
_receivedByResponder = BatchResponder.datagramReceived
