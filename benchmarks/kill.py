"""
Kill workers while they are busy, and see what is lost: C{python -m benchmarks.kill}.

C{twistd -n shout --workers} runs, and peers ask it: each keeps some datagrams under
way and checks every reply.  Now and then a worker is stopped, and what is under way
to it is counted: what its peers have not got back, less what waits in its socket, it
has in hand.  Then it is killed.  What its peers never get back has to be just that.

The exit status is 1 if a reply was wrong, if more or less was lost, or if none was
killed or nothing answered.
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
PATIENCE = 20
TURN = 0.002


class Peer:
    """
    Keeps datagrams under way.

    A worker answers in order, so a reply says that what was asked before it and has
    not come back never will.

    @ivar answered: how many of its datagrams.

    @ivar lost: how many of them.

    @ivar wrong: the replies that it never asked for.
    """

    def __init__(self, port: int) -> None:
        self.answered = self.lost = self._number = 0
        self.wrong: list[bytes] = []
        self.underWay: list[bytes] = []
        self.sock = socket(AF_INET, SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(("127.0.0.1", port))

    def ask(self) -> None:
        """
        Send one more.
        """
        self._number += 1
        text = b"datagram %09d" % self._number
        self.sock.send(text)
        self.underWay.append(text.upper())

    def receive(self) -> int:
        """
        Take the replies that have come.

        @return: how many.
        """
        count = 0
        while True:
            try:
                reply = self.sock.recv(100)
            except BlockingIOError:
                return count
            count += 1
            if reply not in self.underWay:
                self.wrong.append(reply)
                continue
            place = self.underWay.index(reply)
            self.lost += place
            del self.underWay[: place + 1]
            self.answered += 1

    def turn(self) -> None:
        """
        Take the replies, and ask again.
        """
        self.receive()
        for _ in range(WINDOW - len(self.underWay)):
            self.ask()


@dataclass
class Outcome:
    """
    What came of it.

    @ivar inHand: how many datagrams each of the killed had in hand.

    @ivar lost: how many were lost each time.

    @ivar totals: what the server said in the end.
    """

    answered: int = 0
    wrong: list[bytes] = field(default_factory=list)
    inHand: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    totals: str = ""

    @property
    def isGood(self) -> bool:
        """
        Whether all is as it should be.
        """
        wasTried = bool(self.answered and self.lost)
        return wasTried and not self.wrong and self.lost == self.inHand


@contextmanager
def server(workers: int, log: str) -> Iterator[tuple[int, int]]:
    """
    Run the server.

    @return: its process and its port.
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
        process.wait(PATIENCE)


def waitFor(pattern: str, path: str) -> str:
    """
    Wait for something in a file, and return the first group of it.
    """
    for _ in range(PATIENCE * 100):
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
    Have a process stand still.
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


def waiting(pid: int, port: int) -> int:
    """
    Return how many bytes of memory wait in the sockets of a process.
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


def bytesEach() -> int:
    """
    Return how much memory one datagram takes that waits.
    """
    with socket(AF_INET, SOCK_DGRAM) as sock, socket(AF_INET, SOCK_DGRAM) as peer:
        sock.bind(("127.0.0.1", 0))
        peer.connect(sock.getsockname())
        for number in range(100):
            peer.send(b"datagram %09d" % number)
        return waiting(os.getpid(), sock.getsockname()[1]) // 100


def ownPeers(pid: int, present: list[int], peers: list[Peer]) -> list[Peer]:
    """
    Find the peers that a worker answers: they are answered while the others stand
    still, and the rest while it does.

    @param present: all workers.
    """
    others = [each for each in present if each != pid]
    own: list[Peer] = []
    unknown = peers
    end = time.monotonic() + PATIENCE
    while unknown:
        if time.monotonic() > end:
            raise TimeoutError("who answers whom?")
        theirs = _answered([pid], unknown)
        ours = _answered(others, unknown)
        own += ours
        unknown = [each for each in unknown if each not in theirs + ours]
    return own


def _answered(still: list[int], peers: list[Peer], turns: int = 20) -> list[Peer]:
    """
    Return the peers that are answered while some workers stand still.
    """
    with ExitStack() as stack:
        for pid in still:
            stack.enter_context(stopped(pid))
        for peer in peers:
            peer.receive()
        before = [peer.answered for peer in peers]
        for _ in range(turns):
            for peer in peers:
                peer.turn()
            time.sleep(TURN)
    return [peer for peer, count in zip(peers, before) if peer.answered > count]


def kill(seconds: float, workers: int, often: tuple[float, float]) -> Outcome:
    """
    Do it.

    @param often: the least and the most seconds between two kills.
    """
    outcome, each = Outcome(), bytesEach()
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        with server(workers, log) as (parent, port):
            peers = [Peer(port) for _ in range(PEERS)]
            end = time.monotonic() + seconds
            next_ = 0.0
            while time.monotonic() < end:
                _load(peers, next_)
                next_ = random.uniform(*often)
                present = workersOf(parent)
                if not present:
                    continue
                pid = random.choice(present)
                own = ownPeers(pid, present, peers)
                _load(peers, random.uniform(0, 0.1))
                with stopped(pid):
                    for peer in own:
                        peer.receive()
                    under = sum(len(peer.underWay) for peer in own)
                    outcome.inHand.append(under - waiting(pid, port) // each)
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
        select.select([peer.sock for peer in peers], [], [], TURN)
        for peer in peers:
            peer.turn()


def _lost(peers: list[Peer], own: list[Peer]) -> int:
    """
    Go on after a kill, until it is known what is lost.

    @return: how much.
    """
    before = sum(peer.lost for peer in own)
    last = {}
    for peer in own:
        # The reply to this comes after all those that still come.
        peer.ask()
        last[peer] = peer.underWay[-1]
    end = time.monotonic() + PATIENCE
    while any(text in peer.underWay for peer, text in last.items()):
        if time.monotonic() > end:
            raise TimeoutError("no worker took over")
        _load(peers, TURN)
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
  killed    {len(outcome.lost)} workers
  answered  {outcome.answered} datagrams, {len(outcome.wrong)} wrongly
  in hand   {sum(outcome.inHand)} of the killed: {outcome.inHand}
  lost      {sum(outcome.lost)}: {outcome.lost}
  server    {outcome.totals}""")
    sys.exit(not outcome.isGood)


if __name__ == "__main__":
    main()
