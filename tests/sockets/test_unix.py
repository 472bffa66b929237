"""
Tests for L{shout.sockets.unix}.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUNIX
from shout.sockets import unix
from shout.sockets.unix import connectUNIX
from tests.directory import shortDirectory

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class BindUNIXTests(SynchronousTestCase):
    """
    Tests for L{bindUNIX}.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.directory)
        self.path = os.path.join(self.directory, "s")

    def bind(self, path: str) -> socket.socket:
        """
        Bind a socket, which is closed when the test ends.
        """
        sock = bindUNIX(path)
        self.addCleanup(sock.close)
        return sock

    def failure(self, path: str) -> str:
        """
        Fail to bind, and return the error, which is one line.
        """
        message = str(self.assertRaises(BindError, self.bind, path))
        self.assertNotIn("\n", message)
        return message

    def test_relativePath(self) -> None:
        """
        A relative path is made absolute.
        """
        self.assertEqual(self.bind("s").getsockname(), self.path)

    def test_permissions(self) -> None:
        """
        Every user may write to the socket, whatever the umask.
        """
        self.addCleanup(os.umask, os.umask(0o077))
        self.bind("s")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o666)

    def test_nonBlocking(self) -> None:
        """
        The socket is non-blocking.
        """
        self.assertFalse(self.bind("s").getblocking())

    def test_removed(self) -> None:
        """
        Closing the socket removes the path.
        """
        sock = self.bind("s")
        sock.close()
        self.assertFalse(os.path.lexists(self.path))
        sock.close()

    def test_cannotBeRemoved(self) -> None:
        """
        Closing the socket raises nothing if the path cannot be removed.
        """
        sock = self.bind("s")
        self.patch(os, "unlink", lambda path: os.rmdir(path))
        sock.close()
        self.assertTrue(os.path.exists(self.path))

    def test_replaced(self) -> None:
        """
        Closing the socket does not remove a path that has been replaced.
        """
        sock = self.bind("s")
        os.rename(self.path, self.path + "moved")
        with open(self.path, "w"):
            sock.close()
        self.assertTrue(os.path.isfile(self.path))

    def test_stale(self) -> None:
        """
        The stale socket of a killed server is replaced.
        """
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as stale:
            stale.bind(self.path)
        self.assertTrue(os.path.exists(self.path))
        self.assertEqual(self.bind("s").getsockname(), self.path)

    def test_inUse(self) -> None:
        """
        The path of a listening socket is in use, and the socket continues to work.
        """
        server = self.bind("s")
        self.assertIn("already in use", self.failure("s"))
        with closing(connectUNIX("s")) as client:
            client.send(b"still here")
        self.assertEqual(server.recv(100), b"still here")

    def test_inUseConnected(self) -> None:
        """
        The path of a connected socket is in use.
        """
        server = self.bind("s")
        server.connect(self.bind("peer").getsockname())
        self.assertIn("already in use", self.failure("s"))

    def test_inUseStream(self) -> None:
        """
        The path of a listening stream socket is in use.
        """
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stream:
            stream.bind(self.path)
            stream.listen()
            self.assertIn("already in use", self.failure("s"))

    def test_notASocket(self) -> None:
        """
        A file, a directory and a symbolic link are not sockets, and are not changed.
        """
        with open("file", "w") as f:
            f.write("precious")
        os.mkdir("directory")
        os.symlink("nowhere", "link")
        for name in ("file", "directory", "link"):
            self.assertIn("is not a socket", self.failure(name))
        with open("file") as f:
            self.assertEqual(f.read(), "precious")
        self.assertTrue(os.path.islink("link"))

    def test_noDirectory(self) -> None:
        """
        The error for a directory that does not exist is to create it.
        """
        self.assertIn("create it first", self.failure("none/s"))

    def test_tooLong(self) -> None:
        """
        The error for a path that is too long has its length.
        """
        message = self.failure("x" * 200)
        self.assertIn("too long", message)
        self.assertIn(f"{len(self.directory) + 201} bytes", message)

    def test_invalid(self) -> None:
        """
        An empty path and a path with a null byte are refused.
        """
        self.assertIn("is empty", self.failure(""))
        self.assertIn("not a path", self.failure("a\0b"))

    @skipUnless(ISROOT, "dropping privileges needs root")
    def test_unwritable(self) -> None:
        """
        A directory that may not be written to is refused.
        """
        os.chmod(self.directory, 0o755)
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertIn("no permission", self.failure(self.path))

    @skipUnless(sys.platform == "linux", "only Linux has abstract names")
    def test_abstract(self) -> None:
        """
        A path that begins with C{@} is an abstract name.
        """
        name = f"shout-test-{os.getpid()}"
        sock = self.bind("@" + name)
        self.assertEqual(sock.getsockname(), b"\0" + name.encode())
        self.assertIn(f"@{name} is already in use", self.failure("@" + name))


class ConnectUNIXTests(SynchronousTestCase):
    """
    Tests for L{connectUNIX}.
    """

    def test_name(self) -> None:
        """
        A connected socket has a name to which the peer can reply.
        """
        with bindUNIX(os.path.join(shortDirectory(self), "s")) as server:
            client = connectUNIX(server.getsockname())
            self.addCleanup(client.close)
            client.send(b"x")
            self.assertEqual(server.recvfrom(100), (b"x", client.getsockname()))

    def test_receivedEarlier(self) -> None:
        """
        Datagrams that arrived before the socket was connected are discarded.
        """
        server = bindUNIX(os.path.join(shortDirectory(self), "s"))
        self.addCleanup(server.close)
        connect = unix._PathSocket.connect

        def connectLate(client: socket.socket, address: Any) -> None:
            server.sendto(b"forged", client.getsockname())
            connect(client, address)

        self.patch(unix._PathSocket, "connect", connectLate)
        client = connectUNIX(server.getsockname())
        self.addCleanup(client.close)
        self.assertRaises(BlockingIOError, client.recv, 100)

    def test_noListener(self) -> None:
        """
        Connecting to a path fails if no process listens there.
        """
        self.assertRaises(
            FileNotFoundError, connectUNIX, os.path.join(shortDirectory(self), "s")
        )
