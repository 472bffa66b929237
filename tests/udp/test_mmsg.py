"""
Tests for L{shout.udp.mmsg}.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from runpy import run_path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from shout.udp import mmsg
from tests.batches import needsBatches
from tests.udp.portcase import BatchedPortCase


@needsBatches
class SystemCallTests(BatchedPortCase):
    """
    Tests for L{mmsg.recvmmsg} and L{mmsg.sendmmsg}, through a port that echoes.
    """

    def test_interrupted(self) -> None:
        """
        A call that was interrupted by a signal is repeated.
        """
        port = self.echo()
        clients = self.client(port), self.client(port)

        def interrupt(call: Callable[..., int]) -> Callable[..., int]:
            outcomes = [-1, -1]

            def interrupted(*arguments: Any) -> int:
                ctypes.set_errno(errno.EINTR)
                return outcomes.pop() if outcomes else call(*arguments)

            return interrupted

        for name in "_recvmmsg", "_sendmmsg":
            self.patch(mmsg, name, interrupt(getattr(mmsg, name)))
        for client in clients:
            client.send(b"x")
        port.doRead()
        for client in clients:
            self.assertEqual(self.receiveAll(client), [b"x"])


class AvailableTests(SynchronousTestCase):
    """
    Tests for L{mmsg.available}.
    """

    def test_purePython(self) -> None:
        """
        C{SHOUT_PURE_PYTHON} in the environment disables the calls, unless it is empty.
        """
        hasCalls = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "recvmmsg")
        for value, expected in (("1", False), ("", hasCalls)):
            self.patch(os, "environ", {"SHOUT_PURE_PYTHON": value})
            self.assertEqual(run_path(mmsg.__file__)["available"], expected)
