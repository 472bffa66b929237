"""
Tests for L{shout.cli.tos}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.tos import dscpInWords, parseTOS
from shout.cli.usage import UsageError


class TOSTests(SynchronousTestCase):
    """
    Tests for L{parseTOS} and L{dscpInWords}.
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
        A DSCP has a name if it is one of those in use, and the bits of ECN do not
        matter.
        """
        for tos, words in (
            (0, "0"),
            (3, "0"),
            (4, "1 (LE)"),
            (184, "46 (EF)"),
            (187, "46 (EF)"),
            (136, "34 (AF41)"),
            (32, "8 (CS1)"),
            (252, "63"),
        ):
            self.assertEqual(dscpInWords(tos), words)
