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
For how many seconds a server is asked before it is measured.
"""


def measure(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    loads: Mapping[str, Load],
    sizes: Sequence[int],
    rounds: int,
    seconds: float,
) -> Generator[Measurement, None, None]:
    """
    Measure servers in turn, all of them in each round.  They run on the first of
    the cores, where those whose turn it is not sleep; the load runs on the last.
    Those that can make use of several have the first of them, but never the last.
    For each size they are started anew: what one leaves behind in the memory of a
    server can change what the next costs.

    @param commands: the command lines of the servers, by name.

    @param folder: where their output goes.

    @param loads: the loads, by name.

    @param seconds: how long each measurement takes.

    @raise Failed: when a server does not come up, or goes away.
    """
    cores = sorted(os.sched_getaffinity(0))
    with ProcessPoolExecutor(1, get_context("spawn"), _settle, (cores[-1],)) as pool:
        for number, size in product(range(rounds), sizes):
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(
                        Running(name, command, folder, _cores(name, cores))
                    )
                    for name, command in commands.items()
                ]
                for server in servers:
                    server.waitUntilUp()
                for (load, ask), server in product(loads.items(), servers):
                    told = _ask(pool, ask, server, size, seconds)
                    yield Measurement(number, server.name, load, size, *told)
                for server in servers:
                    figures = {"rss": server.memory()}
                    yield Measurement(number, server.name, "memory", size, figures)


def _ask(
    pool: Executor, ask: Load, server: Running, size: int, seconds: float
) -> tuple[dict[str, float], str]:
    """
    Measure once.

    @return: the figures, and a wrong reply if there was one.
    """
    try:
        warmUp = pool.submit(ask, server.port, size, WARM_UP).result()
        if not warmUp.replies:
            server.check()
            return {}, ""
        before = server.cpu()
        outcome = pool.submit(ask, server.port, size, seconds).result()
        cpu = server.cpu() - before
    except OSError:
        server.check()
        raise
    server.check()
    return outcome.figures(cpu), outcome.example


def _cores(name: str, cores: Sequence[int]) -> Sequence[int]:
    """
    Return the cores for a server.
    """
    return (cores[:-1] or cores)[: CORES.get(name, 1)]


def _settle(core: int) -> None:
    os.sched_setaffinity(0, {core})
    # Ctrl-C reaches it too, but the parent ends it, when a load is through.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
