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
from typing import Any

from benchmarks.measure import inTurn
from benchmarks.servers import PORTS, Missing, Running, onPort

NAMES = [f"host{number}.example.test" for number in range(100)]

# For the address of the root, so the answer is an error.
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"


def serve(kind: str, number: int) -> None:
    """
    Run the DNS server.

    @param kind: One of L{PORTS}.

    @param number: The port number.
    """
    from twisted.internet import reactor as installed
    from twisted.names import authority, common, dns, server

    from shout.udp import listenUDP

    class Zone(authority.FileAuthority):
        def __init__(self) -> None:
            common.ResolverBase.__init__(self)  # type: ignore[no-untyped-call]
            self.soa = b"example.test", dns.Record_SOA()
            addresses = [dns.Record_A(f"192.0.2.{each}") for each in range(100)]
            self.records = {
                name.encode(): [address] for name, address in zip(NAMES, addresses)
            }

    factory = server.DNSServerFactory(authorities=[Zone()])
    reactor: Any = installed
    listen: Any = reactor.listenUDP if kind == "twisted" else listenUDP
    listen(number, dns.DNSDatagramProtocol(factory), "127.0.0.1")
    reactor.run()


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
    add("--serve", nargs=2, metavar=("PORT", "NUMBER"), help="internal")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return 0
    if which("dnsperf") is None:
        sys.exit("dnsperf is not installed: apt-get install dnsperf")
    core = min(os.sched_getaffinity(0))
    results: dict[str, list[tuple[float, float, int]]] = {}
    with TemporaryDirectory() as directory, ExitStack() as stack:
        queries = Path(directory, "queries")
        queries.write_text("".join(f"{name} A\n" for name in NAMES))
        load = ["-d", str(queries), "-c", options.clients, "-q", options.in_flight]
        servers = []
        for kind in PORTS:
            program = [sys.executable, "-m", "benchmarks.dns", "--serve", kind]
            try:
                command = onPort(kind, [*program, "{port}"])
            except Missing as e:
                print(f"skipping {kind}: {e}", file=sys.stderr)
                continue
            server = Running(kind, command, Path(directory), {core})
            servers.append(stack.enter_context(server))
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
