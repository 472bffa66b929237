"""
Tests of connected ports on real reactors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.test import reactormixins
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.port import DatagramPort
from tests.udp.fakes import RecordingProtocol

if TYPE_CHECKING:
    Mixin = SynchronousTestCase
else:
    Mixin = object


REACTORS = [
    "twisted.internet.selectreactor.SelectReactor",
    "twisted.internet.pollreactor.PollReactor",
    "twisted.internet.epollreactor.EPollReactor",
    # Twisted 22.4 has no factory for the tests yet.
    "twisted.internet.test.reactormixins.AsyncioSelectorReactor"
    if hasattr(reactormixins, "AsyncioSelectorReactor")
    else "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "tests.udp.reactors.UvloopReactor",
]
"""
The reactors for Unix.
"""


def UvloopReactor(case: SynchronousTestCase) -> AsyncioSelectorReactor:
    """
    Make a reactor for a test that runs on uvloop.  Without uvloop the test is skipped.
    """
    import uvloop

    loop = uvloop.new_event_loop()
    case.addCleanup(loop.close)
    return AsyncioSelectorReactor(loop)


class ICMPErrorTestsBuilder(ReactorBuilder, Mixin):
    """
    Tests for a connected port on each of the reactors for Unix.

    The subclass that makes the test cases has to be in the module of the tests:
    C{trial -j} finds them by its name.

    @cvar portType: Called with a socket, a protocol and a reactor to make a port.
    """

    _reactors = REACTORS

    portType: Callable[..., DatagramPort]

    def test_icmpErrors(self) -> None:
        """
        A connected port reports each ICMP error, stays open, and receives from the peer
        once that has started.
        """
        reactor = self.buildReactor()
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        server.close()

        class Persistent(RecordingProtocol):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                if self.icmpErrors < 3:
                    port.write(b"refused")
                    return
                [peer] = bindUDP(address[1], [address[0]])
                with peer:
                    peer.sendto(b"started", port.socket.getsockname())

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)
                reactor.stop()

        protocol = Persistent()
        port = self.portType(connectUDP(*address), protocol, reactor)
        port.startListening()
        port.write(b"refused")
        self.runReactor(reactor, timeout=10)
        self.assertEqual(protocol.received, [(b"started", address)])
