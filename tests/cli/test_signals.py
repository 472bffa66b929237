"""
Tests for L{shout.cli.signals}.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.signals import signalHandlers

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class FakeReactor:
    """
    A reactor that makes calls from threads at once.
    """

    def callFromThread(self, call: Callable[[], None]) -> None:
        call()


class SignalHandlersTests(SynchronousTestCase):
    """
    Tests for L{signalHandlers}.
    """

    def setUp(self) -> None:
        self.done: list[str] = []
        for number in SIGNALS:
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)

    def stop(self) -> None:
        self.done.append("stop")

    def show(self) -> None:
        self.done.append("show")

    def test_keys(self) -> None:
        """
        Ctrl-\\ shows each time, and Ctrl-C and SIGTERM stop; afterwards all have their
        former handlers.
        """
        for last in (signal.SIGINT, signal.SIGTERM):
            self.done.clear()
            with signalHandlers(FakeReactor(), self.stop, self.show):
                for number in (signal.SIGQUIT, signal.SIGQUIT, last):
                    signal.raise_signal(number)
            self.assertEqual(self.done, ["show", "show", "stop"])
            for number in SIGNALS:
                self.assertEqual(signal.getsignal(number), signal.SIG_DFL)

    def test_twice(self) -> None:
        """
        After the first Ctrl-C or SIGTERM, a second signal of either kind ends the
        process.
        """
        stops = (signal.SIGINT, signal.SIGTERM)
        for first in stops:
            with signalHandlers(FakeReactor(), self.stop, self.show):
                signal.raise_signal(first)
                for number in stops:
                    self.assertEqual(signal.getsignal(number), signal.SIG_DFL)

    def test_ignored(self) -> None:
        """
        A signal that is ignored stays ignored.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with signalHandlers(FakeReactor(), self.stop, self.show):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
            self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        self.assertEqual(self.done, ["stop"])
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
