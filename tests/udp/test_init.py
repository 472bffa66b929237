"""
Tests for the package L{shout.udp}.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import shout.udp
from tests.batches import needsBatches

PACKAGE = Path(shout.udp.__file__).parent

# Runs with the copy as the package "ports".  Datagrams are sent before the reactor
# runs, so that they arrive as one batch.
EXCHANGE = """
import sys
sys.modules["shout"] = None

import socket
from twisted.internet.protocol import DatagramProtocol
import ports
assert "twisted.internet.reactor" not in sys.modules
from twisted.internet import reactor

class Echo(DatagramProtocol):
    noisy = False

    def datagramReceived(self, datagram, addr):
        self.transport.write(datagram[::-1], addr)
        if datagram == b"stop":
            reactor.stop()

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(server.getsockname())
client.settimeout(60)
for datagram in (b"one", b"two", b"stop"):
    client.send(datagram)
port = ports.listen(server, Echo(), reactor)
reactor.run()
print(port.kind, *(client.recv(99).decode() for _ in range(3)))
"""


class PackageTests(SynchronousTestCase):
    """
    Tests for L{shout.udp}.
    """

    def test_names(self) -> None:
        """
        The public names exist.
        """
        for name in shout.udp.__all__:
            self.assertTrue(hasattr(shout.udp, name), name)

    def test_imports(self) -> None:
        """
        No module imports anything else of shout: all imports but those of the package
        itself are absolute, and none begins with shout.
        """
        for path in PACKAGE.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    self.assertLessEqual(node.level, 1, path)
                    names = [] if node.level else [node.module or ""]
                elif isinstance(node, ast.Import):
                    names = [each.name for each in node.names]
                else:
                    continue
                for name in names:
                    self.assertNotEqual(name.partition(".")[0], "shout", path)

    @needsBatches
    def test_copy(self) -> None:
        """
        A copy of the package under another name exchanges datagrams where shout cannot
        be imported.
        """
        self.assertEqual(self.runCopy("__pycache__"), "batched eno owt pots\n")

    def test_copyOfSources(self) -> None:
        """
        So does a copy without the C extension.
        """
        output = self.runCopy("__pycache__", "*.so")
        self.assertEqual(output, "portable eno owt pots\n")

    def runCopy(self, *ignored: str) -> str:
        """
        Run a program with a copy of the package, and return its output.

        @param ignored: Patterns of files that are not copied.
        """
        directory = self.mktemp()
        copy = os.path.join(directory, "ports")
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns(*ignored))
        path = [os.path.abspath(directory), *map(os.path.abspath, sys.path)]
        process = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                f"import sys; sys.path = {path}{EXCHANGE}",
            ],
            capture_output=True,
            timeout=120,
            text=True,
        )
        self.assertEqual(process.stderr, "")
        return process.stdout
