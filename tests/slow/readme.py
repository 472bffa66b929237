"""
Tests for the README, as a reader pastes it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from unittest import SkipTest

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests.readme import BLOCKS, README
from tests.terminal import CTRL_C, Terminal
from tests.twistdcase import TIMEOUT, TwistdCase, ask, needs


class ReaderTests(TwistdCase):
    """
    Tests for the README as a reader pastes it: the command under Run into one
    terminal, and all others, top to bottom, into a second one in the same directory.
    Only the numbers of the ports are changed.

    The command under Test is not pasted, as it takes long.
    """

    def setUp(self) -> None:
        super().setUp()
        # The PYTHON... variables of this run are not for the reader's Python.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") and name != "ENV"
        }
        self.skipWithoutIndex(environment)
        # From a link venv would take the wrong directory for the home of Python.
        python3 = Path(self.directory, "bin", "python3")
        python3.parent.mkdir()
        python3.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python3.chmod(0o755)
        environment["PATH"] = f"{python3.parent}:{environment['PATH']}"
        self.clone = Path(self.directory, "clone")
        leftovers = (".*", "*.egg-info", "_trial_temp*", "build", "dist", "twistd.*")
        shutil.copytree(
            README.parent, self.clone, ignore=shutil.ignore_patterns(*leftovers)
        )
        self.first, self.second, self.third = (
            Terminal(self, str(self.clone), environment) for _ in range(3)
        )
        self.ports: dict[str, int] = {}
        with ExitStack() as stack:
            # Both are open at the same time, so that they differ.
            for number in ("9999", "9998"):
                socks = [stack.enter_context(sock) for sock in bindUDP(0)]
                self.ports[number] = socks[0].getsockname()[1]
        self.blocks = iter(BLOCKS)

    def skipWithoutIndex(self, environment: dict[str, str]) -> None:
        """
        Skip the test if pip cannot download the packages of the set-up.
        """
        pip = [sys.executable, "-m", "pip", "download", "--retries=0", "--timeout=10"]
        ended = subprocess.run(
            [
                *pip,
                "--quiet",
                f"--dest={self.directory}/wheels",
                "setuptools",
                "twisted",
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise SkipTest(f"pip reaches no package index: {ended.stderr.strip()}")

    def withPorts(self, text: str) -> str:
        """
        Replace the ports in a part of the README by free ones.
        """
        return re.sub("9999|9998", lambda found: str(self.ports[found[0]]), text)

    def block(self, language: str) -> str:
        """
        Return the next block of the README, and check its language.
        """
        found, text = next(self.blocks)
        self.assertEqual(found, language, text)
        return self.withPorts(text)

    def inline(self, part: str) -> str:
        """
        Return the command within a sentence that contains a text.
        """
        commands = re.findall(r"`(\.venv/bin/[^`]+)`", README.read_text())
        [found] = {command for command in commands if part in command}
        return self.withPorts(found) + "\n"

    def example(self) -> str:
        """
        Save the next example in Python, and return the command that starts it.
        """
        (self.clone / "example.py").write_text(self.block("python"))
        return self.inline("example.py")

    def assertPrints(self, expected: str, commands: str) -> None:
        """
        Commands in the second terminal print a text, and succeed.
        """
        output, statuses = self.second.run(commands)
        self.assertIn(expected, output)
        self.assertEqual(set(statuses), {0}, output)

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """
        Run a server for port 9998 in the second terminal until Ctrl-C.
        """
        self.second.paste(command)
        for _ in range(TIMEOUT * 10):
            with connectUDP("127.0.0.1", self.ports["9998"]) as client:
                client.settimeout(1)
                try:
                    client.send(b"hello")
                    client.recv(65535)
                    break
                except OSError:
                    # Not listening yet; an ICMP error comes at once.
                    time.sleep(0.1)
        else:
            self.fail(f"no answer: {command}")
        yield
        self.second.paste(CTRL_C)
        self.second.finish()

    def ask(self, number: str, datagram: bytes) -> bytes:
        """
        Send a datagram to one of the README's ports and wait for the reply.
        """
        return ask(connectUDP("127.0.0.1", self.ports[number]), datagram)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """
        Hold a lock for the README's paths in C{/tmp}, until the server there has
        exited.
        """
        lock = os.open("/tmp", os.O_RDONLY)
        try:
            flock(lock, LOCK_EX)
            yield
        finally:
            try:
                pid = int((self.clone / "shout.pid").read_text())
                os.kill(pid, signal.SIGTERM)
                self.waitForExit(pid)
            except (FileNotFoundError, ProcessLookupError):
                # It has exited already.
                pass
            os.close(lock)

    @needs("nc")
    @needs("socat")
    def test_topToBottom(self) -> None:
        """
        Each command and each example works while the server runs, and then the
        server starts again without a package index.
        """
        run = self.block("sh")
        self.first.paste(run)
        self.first.waitFor("try it with")
        self.assertIn("twisted.trial", self.block("sh"))

        self.assertPrints("HELLO WORLD\n", self.block("sh"))

        self.second.paste(self.block("sh"))
        for _ in range(2):
            self.second.paste("hello\n")
            self.second.waitFor("HELLO\n")
        self.second.paste(CTRL_C)
        self.second.finish()

        with self.alone():
            self.assertPrints("HELLO\nHELLO\n", self.block("sh"))

        self.assertPrints("b'HELLO'\n", self.example())
        text = README.read_bytes().upper().decode()
        self.assertPrints(text, self.block("sh"))
        self.assertPrints("5 sent, ", self.block("sh"))

        with self.serving(self.example()):
            output, statuses = self.third.run(self.inline("-p 9998"))
            self.assertEqual((output, statuses), ("HELLO\n", [0]))
        with self.serving(self.example()):
            self.assertEqual(self.ask("9998", b"x" * 60000), b"X" * 60000)
        with self.serving(self.example()):
            self.assertRegex(self.ask("9998", b""), rb"\A127\.0\.0\.1 [0-9]+\n\Z")
        self.assertPrints("b'olleh'\n", self.example())
        (self.clone / "several.tac").write_text(self.block("python"))
        with self.serving(self.inline("several.tac")):
            self.assertEqual(self.ask("9998", b"udp"), b"UDP")
            client = connectUNIX(str(self.clone / "several.sock"))
            self.assertEqual(ask(client, b"unix"), b"UNIX")
        self.assertPrints("b'HELLO'\n", self.example())
        with self.serving(self.example()):
            self.assertEqual(self.ask("9998", b"loop"), b"LOOP")
        self.assertEqual(list(self.blocks), [])
        for clue in ("shout --help", "twistd shout --help", "twist shout --help"):
            self.assertPrints("--unix", self.inline(f"bin/{clue}"))

        self.first.paste(CTRL_C)
        self.first.finish()
        self.first.run("export PIP_NO_INDEX=1\n")
        self.first.paste(run)
        self.first.waitFor("try it with")
        self.assertEqual(self.ask("9999", b"again"), b"AGAIN")
