"""
A UDP port for many datagrams per system call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from errno import EMSGSIZE
from operator import is_
from socket import AF_INET, AF_UNIX
from socket import socket as Socket
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from shout._mmsg import available
from shout.answering import AnsweringProtocol
from shout.batch import SLOTS, Batch
from shout.peer import Peer
from shout.port import DatagramPort


def listen(sock: Socket, protocol: DatagramProtocol, reactor: Any) -> DatagramPort:
    """
    Run a protocol on a socket: on a L{BatchedPort} for UDP where the system can
    do that, and on a L{DatagramPort} otherwise.

    @param sock: a bound or connected datagram socket that does not block; the
        port closes it.

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
    is through, in order; what it writes otherwise is sent at once.  A reply
    leaves from the local address that its peer has asked.

    What cannot be sent is counted and does not raise.

    An L{AnsweringProtocol<shout.answering.AnsweringProtocol>} is asked for the
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

    maxDatagrams = 512
    maxBytes = 1 << 20

    def _bindSocket(self) -> None:
        super()._bindSocket()
        self.sendErrors: Counter[int] = Counter()
        self._batch = Batch(self.socket)
        # The UDP header's length field less the headers (RFC 768, 791, 8200).
        self._maxPayload = 65507 if self.addressFamily == AF_INET else 65527
        self._peers: list[Peer] = []
        # What was written, and to whom, while a batch is being delivered.
        self._replies: list[bytes] | None = None
        self._addressees: list[Any] = []

    def doRead(self) -> None:
        """
        Deliver what has arrived, as far as one visit goes.
        """
        count = size = 0
        while count < self.maxDatagrams and size < self.maxBytes:
            datagrams = self._readBatch()
            # A batch that is far from full says that nothing more waits.
            if len(datagrams) <= SLOTS // 2 or not self.connected:
                return
            count += len(datagrams)
            size += sum(map(len, datagrams))

    def _read(self, maxDatagrams: int) -> int:
        return len(self._readBatch())

    def _readBatch(self) -> Sequence[bytes]:
        try:
            datagrams, self._peers = self._batch.receive()
        except BlockingIOError:
            return ()
        except OSError as e:
            self._peerFailed(e)
            return ()
        if len(datagrams) == 1:
            # A reply that comes alone does not gain from waiting.
            self._deliver(datagrams)
        elif not self._answer(datagrams):
            self._replies, self._addressees = [], []
            self._deliver(datagrams)
            self._flush()
            self._replies = None
        self._peers = []
        return datagrams

    def _answer(self, datagrams: Sequence[bytes]) -> bool:
        """
        Have the protocol answer all datagrams in one call, if it is made for
        that and none of them is special.
        """
        received = getattr(self.protocol.datagramReceived, "__func__", None)
        if received is not AnsweringProtocol.datagramReceived or self._batch.toGroups:
            return False
        indices: Sequence[int] = range(len(datagrams))
        try:
            replies = self.protocol.answer(datagrams, self._peers)
            if len(replies) != len(datagrams):
                raise ValueError("there must be one answer for each datagram")
            if None in replies:
                indices = [i for i in indices if replies[i] is not None]
                replies = [replies[i] for i in indices]
            if not replies or not self.connected:
                return True
            errors = self._batch.send(replies, indices)
        except Exception:
            # One by one it will show which of them it is, and the rest goes on.
            return False
        self._sendFailed(errors)
        return True

    def _deliver(self, datagrams: Sequence[bytes]) -> None:
        received = groupReceived = self.protocol.datagramReceived
        toGroups = set(self._batch.toGroups)
        if toGroups:
            groupReceived = getattr(self.protocol, "groupDatagramReceived", received)
        for index, (datagram, peer) in enumerate(zip(datagrams, self._peers)):
            try:
                if index in toGroups:
                    groupReceived(datagram, peer)
                else:
                    received(datagram, peer)
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
        if len(datagram) > self._maxPayload:
            raise MessageLengthError("message too long")
        if type(addr) is not Peer:
            addr = self._find(addr)
        if self._replies is None or type(addr) is not Peer:
            self._flush()
            self._writeNow(datagram, addr)
            return
        if type(datagram) is not bytes:
            datagram = memoryview(datagram).tobytes()
        self._replies.append(datagram)
        self._addressees.append(addr)
        if len(self._replies) == SLOTS:
            self._flush()

    def _find(self, addr: Any) -> Any:
        """
        Return the peer with an address, if it is among those being delivered,
        or else the address.
        """
        for peer in reversed(self._peers):
            if peer == addr:
                return peer
        return addr

    def _writeNow(self, datagram: bytes, addr: Any) -> None:
        try:
            if type(addr) is Peer:
                self.socket.sendmsg([datagram], addr.control, 0, addr.name)
            else:
                super().write(datagram, addr)
        except MessageLengthError:
            self._sendFailed([EMSGSIZE])
        except OSError as e:
            self._sendFailed([e.errno or 0])

    def _flush(self) -> None:
        """
        Send what has been written while a batch is being delivered.
        """
        if not self._replies:
            return
        replies, self._replies = self._replies, []
        addressees, self._addressees = self._addressees, []
        # Equal peers can have asked different addresses.
        if len(addressees) == len(self._peers) and all(
            map(is_, addressees, self._peers)
        ):
            self._sendFailed(self._batch.send(replies, range(len(replies))))
            return
        indexOf = {id(peer): index for index, peer in enumerate(self._peers)}
        indices = [indexOf.get(id(peer), -1) for peer in addressees]
        if -1 not in indices:
            self._sendFailed(self._batch.send(replies, indices))
            return
        # A peer of an earlier batch is among them.
        for reply, peer in zip(replies, addressees):
            self._writeNow(reply, peer)

    def _sendFailed(self, errors: Sequence[int]) -> None:
        if not errors:
            return
        for number, count in Counter(errors).items():
            self.sendErrors[number] += count
            tell = getattr(self.protocol, "sendFailed", None)
            if tell is not None:
                try:
                    tell(number, count)
                except BaseException:
                    self._log.failure("sendFailed raised")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Send what has been written, and close the socket.
        """
        self._flush()
        # Whatever is written from now on must not reach the descriptor, which
        # may soon be somebody else's.
        self._replies, self._peers = None, []
        super().connectionLost(reason)
