"""
Tests for the capitals of a batch: the C function C{shout._capitals.upper}, and its
equivalent in Python.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from os import environ
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis.strategies import binary, integers, lists, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from shout.protocol import _upperInPython
from tests.properties import untimed

if TYPE_CHECKING:
    _Base = SynchronousTestCase
else:
    _Base = object

isBuilt = find_spec("shout._capitals") is not None

# Of any length and any bytes, and with letters beside their neighbours in ASCII.
datagrams = binary(max_size=100) | lists(sampled_from(b"@AZ[`az{\xe1\xfa")).map(bytes)


class CapitalsTestsMixin(_Base):
    """
    Tests for either function.

    @ivar upper: The function.
    """

    upper: Callable[[Any, int], tuple[list[bytes], bool]]

    def test_everyByte(self) -> None:
        """
        Each byte becomes that of C{bytes.upper}, anywhere in a datagram.
        """
        for position in range(24):
            for byte in range(256):
                datagram = bytearray(b"\xff" * 24)
                datagram[position] = byte
                (capitals,), _ = self.upper([bytes(datagram)], 24)
                self.assertEqual(capitals, datagram.upper())

    def test_areChanged(self) -> None:
        """
        One datagram that equals its capitals is enough to be recognized.
        """
        for batch, areChanged in (
            ([], True),
            ([b"a"], True),
            ([b"A"], False),
            ([b""], False),
            ([b"a", b"", b"b"], False),
            ([b"a" * 99, b"X" * 98 + b"x"], True),
            ([b"a" * 99, b"X" * 99], False),
        ):
            self.assertEqual(self.upper(batch, 1000)[1], areChanged, batch)

    def test_sequences(self) -> None:
        """
        The datagrams can be in any sequence.
        """
        for batch in [b"a", b"b"], (b"a", b"b"):
            self.assertEqual(self.upper(batch, 9), ([b"A", b"B"], True))

    def test_notBytes(self) -> None:
        """
        Everything but bytes raises C{TypeError}.
        """
        batches: list[Any] = [5, None, [5], [b"a", "a"], [bytearray(b"a")]]
        for batch in batches:
            self.assertRaises(TypeError, self.upper, batch, 9)


class CapitalsInPythonTests(CapitalsTestsMixin, SynchronousTestCase):
    """
    Tests for the function in Python.
    """

    def setUp(self) -> None:
        self.upper = _upperInPython

    @untimed
    @given(lists(datagrams))
    def test_capitals(self, batch: list[bytes]) -> None:
        """
        The capitals of each datagram are those of C{bytes.upper}, and the datagrams are
        unchanged.
        """
        before = [bytes(bytearray(datagram)) for datagram in batch]
        capitals, areChanged = self.upper(batch, 1 << 20)
        self.assertEqual(capitals, [datagram.upper() for datagram in before])
        self.assertEqual(batch, before)
        self.assertIs(areChanged, all(map(bytes.__ne__, capitals, batch)))

    @untimed
    @given(lists(datagrams, min_size=1), integers(-10, 1000))
    def test_maxBytes(self, batch: list[bytes], maxBytes: int) -> None:
        """
        As many datagrams are returned as have at most C{maxBytes}; at least one.
        """
        capitals, areChanged = self.upper(batch, maxBytes)
        count = len(capitals)
        self.assertEqual(capitals, [datagram.upper() for datagram in batch[:count]])
        self.assertIs(areChanged, all(map(bytes.__ne__, capitals, batch)))
        self.assertGreaterEqual(count, 1)
        self.assertTrue(count == 1 or sum(map(len, capitals)) <= maxBytes)
        if count < len(batch):
            self.assertGreater(sum(map(len, batch[: count + 1])), maxBytes)


class CapitalsTests(CapitalsTestsMixin, SynchronousTestCase):
    """
    Tests for the function in C.
    """

    if not isBuilt:
        skip = "the extension shout._capitals is not built"

    def setUp(self) -> None:
        from shout._capitals import upper

        self.upper = upper

    @untimed
    @given(lists(datagrams), integers(-10, 1000))
    def test_sameInPython(self, batch: list[bytes], maxBytes: int) -> None:
        """
        The result is that of the function in Python, and the datagrams are unchanged.
        """
        before = [bytes(bytearray(datagram)) for datagram in batch]
        self.assertEqual(self.upper(batch, maxBytes), _upperInPython(before, maxBytes))
        self.assertEqual(batch, before)

    def test_arguments(self) -> None:
        """
        Wrong arguments raise exceptions.
        """
        upper: Any = self.upper
        wrong: list[tuple[Any, ...]] = [(), ([],), ([], "1"), ([], None), ([], 1, 2)]
        for arguments in wrong:
            self.assertRaises(TypeError, upper, *arguments)
        self.assertRaises(OverflowError, upper, [], 1 << 64)

    def test_subclass(self) -> None:
        """
        Datagrams can be of a subclass of C{bytes}.
        """

        class Payload(bytes):
            pass

        self.assertEqual(self.upper([Payload(b"a")], 9), ([b"A"], True))

    def test_references(self) -> None:
        """
        No reference is leaked, also when there is an exception.
        """
        datagram = b"a" * 1000
        batch: list[Any] = [datagram] * 5
        before = sys.getrefcount(datagram)
        for _ in range(100):
            self.upper(batch, 9999)
            self.upper(batch, 2500)
            with contextlib.suppress(TypeError):
                self.upper([*batch, None], 9999)
        self.assertEqual(sys.getrefcount(datagram), before)
        [capitals], _ = self.upper([datagram], 9999)
        # The other reference is the argument of getrefcount.
        self.assertEqual(sys.getrefcount(capitals), 2)
        self.assertEqual(gc.get_referrers(capitals), [])

    def test_noMemory(self) -> None:
        """
        A failed allocation raises C{MemoryError}, wherever it is.
        """
        try:
            from _testcapi import (  # type: ignore[import-not-found]
                remove_mem_hooks,
                set_nomemory,
            )
        except ImportError:
            self.skipTest("this Python has no _testcapi")
        batch = [b"a" * 1000] * 5
        failures = 0
        for number in range(1, 20):
            set_nomemory(number, number + 1)
            try:
                self.upper(batch, 4500)
            except MemoryError:
                failures += 1
            finally:
                remove_mem_hooks()
        # The last datagram is beyond maxBytes.
        self.assertGreaterEqual(failures, len(batch) - 1)

    def test_selected(self) -> None:
        """
        C{Shout} uses the function, unless C{SHOUT_PURE_PYTHON} is in the
        environment and not empty.
        """
        script = "from shout import protocol as p; print(p._upper is p._upperInPython)"
        for value, isInPython in ("1", "True"), ("", "False"):
            output = subprocess.check_output(
                [sys.executable, "-c", script],
                env={**environ, "SHOUT_PURE_PYTHON": value},
                text=True,
            )
            self.assertEqual(output.strip(), isInPython)
