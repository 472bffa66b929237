"""
Tests for L{shout.sockets.unix}.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUNIX
from shout.sockets.unix import connectUNIX
from tests.directory import shortDirectory

ISROOT = hasattr(os, "geteuid") and os.geteuid() == 0


class BindUNIXTests(SynchronousTestCase):
    """
    Tests for L{bindUNIX}.
    """

    def setUp(self) -> None:
        self.folder = shortDirectory(self)
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        self.path = os.path.join(self.folder, "s")

    def bind(self, path: str) -> socket.socket:
        """
        Bind a socket that is closed when the test ends.
        """
        sock = bindUNIX(path)
        self.addCleanup(sock.close)
        return sock

    def explanation(self, path: str) -> str:
        """
        Fail to bind, and return the one line that says why.
        """
        message = str(self.assertRaises(BindError, self.bind, path))
        self.assertNotIn("\n", message)
        return message

    def test_relativePath(self) -> None:
        """
        A relative path is bound as an absolute one.
        """
        self.assertEqual(self.bind("s").getsockname(), self.path)

    def test_everyUserMayWrite(self) -> None:
        """
        Every user may write to the socket, whatever the umask.
        """
        self.addCleanup(os.umask, os.umask(0o077))
        self.bind("s")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o666)

    def test_doesNotBlock(self) -> None:
        """
        The socket does not block.
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
        Closing the socket raises nothing where the path cannot be removed.
        """
        sock = self.bind("s")
        self.patch(os, "unlink", lambda path: os.rmdir(path))
        sock.close()
        self.assertTrue(os.path.exists(self.path))

    def test_somebodyElses(self) -> None:
        """
        Closing the socket leaves what others have put at the path since.
        """
        sock = self.bind("s")
        os.rename(self.path, self.path + "moved")
        with open(self.path, "w"):
            sock.close()
        self.assertTrue(os.path.isfile(self.path))

    def test_leftover(self) -> None:
        """
        A path that a killed server has left behind is taken over.
        """
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as killed:
            killed.bind(self.path)
        self.assertTrue(os.path.exists(self.path))
        self.assertEqual(self.bind("s").getsockname(), self.path)

    def test_alive(self) -> None:
        """
        A path that somebody listens on is in use, and goes on working.
        """
        alive = self.bind("s")
        self.assertIn("already in use", self.explanation("s"))
        with closing(connectUNIX("s")) as client:
            client.send(b"still here")
        self.assertEqual(alive.recv(100), b"still here")

    def test_aliveAndConnected(self) -> None:
        """
        A path whose socket hears from one peer alone is in use.
        """
        alive = self.bind("s")
        alive.connect(self.bind("peer").getsockname())
        self.assertIn("already in use", self.explanation("s"))

    def test_aliveStream(self) -> None:
        """
        A path of a listening stream socket is in use.
        """
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stream:
            stream.bind(self.path)
            stream.listen()
            self.assertIn("already in use", self.explanation("s"))

    def test_notASocket(self) -> None:
        """
        A file, a folder and a symbolic link are no sockets, and are left
        unharmed.
        """
        with open("file", "w") as f:
            f.write("precious")
        os.mkdir("folder")
        os.symlink("nowhere", "link")
        for name in ("file", "folder", "link"):
            self.assertIn("is not a socket", self.explanation(name))
        with open("file") as f:
            self.assertEqual(f.read(), "precious")
        self.assertTrue(os.path.islink("link"))

    def test_noFolder(self) -> None:
        """
        A path in a folder that does not exist wants the folder created.
        """
        self.assertIn("create it first", self.explanation("none/s"))

    def test_tooLong(self) -> None:
        """
        A path that does not fit a socket address is said to be too long, with
        its length.
        """
        message = self.explanation("x" * 200)
        self.assertIn("too long", message)
        self.assertIn(f"{len(self.folder) + 201} bytes", message)

    def test_empty(self) -> None:
        """
        No path, and what no path can be, are no places for a socket.
        """
        self.assertIn("is empty", self.explanation(""))
        self.assertIn("not a path", self.explanation("a\0b"))

    @skipUnless(ISROOT, "shedding privileges needs root")
    def test_unwritable(self) -> None:
        """
        A folder that may not be written to is said so.
        """
        os.chmod(self.folder, 0o755)
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertIn("no permission", self.explanation(self.path))

    @skipUnless(sys.platform == "linux", "abstract names exist on Linux alone")
    def test_abstract(self) -> None:
        """
        A name with an C{@} before it is bound as an abstract one.
        """
        name = f"shout-test-{os.getpid()}"
        sock = self.bind("@" + name)
        self.assertEqual(sock.getsockname(), b"\0" + name.encode())
        self.assertIn(f"@{name} is already in use", self.explanation("@" + name))


class ConnectUNIXTests(SynchronousTestCase):
    """
    Tests for L{connectUNIX}.
    """

    def test_UNIXHasAName(self) -> None:
        """
        A connected UNIX socket has a name that the peer can reply to.
        """
        with bindUNIX(os.path.join(shortDirectory(self), "s")) as server:
            client = connectUNIX(server.getsockname())
            self.addCleanup(client.close)
            client.send(b"x")
            self.assertEqual(server.recvfrom(100), (b"x", client.getsockname()))

    def test_nobodyThere(self) -> None:
        """
        Connecting to a UNIX path at which nobody listens fails.
        """
        self.assertRaises(
            FileNotFoundError, connectUNIX, os.path.join(shortDirectory(self), "s")
        )
