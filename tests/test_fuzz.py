"""
Tests for L{tests.fuzz} and L{tests.fuzzed}.
"""

from __future__ import annotations

import os
import sys
from io import StringIO

from hypothesis import given, settings
from hypothesis.strategies import binary
from twisted.trial.unittest import SynchronousTestCase

from tests import fuzz
from tests.fuzzed import fuzzOne
from tests.properties import untimed

# Number of inputs that are tried.
EXAMPLES = int(os.environ.get("SHOUT_EXAMPLES", 100))


class FuzzTests(SynchronousTestCase):
    """
    Tests for all code that reads bytes from the network.
    """

    @settings(untimed, max_examples=EXAMPLES)
    @given(binary(max_size=1024) | binary(min_size=500, max_size=2000))
    def test_any(self, data: bytes) -> None:
        """
        No input breaks an invariant of L{fuzzOne}.
        """
        fuzzOne(data)


class CommandTests(SynchronousTestCase):
    """
    Tests for C{python -m tests.fuzz}.
    """

    def test_notInstalled(self) -> None:
        """
        Without atheris the command prints one line.  The exit status is 2, or 0 with
        C{--if-installed}.
        """
        self.patch(fuzz, "find_spec", lambda name: None)
        for args, status in (([], 2), (["--if-installed"], 0)):
            output = StringIO()
            self.patch(sys, "argv", ["fuzz", *args])
            self.patch(sys, "stdout", output)
            self.assertEqual(self.assertRaises(SystemExit, fuzz.main).code, status)
            line = "atheris is not installed: pip install atheris\n"
            self.assertEqual(output.getvalue(), line)
