"""
Tests for L{shout.workers.channel}.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from shout.workers.channel import Channel
from tests.asynccase import AsyncCase


class RecordingChannel(Channel):
    """
    Records the values of each message with the name C{news}.
    """

    def __init__(self) -> None:
        self.news: list[Any] = []
        self.firstNews: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()

    def handleNews(self, *values: Any) -> None:
        self.news.append(values)
        if not self.firstNews.called:
            self.firstNews.callback(None)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed.callback(None)


class ChannelTests(SynchronousTestCase):
    """
    Tests for L{Channel}.
    """

    def test_roundTrip(self) -> None:
        """
        Messages arrive with their values, in pieces of any length.
        """
        messages: list[tuple[Any, ...]] = [
            (),
            (None, True, False, 0, -1, 2**64, 0.5, ""),
            ("\n", "zwei\r\n", "\0", "\u2028", "\N{PILE OF POO}", "\ud800", '"\\'),
            ([], {}, [[1, "a"], {"": [None]}], {"a\n": {"b": [2, {}]}}),
            ("x" * 100,),
        ]
        sender, transport = Channel(), StringTransport()
        sender.makeConnection(transport)
        for message in messages:
            sender.send("news", *message)
        sent = transport.value()
        for size in range(1, len(sent) + 1):
            receiver = RecordingChannel()
            receiver.makeConnection(StringTransport())
            for start in range(0, len(sent), size):
                receiver.dataReceived(sent[start : start + size])
            self.assertEqual(receiver.news, messages)

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
        Two channels on a pair of sockets exchange messages; the sockets themselves are
        closed.
        """
        ends = RecordingChannel(), RecordingChannel()
        for end, sock in zip(ends, socket.socketpair()):
            end.open(sock, reactor)
            self.assertEqual(sock.fileno(), -1)
        ends[0].send("news", 1)
        await ends[1].firstNews
        self.assertEqual(ends[1].news, [(1,)])
        for end in ends:
            end.transport.loseConnection()
            await end.closed
