"""
A connection to a web site, without a network.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransport

from shout.status.site import HardenedSite

PEER = IPv4Address("TCP", "192.0.2.1", 4000)


class Wire(StringTransport):
    """
    A connection from a client that a test plays.

    @ivar isShut: C{True} if the site has shut down its write side.

    @ivar isClosed: C{True} if the site has closed the connection.

    @ivar isCutOff: C{True} if the site has aborted the connection.
    """

    def __init__(
        self,
        site: HardenedSite,
        reads: bool = True,
        peer: IAddress = PEER,
        descriptor: int = 10,
    ) -> None:
        """
        @param reads: C{True} if the client reads what is sent to it.

        @param descriptor: Number of the file descriptor.
        """
        super().__init__(peerAddress=peer)
        self.isShut = self.isClosed = self.isCutOff = False
        self._reads = reads
        self._descriptor = descriptor
        self.protocol: Any = site.buildProtocol(self.getPeer())
        if self.protocol is not None:
            self.protocol.makeConnection(self)

    def send(self, data: bytes) -> None:
        """
        Send bytes to the site, if it still reads.
        """
        if not self.isClosed:
            self.protocol.dataReceived(data)

    def ask(self, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """
        Send a request, and return the status, the headers and the body of the answer.
        """
        self.clear()
        text = "".join(f"{line}\r\n" for line in (*lines, "Host: shout", ""))
        self.send(text.encode("latin-1") + body)
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """
        Return the status, the headers and the body of what has come; a status
        of 0 when that is nothing.
        """
        if not self.value():
            return 0, {}, b""
        head, _, body = self.value().partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        pairs = (header.partition(": ") for header in headers)
        return (
            int(status.split()[1]),
            {name.lower(): value for name, _, value in pairs},
            body,
        )

    def fileno(self) -> int:
        return self._descriptor

    def loseWriteConnection(self) -> None:
        self.isShut = True
        if self._reads:
            self.protocol.writeConnectionLost()

    def loseConnection(self) -> None:
        super().loseConnection()
        if not self.isClosed:
            self.isClosed = True
            self.protocol.connectionLost(connectionDone)

    def abortConnection(self) -> None:
        self.isCutOff = True
        self.loseConnection()
