"""
The command that changes the code in one place at a time and runs its tests:
C{python -m tests.mutants shout/guard.py}.

A module that is changed is a mutant.  A mutant is caught when a test fails, and
when the tests take much longer than they did.  One that survives shows a behaviour
that no test states, a line that is not needed, or a change that makes no difference.

Every mutant runs in a process of its own, forked from this one, where an import
hook puts it into the place of the module; no file changes.
"""

from __future__ import annotations

import ast
import json
import os
import random
import resource
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from signal import SIGKILL
from types import CodeType
from typing import Any, ClassVar

from hypothesis import Phase, settings
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TestSuite, TrialRunner

from tests.mutating import Mutant, mutate

# More tests of a module than those that mirror its path.
TESTS = {
    "counters": ["protocol"],
    "guard": ["fuzz", "guard_model"],
    "measure.histogram": ["measure.tracker"],
    "measure.tracker": ["measure.session"],
    "measure.unmatched": ["measure.tracker"],
    "protocol": ["udp.responder", "guard"],
    "request": ["client"],
    "sources": ["guard"],
    "udp.batched": [
        "udp.batched_addresses",
        "udp.batched_errors",
        "udp.port",
        "udp.receive",
        "udp.responder",
        "udp.send",
    ],
    "udp.peer": ["udp.batched", "udp.batched_addresses", "udp.receive"],
    "udp.port": ["udp.batched", "udp.responder"],
    "udp.receive": ["udp.batched", "udp.batched_addresses", "udp.peer"],
    "udp.responder": ["protocol"],
    "udp.send": ["udp.batched", "udp.batched_errors"],
    "udp.sockopt": ["sockets.bind", "udp.port"],
}

# How many bytes of memory a process may have, if its mutant keeps on taking more.
_MEMORY = 4 << 30

# Seconds between two looks at what runs.
_PAUSE = 0.01


class _Timer(Reporter):
    """
    Takes the time of each test.
    """

    # There is one in a process, and a runner keeps it to itself.
    seconds: ClassVar[dict[str, float]] = {}

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._started = time.monotonic()

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self.seconds[test.id()] = time.monotonic() - self._started


class _Loader(SourceFileLoader):
    """
    Finds and loads one module, as its tree is at that time.
    """

    def __init__(self, path: str) -> None:
        name = path.removesuffix(".py").replace("/", ".")
        super().__init__(name, os.path.abspath(path))
        self.tree = ast.parse(self.get_data(self.path))

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return spec_from_file_location(name, loader=self) if name == self.name else None

    def get_code(self, name: str) -> CodeType:
        tree = ast.fix_missing_locations(self.tree)
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Run:
    """
    A run of tests in a process of its own, up to the first that fails.
    """

    def __init__(self, loader: _Loader, order: dict[str, float], limit: float) -> None:
        """
        @param loader: loads the module that is tested.

        @param order: the seconds that each test takes: quick ones run first.

        @param limit: how many seconds the run may take.
        """
        self._ends = time.monotonic() + limit
        self._directory = tempfile.TemporaryDirectory()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._run(loader, order)
            finally:
                os._exit(1)

    def _run(self, loader: _Loader, order: dict[str, float]) -> None:
        # A group of processes, which can be ended as a whole.
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        random.seed(0)
        tempfile.tempdir = self._directory.name
        sys.meta_path.insert(0, loader)
        names = _testsOf(loader.path)
        tests = list(_flatten(TestLoader().loadByNames(names)))
        tests.sort(key=lambda test: order.get(test.id(), 0))
        os.chdir(self._directory.name)
        runner = TrialRunner(_Timer, stream=sys.stdout, exitFirst=True)
        result = runner.run(TestSuite(tests))
        if result.wasSuccessful():
            with open("seconds", "w") as file:
                json.dump(_Timer.seconds, file)
            os._exit(0)

    def poll(self) -> bool:
        """
        Tell whether it has ended, or has to because its time is over.
        """
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        isLate = time.monotonic() > self._ends
        return isLate or os.waitid(os.P_PID, self._pid, options) is not None

    def end(self) -> dict[str, float] | None:
        """
        End it with all the processes that it has left.

        @return: how long each test took; L{None} when one failed, or when there
            was no time for all.
        """
        # Until it is waited for, nothing else gets the number of the group.
        with suppress(ProcessLookupError):
            os.killpg(self._pid, SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        with self._directory as directory:
            if status:
                return None
            with open(os.path.join(directory, "seconds")) as file:
                return dict(json.load(file))


def _testsOf(path: str) -> list[str]:
    name = path.removesuffix(".py").partition("shout/")[2].replace("/", ".")
    modules = (each.rpartition(".") for each in (name, *TESTS.get(name, [])))
    names = [f"tests.{room}{dot}test_{leaf}" for room, dot, leaf in modules]
    return [each for each in names if find_spec(each)]


def _flatten(suite: Any) -> Iterator[Any]:
    if isinstance(suite, TestSuite):
        for test in suite:
            yield from _flatten(test)
    else:
        yield suite


class Trial:
    """
    Run the tests of a module with its mutants.

    @ivar tried: how many mutants were tried.
    @type tried: L{int}

    @ivar survivors: those that no test caught.
    @type survivors: L{list} of L{Mutant}
    """

    def __init__(self, path: str, processes: int) -> None:
        """
        @param path: the path of the module.

        @param processes: how many mutants to try at a time.

        @raise RuntimeError: when a test fails without a mutant.
        """
        self.tried = 0
        self.survivors: list[Mutant] = []
        self._path = path
        self._loader = _Loader(path)
        self._processes = processes
        self._running: list[tuple[Mutant, _Run]] = []
        run = _Run(self._loader, {}, 600)
        while not run.poll():
            time.sleep(_PAUSE)
        order = run.end()
        if order is None:
            raise RuntimeError(f"the tests of {path} fail without a mutant")
        self._order = order
        self._limit = 10 + 3 * sum(order.values())

    def run(self, sample: int, seed: int, line: int = 0) -> None:
        """
        Try mutants.

        @param sample: how many, chosen by chance; 0 for all.

        @param seed: the seed of that chance.

        @param line: the line whose mutants are tried; 0 for all.
        """
        tree = self._loader.tree
        chosen = {
            index
            for index, mutant in enumerate(mutate(tree))
            if line in (0, mutant.line)
        }
        if 0 < sample < len(chosen):
            chosen = set(random.Random(seed).sample(sorted(chosen), sample))
        self.tried = len(chosen)
        try:
            for index, mutant in enumerate(mutate(tree)):
                if index in chosen:
                    self._wait(self._processes - 1)
                    # It gets the tree as it is now.
                    run = _Run(self._loader, self._order, self._limit)
                    self._running.append((mutant, run))
            self._wait(0)
        finally:
            for _, run in self._running:
                run.end()

    def _wait(self, most: int) -> None:
        """
        Wait until no more than so many run.
        """
        while len(self._running) > most:
            time.sleep(_PAUSE)
            for mutant, run in self._running[:]:
                if run.poll():
                    self._running.remove((mutant, run))
                    if run.end() is not None:
                        self.survivors.append(mutant)
                        print(f"{self._path}:{mutant.line}: {mutant.before}")
                        print(f"    -> {mutant.after}", flush=True)


def main() -> None:
    """
    Run the command.
    """
    parser = ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="+", metavar="FILE[:LINE]")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each [all]")
    parser.add_argument("--seed", type=int, default=0, help="says which those are [0]")
    parser.add_argument("--processes", type=int, default=2, help="at a time [2]")
    options = parser.parse_args()
    # The same examples each time; that one fails is enough, so it is not made smaller.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", derandomize=True, phases=phases)
    settings.load_profile("mutants")
    for module in options.modules:
        path, _, line = module.partition(":")
        trial = Trial(path, options.processes)
        trial.run(options.sample, options.seed, int(line or 0))
        caught = trial.tried - len(trial.survivors)
        print(f"{path}: {caught} of {trial.tried} caught", flush=True)


if __name__ == "__main__":
    main()
