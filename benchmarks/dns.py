"""
C{python -m benchmarks.dns} measures a real protocol: the DNS server of Twisted, with a
small zone in memory, on Twisted's own port and on those of L{shout.udp}.

dnsperf sends the queries: by default 20 clients with 100 queries in flight together.
The servers run on one core, and dnsperf on another.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measure import inTurn
from benchmarks.servers import PORTS, Running, prepare, rival

# For the address of the root, so the answer is an error.
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"


def perform(server: Running, arguments: Sequence[str]) -> tuple[float, float, int]:
    """
    Send queries to a server.

    @param arguments: Arguments for dnsperf.

    @return: Microseconds of CPU per query, queries per second, and number of queries
        without an answer.
    """
    cores = sorted(os.sched_getaffinity(0))
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), *arguments]
    before = server.cpu()
    output = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    ).stdout
    cpu = server.cpu() - before
    server.check()

    def find(label: str) -> float:
        found = re.search(rf"{label}:\s+([0-9.]+)", output)
        assert found is not None
        return float(found[1])

    completed, lost = find("Queries completed"), find("Queries lost")
    if not re.search(rf"Response codes:\s+NOERROR {completed:.0f} \(100", output):
        sys.exit(f"{server.name} has answered wrongly:\n{output}")
    return cpu * 1e6 / completed, find("Queries per second"), int(lost)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Compare the CPU per query on the ports, in rounds, and print the medians.
    """
    parser = ArgumentParser(prog="python -m benchmarks.dns", description=main.__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="[5]")
    add("--seconds", type=int, default=2, help="per round and port [2]")
    add("--clients", default="20", help="[20]")
    add("--in-flight", default="100", help="queries in flight of all clients [100]")
    options = parser.parse_args(arguments)
    if which("dnsperf") is None:
        sys.exit("dnsperf is not installed: apt-get install dnsperf")
    cores = {min(os.sched_getaffinity(0))}
    results: dict[str, list[tuple[float, float, int]]] = {}
    with TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        queries = directory / "queries"
        queries.write_text("".join(f"host{i}.example.test A\n" for i in range(100)))
        load = ["-d", str(queries), "-c", options.clients, "-q", options.in_flight]
        commands = prepare({kind: rival("dns", kind=kind) for kind in PORTS}, directory)
        servers = [
            stack.enter_context(Running(kind, command, directory, cores))
            for kind, command in commands.items()
        ]
        for server in servers:
            server.waitUntilUp(QUERY)
            perform(server, [*load, "-l", "1"])
        for number in range(options.rounds):
            for server in inTurn(servers, number, options.rounds):
                result = perform(server, [*load, "-l", str(options.seconds)])
                results.setdefault(server.name, []).append(result)
    print(f"{'port':10}{'CPU µs/query':>14}{'/twisted':>10}{'queries/s':>11}  lost")
    for name, each in results.items():
        ratios = [a[0] / b[0] for a, b in zip(each, results["twisted"])]
        cost, rate = (median(result[i] for result in each) for i in (0, 1))
        print(f"{name:10}{cost:14.1f}{median(ratios):10.2f}{rate:11,.0f}", end="")
        print(f"{sum(result[2] for result in each):6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
