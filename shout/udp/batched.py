"""
A UDP port for many datagrams per system call.
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
    Run a protocol on a socket: on a L{BatchedPort} for UDP where the system can
    do that, and on a L{DatagramPort} otherwise.

    @param sock: a bound or connected datagram socket; the port closes it.

    @param protocol: receives the datagrams.

    @param reactor: an L{IReactorFDSet
        <twisted.internet.interfaces.IReactorFDSet>} provider.

    @return: the port, which is listening.
    """
    isBatched = available and sock.family != AF_UNIX
    port = (BatchedPort if isBatched else DatagramPort)(sock, protocol, reactor)
    port.startListening()  # type: ignore[no-untyped-call]
    return port


class BatchedPort(DatagramPort):
    """
    A UDP port that receives and sends many datagrams in one system call, under
    any protocol.

    What the protocol writes while it is given datagrams is sent when the batch
    is through, in order; what it writes otherwise is sent at once.

    A reply leaves from the local address that its peer has asked.  To make one
    later, after the batch, write to the very C{addr} that came: a tuple that
    equals it does not know that address.

    What cannot be sent is counted and does not raise.

    An L{BatchResponder<shout.udp.responder.BatchResponder>} is asked for the
    answers to a whole batch in one call.

    A protocol may have two methods that Twisted's port knows nothing of.  What
    was sent to a broadcast or multicast address goes to its
    C{groupDatagramReceived(datagram, addr)}, and its C{sendFailed(number, count)}
    is told of what could not be sent.

    @cvar maxDatagrams: after how many datagrams a visit by the reactor ends.

    @cvar maxBytes: after how many bytes a visit ends.

    @ivar sendErrors: how many datagrams could not be sent, by error number.
    @type sendErrors: L{Counter} of L{int}
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
        self._delivery: PendingReplies | None = None
        self._restCall: Any = None
        self._isTelling = False

    def totalBytes(self) -> tuple[int, int]:
        """
        Return how many bytes of payload have arrived, and how many were sent.
        """
        received, sent = super().totalBytes()
        return received + self._receiveBatch.bytes, sent + self._sendBatch.bytes

    def doRead(self) -> None:
        """
        Deliver what has arrived, as far as one visit goes.
        """
        count = size = 0
        while count < self.maxDatagrams and size < self.maxBytes:
            try:
                datagrams = self._readBatch()
            except BlockingIOError:
                return
            # A batch that is far from full says that nothing more waits.
            if len(datagrams) <= SLOTS // 2 or not self.connected:
                return
            count += len(datagrams)
            size += sum(map(len, datagrams))
        self._readRestLater()

    def drain(self) -> None:
        """
        Deliver what has arrived, but not what goes on arriving: at most one
        datagram for every 512 bytes of the receive buffer, and what is left of
        bursts then.
        """
        super().drain()
        # The kernel keeps no more than 128 datagrams together, for each slot.
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
        Deliver a batch.

        @return: the datagrams; none where there was an error instead.

        @raise BlockingIOError: when nothing had arrived.
        """
        # The protocol may have let the reactor go on while it is given a batch.
        self._flush()
        try:
            datagrams, peers = self._receiveBatch.receive()
        except BlockingIOError:
            raise
        except OSError as e:
            self._peerFailed(e)
            return ()
        if not self._answer(datagrams, peers):
            outer, self._delivery = self._delivery, PendingReplies(peers)
            try:
                self._deliver(datagrams, self._delivery)
                self._flush()
            finally:
                self._delivery = outer
        return datagrams

    # What the inbox holds does not make the socket readable, so the reactor has
    # to be asked to come back for it.
    def _readRestLater(self) -> None:
        isLeft = self._isReading and not self._receiveBatch.isEmpty
        if isLeft and self._restCall is None:
            self._restCall = self.reactor.callLater(0, self._readRest)

    def _readRest(self) -> None:
        self._restCall = None
        self.doRead()

    def startReading(self) -> None:
        """
        Deliver what arrives from now on, and what is left of what has arrived.
        """
        super().startReading()  # type: ignore[no-untyped-call]
        self._isReading = True
        self._readRestLater()

    def stopReading(self) -> None:
        """
        Deliver nothing after this visit until L{startReading} is called.
        """
        super().stopReading()  # type: ignore[no-untyped-call]
        self._isReading = False
        call, self._restCall = self._restCall, None
        if call is not None:
            call.cancel()

    def _answer(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> bool:
        """
        Have the protocol answer all datagrams in one call, if it is made for
        that and none of them is special.
        """
        received = getattr(self.protocol.datagramReceived, "__func__", None)
        isMadeForThat = received is BatchResponder.datagramReceived
        if not isMadeForThat or any(map(_isToGroup, peers)):
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
            # One by one it will show which of them it is, and the rest goes on.
            return len(datagrams) == 1
        if self.connected:
            self._send(replies, peers)
        return True

    def _deliver(self, datagrams: Sequence[bytes], delivery: PendingReplies) -> None:
        received = self.protocol.datagramReceived
        groupReceived = getattr(self.protocol, "groupDatagramReceived", received)
        for datagram, peer in zip(datagrams, delivery.peers):
            delivery.peer = peer
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
        Send a datagram: with the batch that is being delivered, if there is one,
        or else at once.

        @param datagram: the payload.

        @param addr: a host and a port; L{None} on a connected port.

        @raise MessageLengthError: when no datagram is that long.

        @raise InvalidAddressError: when the host is not an IP address of the
            port's family.
        """
        datagram = _bytes(datagram)
        if len(datagram) > self._maxPayload:
            self.sendErrors[EMSGSIZE] += 1
            raise MessageLengthError("message too long")
        delivery, peer = self._delivery, self._knownPeer(addr)
        if delivery is None or peer is None or not self.connected:
            self._flush()
            self._writeNow(datagram, peer, addr)
        elif delivery.write(datagram, peer) == SLOTS:
            self._flush()

    def _knownPeer(self, addr: Any) -> Peer | None:
        """
        Return the peer with an address, if it is one of this port's, or of the
        batch that is being delivered.
        """
        if type(addr) is Peer and addr.origin is self._receiveBatch.peers:
            return addr
        return None if self._delivery is None else self._delivery.find(addr)

    def _flush(self) -> None:
        """
        Send what has been written while a batch is being delivered.
        """
        if self._delivery is not None and self.connected:
            datagrams, peers = self._delivery.take()
            if datagrams:
                self._send(datagrams, peers)

    def _writeNow(self, datagram: bytes, peer: Peer | None, addr: Any = None) -> None:
        try:
            if peer is None:
                super().write(datagram, addr)
            else:
                sent = self.socket.sendmsg([datagram], peer.control, 0, peer.name)
                self._sentBytes += sent
        except MessageLengthError:
            self._sendFailed([EMSGSIZE])
        except OSError as e:
            self._sendFailed([e.errno or 0])

    def _send(self, datagrams: Sequence[bytes], peers: Sequence[Peer]) -> None:
        if len(datagrams) == 1:
            # What is alone does not gain from being prepared like a batch.
            self._writeNow(datagrams[0], peers[0])
            return
        errors = self._sendBatch.send(datagrams, peers)
        if errors:
            self._sendFailed(errors)

    def _sendFailed(self, errors: Sequence[int]) -> None:
        if ECONNREFUSED in errors:
            self._peerFailed(OSError(ECONNREFUSED, strerror(ECONNREFUSED)))
        tell = getattr(self.protocol, "sendFailed", None)
        for number, count in Counter(errors).items():
            self.sendErrors[number] += count
            # What it writes when it is told may fail too.
            if tell is None or self._isTelling:
                continue
            outer, self._delivery = self._delivery, None
            self._isTelling = True
            try:
                tell(number, count)
            except BaseException:
                self._log.failure("sendFailed raised")
            finally:
                self._delivery, self._isTelling = outer, False

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Send what has been written, and close the socket.
        """
        self._flush()
        super().connectionLost(reason)


def _bytes(datagram: Any) -> bytes:
    """
    Return what anything holds that has bytes; they may change later.
    """
    return datagram if type(datagram) is bytes else memoryview(datagram).tobytes()


_isToGroup = attrgetter("isMulticastOrBroadcast")


class PendingReplies:
    """
    A batch on its way to the protocol, and what that writes meanwhile.

    @ivar peers: for each datagram its peer.
    @type peers: L{Sequence} of L{Peer}

    @ivar peer: the peer whose datagram is being delivered.
    @type peer: L{Peer}
    """

    peer: Peer

    def __init__(self, peers: Sequence[Peer]) -> None:
        """
        @param peers: for each datagram its peer.
        """
        self.peers = peers
        self._written: list[bytes] = []
        self._addressees: list[Peer] = []
        self._named: dict[Any, Peer] = {}

    def find(self, addr: Any) -> Peer | None:
        """
        Return the peer with an address, if it is among those of the batch.
        """
        if addr == self.peer:
            return self.peer
        if not self._named:
            self._named = dict(zip(self.peers, self.peers))
        return self._named.get(addr)

    def write(self, datagram: bytes, peer: Peer) -> int:
        """
        Keep a datagram that is to be sent.

        @return: how many are kept now.
        """
        self._written.append(datagram)
        self._addressees.append(peer)
        return len(self._written)

    def take(self) -> tuple[Sequence[bytes], Sequence[Peer]]:
        """
        Return the datagrams that were kept, and whom they are for, and keep
        them no longer.
        """
        taken = self._written, self._addressees
        self._written, self._addressees = [], []
        return taken
