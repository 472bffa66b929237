"""
Kill workers under load, and compare the datagrams lost with those that the workers were
processing: C{python -m benchmarks.kill}.

C{twistd -n shout --workers} runs, and peers send it requests: each keeps some datagrams
in flight and checks every reply.  At random intervals a worker is stopped.  The
datagrams in flight to it, less those that wait in its socket, are the ones that it is
processing.  Then the worker is killed, and its peers must lose exactly these datagrams.

The exit status is 1 if a reply was wrong, if more or fewer datagrams were lost, if no
worker was killed, or if there was no reply.
"""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

PEERS = 16
WINDOW = 16

# In seconds.
TIMEOUT = 20
INTERVAL = 0.002


class Peer:
    """
    A client that keeps datagrams in flight.

    A worker answers in order, so a reply means that the requests before it that have
    no reply yet are lost.

    @ivar answered: Number of requests that were answered.

    @ivar lost: Number of requests that were lost.

    @ivar wrong: The replies that match no request.

    @ivar inFlight: The replies that are expected, the oldest first.
    """

    def __init__(self, port: int) -> None:
        self.answered = self.lost = self._number = 0
        self.wrong: list[bytes] = []
        self.inFlight: list[bytes] = []
        self.sock = socket(AF_INET, SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(("127.0.0.1", port))

    def send(self) -> None:
        """
        Send one more request.
        """
        self._number += 1
        datagram = b"datagram %09d" % self._number
        self.sock.send(datagram)
        self.inFlight.append(datagram.upper())

    def receive(self) -> None:
        """
        Receive the replies that have arrived.
        """
        while True:
            try:
                reply = self.sock.recv(100)
            except BlockingIOError:
                return
            if reply not in self.inFlight:
                self.wrong.append(reply)
                continue
            index = self.inFlight.index(reply)
            self.lost += index
            del self.inFlight[: index + 1]
            self.answered += 1

    def exchange(self) -> None:
        """
        Receive the replies that have arrived, and send as many requests.
        """
        self.receive()
        for _ in range(WINDOW - len(self.inFlight)):
            self.send()


@dataclass
class Outcome:
    """
    The result of a run.

    @ivar answered: Number of requests that were answered.

    @ivar wrong: The replies that match no request.

    @ivar processing: Number of datagrams that each killed worker was processing.

    @ivar lost: Number of datagrams lost by each kill.

    @ivar totals: The totals that the server has logged.
    """

    answered: int = 0
    wrong: list[bytes] = field(default_factory=list)
    processing: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    totals: str = ""

    @property
    def isGood(self) -> bool:
        """
        L{True} if workers were killed and lost only what they were processing.
        """
        hasRun = bool(self.answered and self.lost)
        return hasRun and not self.wrong and self.lost == self.processing


@contextmanager
def server(workers: int, log: str) -> Iterator[tuple[int, int]]:
    """
    Run the server.

    @return: The process ID and the port.
    """
    twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
    command = (
        f"{twistd} -n --pidfile= -l {log} shout -i 127.0.0.1 -p 0 --workers={workers}"
    )
    process = subprocess.Popen(command.split(), start_new_session=True)
    try:
        yield process.pid, int(waitFor(r"try it with: nc -u 127.0.0.1 (\d+)", log))
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def waitFor(pattern: str, path: str) -> str:
    """
    Wait for a pattern in a file, and return its first group.
    """
    for _ in range(TIMEOUT * 100):
        found = os.path.exists(path) and re.search(pattern, Path(path).read_text())
        if found:
            return found[1]
        time.sleep(0.01)
    raise TimeoutError(pattern)


def workersOf(pid: int) -> list[int]:
    """
    Return the children of a process.
    """
    return [
        int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """
    Stop a process, and continue it at the end.
    """
    os.kill(pid, signal.SIGSTOP)
    stat = Path(f"/proc/{pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.0001)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def queuedBytes(pid: int, port: int) -> int:
    """
    Return the memory of the datagrams that wait in the sockets of a process, in bytes.
    """
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(os.readlink(descriptor).removeprefix("socket:["))
    total = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"{fields[9]}]" in inodes and fields[1].endswith(f":{port:04X}"):
            total += int(fields[4].partition(":")[2], 16)
    return total


def bytesPerDatagram() -> int:
    """
    Return the memory of one datagram that waits in a socket, in bytes.
    """
    with socket(AF_INET, SOCK_DGRAM) as sock, socket(AF_INET, SOCK_DGRAM) as peer:
        sock.bind(("127.0.0.1", 0))
        peer.connect(sock.getsockname())
        for number in range(100):
            peer.send(b"datagram %09d" % number)
        return queuedBytes(os.getpid(), sock.getsockname()[1]) // 100


def peersOf(pid: int, workers: list[int], peers: list[Peer]) -> list[Peer]:
    """
    Find the peers that a worker answers: those that get replies while the other workers
    are stopped, and none while it is stopped itself.

    @param workers: The process IDs of all workers.
    """
    others = [each for each in workers if each != pid]
    own: list[Peer] = []
    unknown = peers
    end = time.monotonic() + TIMEOUT
    while unknown:
        if time.monotonic() > end:
            raise TimeoutError("some peers get no replies")
        theirs = _answered([pid], unknown)
        ours = _answered(others, unknown)
        own += ours
        unknown = [each for each in unknown if each not in theirs + ours]
    return own


def _answered(pids: list[int], peers: list[Peer], rounds: int = 20) -> list[Peer]:
    """
    Return the peers that get replies while some workers are stopped.
    """
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(stopped(pid))
        for peer in peers:
            peer.receive()
        before = [peer.answered for peer in peers]
        for _ in range(rounds):
            for peer in peers:
                peer.exchange()
            time.sleep(INTERVAL)
    return [peer for peer, count in zip(peers, before) if peer.answered > count]


def kill(seconds: float, workers: int, intervals: tuple[float, float]) -> Outcome:
    """
    Run a server under load, and kill its workers.

    @param seconds: Seconds to run.

    @param workers: Number of workers.

    @param intervals: Minimum and maximum number of seconds between two kills.
    """
    outcome, size = Outcome(), bytesPerDatagram()
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "log")
        with server(workers, log) as (parent, port):
            peers = [Peer(port) for _ in range(PEERS)]
            end = time.monotonic() + seconds
            interval = 0.0
            while time.monotonic() < end:
                _load(peers, interval)
                interval = random.uniform(*intervals)
                present = workersOf(parent)
                if not present:
                    continue
                pid = random.choice(present)
                own = peersOf(pid, present, peers)
                _load(peers, random.uniform(0, 0.1))
                with stopped(pid):
                    for peer in own:
                        peer.receive()
                    inFlight = sum(len(peer.inFlight) for peer in own)
                    outcome.processing.append(inFlight - queuedBytes(pid, port) // size)
                    os.kill(pid, signal.SIGKILL)
                outcome.lost.append(_lost(peers, own))
            for peer in peers:
                with closing(peer.sock):
                    outcome.answered += peer.answered
                    outcome.wrong += peer.wrong
        outcome.totals = waitFor("stopped listening on .*: (.*)", log)
    return outcome


def _load(peers: list[Peer], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([peer.sock for peer in peers], [], [], INTERVAL)
        for peer in peers:
            peer.exchange()


def _lost(peers: list[Peer], own: list[Peer]) -> int:
    """
    Continue after a kill until the number of lost datagrams is certain.

    @return: Number of lost datagrams.
    """
    before = sum(peer.lost for peer in own)
    last = {}
    for peer in own:
        # The reply to this request arrives after all other replies.
        peer.send()
        last[peer] = peer.inFlight[-1]
    end = time.monotonic() + TIMEOUT
    while any(reply in peer.inFlight for peer, reply in last.items()):
        if time.monotonic() > end:
            raise TimeoutError("the worker was not replaced")
        _load(peers, INTERVAL)
    return sum(peer.lost for peer in own) - before


def main() -> None:
    """
    Run the command.
    """
    parser = ArgumentParser("python -m benchmarks.kill")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    outcome = kill(options.seconds, options.workers, (0.5, 2))
    print(f"""\
  killed      {len(outcome.lost)} workers
  answered    {outcome.answered} datagrams, {len(outcome.wrong)} wrong replies
  processing  {sum(outcome.processing)} when killed: {outcome.processing}
  lost        {sum(outcome.lost)}: {outcome.lost}
  server      {outcome.totals}""")
    sys.exit(not outcome.isGood)


if __name__ == "__main__":
    main()
