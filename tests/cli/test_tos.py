"""
Tests for L{shout.cli.tos}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.tos import dscpInWords, dscpOf, ecnInWords, ecnOf, parseTOS
from shout.cli.usage import UsageError


class TOSTests(SynchronousTestCase):
    """
    Tests for L{parseTOS}, L{dscpInWords} and L{ecnInWords}.
    """

    def test_names(self) -> None:
        """
        The name of a DSCP, in capitals or not, stands for the upper six bits.
        """
        for name, codePoint in (
            ("BE", 0),
            ("DF", 0),
            ("LE", 1),
            ("CS0", 0),
            ("CS1", 8),
            ("cs7", 56),
            ("AF11", 10),
            ("AF13", 14),
            ("AF23", 22),
            ("af41", 34),
            ("VA", 44),
            ("EF", 46),
        ):
            self.assertEqual(parseTOS(name), codePoint << 2)

    def test_numbers(self) -> None:
        """
        A number stands for all eight bits, those of ECN included.
        """
        for text, tos in (("0", 0), ("184", 184), ("0xb8", 184), ("0XFF", 255)):
            self.assertEqual(parseTOS(text), tos)

    def test_refused(self) -> None:
        """
        Other text is refused.
        """
        for text in ("", "256", "-1", "0x100", "0x", "1_0", "AF14", "AF51", "CS8"):
            error = self.assertRaises(UsageError, parseTOS, text)
            self.assertEqual(
                str(error),
                "--tos must be the name of a DSCP such as EF, AF41 or CS6, "
                f"or a number from 0 to 255, not {text!r}",
            )

    def test_words(self) -> None:
        """
        The DSCP and the bits of ECN are told apart, and have names if they are in use.
        """
        for tos, dscp, ecn in (
            (0, "0", "0 (not ECT)"),
            (3, "0", "3 (CE)"),
            (4, "1 (LE)", "0 (not ECT)"),
            (185, "46 (EF)", "1 (ECT(1))"),
            (138, "34 (AF41)", "2 (ECT(0))"),
            (32, "8 (CS1)", "0 (not ECT)"),
            (252, "63", "0 (not ECT)"),
        ):
            self.assertEqual(dscpInWords(dscpOf(tos)), dscp)
            self.assertEqual(ecnInWords(ecnOf(tos)), ecn)
