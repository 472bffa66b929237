"""
Tests for L{shout.status.endpoint}.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
import warnings
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet import endpoints
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import BindError
from shout.sockets.unix import bindUNIX
from shout.status.endpoint import listenAt
from tests.asynccase import AsyncCase
from tests.directory import shortDirectory
from tests.families import eachFamily
from tests.properties import untimed


class RefusingFactory(Factory):
    """
    A factory that closes every connection.
    """

    def buildProtocol(self, addr: object) -> None:
        return None


class ListenAtTests(AsyncCase):
    """
    Tests for L{listenAt}, on real sockets.
    """

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.directory = shortDirectory(self)
        self.path = os.path.join(self.directory, "s")

    def listen(self, description: str) -> Any:
        """
        Listen until the test ends.
        """
        port: IListeningPort = listenAt(description, RefusingFactory(), self.reactor)
        self.addCleanup(port.stopListening)
        return port

    def failure(self, description: str) -> str:
        """
        Fail to listen, and return the error, which is one line.
        """
        message = str(self.assertRaises(BindError, self.listen, description))
        self.assertNotIn("\n", message)
        # Twisted does not close a socket that it could not bind.  It is garbage of the
        # youngest generations; a collection of all of them is slow.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect(1)
        return message

    def test_TCP(self) -> None:
        """
        A TCP endpoint listens at its IPv4 or IPv6 address.
        """
        for description, host in eachFamily(
            ("tcp:0:interface=127.0.0.1", "127.0.0.1"),
            (r"tcp6:0:interface=\:\:1", "::1"),
        ):
            port = self.listen(description)
            socket.create_connection((host, port.getHost().port)).close()

    def test_burst(self) -> None:
        """
        Each visit by the reactor accepts a bounded number of connections.
        """
        for description in "tcp:0:interface=127.0.0.1", f"unix:{self.path}":
            port = self.listen(description)
            accepted: list[object] = []
            port.factory.buildProtocol = accepted.append
            address = port.socket.getsockname()
            for _ in range(35):
                client = socket.socket(port.socket.family)
                self.addCleanup(client.close)
                client.connect(address)
            counts = []
            for _ in range(4):
                port.doRead()
                counts.append(len(accepted))
            self.assertEqual(counts, [10, 20, 30, 35])

    def test_inUse(self) -> None:
        """
        The error for a port in use has the endpoint.
        """
        taken = self.listen("tcp:0:interface=127.0.0.1").getHost().port
        description = f"tcp:{taken}:interface=127.0.0.1"
        self.assertIn(f"{description!r} is already in use", self.failure(description))

    def test_addressOfAnotherHost(self) -> None:
        """
        An address of another host (RFC 5737) is an error.
        """
        message = self.failure("tcp:0:interface=192.0.2.77")
        self.assertIn("not of this host", message)

    async def test_UNIX(self) -> None:
        """
        A UNIX endpoint listens at its path with the given mode and without a lock file,
        and the path is removed when the port is closed.
        """
        port: Any = listenAt(
            f"unix:{self.path}:mode=600", RefusingFactory(), self.reactor
        )
        self.assertEqual(os.listdir(self.directory), ["s"])
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        await port.stopListening()
        self.assertEqual(os.listdir(self.directory), [])

    def test_UNIXInUse(self) -> None:
        """
        The path of a listening stream or datagram socket is in use, and is not removed.
        """
        self.listen(f"unix:{self.path}")
        self.assertIn("already in use", self.failure(f"unix:{self.path}"))
        other = os.path.join(self.directory, "d")
        with bindUNIX(other):
            self.assertIn("already in use", self.failure(f"unix:{other}"))
            self.assertTrue(os.path.exists(other))

    def test_staleSocket(self) -> None:
        """
        The socket of a killed server is replaced.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
            killed.bind(self.path)
        self.listen(f"unix:{self.path}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.path)

    def test_fullBacklog(self) -> None:
        """
        The socket of a server whose backlog is full is in use, and not stale.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy:
            busy.bind(self.path)
            busy.listen(0)
            clients = []
            for _ in range(3):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.addCleanup(client.close)
                client.setblocking(False)
                clients.append(client.connect_ex(self.path))
            self.assertNotEqual(clients[-1], 0)
            self.assertIn("already in use", self.failure(f"unix:{self.path}"))

    def test_badPath(self) -> None:
        """
        There is an error for a path without a directory, for a path that is not a
        socket, and for a path that is too long.
        """
        self.assertIn("create it first", self.failure(f"unix:{self.directory}/no/s"))
        self.assertIn("not a socket", self.failure("unix:/dev/null"))
        self.assertIn("too long", self.failure(f"unix:{self.directory}/{'x' * 200}"))

    def test_abstract(self) -> None:
        """
        An abstract name is refused, and no file is made.
        """
        name = f"@shout-test-{os.getpid()}"
        self.assertIn(f"{name} is an abstract name", self.failure(f"unix:{name}"))
        self.assertFalse(os.path.exists(name))

    def test_cause(self) -> None:
        """
        The error for a port has the cause.
        """
        self.assertIn("(bind(): port must be 0-65535)", self.failure("tcp:99999"))
        self.assertIn("'http')", self.failure("tcp:http"))


class InvalidEndpointTests(SynchronousTestCase):
    """
    Tests for L{listenAt} with strings that are not endpoints, and a fake reactor.
    """

    def test_notAnEndpoint(self) -> None:
        """
        The error for an invalid endpoint quotes it, and has examples of valid ones.
        """
        for description in (
            "",
            ":",
            "9990",
            "tcp",
            "tcp:",
            "tcp:x",
            "tcp:1:2:3:4",
            "tcp:80:colour=red",
            "unix",
            "unix:s:mode=rwx",
            "carrier-pigeon:1149",
            "127.0.0.1:9990",
        ):
            error = self.assertRaises(
                BindError, listenAt, description, Factory(), MemoryReactorClock()
            )
            self.assertIn(repr(description), str(error))
            self.assertIn("tcp:9990:interface=127.0.0.1", str(error))
            self.assertIn(r"tcp6:9990:interface=\:\:1", str(error))
            self.assertNotIn("argument", str(error))

    @example("tcp:1:2:interface=")
    @example("ssl:443")
    @example("systemd:INET")
    @settings(untimed, max_examples=30)
    @given(st.text())
    def test_anyText(self, description: str) -> None:
        """
        Any text is an endpoint, or gives an error of one line.
        """
        try:
            listenAt(description, Factory(), MemoryReactorClock())
        except BindError as e:
            self.assertNotIn("\n", str(e))

    def test_delay(self) -> None:
        """
        An endpoint that needs time to start listening is cancelled, because a later
        failure would not reach the user.
        """
        listening: Deferred[Any] = Deferred()
        self.assertIn("needs time to start listening", self.failure(listening))
        self.assertTrue(listening.called)

    def test_doesNotListen(self) -> None:
        """
        An endpoint that returns no listening port, such as C{stdio:}, is refused.
        """
        self.assertIn(
            "does not listen for connections", self.failure(succeed(object()))
        )

    def failure(self, listening: Deferred[Any]) -> str:
        """
        Return the error for an endpoint whose C{listen} returns the given Deferred.
        """

        class OddEndpoint:
            prefix = "odd"

            def parseStreamServer(self, reactor: Any, *args: str) -> Any:
                return self

            def listen(self, factory: Factory) -> Deferred[Any]:
                return listening

        self.patch(endpoints, "getPlugins", lambda interface: [OddEndpoint()])
        error = self.assertRaises(
            BindError, listenAt, "odd:", Factory(), MemoryReactorClock()
        )
        return str(error)
