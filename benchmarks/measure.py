"""
Rounds of measurements.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TypeVar

from benchmarks.load import Load, Outcome, run
from benchmarks.report import Measurement
from benchmarks.servers import CORES, Failed, Running

T = TypeVar("T")


def measure(
    program: Path,
    commands: Mapping[str, Sequence[str]],
    directory: Path,
    loads: Mapping[str, Load],
    sizes: Sequence[int],
    rounds: int,
    seconds: float,
) -> Generator[Measurement, None, None]:
    """
    Measure servers in turn, all of them in each round, and each round in another order.

    The servers run on the first core, where the others sleep meanwhile; the load
    generator runs on the last core.  Servers that can use several cores get the first
    of them, but never the last.  For each size they are started anew, because the
    memory that one size leaves allocated can change the cost of the next.

    @param program: The load generator.

    @param commands: The command lines of the servers, by name.

    @param directory: The directory for their output.

    @param loads: The loads, by name.

    @param sizes: The sizes of the datagrams, in bytes.  Open loops have only the first.

    @param rounds: Number of rounds.

    @param seconds: Seconds for each measurement.

    @raise Failed: If a server does not answer, or exits.
    """
    cores = sorted(os.sched_getaffinity(0))
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
            order = inTurn(servers, number, rounds)
            for (name, load), server in product(loads.items(), order):
                if load.rate and size != sizes[0]:
                    continue
                outcome, cpu, user = measureOnce(
                    program, load, server, size, seconds, number
                )
                values = outcome.values(cpu, user)
                yield Measurement(
                    number, server.name, name, size, values, outcome.example
                )
            for server in servers:
                values = {"rss": server.memory()}
                yield Measurement(number, server.name, "memory", size, values)


def inTurn(each: Sequence[T], number: int, rounds: int) -> Sequence[T]:
    """
    Return the order for a round: what is measured late in a round tends to cost more,
    so every other round is reversed, and each begins elsewhere.
    """
    first = len(each) * number // rounds
    order = [*each[first:], *each[:first]]
    return order[::-1] if number % 2 else order


def measureOnce(
    program: Path,
    load: Load,
    server: Running,
    size: int,
    seconds: float,
    number: int = 0,
) -> tuple[Outcome, float, float]:
    """
    Measure one server under one load.

    @param number: Number of the round.  The random arrivals differ between rounds, and
        are the same for all servers.

    @return: The outcome, the CPU time that the server has used, and the part of it that
        was not spent in the kernel, in seconds.
    """
    before: list[float] = []
    outcome = run(
        program,
        load,
        server.port,
        size,
        seconds,
        number + 1,
        lambda: before.extend((server.cpu(), server.userTime())),
    )
    cpu, user = server.cpu() - before[0], server.userTime() - before[1]
    server.check()
    if outcome.wrong and not outcome.replies:
        raise Failed(f"{server.name} replies {outcome.example!r}")
    return outcome, cpu, user


def _cores(name: str, cores: Sequence[int]) -> Sequence[int]:
    return (cores[:-1] or cores)[: CORES.get(name, 1)]
