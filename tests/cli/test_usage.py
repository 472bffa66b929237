"""
Tests for L{shout.cli.usage}.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.usage import UsageError, number
from tests.properties import untimed


class NumberTests(SynchronousTestCase):
    """
    Tests for L{number}.
    """

    def refuse(self, parse: Callable[[str], float], text: str) -> str:
        return str(self.assertRaises(UsageError, parse, text))

    @untimed
    @given(st.integers(1, 65535))
    def test_whole(self, value: int) -> None:
        """
        A whole number in range is returned as an C{int}.
        """
        parsed = number("--port", "a number", int, 1, 65535)(str(value))
        self.assertEqual((parsed, type(parsed)), (value, int))

    @untimed
    @given(st.floats(0.001, 86400))
    def test_fraction(self, value: float) -> None:
        """
        A number with a fraction is returned as a C{float}.
        """
        parse = number("--timeout", "a number of seconds", float, 0.001, 86400)
        self.assertEqual(parse(repr(value)), value)

    def test_range(self) -> None:
        """
        The limits are in range; a number beyond them is refused with the name, the
        range and the text.
        """
        parse = number("--port", "a number", int, 1, 65535)
        self.assertEqual((parse("1"), parse("65535")), (1, 65535))
        for text in ("0", "65536", "-1"):
            self.assertEqual(
                self.refuse(parse, text),
                f"--port must be a number from 1 to 65535, not {text!r}",
            )

    def test_small(self) -> None:
        """
        A small limit is written without an exponent.
        """
        for low, text in ((0.000001, "0.000001"), (0.001, "0.001"), (0, "0")):
            parse = number("--interval", "a number", float, low, 86400)
            message = f"--interval must be a number from {text} to 86400, not '-1'"
            self.assertEqual(self.refuse(parse, "-1"), message)

    def test_notNumbers(self) -> None:
        """
        Text that is not a number, or only in Python, is refused.
        """
        whole = number("--count", "a number", int, 1, 100)
        for text in ("", "x", "1.5", "1_0", "\u0663", "0x10", "nan"):
            self.assertIn(repr(text), self.refuse(whole, text))
        fraction = number("--interval", "a number of seconds", float, 0.001, 100)
        for text in ("", "x", "nan", "inf", "-inf", "1_0.0", "\u0663"):
            self.assertIn(repr(text), self.refuse(fraction, text))
