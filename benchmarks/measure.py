"""
Rounds of measurements.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from benchmarks.load import Load
from benchmarks.report import Measurement
from benchmarks.servers import CORES, Running

WARM_UP = 0.2
"""
Seconds of load before each measurement.
"""


def measure(
    commands: Mapping[str, Sequence[str]],
    directory: Path,
    loads: Mapping[str, Load],
    sizes: Sequence[int],
    rounds: int,
    seconds: float,
) -> Generator[Measurement, None, None]:
    """
    Measure servers in turn, all of them in each round.

    The servers run on the first core, where the others sleep meanwhile; the load
    generator runs on the last core.  Servers that can use several cores get the first
    of them, but never the last.  For each size they are started anew, because the
    memory that one size leaves allocated can change the cost of the next.

    @param commands: The command lines of the servers, by name.

    @param directory: The directory for their output.

    @param loads: The loads, by name.

    @param sizes: The sizes of the datagrams, in bytes.

    @param rounds: Number of rounds.

    @param seconds: Seconds for each measurement.

    @raise Failed: If a server does not answer, or exits.
    """
    cores = sorted(os.sched_getaffinity(0))
    with ProcessPoolExecutor(1, get_context("spawn"), _pin, (cores[-1],)) as pool:
        for number, size in product(range(rounds), sizes):
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(
                        Running(name, command, directory, _cores(name, cores))
                    )
                    for name, command in commands.items()
                ]
                for server in servers:
                    server.waitUntilUp()
                for (load, run), server in product(loads.items(), servers):
                    values, example = _measureOnce(pool, run, server, size, seconds)
                    yield Measurement(number, server.name, load, size, values, example)
                for server in servers:
                    values = {"rss": server.memory()}
                    yield Measurement(number, server.name, "memory", size, values)


def _measureOnce(
    pool: Executor, load: Load, server: Running, size: int, seconds: float
) -> tuple[dict[str, float], str]:
    """
    Measure one server under one load.

    @return: The values, and a wrong reply, if there was one.
    """
    try:
        warmUp = pool.submit(load, server.port, size, WARM_UP).result()
        if not warmUp.replies:
            server.check()
            return {}, ""
        before = server.cpu()
        outcome = pool.submit(load, server.port, size, seconds).result()
        cpu = server.cpu() - before
    except OSError:
        server.check()
        raise
    server.check()
    return outcome.values(cpu), outcome.example


def _cores(name: str, cores: Sequence[int]) -> Sequence[int]:
    return (cores[:-1] or cores)[: CORES.get(name, 1)]


def _pin(core: int) -> None:
    os.sched_setaffinity(0, {core})
    # Ctrl-C reaches this process too, but the parent ends it, after a load.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
