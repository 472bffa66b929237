"""
Tests for the README, and for clients of other people.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TypeVar
from unittest import SkipTest, skipUnless

from shout import bindUDP
from shout.sockets.bind import connectUDP
from shout.sockets.unix import connectUNIX
from tests.families import LOOPBACK, eachFamily
from tests.system.test_twistd import PATIENCE, TwistdCase, ask
from tests.terminal import CTRL_C, Terminal

README = Path(__file__).parent.parent.parent / "README.md"

# The language and the text of each, in the README's order.
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README.read_text(), re.DOTALL)

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


class SetUpTests(TwistdCase):
    """
    Tests for the set-up that the commands under Run and Test begin with.
    """

    def setUp(self) -> None:
        super().setUp()
        self.environment["PATH"] = f"{self.folder}/bin:{os.environ['PATH']}"
        self.script("bin/python3", f"cp {self.folder}/bin/pip .venv/bin; echo venv")
        self.script("bin/pip", "echo no index; exit 3")
        self.script(".venv/bin/twistd", "echo served")

    def script(self, name: str, text: str) -> Path:
        """
        Write a shell script.
        """
        path = Path(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """
        Run a command of the README.
        """
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_fails(self) -> None:
        """
        A set-up that fails ends the command, with its own message and status.
        """
        for _, command in BLOCKS[:2]:
            ended = self.shell(command)
            self.assertEqual(
                (ended.stdout, ended.stderr, ended.returncode),
                ("venv\nno index\n", "", 3),
            )

    def test_done(self) -> None:
        """
        Run starts the server at once where shout, which is installed last, is
        installed.
        """
        self.script(".venv/bin/shout", "")
        self.assertEqual(self.shell(BLOCKS[0][1]).stdout, "served\n")

    def test_interrupted(self) -> None:
        """
        What an interrupted set-up has left is removed, since pip may take a
        package without its scripts for an installed one.
        """
        python = shlex.quote(sys.executable)
        self.script("bin/python3", f'exec {python} "$@" --without-pip')
        leftover = Path(self.folder, ".venv", "lib", "leftover")
        for _, command in BLOCKS[:2]:
            leftover.parent.mkdir(exist_ok=True)
            leftover.touch()
            self.shell(command)
            self.assertFalse(leftover.exists())


class ReaderTests(TwistdCase):
    """
    Tests for the README as a reader pastes it: the command under Run into one
    terminal, and all else, top to bottom, into a second one in the same
    directory, with no change but to the numbers of the ports.

    The command under Test would run this test again, so C{.ci/run} runs it.
    """

    def setUp(self) -> None:
        super().setUp()
        # The PYTHON... variables of this run must not reach the reader's Python.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") and name != "ENV"
        }
        self.skipWithoutIndex(environment)
        # A link would have venv take its folder for the home of Python.
        python3 = Path(self.folder, "bin", "python3")
        python3.parent.mkdir()
        python3.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python3.chmod(0o755)
        environment["PATH"] = f"{python3.parent}:{environment['PATH']}"
        self.clone = Path(self.folder, "clone")
        leftovers = (".*", "*.egg-info", "_trial_temp*", "build", "dist", "twistd.*")
        shutil.copytree(
            README.parent, self.clone, ignore=shutil.ignore_patterns(*leftovers)
        )
        self.first, self.second, self.third = (
            Terminal(self, str(self.clone), environment) for _ in range(3)
        )
        self.ports: dict[str, int] = {}
        with ExitStack() as stack:
            # Open together, so that they differ.
            for number in ("9999", "9998"):
                socks = [stack.enter_context(sock) for sock in bindUDP(0)]
                self.ports[number] = socks[0].getsockname()[1]
        self.blocks = iter(BLOCKS)

    def skipWithoutIndex(self, environment: dict[str, str]) -> None:
        """
        Skip the test where pip cannot download what the set-up installs.
        """
        pip = [sys.executable, "-m", "pip", "download", "--retries=0", "--timeout=10"]
        ended = subprocess.run(
            [*pip, "--quiet", f"--dest={self.folder}/wheels", "setuptools", "twisted"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise SkipTest(f"pip reaches no package index: {ended.stderr.strip()}")

    def withPorts(self, text: str) -> str:
        """
        Return a part of the README with the numbers of free ports.
        """
        return re.sub("9999|9998", lambda found: str(self.ports[found[0]]), text)

    def block(self, language: str) -> str:
        """
        Return the next block of the README, which has to be in a language.
        """
        found, text = next(self.blocks)
        self.assertEqual(found, language, text)
        return self.withPorts(text)

    def inline(self, clue: str) -> str:
        """
        Return the command with a clue in it that stands within a sentence.
        """
        commands = re.findall(r"`(\.venv/bin/[^`]+)`", README.read_text())
        [found] = {command for command in commands if clue in command}
        return self.withPorts(found) + "\n"

    def example(self) -> str:
        """
        Save the next example of Python, and return the command that starts it.
        """
        (self.clone / "example.py").write_text(self.block("python"))
        return self.inline("example.py")

    def assertPrints(self, expected: str, commands: str) -> None:
        """
        Commands in the second terminal print something, and succeed.
        """
        output, statuses = self.second.run(commands)
        self.assertIn(expected, output)
        self.assertEqual(set(statuses), {0}, output)

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """
        Have a command in the second terminal answer on port 9998 until Ctrl-C.
        """
        self.second.paste(command)
        for _ in range(PATIENCE * 10):
            with connectUDP("127.0.0.1", self.ports["9998"]) as client:
                client.settimeout(1)
                try:
                    client.send(b"hello")
                    client.recv(65535)
                    break
                except OSError:
                    # Not listening yet; a refusal comes at once.
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
        Keep other runs of this test away from the README's paths in C{/tmp},
        until the server there has ended.
        """
        lock = os.open("/tmp", os.O_RDONLY)
        try:
            flock(lock, LOCK_EX)
            yield
        finally:
            try:
                pid = int((self.clone / "shout.pid").read_text())
                os.kill(pid, signal.SIGTERM)
                self.waitUntilGone(pid)
            except (FileNotFoundError, ProcessLookupError):
                # It has ended already.
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
