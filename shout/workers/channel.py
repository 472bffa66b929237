"""
Messages between a worker and its supervisor: lines of JSON.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver


class Channel(LineOnlyReceiver):
    """
    One end of the connection.  A message is a name and any number of values: the
    message C{["stop"]} calls the method C{handleStop}.
    """

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def send(self, name: str, *values: Any) -> None:
        """
        Send a message.

        @param name: The name of the message, in lower case.

        @param values: Arguments for the method at the other end, as JSON allows them.
        """
        self.transport.write(json.dumps([name, *values]).encode() + b"\n")

    def lineReceived(self, line: bytes) -> None:
        name, *values = json.loads(line)
        getattr(self, f"handle{name.capitalize()}")(*values)

    def open(self, sock: socket.socket, reactor: Any) -> None:
        """
        Start to send and receive.

        @param sock: A connected UNIX stream socket.  It is closed after the reactor
            has duplicated it.

        @param reactor: An L{IReactorSocket
            <twisted.internet.interfaces.IReactorSocket>} provider.
        """
        sock.setblocking(False)
        factory = Factory.forProtocol(lambda: self)
        with sock:
            reactor.adoptStreamConnection(sock.fileno(), socket.AF_UNIX, factory)
