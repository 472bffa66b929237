"""
The protocol of the asking side.
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
    A datagram was not answered as it should be.  The message is one line for
    the user.
    """


class NoAnswer(AskError):
    """
    No reply came in the time allowed.

    @ivar isFixedPoint: whether what was asked equals the reply to it, in which
        case a server may have restrained it to end a loop.
    @type isFixedPoint: L{bool}
    """

    def __init__(self, message: str, isFixedPoint: bool = False) -> None:
        super().__init__(message)
        self.isFixedPoint = isFixedPoint


class Refused(AskError):
    """
    Nothing is listening there: an ICMP port unreachable came back, or nobody
    has the UNIX socket.
    """


class UnknownHost(AskError):
    """
    A host's name leads to no address.
    """


class Unreachable(AskError):
    """
    The system has no way to send the datagram there.
    """


class TooLong(AskError):
    """
    What was asked does not fit in one datagram.
    """


class WrongAnswer(AskError):
    """
    Replies came in the time allowed, but not the right one.

    @ivar reply: the first of them.
    @type reply: L{bytes}

    @ivar count: the number of them.
    @type count: L{int}
    """

    def __init__(self, message: str, reply: bytes, count: int = 1) -> None:
        super().__init__(message)
        self.reply = reply
        self.count = count


@dataclass(eq=False)
class _Request:
    """
    A datagram that waits for its reply.
    """

    datagram: bytes
    expected: bytes
    began: float
    answer: Deferred[bytes]
    tries: int = 0
    timer: IDelayedCall | None = None
    wrongReply: bytes = b""
    wrongReplies: int = 0


# A reply carries nothing but text, so it is told by its content which request
# it answers.  Replies may overtake each other, and may come twice, because the
# network doubled the datagram or because it was sent again too early.  So what
# was expected by the requests settled last is remembered, as hashes, to tell a
# reply that is late from one that is wrong.  A wrong reply counts for the request
# that it would answer if it were transformed (a server that echoes), or else for
# the oldest in flight.  It does not end that request: anybody who can forge a
# source address can send one.
class RequestProtocol(DatagramProtocol):
    """
    Ask one peer through one connected port, any number of requests at a time.

    @cvar pause: how long to wait, in seconds, when the system has no room for a
        datagram at the moment.
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
        @param peer: who is asked, for messages.

        @param timeout: how long one try waits for its reply, in seconds.

        @param retries: how many times a datagram is sent again.

        @param transform: turns a datagram into the reply expected.

        @param onUnexpectedReply: called with the first wrong reply to each request
            and the reply expected; also with each reply that comes when no request
            is in flight and that is no late one, and L{None}.

        @param reactor: an L{IReactorTime
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
        Tell whether nothing is in flight.
        """
        return not self._inFlight

    def isFixedPoint(self, datagram: bytes) -> bool:
        """
        Tell whether a datagram equals the reply to it.
        """
        return self._transform(datagram) == datagram

    def ask(self, datagram: bytes) -> Deferred[bytes]:
        """
        Send a datagram, again if need be, until its reply comes.

        @param datagram: the payload.

        @return: fires with the reply, or fails with an L{AskError}.  Cancelling
            it gives up.
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
        # A refusal of what was sent before can show in the attempt to write.
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
        """
        Match a reply with a request in flight.

        @param datagram: the reply.

        @param addr: not looked at: a connected socket hears its peer alone.
        """
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
        """
        Fail all requests in flight.
        """
        reason = "nothing is listening there"
        error = getattr(self.transport, "peerError", None)
        if error is not None and error.errno != ECONNREFUSED:
            reason = f"{error.strerror}, says the network"
        message = f"{self._peer} refused: {reason}"
        self._failAll(lambda: Refused(message))

    def stopProtocol(self) -> None:
        """
        Fail all requests in flight.
        """
        self._failAll(lambda: AskError(f"no longer asking {self._peer}"))

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
