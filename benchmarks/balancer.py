"""
C{python -m benchmarks.balancer} measures the CPU that nginx uses in front of shout, on
the loopback.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load import CLOSED, Load, run
from benchmarks.servers import Running, build

# Like docs/deploy/nginx.conf, but in one process, which makes its CPU easy to read.
CONFIGURATION = """
load_module modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
stream {{
    upstream shout {{
        zone shout 64k;
        server 127.0.0.1:{behind} max_fails=3 fail_timeout=5s;
    }}
    server {{
        listen 127.0.0.1:{port} udp rcvbuf=4m;
        proxy_pass shout;
        proxy_requests 1;
        proxy_responses 1;
        proxy_timeout 1s;
    }}
}}
"""


def compare(directory: Path, rounds: int, seconds: float) -> None:
    """
    Send requests to shout and to nginx in turn, and print the CPU that each of them
    uses per reply.
    """
    core = min(os.sched_getaffinity(0))
    program = build("load", directory)
    twistd = Path(sys.executable).parent / "twistd"
    command = [str(twistd), "-n", "--pidfile=", "shout", "-i", "127.0.0.1"]
    print(f"{'load':10}{'bytes':>8}{'target':>8}{'replies/s':>12}{'lost':>8}", end="")
    print(f"{'shout, µs':>12}{'nginx, µs':>12}")
    with Running("shout", [*command, "-p", "{port}"], directory, {core}) as behind:
        behind.waitUntilUp()
        path = directory / "nginx.conf"
        script = 'sed "s/PORT/$0/" "$1" >"$1.here"; exec nginx -c "$1.here"'
        front = ["sh", "-c", script, "{port}", str(path)]
        text = CONFIGURATION.format(
            directory=directory, behind=behind.port, port="PORT"
        )
        path.write_text(text)
        with Running("nginx", front, directory, {core}) as nginx:
            nginx.waitUntilUp()

            def measure(load: Load, port: int, size: int) -> tuple[float, ...]:
                before: list[float] = []

                def onReady() -> None:
                    before.extend(server.cpu() for server in (behind, nginx))

                outcome = run(program, load, port, size, seconds, onReady=onReady)
                after = behind.cpu(), nginx.cpu()
                cost = ((b - a) * 1e6 / outcome.replies for a, b in zip(before, after))
                return outcome.replies / outcome.seconds, outcome.lost, *cost

            for name, size in product(("crowd", "stream"), (32, 1400)):
                rows: dict[str, list[tuple[float, ...]]] = {}
                for _, target in product(range(rounds), (behind, nginx)):
                    row = measure(CLOSED[name], target.port, size)
                    rows.setdefault(target.name, []).append(row)
                for target_, measured in rows.items():
                    rate, lost, *cost = map(median, zip(*measured))
                    print(f"{name:10}{size:8}{target_:>8}{rate:12,.0f}", end="")
                    print(f"{lost:8,.0f}{cost[0]:12.2f}{cost[1]:12.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Compare shout with and without nginx in front of it.
    """
    parser = ArgumentParser(prog="python -m benchmarks.balancer")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--seconds", type=float, default=0.7, help="per load [0.7]")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as directory:
        compare(Path(directory), options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
