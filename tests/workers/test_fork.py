"""
Tests for L{shout.workers.fork}, in processes of their own.
"""

from __future__ import annotations

import subprocess
import sys
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.twistdcase import TIMEOUT

PREAMBLE = """\
import time
from twisted.internet.task import Clock
from shout.workers.fork import fork

def wait(child):
    clock = Clock()
    ended = child.wait(clock)
    while not ended.called:
        time.sleep(child.interval)
        clock.advance(child.interval)
    return ended.result

"""


class ForkTests(SynchronousTestCase):
    """
    Tests for L{shout.workers.fork}.
    """

    def run_(self, script: str) -> str:
        """
        Run a script that forks, and return what it and its children print.
        """
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                PREAMBLE + script,
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.stderr = ended.stderr
        return ended.stdout

    def test_works(self) -> None:
        """
        The child does its work and ends; how it ended is known.
        """
        output = self.run_(
            "import os\n"
            "ends = [lambda: None, lambda: os._exit(3), os.abort]\n"
            "for end in ends:\n"
            "    child = fork(end, [])\n"
            "    print(wait(child))\n"
        )
        self.assertEqual(
            output.splitlines(), ["exit status 0", "exit status 3", "signal 6"]
        )

    def test_killed(self) -> None:
        """
        A child that goes on can be ended.
        """
        output = self.run_(
            "child = fork(lambda: time.sleep(1000), [])\n"
            "child.kill()\n"
            "print(wait(child))\n"
        )
        self.assertEqual(output, "signal 9\n")

    def test_waits(self) -> None:
        """
        To wait for a child keeps nobody else waiting: it is looked at now and then
        until it has ended.
        """
        output = self.run_(
            "child = fork(lambda: time.sleep(1000), [])\n"
            "clock = Clock()\n"
            "ended = child.wait(clock)\n"
            "clock.pump([child.interval] * 3)\n"
            "print(ended.called)\n"
            "child.kill()\n"
            "while not ended.called:\n"
            "    clock.advance(child.interval)\n"
            "print(ended.result, clock.getDelayedCalls())\n"
        )
        self.assertEqual(output, "False\nsignal 9 []\n")

    def test_killedTooLate(self) -> None:
        """
        One that has been waited for is not killed any more: its number may be
        another's.
        """
        output = self.run_(
            "import os\n"
            "child = fork(lambda: None, [])\n"
            "wait(child)\n"
            "def kill(*args):\n"
            "    print('kills', *args)\n"
            "os.kill = kill\n"
            "child.kill()\n"
            "print('well')\n"
        )
        self.assertEqual(output, "well\n")

    def test_raises(self) -> None:
        """
        What its work raises is printed, and the child ends; it never goes on with
        what its parent does.
        """
        output = self.run_(
            "import atexit\n"
            "atexit.register(print, 'the parent exits')\n"
            "def work():\n"
            "    raise ValueError('sudden')\n"
            "print(wait(fork(work, [])))\n"
        )
        self.assertEqual(output, "exit status 1\nthe parent exits\n")
        self.assertIn("ValueError: sudden", self.stderr)
        self.assertEqual(self.stderr.count("Traceback"), 1)

    def test_descriptors(self) -> None:
        """
        The child has the descriptors that it is to keep, and no others; the
        parent keeps all.
        """
        output = self.run_(
            "import os, resource\n"
            "def descriptors():\n"
            "    return [n for n in range(200) if isOpen(n)]\n"
            "def isOpen(n):\n"
            "    try:\n"
            "        os.fstat(n)\n"
            "    except OSError:\n"
            "        return False\n"
            "    return True\n"
            "for place in (3, 4, 5, 50, 51, 150):\n"
            "    os.dup2(0, place)\n"
            "def work():\n"
            "    print(descriptors(), flush=True)\n"
            "wait(fork(work, [50, 4]))\n"
            "print(descriptors())\n"
        )
        self.assertEqual(
            output.splitlines(),
            ["[0, 1, 2, 4, 50]", "[0, 1, 2, 3, 4, 5, 50, 51, 150]"],
        )

    def test_signals(self) -> None:
        """
        The child does nothing about signals that its parent does something about,
        and goes on when it is interrupted or told to end: that is for the parent.
        """
        output = self.run_(
            "import os, signal\n"
            "for number in (signal.SIGINT, signal.SIGUSR1):\n"
            "    signal.signal(number, lambda *args: print('the parent', args))\n"
            "def work():\n"
            "    signal.raise_signal(signal.SIGINT)\n"
            "    signal.raise_signal(signal.SIGTERM)\n"
            "    print(signal.set_wakeup_fd(-1), flush=True)\n"
            "    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)\n"
            "    signal.raise_signal(signal.SIGUSR1)\n"
            "read, write = os.pipe()\n"
            "os.set_blocking(write, False)\n"
            "signal.set_wakeup_fd(write)\n"
            "child = fork(work, [])\n"
            "print(wait(child))\n"
            "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
            "print(signal.set_wakeup_fd(-1) == write)\n"
        )
        self.assertEqual(
            output.splitlines(),
            ["-1", "set()", "exit status 0", "set()", "True"],
        )

    def test_signalsBetween(self) -> None:
        """
        A signal that reaches the child before it has given up what its parent does
        about signals finds neither that nor an end.
        """
        output = self.run_(
            "import os, signal\n"
            "def interrupted(*args):\n"
            "    print('the parent', flush=True)\n"
            "signal.signal(signal.SIGTERM, interrupted)\n"
            "forks = os.fork\n"
            "def forkAndSignal():\n"
            "    pid = forks()\n"
            "    if pid == 0:\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "    return pid\n"
            "os.fork = forkAndSignal\n"
            "print(wait(fork(lambda: print('works', flush=True), [])))\n"
        )
        self.assertEqual(output, "works\nexit status 0\n")

    def test_childrenOfItsOwn(self) -> None:
        """
        The child can wait for children of its own, although its parent does not
        care for any.
        """
        output = self.run_(
            "import os, signal\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "def work():\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        os._exit(3)\n"
            "    print(os.waitpid(pid, 0)[1] >> 8, flush=True)\n"
            "fork(work, [])\n"
            "try:\n"
            "    os.wait()\n"
            "except ChildProcessError:\n"
            "    print('gone')\n"
        )
        self.assertEqual(output, "3\ngone\n")

    def test_garbage(self) -> None:
        """
        What is garbage in the parent stays in the child, where its descriptor may
        be another's.
        """
        output = self.run_(
            "import gc, os\n"
            "class Owner:\n"
            "    def __init__(self):\n"
            "        self.itself = self\n"
            "    def __del__(self):\n"
            "        print('closes', os.getpid() == parent, flush=True)\n"
            "gc.disable()\n"
            "parent = os.getpid()\n"
            "Owner()\n"
            "print(wait(fork(gc.collect, [])))\n"
            "gc.collect()\n"
        )
        self.assertEqual(output, "exit status 0\ncloses True\n")

    @skipUnless(sys.platform == "linux", "only Linux tells children")
    def test_dieTogether(self) -> None:
        """
        When the parent is killed, so is the child, also one that stands still.
        """
        output = self.run_(
            "import os, signal\n"
            "parent = os.fork()\n"
            "if parent == 0:\n"
            "    read, write = os.pipe()\n"
            "    def work():\n"
            "        os.write(write, b'.')\n"
            "        time.sleep(1000)\n"
            "    children = [fork(work, [write]) for _ in range(2)]\n"
            "    for _ in children:\n"
            "        os.read(read, 1)\n"
            "    os.kill(children[0].pid, signal.SIGSTOP)\n"
            "    print(*(child.pid for child in children), flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "os.waitpid(parent, 0)\n"
        )
        pids = output.split()
        self.assertEqual(len(pids), 2)
        # Their standard output was the pipe that has been read to its end, so
        # they have gone; who has to bury them may take its time.
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat") as f:
                    self.assertIn(f.read().rpartition(")")[2].split()[0], "ZX")
            except (FileNotFoundError, ProcessLookupError):
                pass

    @skipUnless(sys.platform == "linux", "only Linux tells children")
    def test_tooLate(self) -> None:
        """
        A child whose parent goes before it has begun ends.
        """
        output = self.run_(
            "import os\n"
            "from shout.workers import forked\n"
            "read, write = os.pipe()\n"
            "parent = os.fork()\n"
            "if parent == 0:\n"
            "    dieWith = forked._dieWith\n"
            "    def late(parent):\n"
            "        os.close(write)\n"
            "        os.read(read, 1)\n"
            "        dieWith(parent)\n"
            "    forked._dieWith = late\n"
            "    fork(lambda: print('works', flush=True), [])\n"
            "    os._exit(0)\n"
            "os.waitpid(parent, 0)\n"
            "print('gone', flush=True)\n"
            "os.close(write)\n"
        )
        self.assertEqual(output, "gone\n")
