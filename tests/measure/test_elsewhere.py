"""
Tests for replies from other addresses than the target's.
"""

from __future__ import annotations

import socket
import sys
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout.measure.probe import ELSEWHERE
from shout.measure.result import REPLY, WRONG
from shout.measure.target import SocketOptions, openBeside
from shout.sockets.bind import bindUDP, connectUDP
from shout.udp.icmp import ICMPError
from tests.cli.command import CommandCase
from tests.families import LOOPBACK
from tests.measure.fakes import FakePing

needsLinux = skipUnless(sys.platform == "linux", "it needs Linux")


class TrackerTests(SynchronousTestCase):
    """
    Tests for C{ProbeTracker.replyFromElsewhereReceived}.
    """

    def setUp(self) -> None:
        self.ping = FakePing(flows=2, count=4, interval=0.1)
        self.ping.start()
        self.ping.advance(0.35)

    def receive(self, flow: int, reply: bytes, sender: str = "192.0.2.7:9") -> None:
        self.ping.session.flows[flow].replyFromElsewhereReceived(reply, sender)

    def test_right(self) -> None:
        """
        A right reply from elsewhere is wrong, and names its sender.
        """
        self.receive(1, self.ping.ports[1].sent[0].upper())
        event = self.ping.events[-1]
        self.assertEqual((event.kind, event.number), (WRONG, 2))
        self.assertEqual(event.detail, "from 192.0.2.7:9")
        self.ping.advance(5)
        result = self.ping.result()
        self.assertEqual(result.kinds, {ELSEWHERE: 1})
        self.assertEqual(result.elsewhere, {"192.0.2.7:9": 1})
        self.assertEqual((result.answeredWrong, result.lost), (1, 3))
        self.assertEqual([len(flow.elsewhere) for flow in result.flows], [0, 1])

    def test_others(self) -> None:
        """
        Anything else from elsewhere is ignored.
        """
        probe = self.ping.ports[0].sent[0]
        for datagram in (b"", probe, probe.upper()[:-1]):
            self.receive(0, datagram)
            self.receive(1, probe.upper())
        self.assertEqual(self.ping.events, [])

    def test_manySenders(self) -> None:
        """
        A bounded number of senders is remembered.
        """
        reply = self.ping.ports[0].sent[0].upper()
        for number in range(100):
            self.receive(0, reply, f"192.0.2.7:{number}")
        self.assertEqual(len(self.ping.result().elsewhere), 16)
        self.assertEqual(self.ping.result().wrong, 100)

    def test_manyErrors(self) -> None:
        """
        A bounded number of different ICMP errors is remembered, and all are counted.
        """
        for number in range(100):
            error = ICMPError(f"fragmentation needed (MTU {number})", "192.0.2.7")
            self.ping.flow.icmpErrorReceived(error)
        errors = self.ping.result().icmpErrors
        self.assertEqual((len(errors), sum(errors.values())), (17, 100))
        self.assertEqual(errors["other ICMP errors", None], 84)


@needsLinux
class OpenBesideTests(SynchronousTestCase):
    """
    Tests for L{openBeside}.
    """

    def test_sorted(self) -> None:
        """
        The connected socket receives what its peer sends, and the other one what others
        send.
        """
        for address in LOOPBACK:
            peer, other = bindUDP(0, [address]) + bindUDP(0, [address])
            sock = connectUDP(address, peer.getsockname()[1])
            (beside,) = openBeside([sock], SocketOptions())
            for each in (peer, other, sock, beside):
                self.addCleanup(each.close)
            name = sock.getsockname()
            for _ in range(3):
                other.sendto(b"other", name)
                peer.sendto(b"peer", name)
                self.assertEqual((sock.recv(9), beside.recv(9)), (b"peer", b"other"))

    def test_inUse(self) -> None:
        """
        If one cannot be opened, none is.
        """
        (server,) = bindUDP(0, ["127.0.0.1"])
        with server, connectUDP(*server.getsockname()) as sock:
            closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            closed.close()
            self.assertRaises(OSError, openBeside, [sock, closed], SocketOptions())


@needsLinux
class CommandTests(CommandCase):
    """
    Tests for C{shoutping} with a server that answers from another address.
    """

    async def test_elsewhere(self) -> None:
        """
        The text and the JSON have the address, and the status is that for wrong
        replies.
        """
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind(("127.0.0.1", 0))
        self.addCleanup(other.close)

        def answer(datagram: bytes) -> list[bytes]:
            other.sendto(datagram.upper(), peer.senders[-1])
            return []

        peer, port = self.misbehave(answer)
        target, options = f"127.0.0.1:{port}", ("-c", "2", "-i", "0.02", "-t", "0.2")
        status, out, _ = await self.ping(target, *options)
        where = f"127.0.0.1:{other.getsockname()[1]}"
        self.assertEqual(status, 3)
        self.assertIn(f"seq=1 wrong: from {where}", out)
        self.assertIn(
            f"replies from elsewhere, not from the target: 2 from {where}", out
        )
        _, result = await self.measure(target, *options)
        self.assertEqual(result["flows"][0]["answered_from"], [where])
        self.assertNotIn(REPLY, out)
