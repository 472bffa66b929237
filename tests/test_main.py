"""
Tests for L{shout.__main__}, the entry points of the commands.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

# Runs the command, and interrupts it when it imports a module, or at exit.  Tests may
# run with SIGINT ignored, as in the background of a script.
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


# Prints the state of the garbage collector during the imports and in the command.
COLLECTOR = """if True:
    import gc
    from argparse import Namespace
    from shout import __main__
    from shout.cli.main import run

    async def command(options, printError, reactor):
        print(gc.isenabled(), gc.get_freeze_count() > 0)
        return 0

    print(gc.isenabled())
    run("shout", lambda arguments: Namespace(), command)
"""


class CollectorTests(SynchronousTestCase):
    """
    Tests for garbage collection in the commands.
    """

    @skipUnless(hasattr(gc, "freeze"), "this Python cannot leave modules out")
    def test_modules(self) -> None:
        """
        Garbage is not collected during the imports, and later without the modules.
        """
        ended = subprocess.run(
            [sys.executable, "-c", COLLECTOR],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(ended.stdout.split(), ["False", "True", "True"])


class InterruptTests(SynchronousTestCase):
    """
    Tests for Ctrl-C while the commands start and end.
    """

    def interrupt(
        self, moment: str, handler: str = "default_int_handler", command: str = "shout"
    ) -> tuple[int, str]:
        """
        Run a command with C{--help}, interrupt it at a moment, and return its status
        and what it printed to standard error.

        @param moment: The module that it imports at that moment, or C{exit}.

        @param handler: The name of the handler for SIGINT that it starts with.

        @param command: The name of the command, or C{-m shout}.
        """
        path = os.path.join(os.path.dirname(sys.executable), command)
        if command.startswith("-m "):
            path = command.removeprefix("-m ")
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT, moment, handler, path, "--help"],
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
        for command, module in (
            ("shout", "signal"),
            ("shout", "shout.cli"),
            ("shout", "shout.cli.options"),
            ("shoutping", "argparse"),
            ("shoutping", "shout.cli.pingoptions"),
            ("-m shout", "signal"),
        ):
            ended = self.interrupt(module, command=command)
            self.assertEqual(ended, (-signal.SIGINT, ""), (command, module))

    def test_duringExit(self) -> None:
        """
        SIGINT while Python finalizes ends the process by that signal, and silently.
        """
        self.assertEqual(self.interrupt("exit"), (-signal.SIGINT, ""))

    def test_ignored(self) -> None:
        """
        If SIGINT is ignored, as with C{&} in a script, it stays ignored.
        """
        self.assertEqual(self.interrupt("shout.client", "SIG_IGN"), (0, ""))
