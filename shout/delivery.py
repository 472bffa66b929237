"""
What a protocol writes while it is given a batch of datagrams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shout.peer import Peer


class Delivery:
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
