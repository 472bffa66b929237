"""
Tests for what the README promises: its snippets, and other people's clients.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest import skipUnless

from shout import bindUDP
from shout.sockets import connectUDP
from shout.unix import connectUNIX
from tests.families import LOOPBACK, eachFamily
from tests.test_twistd import PATIENCE, TwistdCase, ask

README = Path(__file__).parent.parent / "README.md"

Test = TypeVar("Test", bound=Callable[..., None])


def needs(program: str) -> Callable[[Test], Test]:
    """
    Skip a test where a program is not installed.
    """
    return skipUnless(shutil.which(program), f"{program} is not installed")


class ClientTests(TwistdCase):
    """
    Tests for a server that is asked by clients of all kinds.
    """

    def setUp(self) -> None:
        super().setUp()
        server = self.start("twistd", "-n", "--pidfile=", "shout", "-p", "0", "-u", "s")
        self.port = self.waitFor(server, r"0\.0\.0\.0:(\d+)")[1]
        self.waitFor(server, "try it with")

    def say(self, *command: str, text: str = "hello\n") -> str:
        """
        Run a client that ends when it has its answer, or else after some time,
        and return what it prints.
        """
        ended = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self.folder,
            check=False,
        )
        return ended.stdout + ended.stderr

    @needs("nc")
    def test_nc(self) -> None:
        """
        netcat gets its answer.
        """
        for host in LOOPBACK:
            self.assertEqual(self.say("nc", "-u", "-W1", host, self.port), "HELLO\n")

    @needs("ncat")
    def test_ncat(self) -> None:
        """
        Nmap's ncat gets its answer.
        """
        for host in LOOPBACK:
            # It ends with its input, whether or not an answer has come.
            script = f"(echo hello; sleep 1) | ncat -u {host} {self.port}"
            self.assertEqual(self.say("sh", "-c", script), "HELLO\n")

    @needs("socat")
    def test_socat(self) -> None:
        """
        socat gets its answer, also over a UNIX socket.
        """
        for address in (
            *eachFamily(f"UDP4:127.0.0.1:{self.port}", f"UDP6:[::1]:{self.port}"),
            f"UNIX-SENDTO:{self.folder}/s,bind={self.folder}/me",
        ):
            self.assertEqual(self.say("socat", "-t1", "-", address), "HELLO\n")

    @needs("bash")
    def test_bash(self) -> None:
        """
        bash gets its answer.
        """
        for host in LOOPBACK:
            script = (
                f"exec 3<>/dev/udp/{host}/{self.port}; echo hello >&3; head -n1 <&3"
            )
            self.assertEqual(self.say("bash", "-c", script), "HELLO\n")

    @needs("node")
    def test_node(self) -> None:
        """
        A client for Node.js gets its answer.
        """
        for kind, host in eachFamily(("udp4", "127.0.0.1"), ("udp6", "::1")):
            script = f"""
                const client = require("dgram").createSocket("{kind}");
                client.on("message", reply => {{
                    console.log(reply.toString());
                    client.close();
                }});
                client.send("hello", {self.port}, "{host}");
            """
            self.assertEqual(self.say("node", "-e", script), "HELLO\n")

    def test_everyByte(self) -> None:
        """
        All 256 byte values come back as C{bytes.upper} gives them.
        """
        everyByte = bytes(range(256))
        path = os.path.join(self.folder, "s")
        for client in (
            *(connectUDP(host, int(self.port)) for host in LOOPBACK),
            connectUNIX(path),
        ):
            self.assertEqual(ask(client, everyByte), everyByte.upper())

    def test_sizes(self) -> None:
        """
        Datagrams of every size come back whole.
        """
        for host in LOOPBACK:
            for size in (0, 1, 8192, 8193, 65507):
                datagram = b"x" * size
                reply = ask(connectUDP(host, int(self.port)), datagram)
                self.assertEqual(reply, datagram.upper())


class SnippetTests(TwistdCase):
    """
    Tests for the Python in the README.
    """

    def snippet(self, clue: str, port: int) -> str:
        """
        Return the snippet with a clue in it, for another port and in the test's
        own folder.
        """
        blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        found: str
        [found] = [block for block in blocks if clue in block]
        return found.replace("9999", str(port)).replace("/tmp/", f"{self.folder}/")

    def freePort(self) -> int:
        """
        Return the number of a port where nothing listens.
        """
        [sock] = bindUDP(0, ["127.0.0.1"])
        with sock:
            return int(sock.getsockname()[1])

    def python(self, script: str) -> subprocess.Popen[str]:
        """
        Start a script, which is ended when the test ends.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def answer(self, port: int, datagram: bytes = b"hello") -> bytes:
        """
        Ask until there is an answer.
        """
        for _ in range(PATIENCE * 10):
            with connectUDP("127.0.0.1", port) as client:
                client.settimeout(0.1)
                try:
                    client.send(datagram)
                    return client.recv(65535)
                except OSError:
                    # Not listening yet; a refusal comes at once.
                    signal.sigtimedwait([], 0.05)
        self.fail("no answer")

    def test_listenUDP(self) -> None:
        """
        The protocol answers on Twisted's own port.
        """
        port = self.freePort()
        self.python(self.snippet("reactor.listenUDP", port))
        self.assertEqual(self.answer(port), b"HELLO")

    def test_listen(self) -> None:
        """
        The protocol answers on shout's port, whole datagrams too.
        """
        port = self.freePort()
        self.python(self.snippet("listen(sock, Shout()", port))
        self.assertEqual(self.answer(port, b"x" * 60000), b"X" * 60000)

    def test_transform(self) -> None:
        """
        The subclass answers in its own way.
        """
        names: dict[str, Any] = {}
        exec(self.snippet("class Reverse", 0), names)
        self.assertEqual(names["Reverse"]().transform(b"abc"), b"cba")

    def test_tac(self) -> None:
        """
        The services answer together, under C{twistd}.
        """
        port = self.freePort()
        path = os.path.join(self.folder, "several.tac")
        with open(path, "w") as f:
            f.write(self.snippet("MultiService", port))
        server = self.start("twistd", "-ny", path)
        self.waitFor(server, "try it with")
        self.waitFor(server, "try it with")
        self.assertEqual(self.answer(port), b"HELLO")
        unix = connectUNIX(os.path.join(self.folder, "shout.sock"))
        self.assertEqual(ask(unix, b"hello"), b"HELLO")

    def test_clients(self) -> None:
        """
        The four lines, and the asynchronous ones, print the answer.
        """
        server = self.start("twistd", "-n", "--pidfile=", "shout", "-p", "0")
        port = int(self.waitFor(server, r"0\.0\.0\.0:(\d+)")[1])
        self.waitFor(server, "try it with")
        for clue in ("import socket\nwith", "await ask("):
            process = self.python(self.snippet(clue, port))
            output, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(output, "b'HELLO'\n")
