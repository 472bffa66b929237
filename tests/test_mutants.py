"""
Tests for L{tests.mutants} and L{tests.mutating}.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from subprocess import run
from textwrap import dedent
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.mutants import TESTS
from tests.mutating import mutate


class MutateTests(SynchronousTestCase):
    """
    Tests for L{mutate}.
    """

    def mutants(self, source: str) -> list[str]:
        """
        Return the changed line of each mutant of a module.
        """
        return [mutant.after for mutant in mutate(ast.parse(dedent(source)))]

    def test_replaced(self) -> None:
        """
        Operators, constants, conditions, return values and defaults are replaced, one
        at a time.
        """
        for source, expected in (
            ("a < b", ["a <= b", "a >= b"]),
            ("a and b", ["a or b"]),
            ("a - b", ["a + b"]),
            ("not a", ["a"]),
            ("any(a)", ["all(a)"]),
            ("a(1)", ["a(2)", "a(0)"]),
            ("a(True, 'b', b'')", ["a(False, 'b', b'')", "a(True, '', b'')"]),
            ("b if a else c", ["b if False else c", "b if True else c"]),
            ("while a: b", ["while False:"]),
            ("a[0.5]", ["a[1.0]", "a[0.25]"]),
            ("def a(b=c): return b", ["def a(b=None):", "return None"]),
        ):
            self.assertEqual(self.mutants(source)[: len(expected)], expected)

    def test_removed(self) -> None:
        """
        The statements of a function are removed, those of a module are not.
        """
        source = "a()\ndef b():\n    a()\n    a = b\n    raise"
        self.assertEqual(self.mutants(source), ["pass"] * 3)

    def test_skipped(self) -> None:
        """
        Docstrings, annotations, imports, assertions and logged values do not change.
        """
        self.assertEqual(
            self.mutants(
                """
                '''A module.'''
                from b import c
                if TYPE_CHECKING:
                    d = 1
                Callback = Callable[["int"], "str"]
                class A:
                    __slots__ = ("e",)
                    e: "int"
                def f(g: "str | None") -> "int":
                    '''A function.'''
                    assert g != "h"
                """
            ),
            [],
        )
        logs = self.mutants("def a(self):\n    self._log.info('b', c=1)")
        self.assertEqual(logs[0], "pass")
        self.assertEqual({log[:22] for log in logs[1:]}, {"self._log.info('b', c="})

    def test_restored(self) -> None:
        """
        The module is restored at the end.
        """
        source = "def a(b=1):\n    return not b < 2"
        tree = ast.parse(source)
        self.assertEqual(len({ast.unparse(tree) for _ in mutate(tree)}), 8)
        self.assertEqual(ast.unparse(tree), source)


class TableTests(SynchronousTestCase):
    """
    Tests for L{TESTS}.
    """

    def test_exist(self) -> None:
        """
        The modules and the tests in the table exist.
        """
        root = Path(__file__).parent.parent
        for module, tests in TESTS.items():
            path = root / "shout" / f"{module.replace('.', '/')}.py"
            self.assertTrue(path.exists(), module)
            for test in tests:
                *package, leaf = test.split(".")
                path = Path(root, "tests", *package, f"test_{leaf}.py")
                self.assertTrue(path.exists(), test)


@skipUnless(hasattr(os, "waitid"), "this system has no waitid(2)")
class CommandTests(SynchronousTestCase):
    """
    Tests for C{python -m tests.mutants}.
    """

    def test_run(self) -> None:
        """
        The command prints the mutants that survive, and the number of those caught.
        """
        module = "shout/workers/backoff.py"
        root = os.path.dirname(os.path.dirname(__file__))
        command = [sys.executable, "-m", "tests.mutants", "--sample", "4", module]
        output = run(command, cwd=root, capture_output=True, text=True, check=True)
        *others, last = output.stdout.splitlines()
        [caught] = re.findall(f"^{module}: ([0-4]) of 4 caught$", last)
        self.assertEqual(len(others), 2 * (4 - int(caught)))
