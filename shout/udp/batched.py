"""
A UDP port that moves many datagrams per system call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from errno import ECONNREFUSED, EMSGSIZE
from itertools import compress
from operator import attrgetter
from os import strerror
from socket import AF_INET, AF_UNIX
from socket import socket as Socket
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from .mmsg import available
from .peer import Peer
from .port import DatagramPort
from .receive import SLOTS, ReceiveBatch
from .responder import BatchResponder
from .send import SendBatch


def listen(sock: Socket, protocol: DatagramProtocol, reactor: Any) -> DatagramPort:
    """
    Run a protocol on a socket: on a L{BatchedPort} for UDP if the system has the
    calls, and on a L{DatagramPort} otherwise.

    @param sock: A bound or connected datagram socket.  The port closes it when it
        stops listening.

    @param protocol: The protocol that receives the datagrams.

    @param reactor: An L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @return: The port, which is listening.
    """
    isBatched = available and sock.family != AF_UNIX
    port = (BatchedPort if isBatched else DatagramPort)(sock, protocol, reactor)
    port.startListening()  # type: ignore[no-untyped-call]
    return port


class BatchedPort(DatagramPort):
    """
    A UDP port that receives and sends many datagrams per system call, for any
    protocol.

    Datagrams that the protocol writes while it receives a batch are sent after the
    batch, in order.  All others are sent at once.  A datagram that cannot be sent is
    counted, and no exception is raised.

    A reply leaves from the local address that its peer has sent to.  To reply after
    the batch, pass the same C{addr} object to L{write}: an equal tuple lacks the
    local address.

    An L{BatchResponder<shout.udp.responder.BatchResponder>} answers a whole batch in
    one call.

    A protocol may have two methods that Twisted does not call:
    C{groupDatagramReceived(datagram, addr)} receives the datagrams that were sent to
    a broadcast or multicast address, and C{sendFailed(number, count)} is called with
    an error number and the number of datagrams that could not be sent.

    @cvar maxDatagrams: Number of datagrams after which a visit by the reactor ends.

    @cvar maxBytes: Number of bytes after which a visit by the reactor ends.

    @ivar sendErrors: Number of datagrams that could not be sent, by error number.
    """

    maxDatagrams = 256
    maxBytes = 1 << 20

    reactor: Any

    def _bindSocket(self) -> None:
        super()._bindSocket()
        self.sendErrors: Counter[int] = Counter()
        self._receiveBatch = ReceiveBatch(self.socket)
        self._sendBatch = SendBatch(self.socket)
        # The UDP header's length field less the headers (RFC 768, 791, 8200).
        self._maxPayload = 65507 if self.addressFamily == AF_INET else 65527
        self._pending: PendingReplies | None = None
        self._readAgainCall: Any = None
        self._isInSendFailed = False

    def totalBytes(self) -> tuple[int, int]:
        received, sent = super().totalBytes()
        return received + self._receiveBatch.bytes, sent + self._sendBatch.bytes

    def doRead(self) -> None:
        count = size = 0
        while count < self.maxDatagrams and size < self.maxBytes:
            try:
                datagrams = self._readBatch()
            except BlockingIOError:
                return
            # After a batch that is less than half full the socket is usually empty.
            if len(datagrams) <= SLOTS // 2 or not self.connected:
                return
            count += len(datagrams)
            size += sum(map(len, datagrams))
        self._readAgainLater()

    def drain(self) -> None:
        super().drain()
        # The kernel coalesces at most 128 datagrams per slot.
        for _ in range(128):
            if self._receiveBatch.isEmpty or not self.connected:
                break
            self._read(SLOTS)

    def _read(self, maxDatagrams: int) -> int:
        try:
            return len(self._readBatch()) or 1
        except BlockingIOError:
            return 0

    def _readBatch(self) -> Sequence[bytes]:
        """
        Receive and deliver a batch.

        @return: The datagrams; none if there was an error.

        @raise BlockingIOError: If nothing had arrived.
        """
        # This may be a nested call: a protocol can run the reactor while it receives
        # a batch.  Its replies so far are sent first.
        self._flush()
        try:
            datagrams, peers = self._receiveBatch.receive()
        except BlockingIOError:
            raise
        except OSError as e:
            self._handlePeerError(e)
            return ()
        if not self._answerBatch(datagrams, peers):
            outer, self._pending = self._pending, PendingReplies(peers)
            try:
                self._deliver(datagrams, self._pending)
                self._flush()
            finally:
                self._pending = outer
        return datagrams

    # Datagrams that are left in the batch do not make the socket readable, so the
    # next read has to be scheduled.
    def _readAgainLater(self) -> None:
        isLeft = self._isReading and not self._receiveBatch.isEmpty
        if isLeft and self._readAgainCall is None:
            self._readAgainCall = self.reactor.callLater(0, self._readAgain)

    def _readAgain(self) -> None:
        self._readAgainCall = None
        self.doRead()

    def startReading(self) -> None:
        super().startReading()  # type: ignore[no-untyped-call]
        self._isReading = True
        self._readAgainLater()

    def stopReading(self) -> None:
        super().stopReading()  # type: ignore[no-untyped-call]
        self._isReading = False
        call, self._readAgainCall = self._readAgainCall, None
        if call is not None:
            call.cancel()

    def _answerBatch(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> bool:
        """
        Pass a batch to the protocol in one call if it is a L{BatchResponder} whose
        C{datagramReceived} is not overridden, and send the replies.

        @return: C{False} if the datagrams have to be delivered one by one.
        """
        received = getattr(self.protocol.datagramReceived, "__func__", None)
        isBatchResponder = received is BatchResponder.datagramReceived
        if not isBatchResponder or any(map(_isMulticastOrBroadcast, peers)):
            return False
        try:
            replies = self.protocol.answer(datagrams, peers)
            if len(replies) != len(datagrams):
                raise ValueError("there must be one answer for each datagram")
            if set(map(type, replies)) != {bytes}:
                isAnswered = [reply is not None for reply in replies]
                peers = list(compress(peers, isAnswered))
                replies = [_bytes(reply) for reply in compress(replies, isAnswered)]
        except BaseException:
            if len(datagrams) == 1:
                self._log.failure("datagramReceived raised")
            # One by one, only the datagrams that raise remain unanswered.
            return len(datagrams) == 1
        if self.connected:
            self._send(replies, peers)
        return True

    def _deliver(self, datagrams: Sequence[bytes], pending: PendingReplies) -> None:
        received = self.protocol.datagramReceived
        groupReceived = getattr(self.protocol, "groupDatagramReceived", received)
        for datagram, peer in zip(datagrams, pending.peers):
            pending.peer = peer
            try:
                (groupReceived if peer.isMulticastOrBroadcast else received)(
                    datagram, peer
                )
            except BaseException:
                self._log.failure("datagramReceived raised")
            if not self.connected:
                return

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram: after the batch that is being delivered, or at once if there
        is none.

        @param datagram: The payload.

        @param addr: A host and a port; C{None} on a connected port.

        @raise MessageLengthError: If the datagram is too long for UDP.

        @raise InvalidAddressError: If the host is not an IP address of the port's
            family.
        """
        datagram = _bytes(datagram)
        if len(datagram) > self._maxPayload:
            self.sendErrors[EMSGSIZE] += 1
            raise MessageLengthError("message too long")
        pending, peer = self._pending, self._findPeer(addr)
        if pending is None or peer is None or not self.connected:
            self._flush()
            self._writeNow(datagram, peer, addr)
        elif pending.write(datagram, peer) == SLOTS:
            self._flush()

    def _findPeer(self, addr: Any) -> Peer | None:
        if type(addr) is Peer and addr.table is self._receiveBatch.peers:
            return addr
        return None if self._pending is None else self._pending.find(addr)

    def _flush(self) -> None:
        if self._pending is not None and self.connected:
            datagrams, peers = self._pending.take()
            if datagrams:
                self._send(datagrams, peers)

    def _writeNow(self, datagram: bytes, peer: Peer | None, addr: Any = None) -> None:
        try:
            if peer is None:
                super().write(datagram, addr)
            else:
                self._sentBytes += self.socket.sendmsg(
                    [datagram], peer.ancillaryData, 0, peer.sockaddr
                )
        except MessageLengthError:
            self._countErrors([EMSGSIZE])
        except OSError as e:
            self._countErrors([e.errno or 0])

    def _send(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> None:
        if len(datagrams) == 1:
            # Preparing a batch costs more than it gains for a single datagram.
            self._writeNow(datagrams[0], peers[0])
            return
        errors = self._sendBatch.send(datagrams, peers)
        if errors:
            self._countErrors(errors)

    def _countErrors(self, errors: Sequence[int]) -> None:
        """
        Count errors, and call the protocol's C{sendFailed} for each error number.
        """
        if ECONNREFUSED in errors:
            self._handlePeerError(OSError(ECONNREFUSED, strerror(ECONNREFUSED)))
        sendFailed = getattr(self.protocol, "sendFailed", None)
        for number, count in Counter(errors).items():
            self.sendErrors[number] += count
            # No recursion when a write from within sendFailed fails, too.
            if sendFailed is None or self._isInSendFailed:
                continue
            outer, self._pending = self._pending, None
            self._isInSendFailed = True
            try:
                sendFailed(number, count)
            except BaseException:
                self._log.failure("sendFailed raised")
            finally:
                self._pending, self._isInSendFailed = outer, False

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._flush()
        super().connectionLost(reason)


def _bytes(datagram: Any) -> bytes:
    """
    Return a bytes-like object as C{bytes}: a copy if it is mutable.
    """
    return datagram if type(datagram) is bytes else memoryview(datagram).tobytes()


_isMulticastOrBroadcast = attrgetter("isMulticastOrBroadcast")


class PendingReplies:
    """
    The datagrams that a protocol has written while it receives a batch.

    @ivar peers: The peer of each received datagram.

    @ivar peer: The peer of the datagram that is being delivered.
    """

    peer: Peer

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.peers = peers
        self._datagrams: list[bytes] = []
        self._recipients: list[Peer] = []
        self._peersByAddress: dict[Any, Peer] = {}

    def find(self, addr: Any) -> Peer | None:
        """
        Return the peer of the batch that equals an address, if there is one.
        """
        if addr == self.peer:
            return self.peer
        if not self._peersByAddress:
            self._peersByAddress = dict(zip(self.peers, self.peers))
        return self._peersByAddress.get(addr)

    def write(self, datagram: bytes, peer: Peer) -> int:
        """
        Add a datagram, and return the number of pending datagrams.
        """
        self._datagrams.append(datagram)
        self._recipients.append(peer)
        return len(self._datagrams)

    def take(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        """
        Remove and return the pending datagrams and their recipients.
        """
        taken = self._datagrams, self._recipients
        self._datagrams, self._recipients = [], []
        return taken
