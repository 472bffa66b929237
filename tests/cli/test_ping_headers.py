"""
Tests for the options of C{shoutping} about addresses and IP headers.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from shout.measure.sender import Sender
from tests.cli.command import CommandCase


class SourceTests(CommandCase):
    """
    Tests for C{-I}.
    """

    async def test_source(self) -> None:
        """
        Datagrams are sent from the address, or through the device; so are those of
        the searches.
        """
        for options in ("-c 2 -i 0.01", "--mtu -t 0.1", "--find-rate"):
            peer, port = self.misbehave(lambda datagram: [datagram.upper()])
            words = (f"127.0.0.1:{port}", "-q", "-I", "127.0.0.2", *options.split())
            status, _, errors = await self.ping(*words)
            self.assertEqual((status, errors), (0, []))
            self.assertEqual({sender[0] for sender in peer.senders}, {"127.0.0.2"})

    async def test_wrong(self) -> None:
        """
        If the address or the device is not on this host, one line says so, and the
        status is 2.
        """
        target = f"127.0.0.1:{self.freePort()}"
        for source, error in (
            ("192.0.2.77", "192.0.2.77 is not an address of this host"),
            ("x77", "cannot send through x77: no such device"),
        ):
            for options in ("-c 1", "--json", "--mtu", "--find-rate", target):
                words = (target, "-I", source, *options.split())
                status, out, errors = await self.ping(*words)
                self.assertEqual((status, out, len(errors)), (2, "", 1))
                self.assertIn(error, errors[0])


class HeaderTests(CommandCase):
    """
    Tests for the TTL and the type of service of replies.
    """

    if sys.platform != "linux":
        skip = "only Linux has all options"

    def answerWith(self, *headers: tuple[int, int]) -> str:
        """
        Start a server that answers each datagram with the next TTL and type of service,
        and return its target.
        """
        left = iter(headers)

        def answer(datagram: bytes) -> list[bytes]:
            ttl, tos = next(left)
            port: Any = peer.transport
            port.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            port.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            return [datagram.upper()]

        peer, number = self.misbehave(answer)
        return f"127.0.0.1:{number}"

    async def test_text(self) -> None:
        """
        Each reply has its TTL.  A change of it, and a type of service other than that
        of the datagrams, is in the results.
        """
        target = self.answerWith((62, 184), (62, 0), (61, 0))
        options = ["-c", "3", "-i", "0.02", "-Q", "EF"]
        _, out, _ = await self.ping(target, *options)
        lines = out.splitlines()
        self.assertRegex(lines[1], r"seq=1 ttl=62 time=[\d.]+ ms$")
        self.assertRegex(lines[3], r"seq=3 ttl=61 time=[\d.]+ ms \(TTL was 62\)$")
        self.assertEqual(
            lines[-2:],
            [
                "replies arrived with TTL 62 (2) and 61 (1)",
                "2 of 3 replies came with DSCP 0 instead of 46 (EF)",
            ],
        )

    async def test_json(self) -> None:
        """
        Events have the TTL of the reply, and the object at the end what most replies
        had, also of each flow.
        """
        target = self.answerWith((62, 184), (61, 0), (62, 184))
        self.patch(Sender, "shuffle", staticmethod(lambda flows: None))
        options = (
            "--json-lines",
            "--flows",
            "2",
            "-c",
            "3",
            "-i",
            "0.02",
            "-Q",
            "0xb9",
        )
        _, out, _ = await self.ping(target, *options)
        _, *events, last = map(json.loads, out.splitlines())
        self.assertEqual([event["ttl"] for event in events], [62, 61, 62])
        for figures, ttl, tos in (
            (last, 62, 184),
            (last["flows"][0], 62, 184),
            (last["flows"][1], 61, 0),
        ):
            self.assertEqual(figures["ttl"], ttl)
            self.assertEqual(figures["tos"], {"sent": 185, "received": tos})

    async def test_sent(self) -> None:
        """
        The datagrams have the TTL and the type of service that were asked for.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            # IP_RECVTTL and IP_RECVTOS.
            for option in (12, 13):
                sock.setsockopt(socket.IPPROTO_IP, option, 1)
            options = ["-c", "1", "-t", "0.1", "-q", "--ttl", "9", "-Q", "AF41"]
            await self.ping(f"127.0.0.1:{sock.getsockname()[1]}", *options)
            _, messages, _, _ = sock.recvmsg(100, 100)
        received = {
            kind: int.from_bytes(data, sys.byteorder) for _, kind, data in messages
        }
        self.assertEqual(received, {socket.IP_TTL: 9, socket.IP_TOS: 136})
