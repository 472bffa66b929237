"""
Tests for the command L{tests.mutants}, and the changes that it makes.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from subprocess import run
from textwrap import dedent
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.mutating import mutate


class MutateTests(SynchronousTestCase):
    """
    Tests for L{mutate}.
    """

    def mutants(self, source: str) -> list[str]:
        """
        Return what becomes of the lines of a module.
        """
        return [mutant.after for mutant in mutate(ast.parse(dedent(source)))]

    def test_replaced(self) -> None:
        """
        Operators, constants, conditions, results and defaults are replaced, one at
        a time.
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
        Statements of a function are removed, those of a module are not.
        """
        source = "a()\ndef b():\n    a()\n    a = b\n    raise"
        self.assertEqual(self.mutants(source), ["pass"] * 3)

    def test_skipped(self) -> None:
        """
        What is for readers and for type checkers stays.
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

    def test_putBack(self) -> None:
        """
        In the end the module is what it was.
        """
        source = "def a(b=1):\n    return not b < 2"
        tree = ast.parse(source)
        self.assertEqual(len({ast.unparse(tree) for _ in mutate(tree)}), 8)
        self.assertEqual(ast.unparse(tree), source)


@skipUnless(hasattr(os, "waitid"), "this system has no waitid(2)")
class CommandTests(SynchronousTestCase):
    """
    Tests for C{python -m tests.mutants}.
    """

    def test_run(self) -> None:
        """
        It tells which mutants were not caught, and how many were of how many.
        """
        module = "shout/workers/backoff.py"
        root = os.path.dirname(os.path.dirname(__file__))
        command = [sys.executable, "-m", "tests.mutants", "--sample", "4", module]
        output = run(command, cwd=root, capture_output=True, text=True, check=True)
        *others, last = output.stdout.splitlines()
        [caught] = re.findall(f"^{module}: ([0-4]) of 4 caught$", last)
        self.assertEqual(len(others), 2 * (4 - int(caught)))
