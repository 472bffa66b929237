"""
A child that goes on where its parent is.

It is forked and runs no program of its own, so it needs no Python that its user may
read, and none in a chroot: all that it needs has been imported.  What it must not
share with its parent it gives up here.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from ctypes import CDLL
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1

_libc = CDLL(None) if sys.platform == "linux" else None

# More than a parent has that keeps its children's sockets.
_DESCRIPTORS = 1 << 16

# Like all that the parent does something about these are for the parent, which tells
# its children.  An interrupt from the keyboard reaches all of them.
_STOP = {signal.SIGINT, signal.SIGTERM}


class Child:
    """
    A child process.

    @cvar interval: after how many seconds to look again whether it has ended; each
        time it is twice as long as before, up to a second.

    @ivar pid: its number.
    @type pid: L{int}
    """

    interval = 0.01

    def __init__(self, pid: int) -> None:
        """
        @param pid: as fork(2) returns it.
        """
        self.pid = pid
        self._hasEnded = False

    def kill(self) -> None:
        """
        End it at once, unless it has ended.
        """
        # Once it was waited for, its number may be another's.
        if not self._hasEnded:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, clock: Any) -> Deferred[str]:
        """
        Wait until it has ended, and until nobody debugs it any more.  To be called
        once.

        @param clock: an L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @return: fires with how it has ended.  The child is reaped also when this
            is cancelled.
        """
        ended: Deferred[str] = Deferred()

        def reap(interval: float) -> None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                clock.callLater(interval, reap, min(2 * interval, 1.0))
                return
            self._hasEnded = True
            code = os.waitstatus_to_exitcode(status)
            ended.callback(f"exit status {code}" if code >= 0 else f"signal {-code}")

        reap(self.interval)
        return ended


def fork(work: Callable[[], None], keep: Iterable[int]) -> Child:
    """
    Start a child, which ends when this process ends, however that happens, on Linux;
    and when its work is done.

    @param work: what it does.

    @param keep: the descriptors that it keeps, besides 0, 1 and 2.

    @raise OSError: when the system starts none.
    """
    parent = os.getpid()
    # A signal must not find the child with what its parent does about it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _be(work, keep, parent, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Child(pid)


def _be(
    work: Callable[[], None], keep: Iterable[int], parent: int, mask: Iterable[int]
) -> NoReturn:
    status = 1
    try:
        _dieWith(parent)
        _giveUp(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        # Nothing of what the parent wants done when it exits.
        os._exit(status)


def _dieWith(parent: int) -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _giveUp(keep: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) or number in _STOP:
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The parent's objects stay as they are: one that is collected as garbage would
    # close its descriptor, which may be another's by now.
    gc.freeze()
    last = 2
    # Where the parent has none of the first three, a socket can have its number.
    for descriptor in sorted(each for each in keep if each > last):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, _DESCRIPTORS)
