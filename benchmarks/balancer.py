"""
C{python -m benchmarks.balancer} measures what nginx costs in front of shout, on the
loopback.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load import LOADS
from benchmarks.servers import Running

WARM_UP = 0.2

# Like docs/deploy/nginx.conf, in one process, so that its CPU is easily read.
CONFIGURATION = """
load_module modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
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


def compare(folder: Path, rounds: int, seconds: float) -> None:
    """
    Ask shout and nginx in turn, and print what one reply costs each.
    """
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    twistd = Path(sys.executable).parent / "twistd"
    command = [str(twistd), "-n", "--pidfile=", "shout", "-i", "127.0.0.1"]
    print(f"{'load':10}{'bytes':>8}{'asked':>8}{'replies/s':>12}{'lost':>8}", end="")
    print(f"{'shout, µs':>12}{'nginx, µs':>12}")
    with Running("shout", [*command, "-p", "{port}"], folder, core) as behind:
        behind.waitUntilUp()
        path = folder / "nginx.conf"
        script = 'sed "s/PORT/$0/" "$1" >"$1.here"; exec nginx -c "$1.here"'
        front = ["sh", "-c", script, "{port}", str(path)]
        text = CONFIGURATION.format(folder=folder, behind=behind.port, port="PORT")
        path.write_text(text)
        with Running("nginx", front, folder, core) as nginx:
            nginx.waitUntilUp()
            for name in ("crowd", "stream"):
                for size in (32, 1400):
                    rows: dict[str, list[tuple[float, ...]]] = {}
                    for _ in range(rounds):
                        for asked in (behind, nginx):
                            LOADS[name](asked.port, size, WARM_UP)
                            before = behind.cpu(), nginx.cpu()
                            outcome = LOADS[name](asked.port, size, seconds)
                            after = behind.cpu(), nginx.cpu()
                            cost = [
                                (b - a) * 1e6 / outcome.replies
                                for a, b in zip(before, after)
                            ]
                            rate = outcome.replies / outcome.seconds
                            row = (rate, outcome.lost, *cost)
                            rows.setdefault(asked.name, []).append(row)
                    for asked_, measured in rows.items():
                        rate, lost, *cost = map(median, zip(*measured))
                        print(f"{name:10}{size:8}{asked_:>8}{rate:12,.0f}", end="")
                        print(f"{lost:8,.0f}{cost[0]:12.2f}{cost[1]:12.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Compare shout with nginx in front of it and without.
    """
    parser = ArgumentParser(prog="python -m benchmarks.balancer")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--seconds", type=float, default=0.7, help="per load [0.7]")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        compare(Path(folder), options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
