"""
Tests for L{shout} itself.
"""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import shout
from shout.measure import ping


class PublicNameTests(SynchronousTestCase):
    """
    Tests for the public names.
    """

    def test_names(self) -> None:
        """
        Each name of C{__all__} is defined, and listed.
        """
        for name in shout.__all__:
            self.assertEqual(getattr(shout, name).__name__, name)
            self.assertIn(name, dir(shout))

    def test_other(self) -> None:
        """
        Other names raise C{AttributeError}.
        """
        with self.assertRaises(AttributeError) as caught:
            shout.scream  # type: ignore[attr-defined]  # noqa: B018
        self.assertEqual(
            str(caught.exception), "module 'shout' has no attribute 'scream'"
        )

    def test_ping(self) -> None:
        """
        C{shout.ping} is the function of L{shout.measure}.
        """
        self.assertIs(shout.ping, ping)

    def test_import(self) -> None:
        """
        Importing the public names changes no signal and loads no reactor.
        """
        script = """if True:
            import signal, sys
            def handlers():
                return [signal.getsignal(number) for number in signal.valid_signals()]
            before = handlers()
            from shout import *
            assert ask and handlers() == before
            assert "twisted.internet.reactor" not in sys.modules
        """
        subprocess.run([sys.executable, "-c", script], check=True)
