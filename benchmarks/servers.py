"""
The servers to compare, and the process of a server.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from shout.udp.batched import available

HERE = Path(__file__).parent

# Seconds for a server to start to answer, and to exit.
TIMEOUT = 20


class Missing(Exception):
    """
    A server cannot run here.  The message names the missing program or module.
    """


class Failed(Exception):
    """
    A server or the load generator did not answer, or exited.
    """


Command = Callable[[Path], list[str]]
"""
A function that returns the command line of a server; see L{SERVERS}.
"""


def shout(*options: str) -> Command:
    def command(directory: Path) -> list[str]:
        twistd = Path(sys.executable).with_name("twistd")
        if not twistd.exists() or find_spec("shout") is None:
            raise Missing("shout is not installed beside this Python: pip install -e .")
        return [str(twistd), "-n", "--pidfile=", "shout", "-p", "{port}", *options]

    return command


PORTS = ("twisted", "batched", "portable")
"""
The kinds of ports: Twisted's own, and those of L{shout.udp}.
"""


def onPort(kind: str, command: list[str]) -> list[str]:
    """
    Return a command line so that ports of L{shout.udp} are of a given kind.

    @raise Missing: If the C extension is missing.
    """
    if kind == "batched" and not available:
        raise Missing("the C extension is not built, or SHOUT_PURE_PYTHON is set")
    return ["env", "SHOUT_PURE_PYTHON=1", *command] if kind == "portable" else command


def rival(name: str, module: str = "", kind: str = "") -> Command:
    def command(directory: Path) -> list[str]:
        if module and find_spec(module) is None:
            raise Missing(f"{module} is not installed: pip install {module}")
        command = [sys.executable, str(HERE / "rivals.py"), name, "{port}"]
        return onPort(kind, [*command, kind]) if kind else command

    return command


def build(name: str, directory: Path) -> Path:
    """
    Compile a program of this directory.

    @param name: The name of the program.

    @param directory: The directory for the program.

    @raise Missing: If there is no compiler.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Missing("no C compiler: install one, or name it in CC")
    program, source = directory / name, HERE / f"{name}.c"
    options = ["-O3", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    command = [compiler, *options, str(source), "-lm"]
    if not program.exists() and subprocess.run(command).returncode:
        raise Missing(f"{compiler} does not compile {source.name}")
    return program


def compiled(variant: str) -> Command:
    def command(directory: Path) -> list[str]:
        return [str(build("server", directory)), variant, "{port}"]

    return command


SERVERS: dict[str, Command] = {
    "shout": shout(),
    "shout-1-worker": shout("--workers", "1"),
    "shout-2-workers": shout("--workers", "2"),
    **{kind: rival("shout", kind=kind) for kind in PORTS},
    "loop": rival("loop"),
    "asyncio": rival("asyncio"),
    "uvloop": rival("uvloop", "uvloop"),
    "socketserver": rival("socketserver"),
    "c": compiled("recvfrom"),
    "c-same": compiled("same"),
}
"""
Functions that return the command line of a server, by name.  They take a directory
for build products, and raise L{Missing}.  C{{port}} in the command line stands for the
port.
"""


CORES = {"shout-2-workers": 2}
"""
Number of cores for servers that can use more than one, by name.
"""


def prepare(commands: Mapping[str, Command], directory: Path) -> dict[str, list[str]]:
    """
    Return the command lines of servers, without those that cannot be started.
    """
    prepared = {}
    for name, command in commands.items():
        try:
            prepared[name] = command(directory)
        except Missing as e:
            print(f"skipping {name}: {e}", file=sys.stderr)
    return prepared


def also(text: str) -> tuple[str, Command]:
    """
    Parse a server given as C{name=command with {port}}.

    @raise ValueError: If the text does not have this form.
    """
    name, equals, command = text.partition("=")
    if not (name and equals and "{port}" in command):
        raise ValueError(text)
    return name, lambda directory: shlex.split(command)


class Running:
    """
    A running server with its own port, on given cores.

    @ivar name: The name of the server.

    @ivar port: The port of the server.

    @ivar pid: The process ID of the server.
    """

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, cores: Iterable[int]
    ):
        """
        Start the server.

        @param directory: The directory for its output.

        @param cores: The cores for the server and its children.

        @raise Failed: If the command cannot be executed.
        """
        self.name = name
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", 0))
            self.port: int = sock.getsockname()[1]
        self._log = directory / f"{name}.log"
        try:
            with self._log.open("wb") as log:
                # Ctrl-C does not reach its own session, so it continues to answer
                # until it is terminated.
                self._process = subprocess.Popen(
                    [part.replace("{port}", str(self.port)) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as e:
            raise Failed(f"{name} cannot be started: {e}") from e
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, cores)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def waitUntilUp(self, datagram: bytes = b"up?") -> None:
        """
        Wait until the server answers.

        @param datagram: A datagram that has an answer.

        @raise Failed: If it does not answer in time.
        """
        deadline = time.monotonic() + TIMEOUT
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.05)
            sock.connect(("127.0.0.1", self.port))
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    sock.send(datagram)
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
        Check that the server still runs.

        @raise Failed: If it has exited.
        """
        if self._process.poll() is not None:
            output = self._log.read_text(errors="replace").strip()
            last = output.rpartition("\n")[2] or f"exit {self._process.returncode}"
            raise Failed(f"{self.name} has exited: {last}")

    def cpu(self) -> float:
        """
        Return the CPU time of all threads and children, in seconds.
        """
        return _cpu(self.pid) + sum(map(_cpu, self._children()))

    def userTime(self) -> float:
        """
        Return the part of the CPU time that was not spent in the kernel, in seconds.
        It is coarse: hundredths of a second, found by sampling.
        """
        pids = [self.pid, *self._children()]
        return sum(int(_stat(pid)[11]) for pid in pids) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """
        Return the resident memory, with the private memory of all children, in MiB.
        """
        status = Path(f"/proc/{self.pid}/status").read_text()
        own = sum(map(_private, self._children()))
        return (int(status.partition("VmRSS:")[2].split()[0]) + own) / 1024

    def _children(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in text.split()]


def _cpu(pid: int) -> float:
    process = Path(f"/proc/{pid}")
    try:
        tasks = [task / "schedstat" for task in (process / "task").iterdir()]
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        # A kernel without CONFIG_SCHED_INFO: hundredths of a second.
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """
    Return the fields of proc_pid_stat(5) from the state on.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _private(pid: int) -> int:
    """
    Return the memory that a process shares with no other, in KiB.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
