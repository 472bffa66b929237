"""
The protocol of requests: a datagram sent, and its reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from errno import EAGAIN, ECONNREFUSED, ENOBUFS
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol


class AskError(Exception):
    """
    A datagram did not get the right reply.  The message is one line for the user.
    """


class NoAnswer(AskError):
    """
    No reply arrived in time.

    @ivar isFixedPoint: C{True} if the datagram equals its reply, so that the loop
        protection of the server may have dropped it.
    """

    def __init__(self, message: str, isFixedPoint: bool = False) -> None:
        super().__init__(message)
        self.isFixedPoint = isFixedPoint


class Refused(AskError):
    """
    Nothing is listening there: an ICMP error arrived, or there is no UNIX socket.
    """


class UnknownHost(AskError):
    """
    A host name has no address.
    """


class Unreachable(AskError):
    """
    The system cannot send the datagram there.
    """


class TooLong(AskError):
    """
    The payload does not fit in one datagram.
    """


class WrongAnswer(AskError):
    """
    Only wrong replies arrived.

    @ivar reply: The first of them.

    @ivar count: The number of them.
    """

    def __init__(self, message: str, reply: bytes, count: int = 1) -> None:
        super().__init__(message)
        self.reply = reply
        self.count = count


@dataclass(eq=False)
class _Request:
    """
    A datagram in flight.
    """

    datagram: bytes
    expected: bytes
    began: float
    answer: Deferred[bytes]
    tries: int = 0
    timer: IDelayedCall | None = None
    wrongReply: bytes = b""
    wrongReplies: int = 0


# A reply has no field for the number of its request, so it is matched by its content.
# Replies may overtake each other, and may arrive twice, because the network duplicated
# the datagram or a try was sent too early.  Hashes of the replies to the last requests
# are kept to distinguish late replies from wrong ones.  A wrong reply counts for the
# request whose datagram it echoes, or else for the oldest in flight.  It does not end
# that request: anybody who can forge a source address can send one.
class RequestProtocol(DatagramProtocol):
    """
    Any number of requests to one peer, through one connected port.

    @cvar pause: Seconds to wait when a send buffer is full.
    """

    noisy = False

    pause = 0.01

    def __init__(
        self,
        peer: str,
        timeout: float,
        retries: int,
        transform: Callable[[bytes], bytes],
        onUnexpectedReply: Callable[[bytes, bytes | None], None],
        reactor: Any,
    ) -> None:
        """
        The other parameters are those of L{connect<shout.client.connect>}.

        @param peer: The name of the peer, for messages.

        @param reactor: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.
        """
        self._peer = peer
        self._timeout = timeout
        self._retries = retries
        self._transform = transform
        self._onUnexpectedReply = onUnexpectedReply
        self._reactor = reactor
        self._inFlight: dict[bytes, deque[_Request]] = {}
        self._settled: deque[int] = deque(maxlen=4096)

    @property
    def isIdle(self) -> bool:
        """
        C{True} if no request is in flight.
        """
        return not self._inFlight

    def isFixedPoint(self, datagram: bytes) -> bool:
        """
        Return C{True} if a datagram equals its reply.
        """
        return self._transform(datagram) == datagram

    def ask(self, datagram: bytes) -> Deferred[bytes]:
        """
        Send a datagram up to C{1 + retries} times, until its reply arrives.

        @return: The reply, or an L{AskError}.  Cancelling it gives the request up.
        """
        request = _Request(
            datagram,
            self._transform(datagram),
            self._reactor.seconds(),
            Deferred(lambda _: self._forget(request)),
        )
        self._inFlight.setdefault(request.expected, deque()).append(request)
        self._send(request)
        return request.answer

    def _send(self, request: _Request) -> None:
        assert self.transport is not None
        try:
            self.transport.write(request.datagram, None)
        except MessageLengthError:
            length = len(request.datagram)
            self._fail(request, TooLong(f"{length} bytes do not fit in a datagram"))
            return
        except OSError as e:
            if e.errno not in (EAGAIN, ENOBUFS):
                self._fail(request, Unreachable(f"{self._peer}: {e.strerror}"))
                return
            if self._elapsed(request) >= self._timeout * (1 + self._retries):
                self._giveUp(request)
                return
            delay, step = self.pause, self._send
        else:
            request.tries += 1
            delay, step = self._timeout, self._timedOut
        # An ICMP error about an earlier datagram can appear during the write.
        if not request.answer.called:
            request.timer = self._reactor.callLater(delay, step, request)

    def _timedOut(self, request: _Request) -> None:
        if request.tries > self._retries:
            self._giveUp(request)
        else:
            self._send(request)

    def _giveUp(self, request: _Request) -> None:
        tries = "1 try" if request.tries == 1 else f"{request.tries} tries"
        time = f"{tries} in {self._elapsed(request):.1f} seconds"
        if request.wrongReplies:
            self._fail(request, self._wrongAnswer(request, time))
            return
        message = f"no answer from {self._peer} to {time}"
        isFixedPoint = request.datagram == request.expected
        self._fail(request, NoAnswer(message, isFixedPoint))

    def _wrongAnswer(self, request: _Request, time: str) -> WrongAnswer:
        reply, count = request.wrongReply, request.wrongReplies
        message = f"{self._peer} answered {quoteDatagram(reply)}"
        message += f" instead of {quoteDatagram(request.expected)}"
        replies = "1 wrong reply" if count == 1 else f"{count} wrong replies"
        message += f" ({replies} to {time})"
        return WrongAnswer(message, reply, count)

    def _elapsed(self, request: _Request) -> float:
        return float(self._reactor.seconds()) - request.began

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answered = self._inFlight.get(datagram)
        if answered:
            request = answered[0]
            self._forget(request)
            request.answer.callback(datagram)
        elif hash(datagram) in self._settled:
            return
        elif self._inFlight:
            request = self._matchReply(datagram)
            request.wrongReplies += 1
            if request.wrongReplies == 1:
                request.wrongReply = datagram
                self._onUnexpectedReply(datagram, request.expected)
        else:
            self._onUnexpectedReply(datagram, None)

    def _matchReply(self, reply: bytes) -> _Request:
        echoed = self._inFlight.get(self._transform(reply))
        candidates = [echoed] if echoed else self._inFlight.values()
        return min((each[0] for each in candidates), key=lambda each: each.began)

    def connectionRefused(self) -> None:
        reason = "nothing is listening there"
        error = getattr(self.transport, "peerError", None)
        if error is not None and error.errno != ECONNREFUSED:
            reason = f"{error.strerror} (from the network)"
        message = f"{self._peer} refused: {reason}"
        self._failAll(lambda: Refused(message))

    def stopProtocol(self) -> None:
        self._failAll(lambda: AskError(f"the client of {self._peer} was closed"))

    def _failAll(self, error: Callable[[], AskError]) -> None:
        for request in [each for same in self._inFlight.values() for each in same]:
            if not request.answer.called:
                self._fail(request, error())

    def _fail(self, request: _Request, error: AskError) -> None:
        self._forget(request)
        request.answer.errback(error)

    def _forget(self, request: _Request) -> None:
        same = self._inFlight[request.expected]
        same.remove(request)
        if not same:
            del self._inFlight[request.expected]
        if request.timer is not None and request.timer.active():
            request.timer.cancel()
        self._settled.append(hash(request.expected))


def quoteDatagram(datagram: bytes) -> str:
    """
    Return a datagram as one short line of printable text, in quotes.
    """
    if len(datagram) <= 60:
        return repr(datagram)[1:]
    return f"{repr(datagram[:50])[1:]}... ({len(datagram)} bytes)"
