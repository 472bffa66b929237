"""
Mutation tests: C{python -m tests.mutants shout/guard.py}.

A mutant is a module with one small change.  It is caught if one of the module's tests
fails, or if the tests take much longer than without the change.  A mutant that survives
points to a behaviour without a test, a needless line, or a change without an effect.

Each mutant is tested in a process forked from this one, where an import hook loads it
in place of the module.  No file changes.
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
from importlib.util import spec_from_file_location
from pathlib import Path
from signal import SIGKILL
from types import CodeType
from typing import Any, ClassVar

from hypothesis import Phase, settings
from twisted.trial.reporter import Reporter
from twisted.trial.runner import TestLoader, TestSuite, TrialRunner

from tests.mutating import Mutant, mutate

HELP = """\
Change each module in one place at a time, run its tests, and print the changes that no
test catches.
"""

# Tests of a module beside those that mirror its path.
TESTS = {
    "counters": ["protocol"],
    "guard": ["fuzz"],
    "listening": ["tap"],
    "measure.histogram": ["measure.tracker"],
    "measure.tracker": ["measure.session"],
    "measure.unmatched": ["measure.tracker"],
    "options": ["tap"],
    "protocol": ["capitals", "udp.responder", "guard"],
    "request": ["client"],
    "sources": ["guard"],
    "udp.batched": ["udp.port", "udp.responder"],
    "udp.listening": ["udp.listening_reactors"],
    "udp.peer": ["udp.port"],
    "udp.port": ["udp.batched", "udp.listening", "udp.responder"],
    "udp.portable": ["udp.port", "udp.responder"],
    "udp.responder": ["protocol"],
    "udp.sockopt": ["sockets.bind", "udp.port"],
}

# Bytes of memory that a process may use: some mutants allocate without end.
_MEMORY = 4 << 30

# Seconds between two polls of the processes.
_POLL_INTERVAL = 0.01


class _Timer(Reporter):
    """
    Measures the duration of each test.
    """

    # On the class, because the runner does not hand out its reporter.
    seconds: ClassVar[dict[str, float]] = {}

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._started = time.monotonic()

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self.seconds[test.id()] = time.monotonic() - self._started


class _Loader(SourceFileLoader):
    """
    Finds and loads one module from the current state of its syntax tree.
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
    A run of tests in a forked process, up to the first failure.
    """

    def __init__(self, loader: _Loader, order: dict[str, float], limit: float) -> None:
        """
        @param loader: The loader of the module to test.

        @param order: The duration of each test in seconds.  Quick tests run first.

        @param limit: Seconds that the run may take.
        """
        self._deadline = time.monotonic() + limit
        self._directory = tempfile.TemporaryDirectory()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._run(loader, order)
            finally:
                os._exit(1)

    def _run(self, loader: _Loader, order: dict[str, float]) -> None:
        # A process group, so that it can be killed with its children.
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
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

    def isOver(self) -> bool:
        """
        Check if the process has exited or has used up its time.
        """
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        isLate = time.monotonic() > self._deadline
        return isLate or os.waitid(os.P_PID, self._pid, options) is not None

    def end(self) -> dict[str, float] | None:
        """
        Kill the process and its children.

        @return: The duration of each test in seconds, or C{None} if a test failed or
            the time was used up.
        """
        # The process is reaped later, so its id still belongs to this group.
        with suppress(ProcessLookupError):
            os.killpg(self._pid, SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        with self._directory as directory:
            if status:
                return None
            with open(os.path.join(directory, "seconds")) as file:
                return dict(json.load(file))


def _testsOf(path: str) -> list[str]:
    name = path.removesuffix(".py").rpartition("shout/")[2].replace("/", ".")
    found: list[Path] = []
    for each in (name, *TESTS.get(name, [])):
        *package, leaf = each.split(".")
        for pattern in (f"test_{leaf.strip('_')}.py", f"test_{leaf.strip('_')}_*.py"):
            found += sorted(Path("tests", *package).glob(pattern))
    # A test named twice runs once.
    return [".".join(each.with_suffix("").parts) for each in dict.fromkeys(found)]


def _flatten(suite: Any) -> Iterator[Any]:
    if isinstance(suite, TestSuite):
        for test in suite:
            yield from _flatten(test)
    else:
        yield suite


class Trial:
    """
    Mutants of one module and the runs of its tests.

    @ivar tried: Number of mutants tested.

    @ivar survivors: The mutants that no test caught.
    """

    def __init__(self, path: str, processes: int) -> None:
        """
        @param path: The path of the module.

        @param processes: Number of mutants to test at a time.

        @raise RuntimeError: If the module has no tests, or one fails without a mutant.
        """
        self.tried = 0
        self.survivors: list[Mutant] = []
        self._path = path
        self._loader = _Loader(path)
        self._processes = processes
        self._running: list[tuple[Mutant, _Run]] = []
        run = _Run(self._loader, {}, 600)
        while not run.isOver():
            time.sleep(_POLL_INTERVAL)
        order = run.end()
        if not order:
            raise RuntimeError(f"{path} has no tests, or they fail without a mutant")
        self._order = order
        self._limit = 10 + 3 * sum(order.values())

    def run(self, sample: int, seed: int, line: int = 0) -> None:
        """
        Test mutants.

        @param sample: Number of mutants to choose at random, or 0 for all.

        @param seed: The seed of the random choice.

        @param line: The line whose mutants are tested, or 0 for all lines.
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
                    # The forked process keeps the tree with this change.
                    run = _Run(self._loader, self._order, self._limit)
                    self._running.append((mutant, run))
            self._wait(0)
        finally:
            for _, run in self._running:
                run.end()

    def _wait(self, count: int) -> None:
        """
        Wait until at most C{count} runs are left.
        """
        while len(self._running) > count:
            time.sleep(_POLL_INTERVAL)
            for mutant, run in self._running[:]:
                if run.isOver():
                    self._running.remove((mutant, run))
                    if run.end() is not None:
                        self.survivors.append(mutant)
                        print(f"{self._path}:{mutant.line}: {mutant.before}")
                        print(f"    -> {mutant.after}", flush=True)


def main() -> None:
    """
    Run the command.
    """
    parser = ArgumentParser("python -m tests.mutants", description=HELP)
    parser.add_argument("modules", nargs="+", metavar="FILE[:LINE]")
    for name, default, text in (
        ("--sample", 0, "number of mutants of each file [all]"),
        ("--seed", 0, "seed of the random choice of these [0]"),
        ("--processes", 2, "number of mutants tested at a time [2]"),
    ):
        parser.add_argument(name, type=int, default=default, help=text)
    options = parser.parse_args()
    # The same examples each time, and no time for shrinking those that fail.
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
