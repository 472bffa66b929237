"""
A shell on a pseudo-terminal, for tests that type.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
from collections.abc import Mapping
from fcntl import ioctl

from twisted.trial.unittest import SynchronousTestCase

# Seconds that a command may print nothing, such as pip on a slow network.
_TIMEOUT = 180

CTRL_C = "\x03"

# The exit status is part of the prompt.
_PROMPT = "[status $?] "
_PROMPTED = re.compile(r"\[status (\d+)\] ")


def _takeTerminal() -> None:
    ioctl(0, termios.TIOCSCTTY, 0)
    # A background job of a script ignores it, and so would all commands of the shell.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """
    A pseudo-terminal whose shell has a working directory and an environment.
    """

    def __init__(
        self, case: SynchronousTestCase, directory: str, environment: Mapping[str, str]
    ) -> None:
        """
        @param case: The test; when it ends, the terminal is closed, which ends the
            command in the foreground.
        """
        self._fd, theirs = pty.openpty()
        # Without echo, only output of commands is read.
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self._shell = subprocess.Popen(
            ["sh", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env={**environment, "PS1": _PROMPT, "TERM": "dumb"},
            start_new_session=True,
            preexec_fn=_takeTerminal,
        )
        os.close(theirs)
        case.addCleanup(self._close)
        self._unread = ""
        self.finish()

    def _close(self) -> None:
        os.close(self._fd)
        self._shell.wait()

    def paste(self, text: str) -> None:
        """
        Type some text at once.
        """
        os.write(self._fd, text.encode())

    def waitFor(self, pattern: str | re.Pattern[str]) -> tuple[str, re.Match[str]]:
        """
        Read until a pattern matches.

        @return: The text before the match, and the match.
        """
        while (found := re.search(pattern, self._unread)) is None:
            readable, _, _ = select.select([self._fd], [], [], _TIMEOUT)
            if not readable:
                raise AssertionError(f"no {pattern!r} in {self._unread!r}")
            chunk = os.read(self._fd, 65536).decode(errors="replace")
            self._unread = (self._unread + chunk).replace("\r\n", "\n")
        before = self._unread[: found.start()]
        self._unread = self._unread[found.end() :]
        return before, found

    def finish(self) -> tuple[str, int]:
        """
        Wait for the prompt.

        @return: The output of the command, and its exit status.
        """
        output, found = self.waitFor(_PROMPTED)
        return output, int(found[1])

    def run(self, commands: str) -> tuple[str, list[int]]:
        """
        Paste one command per line, and wait until all have ended.

        @return: Their output, and the exit status of each.
        """
        self.paste(commands)
        finished = [self.finish() for _ in commands.splitlines()]
        return "".join(output for output, _ in finished), [s for _, s in finished]
