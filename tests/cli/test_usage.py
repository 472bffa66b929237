"""
Tests for L{shout.cli.usage}.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.usage import UsageError, number


class NumberTests(SynchronousTestCase):
    """
    Tests for L{number}.
    """

    def refuse(self, parse: Callable[[str], float], text: str) -> str:
        return str(self.assertRaises(UsageError, parse, text))

    @given(st.integers(1, 65535))
    def test_whole(self, value: int) -> None:
        """
        A whole number in range is that number.
        """
        parsed = number("--port", "a number", int, 1, 65535)(str(value))
        self.assertEqual((parsed, type(parsed)), (value, int))

    @given(st.floats(0.001, 86400))
    def test_fraction(self, value: float) -> None:
        """
        So is one with a fraction.
        """
        parse = number("--timeout", "a number of seconds", float, 0.001, 86400)
        self.assertEqual(parse(repr(value)), value)

    def test_range(self) -> None:
        """
        The limits themselves are in range, and what is beyond them is refused
        with the option, what it takes, and what was given.
        """
        parse = number("--port", "a number", int, 1, 65535)
        self.assertEqual((parse("1"), parse("65535")), (1, 65535))
        for text in ("0", "65536", "-1"):
            self.assertEqual(
                self.refuse(parse, text),
                f"--port takes a number from 1 to 65535, not {text!r}",
            )

    def test_small(self) -> None:
        """
        A small limit is written as people write it.
        """
        for low, text in ((0.000001, "0.000001"), (0.001, "0.001"), (0, "0")):
            parse = number("--interval", "a number", float, low, 86400)
            message = f"--interval takes a number from {text} to 86400, not '-1'"
            self.assertEqual(self.refuse(parse, "-1"), message)

    def test_notNumbers(self) -> None:
        """
        What is no number is refused, and so is what Python alone takes for one.
        """
        whole = number("--count", "a number", int, 1, 100)
        for text in ("", "x", "1.5", "1_0", "\u0663", "0x10", "nan"):
            self.assertIn(repr(text), self.refuse(whole, text))
        fraction = number("--interval", "a number of seconds", float, 0.001, 100)
        for text in ("", "x", "nan", "inf", "-inf", "1_0.0", "\u0663"):
            self.assertIn(repr(text), self.refuse(fraction, text))
