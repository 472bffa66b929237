"""
The servers that are compared, and a server while it runs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent

# How long, in seconds, a server may take to come up, and to end.
PATIENCE = 20


class Missing(Exception):
    """
    A server cannot be run here.  The message says what it wants for.
    """


class Failed(Exception):
    """
    A server did not come up, or went away.
    """


def shout(*options: str) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        twistd = Path(sys.executable).with_name("twistd")
        if not twistd.exists() or find_spec("shout") is None:
            raise Missing("shout is not installed beside this Python: pip install -e .")
        return [str(twistd), "-n", "--pidfile=", "shout", "-p", "{port}", *options]

    return command


def rival(name: str, module: str = "") -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        if module and find_spec(module) is None:
            raise Missing(f"{module} is not installed: pip install {module}")
        return [sys.executable, str(HERE / "rivals.py"), name, "{port}"]

    return command


def compiled(variant: str) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        compiler, server = shutil.which(os.environ.get("CC", "cc")), folder / "server"
        if compiler is None:
            raise Missing("no C compiler: install one, or name it in CC")
        if not server.exists():
            source = HERE / "server.c"
            if subprocess.run([compiler, "-O2", "-o", server, source]).returncode:
                raise Missing(f"{compiler} does not compile {source.name}")
        return [str(server), variant, "{port}"]

    return command


SERVERS: dict[str, Callable[[Path], list[str]]] = {
    "shout": shout(),
    "shout-1-worker": shout("--workers", "1"),
    "shout-2-workers": shout("--workers", "2"),
    "guarded": rival("guarded", "shout"),
    "unguarded": rival("unguarded", "shout"),
    "twisted": rival("twisted", "twisted"),
    "loop": rival("loop"),
    "asyncio": rival("asyncio"),
    "uvloop": rival("uvloop", "uvloop"),
    "socketserver": rival("socketserver"),
    "c": compiled("recvfrom"),
    "c-mmsg": compiled("recvmmsg"),
}
"""
By name, what returns the command line, in which C{{port}} stands for the port.  It
is given a folder for what it has to make, and raises L{Missing}.
"""


CORES = {"shout-2-workers": 2}
"""
By name, how many cores a server can make use of, if it is more than one.
"""


def also(text: str) -> tuple[str, Callable[[Path], list[str]]]:
    """
    Make a server of C{name=command with {port}}.

    @raise ValueError: when it is not of this form.
    """
    name, equals, command = text.partition("=")
    if not (name and equals and "{port}" in command):
        raise ValueError(text)
    return name, lambda folder: shlex.split(command)


class Running:
    """
    A server that runs on a port, and on cores, of its own.

    @ivar name: the server's name.

    @ivar port: its port.
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, cores: Iterable[int]
    ):
        """
        Start it.

        @param folder: where its output goes.

        @param cores: where it, and what it starts, runs.

        @raise Failed: when there is no such command.
        """
        self.name = name
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", 0))
            self.port: int = sock.getsockname()[1]
        self._log = folder / f"{name}.log"
        try:
            with self._log.open("wb") as log:
                # In a session of its own it is not reached by Ctrl-C, and goes
                # on answering until it is stopped.
                self._process = subprocess.Popen(
                    [part.replace("{port}", str(self.port)) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as e:
            raise Failed(f"{name} cannot be started: {e}") from e
        os.sched_setaffinity(self._process.pid, cores)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def waitUntilUp(self) -> None:
        """
        Wait until it answers.

        @raise Failed: when it does not.
        """
        deadline = time.monotonic() + PATIENCE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.05)
            sock.connect(("127.0.0.1", self.port))
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    sock.send(b"up?")
                    sock.recv(65535)
                    return
                except ConnectionRefusedError:
                    time.sleep(0.02)
                except TimeoutError:
                    pass
        self.check()
        raise Failed(f"{self.name} does not answer")

    def check(self) -> None:
        """
        Check that it still runs.

        @raise Failed: when it does not.
        """
        if self._process.poll() is not None:
            output = self._log.read_text(errors="replace").strip()
            last = output.rpartition("\n")[2] or f"exit {self._process.returncode}"
            raise Failed(f"{self.name} has gone: {last}")

    def cpu(self) -> float:
        """
        Return how many seconds of CPU it has used, with all its threads and
        children.
        """
        return _cpu(self._process.pid) + sum(map(_cpu, self._children()))

    def memory(self) -> float:
        """
        Return its resident memory, in MiB, and what its children have of their own.
        """
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        own = sum(map(_private, self._children()))
        return (int(status.partition("VmRSS:")[2].split()[0]) + own) / 1024

    def _children(self) -> list[int]:
        pid = self._process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]


def _cpu(pid: int) -> float:
    process = Path(f"/proc/{pid}")
    try:
        tasks = [task / "schedstat" for task in (process / "task").iterdir()]
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        # A kernel without CONFIG_SCHED_INFO: hundredths of a second.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _private(pid: int) -> int:
    """
    Return how many KiB of memory a process shares with no other.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
