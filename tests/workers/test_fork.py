"""
Tests for L{shout.workers.fork}, in scripts that fork.
"""

from __future__ import annotations

import sys
import time
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.workers.scripts import runScript

needsLinux = skipUnless(
    sys.platform == "linux", "only Linux ends children with their parent"
)


def isAlive(pid: str) -> bool:
    """
    Return C{True} if a process exists and is not a zombie.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ForkTests(SynchronousTestCase):
    """
    Tests for L{fork<shout.workers.fork.fork>} and L{ForkedProcess
    <shout.workers.fork.ForkedProcess>}.
    """

    def test_exitStatus(self) -> None:
        """
        The child exits when its function returns, and its exit status is known.
        """
        output = runScript(
            "alarm = lambda: os.kill(os.getpid(), 14)\n"
            "ends = [lambda: None, lambda: os._exit(3), alarm]\n"
            "for end in ends:\n"
            "    child = fork(end, [])\n"
            "    print(wait(child))\n"
        )
        self.assertEqual(
            output.splitlines(), ["exit status 0", "exit status 3", "signal 14"]
        )

    def test_kill(self) -> None:
        """
        A child that does not exit can be killed.
        """
        output = runScript(
            "child = fork(lambda: time.sleep(1000), [])\n"
            "child.kill()\n"
            "print(wait(child))\n"
        )
        self.assertEqual(output, "signal 9\n")

    def test_wait(self) -> None:
        """
        Waiting for a child does not block: its status is looked up at intervals until
        it has exited.
        """
        output = runScript(
            "child = fork(lambda: time.sleep(1000), [])\n"
            "clock = Clock()\n"
            "exited = child.wait(clock)\n"
            "clock.pump([child.interval] * 3)\n"
            "print(exited.called)\n"
            "child.kill()\n"
            "while not exited.called:\n"
            "    clock.advance(child.interval)\n"
            "print(exited.result, clock.getDelayedCalls())\n"
        )
        self.assertEqual(output, "False\nsignal 9 []\n")

    def test_killReaped(self) -> None:
        """
        A child that has been reaped is not killed: its process ID may be in use for
        another process.
        """
        output = runScript(
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
        An exception is printed and ends the child, which runs no exit handler of its
        parent.
        """
        output = runScript(
            "import atexit\n"
            "atexit.register(print, 'the parent exits')\n"
            "def run():\n"
            "    raise ValueError('sudden')\n"
            "print(wait(fork(run, [])))\n"
        )
        self.assertTrue(output.endswith("exit status 1\nthe parent exits\n"), output)
        self.assertIn("ValueError: sudden", output)
        self.assertEqual(output.count("Traceback"), 1)
        self.assertEqual(output.count("the parent exits"), 1)

    def test_descriptors(self) -> None:
        """
        The child keeps the given descriptors and no others; the parent keeps all.
        """
        output = runScript(
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
            "def run():\n"
            "    print(descriptors(), flush=True)\n"
            "wait(fork(run, [50, 4]))\n"
            "print(descriptors())\n"
        )
        self.assertEqual(
            output.splitlines(),
            ["[0, 1, 2, 4, 50]", "[0, 1, 2, 3, 4, 5, 50, 51, 150]"],
        )

    def test_signals(self) -> None:
        """
        The child ignores SIGINT, SIGTERM and the signals that its parent handles.
        """
        output = runScript(
            "import signal\n"
            "for number in (signal.SIGINT, signal.SIGUSR1):\n"
            "    signal.signal(number, lambda *args: print('the parent', args))\n"
            "def run():\n"
            "    signal.raise_signal(signal.SIGINT)\n"
            "    signal.raise_signal(signal.SIGTERM)\n"
            "    print(signal.set_wakeup_fd(-1), flush=True)\n"
            "    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)\n"
            "    signal.raise_signal(signal.SIGUSR1)\n"
            "read, write = os.pipe()\n"
            "os.set_blocking(write, False)\n"
            "signal.set_wakeup_fd(write)\n"
            "child = fork(run, [])\n"
            "print(wait(child))\n"
            "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
            "print(signal.set_wakeup_fd(-1) == write)\n"
        )
        self.assertEqual(
            output.splitlines(),
            ["-1", "set()", "exit status 0", "set()", "True"],
        )

    def test_earlySignal(self) -> None:
        """
        A signal that arrives before the child has reset its handlers neither runs a
        handler of the parent nor kills the child.
        """
        output = runScript(
            "import signal\n"
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
            "print(wait(fork(lambda: print('runs', flush=True), [])))\n"
        )
        self.assertEqual(output, "runs\nexit status 0\n")

    def test_grandchildren(self) -> None:
        """
        The child can wait for children of its own, even if its parent ignores SIGCHLD.
        """
        output = runScript(
            "import signal\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "def run():\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        os._exit(3)\n"
            "    print(os.waitpid(pid, 0)[1] >> 8, flush=True)\n"
            "fork(run, [])\n"
            "try:\n"
            "    os.wait()\n"
            "except ChildProcessError:\n"
            "    print('gone')\n"
        )
        self.assertEqual(output, "3\ngone\n")

    def test_garbage(self) -> None:
        """
        The child does not collect the garbage of its parent, which would close
        descriptors by their numbers.
        """
        output = runScript(
            "import gc\n"
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

    @needsLinux
    def test_dieTogether(self) -> None:
        """
        When the parent is killed, its children are killed, even stopped ones.
        """
        output = runScript(
            "import signal\n"
            "parent = os.fork()\n"
            "if parent == 0:\n"
            "    read, write = os.pipe()\n"
            "    def run():\n"
            "        os.write(write, b'.')\n"
            "        time.sleep(1000)\n"
            "    children = [fork(run, [write]) for _ in range(2)]\n"
            "    for _ in children:\n"
            "        os.read(read, 1)\n"
            "    os.kill(children[0].pid, signal.SIGSTOP)\n"
            "    print(*(child.pid for child in children), flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "os.waitpid(parent, 0)\n"
        )
        pids = output.split()
        self.assertEqual(len(pids), 2)
        # The output has ended, so they are exiting; init may not have reaped them yet.
        for pid in pids:
            while isAlive(pid):
                time.sleep(0.01)

    @needsLinux
    def test_parentExitsFirst(self) -> None:
        """
        A child whose parent has exited before the child begins does not run.
        """
        output = runScript(
            "module = shout.workers.fork\n"
            "exitWithParent = module._exitWithParent\n"
            "read, write = os.pipe()\n"
            "def late(parent):\n"
            "    os.close(write)\n"
            "    os.read(read, 1)\n"
            "    exitWithParent(parent)\n"
            "module._exitWithParent = late\n"
            "parent = os.fork()\n"
            "if parent == 0:\n"
            "    fork(lambda: print('runs', flush=True), [])\n"
            "    os._exit(0)\n"
            "os.waitpid(parent, 0)\n"
            "print('gone', flush=True)\n"
            "os.close(write)\n"
        )
        self.assertEqual(output, "gone\n")
