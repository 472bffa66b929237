"""
Scripts in processes of their own, without an interpreter to start for each.
"""

from __future__ import annotations

import atexit
import socket
import subprocess
import sys
from functools import cache

# Seconds to wait for a script; it is over in a few milliseconds on an idle machine.
TIMEOUT = 120

# Runs each script in a fork of a process that has imported everything.
_SERVER = """
import atexit, os, socket, sys, time
from twisted.internet.task import Clock
import shout.workers.fork
from shout.workers.fork import fork

def wait(child):
    clock = Clock()
    exited = child.wait(clock)
    while not exited.called:
        time.sleep(child.interval)
        clock.advance(child.interval)
    return exited.result

with socket.socket(fileno=os.dup(0)) as requests:
    while True:
        script, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 1)
        if not script:
            break
        pid = os.fork()
        if pid == 0:
            break
        os.close(*descriptors)
        os.waitpid(pid, 0)
if script:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(*descriptors, 1)
    os.dup2(1, 2)
    os.closerange(3, 100)
    exec(script)
    # The rest of what an interpreter does at its end takes the most time.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)
"""


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", _SERVER]
        process = subprocess.Popen(command, stdin=theirs.fileno())

    def stop() -> None:
        ours.close()
        process.kill()
        process.wait()

    atexit.register(stop)
    return ours


def runScript(script: str) -> str:
    """
    Run a script in a process of its own.  It can use C{fork}, C{Clock}, C{os}, C{time},
    and C{wait(child)}, which returns the exit status of a L{ForkedProcess
    <shout.workers.fork.ForkedProcess>}.

    @return: The standard output and the standard error together, up to the exit of the
        last process that has them open.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(_server(), [script.encode()], [theirs.fileno()])
        ours.settimeout(TIMEOUT)
        with ours.makefile() as file:
            return file.read()
