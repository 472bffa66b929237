"""
Tests for L{shout.__main__}, which the C{shout} command runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

# Runs the command, and interrupts it when it looks for a module, or at exit.  The
# tests may run where SIGINT is ignored, as in the background of a script.
SCRIPT = """if True:
    import atexit, os, runpy, signal, sys

    moment, handler, command, *arguments = sys.argv[1:]
    signal.signal(signal.SIGINT, getattr(signal, handler))

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    class Interrupter:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == moment:
                interrupt()

    sys.meta_path.insert(0, Interrupter)
    if moment == "exit":
        atexit.register(interrupt)
    sys.modules.pop(moment, None)
    sys.argv = [command, *arguments]
    if command == "shout":
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command, run_name="__main__")
"""


class InterruptTests(SynchronousTestCase):
    """
    Tests for Ctrl-C while the command starts and ends.
    """

    def interrupt(
        self,
        moment: str,
        handler: str = "default_int_handler",
        command: str = os.path.join(os.path.dirname(sys.executable), "shout"),
    ) -> tuple[int, str]:
        """
        Run C{shout --help}, interrupt it at a moment, and return its status and what
        it printed to standard error.

        @param handler: the name of the handler for SIGINT that it starts with.

        @param command: the path of the command, or the name of the module.
        """
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT, moment, handler, command, "--help"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stderr

    def test_duringImports(self) -> None:
        """
        SIGINT during the imports ends the process by that signal, and silently.
        """
        for module in (
            "signal",
            "shout.cli",
            "argparse",
            "twisted.internet.defer",
            "shout.client",
            "shout.cli.options",
        ):
            self.assertEqual(self.interrupt(module), (-signal.SIGINT, ""), module)

    def test_module(self) -> None:
        """
        C{python -m shout} ends like that, too.
        """
        for module in ("signal", "shout.cli"):
            ended = self.interrupt(module, command="shout")
            self.assertEqual(ended, (-signal.SIGINT, ""), module)

    def test_duringExit(self) -> None:
        """
        SIGINT while Python finalizes ends the process by that signal, and silently.
        """
        self.assertEqual(self.interrupt("exit"), (-signal.SIGINT, ""))

    def test_ignored(self) -> None:
        """
        Where SIGINT is ignored, as with C{&} in a script, it goes on being ignored.
        """
        self.assertEqual(self.interrupt("shout.client", "SIG_IGN"), (0, ""))
