"""
Tests for L{shout.udp.listening} on the reactors for Unix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp import listening, listenUDP
from tests.batches import needsBatches
from tests.udp.fakes import RecordingProtocol
from tests.udp.reactors import REACTORS

if TYPE_CHECKING:
    Mixin = SynchronousTestCase
else:
    Mixin = object


class BatchedListenUDPTestsBuilder(ReactorBuilder, Mixin):
    """
    Tests for L{listenUDP} where the batched port is available.
    """

    _reactors = REACTORS

    def test_replies(self) -> None:
        """
        A port receives datagrams, sends replies, and stops.
        """
        reactor = self.buildReactor()

        def react(datagram: bytes, addr: Any) -> None:
            port.write(datagram.upper(), addr)
            if datagram == b"last":
                port.stopListening().addCallback(lambda _: reactor.stop())

        protocol = RecordingProtocol(react)
        port = listenUDP(0, protocol, "127.0.0.1", reactor=reactor)
        with connectUDP(*port.socket.getsockname()) as client:
            for datagram in (b"first", b"second", b"last"):
                client.send(datagram)
            self.runReactor(reactor, timeout=60)
            replies = [client.recv(9) for _ in range(3)]
        self.assertEqual(replies, [b"FIRST", b"SECOND", b"LAST"])
        self.assertTrue(protocol.stopped)
        self.assertNotIn(port, reactor.getReaders())

    def test_flood(self) -> None:
        """
        A timer that is due gets its turn although more datagrams arrive all the time.
        """
        reactor = self.buildReactor()
        received = 0
        atTimer: list[int] = []

        def timer() -> None:
            atTimer.append(received)
            reactor.stop()

        def react(datagram: bytes, addr: Any) -> None:
            nonlocal received
            received += 1
            if received == 1:
                reactor.callLater(0, timer)
            # It would never end if it did not end here.
            if received < 100 * port.maxDatagrams:
                client.send(datagram)

        protocol = RecordingProtocol(react)
        port = listenUDP(0, protocol, "127.0.0.1", reactor=reactor)
        with connectUDP(*port.socket.getsockname()) as client:
            for _ in range(100):
                client.send(b"flood")
            self.runReactor(reactor, timeout=60)
        self.assertLessEqual(atTimer[0], 2 * port.maxDatagrams)

    def test_icmpErrors(self) -> None:
        """
        A connected port survives ICMP errors, and receives once its peer has started.
        """
        reactor = self.buildReactor()
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        server.close()

        class Persistent(RecordingProtocol):
            def startProtocol(self) -> None:
                transport: Any = self.transport
                transport.connect(*address)
                transport.write(b"refused")

            def connectionRefused(self) -> None:
                super().connectionRefused()
                if self.icmpErrors < 3:
                    port.write(b"refused")
                    return
                [peer] = bindUDP(address[1], [address[0]])
                with peer:
                    peer.sendto(b"started", port.socket.getsockname())

        protocol = Persistent(lambda datagram, addr: reactor.stop())
        port = listenUDP(0, protocol, "127.0.0.1", reactor=reactor)
        self.runReactor(reactor, timeout=60)
        self.assertEqual(protocol.received, [(b"started", address)])
        self.assertEqual(protocol.icmpErrors, 3)

    def test_icmpErrorAlone(self) -> None:
        """
        A connected port receives after an ICMP error that it has not answered.
        """
        reactor = self.buildReactor()
        [server] = bindUDP(0, ["127.0.0.1"])
        address = server.getsockname()
        server.close()

        def send() -> None:
            [peer] = bindUDP(address[1], [address[0]])
            with peer:
                peer.sendto(b"started", port.socket.getsockname())

        protocol = RecordingProtocol(lambda datagram, addr: reactor.stop())
        protocol.connectionRefused = lambda: reactor.callLater(0.1, send)  # type: ignore[method-assign]
        port = listenUDP(0, protocol, "127.0.0.1", reactor=reactor)
        port.connect(*address)
        reactor.callWhenRunning(port.write, b"refused")
        self.runReactor(reactor, timeout=60)
        self.assertEqual(protocol.received, [(b"started", address)])


class PortableListenUDPTestsBuilder(BatchedListenUDPTestsBuilder):
    """
    Tests for L{listenUDP} where the batched port is missing.
    """

    def buildReactor(self) -> Any:
        self.patch(listening, "available", False)
        return super().buildReactor()


globals().update(PortableListenUDPTestsBuilder.makeTestCaseClasses())
globals().update(
    (name, needsBatches(case))
    for name, case in BatchedListenUDPTestsBuilder.makeTestCaseClasses().items()
)
