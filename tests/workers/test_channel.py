"""
Tests for L{shout.workers.channel}.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout.workers.channel import Channel
from tests.asynccase import AsyncCase

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


class Listener(Channel):
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.heard: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def handleNews(self, *values: Any) -> None:
        self.told.append(values)
        if not self.heard.called:
            self.heard.callback(None)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.gone.callback(None)


class ChannelTests(SynchronousTestCase):
    """
    Tests for L{Channel}.
    """

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.lists(values, max_size=3), max_size=5), st.integers(1, 50))
    def test_roundTrip(self, messages: list[list[Any]], size: int) -> None:
        """
        What one end tells the other end is told, in whatever pieces it comes.
        """
        speaker, listener = Channel(), Listener()
        transport = StringTransport()
        speaker.makeConnection(transport)
        listener.makeConnection(StringTransport())
        for message in messages:
            speaker.send("news", *message)
        sent = transport.value()
        for start in range(0, len(sent), size):
            listener.dataReceived(sent[start : start + size])
        self.assertEqual(listener.told, [tuple(message) for message in messages])

    def test_line(self) -> None:
        """
        A message is a line of JSON.
        """
        channel, transport = Channel(), StringTransport()
        channel.makeConnection(transport)
        channel.send("news", 1, "zwei\n")
        self.assertEqual(json.loads(transport.value()), ["news", 1, "zwei\n"])
        self.assertEqual(transport.value().count(b"\n"), 1)


class OpenTests(AsyncCase):
    """
    Tests for L{Channel.open}, with real sockets.
    """

    async def test_open(self) -> None:
        """
        Two ends of a pair of sockets talk to each other.
        """
        ends = Listener(), Listener()
        for end, sock in zip(ends, socket.socketpair()):
            end.open(sock, reactor)
            self.assertEqual(sock.fileno(), -1)
        ends[0].send("news", 1)
        await ends[1].heard
        self.assertEqual(ends[1].told, [(1,)])
        for end in ends:
            transport: Any = end.transport
            transport.loseConnection()
            await end.gone
