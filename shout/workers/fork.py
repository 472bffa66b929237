"""
Child processes that are forked without exec.

A child runs no program of its own, so no Python interpreter has to be readable after
setuid or chroot: everything that it needs has been imported.
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

# More descriptors than a parent has open.
_MAX_DESCRIPTORS = 1 << 16

# A terminal or a service manager signals the whole process group.  Only the parent
# acts on these; it stops its children itself.
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class ForkedProcess:
    """
    A child process.

    @cvar interval: Seconds until the first look for the exit status.  The time doubles
        with each look, up to one second.

    @ivar pid: The process ID.
    """

    interval = 0.01

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._isReaped = False

    def kill(self) -> None:
        """
        Kill the process, unless it has been reaped.
        """
        # The kernel may have given the process ID of a reaped process to another.
        if not self._isReaped:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, clock: Any) -> Deferred[str]:
        """
        Wait until the process has exited and no debugger holds it.  May be called once.

        @param clock: An L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} provider.

        @return: Fires with the exit status or the signal, as text.  The process is
            reaped even if this is cancelled.
        """
        exited: Deferred[str] = Deferred()

        def reap(interval: float) -> None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                clock.callLater(interval, reap, min(2 * interval, 1.0))
                return
            self._isReaped = True
            code = os.waitstatus_to_exitcode(status)
            exited.callback(f"exit status {code}" if code >= 0 else f"signal {-code}")

        reap(self.interval)
        return exited


def fork(run: Callable[[], None], keep: Iterable[int]) -> ForkedProcess:
    """
    Start a child process.  It exits when C{run} returns and, on Linux, when this
    process exits in any way.

    @param run: Called in the child without arguments.

    @param keep: Descriptors to keep open in the child, besides 0, 1 and 2.

    @raise OSError: If the system cannot start a process.
    """
    parent = os.getpid()
    # No handler of the parent may run in the child before the child has reset it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _runChild(run, keep, parent, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return ForkedProcess(pid)


def _runChild(
    run: Callable[[], None], keep: Iterable[int], parent: int, mask: Iterable[int]
) -> NoReturn:
    status = 1
    try:
        _exitWithParent(parent)
        _resetSignals()
        # The parent's objects are never collected here: a finalizer would close a
        # descriptor whose number may be in use for another file by then.
        gc.freeze()
        _closeOthers(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        run()
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        # No exit handler of the parent may run in the child.
        os._exit(status)


def _exitWithParent(parent: int) -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have exited before prctl(2).
    if os.getppid() != parent:
        os._exit(1)


def _resetSignals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) or number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _closeOthers(keep: Iterable[int]) -> None:
    last = 2
    # If the parent has closed 0, 1 or 2, a socket can have that number.
    for descriptor in sorted(each for each in keep if each > last):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, _MAX_DESCRIPTORS)
