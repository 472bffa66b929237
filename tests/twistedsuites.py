"""
Twisted's own tests of UDP and DNS on the ports of shout: C{python -m
tests.twistedsuites}.

Each suite of the installed Twisted runs twice: on Twisted's ports, and with
C{listenUDP} and C{listenMulticast} of every reactor replaced by those of L{shout.udp}.
The second run fails if a test passes in the first one only.  So a test that cannot pass
on this host needs no list.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from io import StringIO
from typing import Any

from twisted.internet.posixbase import PosixReactorBase
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

from shout.udp import listenMulticast, listenUDP

SUITES = (
    "twisted.test.test_udp",
    "twisted.internet.test.test_udp",
    "twisted.names.test",
)


def run(suite: str) -> tuple[Any, str]:
    """
    Run a suite.

    @return: The results, and what trial prints about them.
    """
    output = StringIO()
    with tempfile.TemporaryDirectory() as directory:
        runner = TrialRunner(
            TreeReporter, stream=output, workingDirectory=f"{directory}/trial"
        )
        return runner.run(
            TestLoader().loadByName(suite, recurse=True)
        ), output.getvalue()


def runOnDoors(suite: str) -> tuple[Any, str, Counter[str]]:
    """
    Run a suite on the ports of shout.

    @return: The results, what trial prints about them, and the number of ports of each
        class.
    """
    ports = Counter[str]()

    def replace(listen: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(reactor: Any, *args: Any, **kwargs: Any) -> Any:
            port = listen(*args, **kwargs, reactor=reactor)
            ports[type(port).__name__] += 1
            return port

        return replacement

    patcher = MonkeyPatcher(
        (PosixReactorBase, "listenUDP", replace(listenUDP)),
        (PosixReactorBase, "listenMulticast", replace(listenMulticast)),
    )
    return *patcher.runWithPatches(run, suite), ports


def passed(results: Any) -> int:
    """
    Return the number of tests that ran as they should.
    """
    return int(results.successes) + len(results.expectedFailures)


def failed(results: Any) -> set[str]:
    """
    Return the names of the tests that did not run as they should.
    """
    return {test.id() for test, *_ in [*results.errors, *results.failures]}


def compare(suite: str) -> bool:
    """
    Run a suite on both kinds of ports, and print the results.

    @return: C{True} if the ports of shout do as well as Twisted's.
    """
    expected, _ = run(suite)
    found, output, ports = runOnDoors(suite)
    isAsGood = 0 < passed(expected) <= passed(found) and bool(ports)
    isAsGood &= failed(found) <= failed(expected)
    if not isAsGood or not expected.wasSuccessful():
        print(output)
    print(
        f"{suite}: {passed(found)} tests passed on {dict(ports)}, "
        f"{passed(expected)} on Twisted's ports, {len(found.skips)} skipped"
    )
    return isAsGood


if __name__ == "__main__":
    compared = [compare(suite) for suite in SUITES]
    sys.exit(not all(compared))
