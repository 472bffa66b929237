"""
Ctrl-C and Ctrl-\\ while something is measured.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def signals(
    reactor: Any, stop: Callable[[], None], show: Callable[[], None]
) -> Iterator[None]:
    """
    Stop at Ctrl-C, and show at Ctrl-\\, instead of ending the process.

    @param reactor: an L{IReactorFromThreads
        <twisted.internet.interfaces.IReactorFromThreads>} provider, which calls
        them.
    """

    def interrupted(*_: object) -> None:
        # Whoever presses it again means it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        reactor.callFromThread(stop)

    wanted: dict[signal.Signals, Callable[..., object]] = {
        signal.SIGINT: interrupted,
        signal.SIGQUIT: lambda *_: reactor.callFromThread(show),
    }
    before: dict[signal.Signals, Any] = {}
    for number, action in wanted.items():
        # A shell has the commands it starts with & ignore them.
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, action)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
