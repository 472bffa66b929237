"""
Tests for what arbitrary bytes from the network do.
"""

from __future__ import annotations

import sys
from io import StringIO

from hypothesis import given, settings
from hypothesis.strategies import binary
from twisted.trial.unittest import SynchronousTestCase

from tests import fuzz
from tests.fuzzed import fuzzOne


class FuzzTests(SynchronousTestCase):
    """
    Tests for everything that takes bytes from the network.
    """

    @settings(deadline=None, max_examples=500)
    @given(binary(max_size=1024) | binary(min_size=500, max_size=2000))
    def test_any(self, data: bytes) -> None:
        """
        Whatever the bytes, what has to hold does; see L{fuzzOne}.
        """
        fuzzOne(data)


class CommandTests(SynchronousTestCase):
    """
    Tests for C{python -m tests.fuzz}.
    """

    def test_notInstalled(self) -> None:
        """
        Without atheris it says so in one line, and that is a failure unless it
        was allowed.
        """
        self.patch(fuzz, "find_spec", lambda name: None)
        for args, status in (([], 2), (["--if-installed"], 0)):
            output = StringIO()
            self.patch(sys, "argv", ["fuzz", *args])
            self.patch(sys, "stdout", output)
            self.assertEqual(self.assertRaises(SystemExit, fuzz.main).code, status)
            line = "atheris is not installed: pip install atheris\n"
            self.assertEqual(output.getvalue(), line)
