"""
Tests for L{shout.measure.probe}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.measure.probe import (
    CORRUPTED,
    ECHOED,
    GARBAGE,
    MIN_SIZE,
    OTHER_RUN,
    RIGHT,
    Probes,
)
from tests.properties import untimed

NONCE = b"abcdefghij"


class ProbesTests(SynchronousTestCase):
    """
    Tests for L{Probes}.
    """

    @untimed
    @given(st.integers(MIN_SIZE, 2000), st.integers(0, 10**12 - 1))
    def test_make(self, size: int, number: int) -> None:
        """
        A probe is lower-case ASCII text of the given size, and its capitals are the
        right reply.
        """
        probes = Probes(size)
        probe = probes.make(number)
        self.assertEqual(len(probe), size)
        self.assertEqual(probe.lower(), probe)
        self.assertNotEqual(probe.upper(), probe)
        self.assertTrue(probe.isascii())
        self.assertEqual(probes.classify(probe.upper()), (RIGHT, number, ""))
        self.assertEqual(probes.classify(probe), (ECHOED, number, "echoed unchanged"))

    def test_tooSmall(self) -> None:
        """
        A size too small for the nonce and the number is rejected.
        """
        error = self.assertRaises(ValueError, Probes, MIN_SIZE - 1)
        self.assertIn(str(MIN_SIZE), str(error))

    def test_nonce(self) -> None:
        """
        Each run has its own nonce.
        """
        self.assertNotEqual(Probes(56).nonce, Probes(56).nonce)

    @untimed
    @given(st.integers(0, 55), st.integers(0, 7))
    def test_corrupted(self, offset: int, bit: int) -> None:
        """
        A reply with any one bit flipped is corrupted.  It is not taken for a reply to
        another run or another probe.
        """
        probes = Probes(56, NONCE)
        reply = bytearray(probes.make(1234).upper())
        reply[offset] ^= 1 << bit
        kind, number, detail = probes.classify(bytes(reply))
        self.assertEqual(kind, CORRUPTED)
        self.assertIn(number, (1234, None))
        self.assertIn("corrupted", detail)

    def test_offset(self) -> None:
        """
        The description of a corrupted reply has the offset of the first wrong byte,
        and the length if that is wrong.
        """
        probes = Probes(56, NONCE)
        right = probes.make(7).upper()
        self.assertEqual(
            probes.classify(right[:40] + b"?" + right[41:]),
            (CORRUPTED, 7, f"corrupted at byte 40: 0x3f instead of {right[40]:#04x}"),
        )
        self.assertEqual(
            probes.classify(right[:50]),
            (CORRUPTED, 7, "corrupted at byte 50, 50 bytes instead of 56"),
        )
        self.assertEqual(
            probes.classify(right + b"!"),
            (CORRUPTED, 7, "corrupted at byte 56, 57 bytes instead of 56"),
        )
        self.assertEqual(
            probes.classify(right[:23]),
            (CORRUPTED, 7, "corrupted at byte 23, 23 bytes instead of 56"),
        )
        self.assertEqual(
            probes.classify(right[:20]),
            (CORRUPTED, None, "corrupted in its number, 20 bytes long"),
        )

    def test_otherRun(self) -> None:
        """
        A probe of another run, and the reply to one, are recognised as such.
        """
        other = Probes(56, b"zzzzzzzzzz").make(3)
        for reply in (other, other.upper()):
            kind, number, detail = Probes(56, NONCE).classify(reply)
            self.assertEqual((kind, number), (OTHER_RUN, None))
            self.assertIn("zzzzzzzzzz", detail)

    def test_isOfOtherRun(self) -> None:
        """
        A probe of another run is recognised by its first three words.  One that is
        shorter, damaged there, or of this run is not.
        """
        probes = Probes(56, NONCE)
        other = Probes(56, b"zzzzzzzzzz").make(3)
        for text, expected in (
            (other, True),
            (other.upper(), True),
            (other[:32], True),
            (other[:31], False),
            (other.replace(b"3", b"4", 1), False),
            (probes.make(3), False),
            (b"", False),
        ):
            self.assertEqual(probes.isOfOtherRun(text), expected, text)

    @untimed
    @given(st.binary(max_size=100))
    def test_garbage(self, reply: bytes) -> None:
        """
        Any other reply is garbage.
        """
        self.assertEqual(Probes(56, NONCE).classify(reply).kind, GARBAGE)

    def test_garbageDescription(self) -> None:
        """
        The description of garbage is one short, printable line.
        """
        classification = Probes(56, NONCE).classify(b"no\n\x1b[2J" * 100)
        self.assertTrue(classification.detail.isprintable())
        self.assertLess(len(classification.detail), 120)

    def test_numberOf(self) -> None:
        """
        The number of a probe is read from its first two words.  A shorter quote, or
        one of another run, has no number.
        """
        probes = Probes(56, NONCE)
        probe = probes.make(42)
        self.assertEqual(probes.numberOf(probe), 42)
        self.assertEqual(probes.numberOf(probe[:23]), 42)
        self.assertIsNone(probes.numberOf(probe[:22]))
        self.assertIsNone(probes.numberOf(b""))
        self.assertIsNone(probes.numberOf(Probes(56, b"zzzzzzzzzz").make(42)))
