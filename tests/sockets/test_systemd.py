"""
Tests for L{shout.sockets.systemd}, and for C{twistd shout} when it is handed sockets.
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

from twisted.trial.unittest import SynchronousTestCase

from shout import BindError, bindUDP, bindUNIX
from shout.sockets.address import authority
from shout.sockets.bind import connectUDP
from shout.sockets.systemd import inheritedSockets, activationEnvironment
from shout.sockets.unix import connectUNIX
from shout.udp.mmsg import available
from shout.udp.peer import hostAndPort
from shout.workers.reuseport import bindReusePortGroup, hasReusePortBalancing
from tests import launch
from tests.batches import needsBatches
from tests.directory import shortDirectory
from tests.families import LOOPBACK, hasIPv6Sockets, needsIPv6Sockets
from tests.twistdcase import TIMEOUT, TwistdCase, ask, command

# As twistd does when its cache of plugins is not there and cannot be written.
ERASES = """
import sys, twisted.internet.endpoints
from twisted.scripts.twistd import run
sys.exit(run())
"""


class HandedOverTests(SynchronousTestCase):
    """
    Tests for L{inheritedSockets}.
    """

    first = 150

    def take(self, *sockets: socket.socket, **environ: str) -> list[socket.socket]:
        """
        Hand over sockets to this process, and take them.
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

    def refusal(self, *sockets: socket.socket, **environ: str) -> str:
        """
        Fail to take sockets, and return the one line that says why.
        """
        message = str(self.assertRaises(BindError, self.take, *sockets, **environ))
        self.assertNotIn("\n", message)
        return message

    def sockets(self) -> list[socket.socket]:
        """
        Return a socket of each family.
        """
        path = os.path.join(shortDirectory(self), "s")
        sockets = [*bindUDP(0, LOOPBACK), bindUNIX(path)]
        for sock in sockets:
            self.addCleanup(sock.close)
            sock.setblocking(True)
        return sockets

    def test_families(self) -> None:
        """
        Sockets of each family are taken, with names, without, and with some; they
        do not block, and are not inherited.
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
        The path of a UNIX socket stays when it is closed: it belongs to who has
        made it.
        """
        *_, unix = self.sockets()
        [taken] = self.take(unix)
        taken.close()
        self.assertTrue(os.path.exists(unix.getsockname()))

    def test_nothing(self) -> None:
        """
        Without the variables, and with those of another process, there is
        nothing.
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
        A stream socket is refused by its number and its name.
        """
        with socket.socket() as stream:
            message = self.refusal(stream, LISTEN_FDNAMES="shout.socket")
        self.assertIn("descriptor 150 (shout.socket)", message)
        self.assertIn("ListenDatagram=", message)

    def test_notBound(self) -> None:
        """
        A socket without an address is refused.
        """
        for family in {sock.family for sock in self.sockets()}:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                self.assertIn("not bound to an address", self.refusal(sock))

    def test_notASocket(self) -> None:
        """
        What is no socket is refused.
        """
        for end in os.pipe():
            self.addCleanup(os.close, end)
            os.dup2(end, self.first)
            self.assertIn("is not a socket", self.refusal(LISTEN_FDS="1"))

    def test_count(self) -> None:
        """
        More sockets than there are, and a number that is none, are refused.
        """
        message = self.refusal(self.sockets()[0], LISTEN_FDS="2")
        self.assertIn("descriptor 151, which LISTEN_FDS announces", message)
        for text in ("x", "-1", "", "1.0", "٣", "9" * 9):
            self.assertIn("not a number", self.refusal(LISTEN_FDS=text))

    @skipUnless(os.path.exists("/proc/self/environ"), "takes procfs")
    def test_activationEnvironment(self) -> None:
        """
        What was erased from the environment is still known; what was not is taken
        as it is now.
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


class ActivatedCase(TwistdCase):
    """
    Does what systemd does.
    """

    def activate(
        self,
        sockets: list[socket.socket],
        *args: str,
        names: str = "",
        erases: bool = False,
    ) -> subprocess.Popen[str]:
        """
        Start C{twistd shout} with sockets.

        @param args: those of the plugin.

        @param erases: whether it shall have erased the variables on its way.
        """
        twistd = [sys.executable, "-c", ERASES] if erases else [command("twistd")]
        numbers = [sock.fileno() for sock in sockets]
        return self.start(
            "python",
            launch.__file__,
            names,
            ",".join(map(str, numbers)),
            *twistd,
            "-n",
            "--pidfile=",
            "shout",
            *args,
            pass_fds=numbers,
        )

    def sockets(self) -> list[socket.socket]:
        """
        Make sockets of each family as systemd does: the IPv6 one takes IPv4 too,
        and they block.
        """
        sockets = []
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_INET6, ("::", 0)),
            (socket.AF_UNIX, os.path.join(self.directory, "s")),
        ):
            if family == socket.AF_INET6 and not hasIPv6Sockets:
                continue
            sock = socket.socket(family, socket.SOCK_DGRAM)
            self.addCleanup(sock.close)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
            sockets.append(sock)
        return sockets


class ActivatedTests(ActivatedCase):
    """
    Tests for C{twistd shout} with sockets that it was handed.
    """

    @needsIPv6Sockets
    def test_answers(self) -> None:
        """
        It answers at the sockets that it was handed, and at no others, with names
        and without, also where the variables were erased, and leaves the path.
        """
        sockets = self.sockets()
        v4, v6, unix = (sock.getsockname() for sock in sockets)
        for names, erases in (("", False), ("a:b:c", False), ("", True)):
            server = self.activate(sockets, names=names, erases=erases)
            self.waitFor(server, rf"listening on UDP 127\.0\.0\.1:{v4[1]}$")
            self.waitFor(server, rf"listening on UDP \[::\]:{v6[1]}$")
            self.waitFor(server, f"listening on UNIX {unix}$")
            self.waitFor(server, f"try it with: nc -u 127.0.0.1 {v4[1]}$")
            clients = [connectUDP(*v4), connectUNIX(unix)]
            # Without batches a reply may leave from another address than asked.
            addresses = [*LOOPBACK, "127.0.0.2"] if available else LOOPBACK
            clients += [connectUDP(address, v6[1]) for address in addresses]
            for client in clients:
                self.assertEqual(ask(client, b"hello"), b"HELLO")
            output = self.finish(server, signal.SIGTERM)
            count = len(clients)
            self.assertIn(f"received {count}, answered {count}, dropped 0", output)
            self.assertTrue(os.path.exists(unix))

    def test_restart(self) -> None:
        """
        What arrives while it stops, is away and starts is answered, once.
        """
        sockets = self.sockets()
        client = connectUDP(*sockets[0].getsockname())
        self.addCleanup(client.close)
        client.settimeout(TIMEOUT)
        for args in ((), ("--workers", "1")):
            client.send(b"waits")
            server = self.activate(sockets, *args)
            self.assertEqual(client.recv(100), b"WAITS")
            server.send_signal(signal.SIGTERM)
            number = 0
            while server.poll() is None:
                client.send(b"q%d" % number)
                number += 1
                # As many as wait in a socket without being lost.
                if number < 100:
                    continue
                server.wait(TIMEOUT)
            server = self.activate(sockets, *args)
            replies = [client.recv(100) for _ in range(number)]
            self.assertEqual(replies, [b"Q%d" % n for n in range(number)])
            self.finish(server, signal.SIGTERM)
            client.setblocking(False)
            self.assertRaises(BlockingIOError, client.recv, 100)
            client.settimeout(TIMEOUT)

    @needsBatches
    def test_waited(self) -> None:
        """
        What was asked before it was first started is answered from the address that
        was asked.
        """
        sockets = self.sockets()
        everywhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        everywhere.bind(("0.0.0.0", 0))
        clients = []
        for sock in *sockets[1:-1], everywhere:
            client = connectUDP("127.0.0.2", sock.getsockname()[1])
            client.send(b"waits")
            clients.append(client)
        for each in everywhere, *clients:
            self.addCleanup(each.close)
        server = self.activate([*sockets, everywhere])
        for client in clients:
            client.settimeout(TIMEOUT)
            self.assertEqual(client.recv(100), b"WAITS")
        self.finish(server, signal.SIGTERM)

    @skipUnless(hasReusePortBalancing, "more than one worker takes Linux")
    def test_workers(self) -> None:
        """
        Several workers share what was handed over, if there is one socket for
        each.
        """
        socketSets = bindReusePortGroup(bindUDP(0, ["127.0.0.1"]), 2)
        sockets = [sock for one in socketSets for sock in one]
        for sock in sockets:
            self.addCleanup(sock.close)
        for count in "2", "auto":
            server = self.activate(sockets, "--workers", count)
            self.waitFor(server, "with 2 workers")
            for _ in range(20):
                client = connectUDP(*sockets[0].getsockname())
                self.assertEqual(ask(client, b"hello"), b"HELLO")
            output = self.finish(server, signal.SIGTERM)
            self.assertIn("received 20, answered 20, dropped 0", output)

    def assertRefused(
        self, pattern: str, sockets: list[socket.socket], *args: str
    ) -> None:
        """
        It ends with one line on standard error, and a status that is not 0.
        """
        server = self.activate(sockets, *args)
        self.assertRegex(server.communicate(timeout=TIMEOUT)[0], pattern)
        self.assertEqual(server.returncode, 1)

    def test_addresses(self) -> None:
        """
        To name addresses besides is a mistake.
        """
        sockets = self.sockets()
        for args in (("-p", "0"), ("-i", "127.0.0.1"), ("-u", "other")):
            self.assertRefused("^shout: .*leave them out.*\n$", sockets, *args)
        self.assertFalse(os.path.exists(os.path.join(self.directory, "other")))

    def test_stream(self) -> None:
        """
        A stream socket is said to be the wrong kind.
        """
        with socket.socket() as stream:
            self.assertRefused("^shout: .*is not a datagram socket.*\n$", [stream])

    def test_tooFewForWorkers(self) -> None:
        """
        More workers than sockets for an address are refused.
        """
        if not hasReusePortBalancing:
            self.skipTest("more than one worker takes Linux")
        self.assertRefused(
            "^shout: for 2 workers UDP .*\n$",
            self.sockets(),
            "--workers",
            "2",
        )

    @skipUnless(
        shutil.which("systemd-socket-activate"),
        "systemd-socket-activate is not installed (Debian: systemd)",
    )
    def test_systemd(self) -> None:
        """
        systemd's own tool hands over sockets of each family.
        """
        addresses = []
        for sock in bindUDP(0, LOOPBACK):
            addresses.append(hostAndPort(sock.getsockname()))
            sock.close()
        path = os.path.join(self.directory, "s")
        activate = shutil.which("systemd-socket-activate")
        assert activate is not None
        for names in ((), ("--fdname=a:b:c",)):
            server = self.start(
                activate,
                "--datagram",
                *(f"--listen={authority(*address)}" for address in addresses),
                f"--listen={path}",
                *names,
                command("twistd"),
                "-n",
                "--pidfile=",
                "shout",
            )
            self.waitFor(server, re.escape(f"Listening on {path}"))
            clients = [connectUNIX(path), *(connectUDP(*each) for each in addresses)]
            for client in clients:
                self.assertEqual(ask(client, b"hello"), b"HELLO")
            output = self.finish(server, signal.SIGTERM)
            count = len(clients)
            self.assertIn(f"received {count}, answered {count}, dropped 0", output)
            os.unlink(path)
