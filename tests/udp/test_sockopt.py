"""
Tests for L{shout.udp.sockopt}.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.udp.sockopt import allowFragments, omitFlowLabel
from tests.families import needsIPv6, needsIPv6Sockets


class SendOptionTests(SynchronousTestCase):
    """
    Tests for L{allowFragments} and L{omitFlowLabel}.
    """

    def test_unix(self) -> None:
        """
        A UNIX socket has no fragments, and no flow label.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    @needsIPv6Sockets
    def test_unsupported(self) -> None:
        """
        If the system does not support an option, the socket works without it.
        """

        class OldSocket(socket.socket):
            """
            A socket of a system that has no options.
            """

            def setsockopt(self, *_: Any) -> None:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")

        with OldSocket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            self.assertFalse(allowFragments(sock, False))
            omitFlowLabel(sock)

    @needsIPv6
    def test_flowLabel(self) -> None:
        """
        Datagrams of a connected IPv6 socket have a flow label, unless it is omitted.
        """
        (server,) = bindUDP(0, ["::1"])
        self.addCleanup(server.close)
        # IPV6_FLOWINFO: a datagram without a label has no such control message.
        server.setsockopt(socket.IPPROTO_IPV6, 11, 1)
        for isOmitted in (False, True):
            with connectUDP("::1", server.getsockname()[1]) as sock:
                if isOmitted:
                    omitFlowLabel(sock)
                sock.send(b"x")
            _, ancillary, _, _ = server.recvmsg(1, 128)
            labels = [data for _, kind, data in ancillary if kind == 11]
            self.assertEqual(len(labels), 0 if isOmitted else 1)

    if sys.platform != "linux":
        test_flowLabel.skip = "only Linux draws flow labels"  # type: ignore[attr-defined]
