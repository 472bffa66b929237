"""
What a worker and its parent tell each other: lines of JSON.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver


class Channel(LineOnlyReceiver):
    """
    One end of it.  A message is a word and any number of values; the word C{stop}
    calls the method C{toldStop} with the values.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def send(self, word: str, *values: Any) -> None:
        """
        Send a message.

        @param word: what it is about, in lower case.

        @param values: what JSON knows.
        """
        assert self.transport is not None
        self.transport.write(json.dumps([word, *values]).encode() + b"\n")

    def lineReceived(self, line: bytes) -> None:
        """
        Take a message.
        """
        word, *values = json.loads(line)
        getattr(self, f"handle{word.capitalize()}")(*values)

    def open(self, sock: socket.socket, reactor: Any) -> None:
        """
        Begin to talk.

        @param sock: a connected UNIX stream socket; it is closed, and a copy used.

        @param reactor: an L{IReactorSocket
            <twisted.internet.interfaces.IReactorSocket>} provider.
        """
        sock.setblocking(False)
        factory = Factory.forProtocol(lambda: self)
        with sock:
            reactor.adoptStreamConnection(sock.fileno(), socket.AF_UNIX, factory)
