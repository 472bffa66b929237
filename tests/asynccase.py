"""
Tests that are coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase


class AsyncCase(TestCase):
    """
    Runs tests that are coroutines with every version of Twisted; older versions let
    them pass without running them.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if name.startswith("test") and iscoroutinefunction(method):
                setattr(cls, name, _toDeferred(method))


def _toDeferred(
    method: Callable[[Any], Coroutine[Deferred[Any], Any, None]],
) -> Callable[[Any], Deferred[None]]:
    @wraps(method)
    def test(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(method(self))

    return test
