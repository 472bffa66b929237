"""
Ctrl-C, Ctrl-\\ and SIGTERM during a measurement.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def signalHandlers(
    reactor: Any, stop: Callable[[], None], show: Callable[[], None]
) -> Iterator[None]:
    """
    Stop at Ctrl-C and SIGTERM, and show at Ctrl-\\, instead of ending the process.

    @param reactor: An L{IReactorFromThreads
        <twisted.internet.interfaces.IReactorFromThreads>} provider, which makes the
        calls.
    """

    def interrupted(*_: object) -> None:
        # A second signal ends the process.
        for number in before.keys() & {signal.SIGINT, signal.SIGTERM}:
            signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(stop)

    handlers: dict[signal.Signals, Callable[..., object]] = {
        signal.SIGINT: interrupted,
        signal.SIGTERM: interrupted,
        signal.SIGQUIT: lambda *_: reactor.callFromThread(show),
    }
    before: dict[signal.Signals, Any] = {}
    for number, handler in handlers.items():
        # A shell makes commands that it starts with & ignore these signals.
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
