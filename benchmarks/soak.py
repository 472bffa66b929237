"""
Attack a server for minutes, and check that honest peers get their replies:
C{python -m benchmarks.soak}, as root.

C{twistd -n shout} runs on one core.  At the same time the other cores send:

    - requests of honest peers: each waits for the reply, checks it, and repeats;
    - datagrams from up to a million forged sources, ordinary text and capitals, some
      from ports of reflectors and some from the server's own address;
    - bursts of empty datagrams, broadcasts, a scan of the ports around the server's,
      and datagrams from sockets that are closed before the reply arrives, which
      causes ICMP errors.

All of it stays on the loopback, at a fraction of the rate that the server can answer,
so a full receive buffer is no cause of losses.  The exit status is 1 if a reply to an
honest peer was lost or wrong, or if memory or log grew.

C{python -m benchmarks.soak --sources 300000} only sends datagrams from as many forged
sources, and prints the resident memory after the first one, when the tables of peers
are full, and at the end.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Event, Process, SimpleQueue
from multiprocessing.synchronize import Event as _Event
from socket import AF_INET, SO_BROADCAST, SOCK_DGRAM, SOL_SOCKET, socket

from tests.forging import Forger, whyNot

SERVER = ("127.0.0.1", 23456)
SCANNED = range(23000, 24000)
BROADCAST = ("127.255.255.255", SERVER[1])

# Datagrams per second, in TICKS bursts each.  A server answers about 200,000 datagrams
# per second, and its receive buffer holds some thousands.
TICKS = 50
HONEST = 4_000
PEERS = 8
FORGED = 15_000
EMPTY = 2_500
SCANS = 1_000
CLOSING = 500
BROADCASTS = 100

SOURCES = 1_000_000
# Number of sources that fill the tables of a server.
FILLING = 20_000
REFUSED_PORTS = (0, 7, 19, 53, 123, 1900, 11211)

# In seconds.
TIMEOUT = 2
QUIET_PERIOD = 30

FAILURES = ("honest lost", "honest wrong", "children that failed")

# Lines that twistd and shout log when they start and stop.
OTHER_LINES = 12


def ticks(seconds: float, stop: _Event) -> Iterator[int]:
    """
    Yield the number of each tick in time.  Ticks that are late are not repeated.
    """
    number, now = 0, time.monotonic()
    end = now + seconds
    while now < end and not stop.wait(max(0, now + 1 / TICKS - time.monotonic())):
        now = time.monotonic()
        yield number
        number += 1


def honest(time: Iterator[int], count: Counter[str]) -> None:
    """
    Send requests from several sockets, each with one datagram in flight.
    """
    clients = [client() for _ in range(PEERS)]
    for _ in time:
        for _ in range(HONEST // TICKS // PEERS):
            first = count["honest sent"]
            for number, peer in enumerate(clients, first):
                peer.send(b"honest %d" % number)
                count["honest sent"] += 1
            for number in range(PEERS):
                expected = b"HONEST %d" % (first + number)
                try:
                    isRight = clients[number].recv(100) == expected
                except TimeoutError:
                    count["honest lost"] += 1
                    # A late reply must not count as the reply to the next request.
                    clients[number] = client()
                    continue
                count["honest answered" if isRight else "honest wrong"] += 1


def client() -> socket:
    """
    Return the socket of an honest peer.
    """
    sock = socket(AF_INET, SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    sock.connect(SERVER)
    return sock


def forge(time: Iterator[int], count: Counter[str]) -> None:
    """
    Send datagrams with forged source addresses.
    """
    forger = Forger()
    for tick in time:
        if tick % 5 == 0:
            forger.send(b"forged", SERVER, SERVER)
            count["from the server's address"] += 1
        for number in range(FORGED // TICKS):
            host = forgedHost(count["forged sent"] % SOURCES)
            port = random.choice(REFUSED_PORTS) if number % 10 == 0 else 23000
            forger.send(random.choice((b"forged", b"FORGED")), (host, port), SERVER)
            count["forged sent"] += 1
    count["distinct forged sources"] = min(count["forged sent"], SOURCES)


def forgedHost(number: int) -> str:
    """
    Return one of up to 15 million addresses, from 127.16.0.0 on.
    """
    return f"127.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def flood(sources: int, log: str) -> list[int]:
    """
    Send a datagram from each of many forged sources to a server.

    @return: The resident sizes in KiB: after the first source, after L{FILLING}, and at
        the end.
    """
    forger, peer = Forger(), client()
    sizes = []
    with server(log, min(os.sched_getaffinity(0))) as process:
        for number in range(sources):
            forger.send(b"forged", (forgedHost(number), 23000), SERVER)
            # The reply to an honest peer means that those before it were received.
            if number % 100 == 0:
                peer.send(b"honest")
                peer.recv(100)
            if number in (0, FILLING, sources - 1):
                sizes.append(residentSize(process.pid))
    return sizes


def annoy(time: Iterator[int], count: Counter[str]) -> None:
    """
    Send empty datagrams and broadcasts, scan ports, and close sockets early.
    """
    sock = socket(AF_INET, SOCK_DGRAM)
    sock.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
    for tick in time:
        for _ in range(EMPTY // TICKS):
            sock.sendto(b"", SERVER)
            count["empty sent"] += 1
        for number in range(SCANS // TICKS):
            port = SCANNED[(tick * SCANS // TICKS + number) % len(SCANNED)]
            sock.sendto(b"scan", (SERVER[0], port))
            count["ports scanned"] += 1
        for _ in range(CLOSING // TICKS):
            with socket(AF_INET, SOCK_DGRAM) as closing:
                closing.sendto(b"closing", SERVER)
            count["closed at once"] += 1
        for _ in range(BROADCASTS // TICKS):
            sock.sendto(b"broadcast", BROADCAST)
            count["broadcasts sent"] += 1


def child(
    work: Callable[[Iterator[int], Counter[str]], None],
    time: Iterator[int],
    cores: set[int],
    results: SimpleQueue[Counter[str]],
) -> None:
    """
    Do one kind of work in a process of its own.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.sched_setaffinity(0, cores)
    count: Counter[str] = Counter()
    try:
        work(time, count)
    finally:
        results.put(count)


@contextmanager
def server(log: str, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run the server, and stop it at the end.
    """
    twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
    command = f"{twistd} -n --pidfile= -l {log} shout -i 0.0.0.0 -p {SERVER[1]}"
    process = subprocess.Popen(
        command.split(),
        # Ctrl-C reaches only this process, which then stops the server.
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        while "try it with" not in read(log):
            if process.poll() is not None:
                sys.exit("soak: the server did not start")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def read(path: str) -> str:
    """
    Return the content of a file, or an empty string if it does not exist.
    """
    with suppress(FileNotFoundError), open(path) as f:
        return f.read()
    return ""


def residentSize(pid: int) -> int:
    """
    Return the resident memory of a process, in KiB.
    """
    found = re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))
    return int(found[1]) if found else 0


def soak(seconds: float, log: str) -> tuple[Counter[str], list[int]]:
    """
    Run the server and all attacks.

    @return: The counts, and the resident sizes of the server after the warm-up.
    """
    cores = sorted(os.sched_getaffinity(0))
    others = set(cores[1:] or cores)
    stop = Event()
    results: SimpleQueue[Counter[str]] = SimpleQueue()
    children = [
        Process(target=child, args=(work, ticks(seconds, stop), others, results))
        for work in (honest, forge, annoy)
    ]
    total = Counter(dict.fromkeys(FAILURES, 0))
    sizes: list[int] = []
    with server(log, cores[0]) as process:
        began = time.monotonic()
        for each in children:
            each.start()
        try:
            while any(each.is_alive() for each in children):
                time.sleep(min(10, seconds / 10))
                elapsed = time.monotonic() - began
                size, length = residentSize(process.pid), os.path.getsize(log)
                print(f"{elapsed:5.0f} s: {size} KiB resident, {length} bytes of log")
                if elapsed > seconds / 5:
                    sizes.append(size)
        except KeyboardInterrupt:
            stop.set()
        for each in children:
            total.update(results.get())
            each.join()
            total["children that failed"] += each.exitcode != 0
    return total, sizes


def main() -> None:
    """
    Run the command.
    """
    parser = ArgumentParser("python -m benchmarks.soak")
    parser.add_argument(
        "--seconds", type=int, default=600, help="seconds to run, at least 10 [600]"
    )
    parser.add_argument(
        "--sources", type=int, help="only send from this number of forged sources"
    )
    options = parser.parse_args()
    seconds = options.seconds
    if seconds < 10:
        parser.error(f"--seconds takes a number from 10 on, not {seconds}")
    if whyNot:
        sys.exit(f"soak: {whyNot}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "log")
        if options.sources:
            print(*flood(options.sources, log), "KiB resident")
            return
        total, sizes = soak(seconds, log)
        text = read(log)
    reasons = set(re.findall("not answered: [0-9]+ (.*)", text))
    logged = len(text.splitlines())
    maxLines = len(reasons) * (seconds // QUIET_PERIOD + 1) + OTHER_LINES
    drops = re.search("([0-9]+) datagrams? dropped by the kernel", text)
    stopped = re.search("received [0-9]+, answered .*", text)
    for name, count in total.items():
        print(f"{name:>26}  {count}")
    print(f"""\
             resident size  {sizes[:1]} {sizes[-1:]} {max(sizes, default=0)} KiB
                            after the warm-up, at the end, maximum
                 log lines  {logged} of at most {maxLines}
     dropped by the kernel  {drops[1] if drops else 0}
                    server  {stopped[0] if stopped else "logged no totals"}
""")
    isHarmed = (
        any(total[name] for name in FAILURES)
        or not total["honest answered"]
        or not sizes
        or max(sizes) > 1.1 * sizes[0]
        or logged > maxLines
        or stopped is None
    )
    sys.exit(isHarmed)


if __name__ == "__main__":
    main()
