"""
Tests for L{shout.cli.signals}.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from shout.cli.signals import signalHandlers


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
        for number in (signal.SIGINT, signal.SIGQUIT):
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)

    def stop(self) -> None:
        self.done.append("stop")

    def show(self) -> None:
        self.done.append("show")

    def test_keys(self) -> None:
        """
        Ctrl-\\ shows each time, and Ctrl-C stops; afterwards both have their former
        handlers.
        """
        with signalHandlers(FakeReactor(), self.stop, self.show):
            for number in (signal.SIGQUIT, signal.SIGQUIT, signal.SIGINT):
                signal.raise_signal(number)
        self.assertEqual(self.done, ["show", "show", "stop"])
        for number in (signal.SIGINT, signal.SIGQUIT):
            self.assertEqual(signal.getsignal(number), signal.SIG_DFL)

    def test_twice(self) -> None:
        """
        After the first Ctrl-C, the second one ends the process.
        """
        with signalHandlers(FakeReactor(), self.stop, self.show):
            signal.raise_signal(signal.SIGINT)
            self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)

    def test_ignored(self) -> None:
        """
        A signal that is ignored stays ignored.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with signalHandlers(FakeReactor(), self.stop, self.show):
            signal.raise_signal(signal.SIGINT)
        self.assertEqual(self.done, [])
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
