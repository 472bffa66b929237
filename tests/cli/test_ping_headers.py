"""
Tests for the options of C{shoutping} about addresses and IP headers.
"""

from __future__ import annotations

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
