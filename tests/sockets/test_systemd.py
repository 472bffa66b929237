"""
Tests for L{shout.sockets.systemd}, and for C{twistd shout} with sockets from systemd.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from fcntl import F_GETFD, FD_CLOEXEC, fcntl
from unittest import skipUnless

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, ShoutService, bindUDP, bindUNIX
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.systemd import activationEnvironment, inheritedSockets
from shout.sockets.unix import connectUNIX
from shout.udp.batched import available
from shout.udp.peer import hostAndPort
from tests import launch
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK, hasIPv6Sockets
from tests.twistdcase import TIMEOUT, TwistdCase, ask, command

# What twistd does if its cache of plugins does not exist and cannot be written.
ERASE = """
import sys, twisted.internet.endpoints
from twisted.scripts.twistd import run
sys.exit(run())
"""


def systemdSockets(case: SynchronousTestCase, path: str) -> list[socket.socket]:
    """
    Make a socket of each address family as systemd does: they are blocking, and the
    IPv6 socket receives IPv4 too.  They are closed when the test ends.
    """
    sockets = []
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET6, ("::", 0)),
        (socket.AF_UNIX, path),
    ):
        if family == socket.AF_INET6 and not hasIPv6Sockets:
            continue
        sock = socket.socket(family, socket.SOCK_DGRAM)
        case.addCleanup(sock.close)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sockets.append(sock)
    return sockets


class InheritedSocketsTests(SynchronousTestCase):
    """
    Tests for L{inheritedSockets}.
    """

    first = 150

    def take(self, *sockets: socket.socket, **environ: str) -> list[socket.socket]:
        """
        Pass sockets to this process, and take them.
        """
        for place, sock in enumerate(sockets, self.first):
            os.dup2(sock.fileno(), place)
        self.addCleanup(os.closerange, self.first, self.first + len(sockets))
        variables = {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(sockets)),
            **environ,
        }
        taken = inheritedSockets(variables, self.first)
        for sock in taken:
            self.addCleanup(sock.close)
        return taken

    def failure(self, *sockets: socket.socket, **environ: str) -> str:
        """
        Fail to take sockets, and return the error, which is one line.
        """
        message = str(self.assertRaises(BindError, self.take, *sockets, **environ))
        self.assertNotIn("\n", message)
        return message

    def sockets(self) -> list[socket.socket]:
        """
        Return a blocking socket of each address family.
        """
        path = os.path.join(shortDirectory(self), "s")
        sockets = [*bindUDP(0, LOOPBACK), bindUNIX(path)]
        for sock in sockets:
            self.addCleanup(sock.close)
            sock.setblocking(True)
        return sockets

    def test_families(self) -> None:
        """
        Sockets of every address family are taken; all, some or none may have names.
        They are non-blocking and close-on-exec.
        """
        sockets = self.sockets()
        for names in ({}, {"LISTEN_FDNAMES": "a:b:c"}, {"LISTEN_FDNAMES": "a"}):
            taken = self.take(*sockets, **names)
            self.assertEqual(
                [(sock.family, sock.getsockname()) for sock in taken],
                [(sock.family, sock.getsockname()) for sock in sockets],
            )
            for sock in taken:
                self.assertFalse(sock.getblocking())
                self.assertTrue(fcntl(sock, F_GETFD) & FD_CLOEXEC)
                sock.close()

    def test_pathStays(self) -> None:
        """
        The path of a UNIX socket is not removed when it is closed.
        """
        *_, unix = self.sockets()
        [taken] = self.take(unix)
        taken.close()
        self.assertTrue(os.path.exists(unix.getsockname()))

    def test_nothing(self) -> None:
        """
        Without the variables, or with those for another process, there are no sockets.
        """
        for environ in (
            {},
            {"LISTEN_FDS": "1"},
            {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
            {"LISTEN_PID": str(os.getpid())},
            {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        ):
            self.assertEqual(inheritedSockets(environ, self.first), [])

    def test_stream(self) -> None:
        """
        A stream socket is refused with its number and its name.
        """
        with socket.socket() as stream:
            message = self.failure(stream, LISTEN_FDNAMES="shout.socket")
        self.assertIn("descriptor 150 (shout.socket)", message)
        self.assertIn("ListenDatagram=", message)

    def test_notBound(self) -> None:
        """
        A socket that is not bound is refused.
        """
        for family in {sock.family for sock in self.sockets()}:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                self.assertIn("not bound to an address", self.failure(sock))

    def test_notASocket(self) -> None:
        """
        A descriptor that is not a socket is refused.
        """
        for end in os.pipe():
            self.addCleanup(os.close, end)
            os.dup2(end, self.first)
            self.assertIn("is not a socket", self.failure(LISTEN_FDS="1"))

    def test_count(self) -> None:
        """
        A number of sockets that is too high, or not a number, is refused.
        """
        message = self.failure(self.sockets()[0], LISTEN_FDS="2")
        self.assertIn("descriptor 151 from LISTEN_FDS", message)
        for text in ("x", "-1", "", "1.0", "٣", "9" * 9):
            self.assertIn("not a number", self.failure(LISTEN_FDS=text))

    @needsBatches
    def test_receivedEarlier(self) -> None:
        """
        A datagram that arrived before the service started is answered from the address
        that it was sent to.
        """
        everywhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        everywhere.bind(("0.0.0.0", 0))
        self.addCleanup(everywhere.close)
        path = os.path.join(shortDirectory(self), "s")
        sockets = [*systemdSockets(self, path)[1:-1], everywhere]
        clients = [connectUDP("127.0.0.2", sock.getsockname()[1]) for sock in sockets]
        for client in clients:
            self.addCleanup(client.close)
            client.send(b"waits")
        reactor = MemoryReactorClock()
        service = ShoutService(self.take(*sockets), reactor=reactor)
        service.startService()
        stopped = service.stopService()
        reactor.advance(0)
        self.successResultOf(stopped)
        for client in clients:
            self.assertEqual(client.recv(100), b"WAITS")

    @skipUnless(os.path.exists("/proc/self/environ"), "needs /proc")
    def test_activationEnvironment(self) -> None:
        """
        The present environment is used, or the initial one if the variables have been
        erased.
        """
        script = (
            "import os; from shout.sockets.systemd import activationEnvironment\n"
            "os.environ['LISTEN_FDS'] = '5'\n"
            "print(activationEnvironment()['LISTEN_FDS'])\n"
            "del os.environ['LISTEN_FDS'], os.environ['LISTEN_PID']\n"
            "print(activationEnvironment()['LISTEN_FDS'])\n"
        )
        environ = {**os.environ, "LISTEN_FDS": "7", "LISTEN_PID": "1"}
        ended = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env=environ,
            check=True,
        )
        self.assertEqual(ended.stdout.split(), ["5", "7"])
        self.assertNotIn("LISTEN_FDS", activationEnvironment())


class ActivationTests(TwistdCase):
    """
    Tests for C{twistd shout} with sockets from systemd.
    """

    def sockets(self) -> list[socket.socket]:
        """
        Make a socket of each address family as systemd does.
        """
        return systemdSockets(self, self.path("s"))

    def activate(
        self, twistd: list[str], sockets: list[socket.socket], *args: str
    ) -> subprocess.Popen[str]:
        """
        Start C{twistd shout} with sockets.

        @param twistd: The command for C{twistd}.

        @param args: Options of the plugin.
        """
        numbers = [sock.fileno() for sock in sockets]
        return self.start(
            *("python", launch.__file__, "", ",".join(map(str, numbers))),
            *(*twistd, "-n", "--pidfile=", "shout", *args),
            pass_fds=numbers,
        )

    def test_answers(self) -> None:
        """
        C{twistd} answers at the sockets that it was passed, and at no others, also if
        the variables have been erased, and does not remove the path.
        """
        sockets = self.sockets()
        v4, *v6, unix = (sock.getsockname() for sock in sockets)
        server = self.activate([sys.executable, "-c", ERASE], sockets)
        self.waitFor(server, rf"listening on UDP 127\.0\.0\.1:{v4[1]} ")
        clients = [connectUDP(*v4), connectUNIX(unix)]
        for address in v6:
            self.waitFor(server, rf"listening on UDP \[::\]:{address[1]} ")
            # Without batches a reply may be sent from another address.
            hosts = [*LOOPBACK, "127.0.0.2"] if available else LOOPBACK
            clients += [connectUDP(host, address[1]) for host in hosts]
        self.waitFor(server, f"listening on UNIX {unix}$")
        self.waitFor(server, f"try it with: nc -u 127.0.0.1 {v4[1]}$")
        for client in clients:
            self.assertEqual(ask(client, b"hello"), b"HELLO")
        output = self.finish(server, signal.SIGTERM)
        count = len(clients)
        self.assertIn(f"received {count}, answered {count}, dropped 0", output)
        self.assertTrue(os.path.exists(unix))

    def test_restart(self) -> None:
        """
        Datagrams that arrive while C{twistd} stops, does not run, and starts are
        answered once, with workers and without.
        """
        sockets = self.sockets()
        client = connectUDP(*sockets[0].getsockname())
        self.addCleanup(client.close)
        client.settimeout(TIMEOUT)
        twistd = [command("twistd")]
        client.send(b"waits")
        server = self.activate(twistd, sockets)
        self.assertEqual(client.recv(100), b"WAITS")
        for args in (("--workers", "1"), ()):
            server.send_signal(signal.SIGTERM)
            number = 0
            while server.poll() is None:
                client.send(b"q%d" % number)
                number += 1
                # The receive buffer has room for these.
                if number == 100:
                    server.wait(TIMEOUT)
            server = self.activate(twistd, sockets, *args)
            replies = [client.recv(100) for _ in range(number)]
            self.assertEqual(replies, [b"Q%d" % n for n in range(number)])
        self.finish(server, signal.SIGTERM)
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 100)

    @skipUnless(
        shutil.which("systemd-socket-activate"),
        "systemd-socket-activate is not installed (Debian: systemd)",
    )
    def test_systemd(self) -> None:
        """
        C{twistd} answers at sockets from a command of systemd.
        """
        addresses = []
        for sock in bindUDP(0, LOOPBACK):
            addresses.append(hostAndPort(sock.getsockname()))
            sock.close()
        path = self.path("s")
        server = self.start(
            str(shutil.which("systemd-socket-activate")),
            "--datagram",
            *(f"--listen={authority(*address)}" for address in addresses),
            f"--listen={path}",
            "--fdname=a:b:c",
            *(command("twistd"), "-n", "--pidfile=", "shout"),
        )
        self.waitFor(server, re.escape(f"Listening on {path}"))
        clients = [connectUNIX(path), *(connectUDP(*each) for each in addresses)]
        for client in clients:
            self.assertEqual(ask(client, b"hello"), b"HELLO")
        output = self.finish(server, signal.SIGTERM)
        count = len(clients)
        self.assertIn(f"received {count}, answered {count}, dropped 0", output)
