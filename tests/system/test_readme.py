"""
Tests for the set-up commands of the README.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.readme import BLOCKS
from tests.twistdcase import TwistdCase


class SetUpTests(TwistdCase):
    """
    Tests for the set-up that the commands under Run and Test begin with.
    """

    def setUp(self) -> None:
        super().setUp()
        self.script("bin/python3", f"cp {self.directory}/bin/pip .venv/bin; echo venv")
        self.script("bin/pip", "echo no index; exit 3")
        self.script(".venv/bin/twistd", "echo served")

    def script(self, name: str, text: str) -> Path:
        """
        Write a shell script.
        """
        path = Path(self.directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """
        Run a command of the README.
        """
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=os.environ | {"PATH": f"{self.directory}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_fails(self) -> None:
        """
        A set-up that fails ends the command, with its own message and status.
        """
        for _, command in BLOCKS[:2]:
            ended = self.shell(command)
            self.assertEqual(
                (ended.stdout, ended.stderr, ended.returncode),
                ("venv\nno index\n", "", 3),
            )

    def test_done(self) -> None:
        """
        Run starts the server at once if shout, which is installed last, is installed.
        """
        self.script(".venv/bin/shout", "")
        self.assertEqual(self.shell(BLOCKS[0][1]).stdout, "served\n")

    def test_interrupted(self) -> None:
        """
        Files of an interrupted set-up are removed, since pip may regard a package
        without its scripts as installed.
        """
        python = shlex.quote(sys.executable)
        self.script("bin/python3", f'exec {python} "$@" --without-pip')
        leftover = Path(self.directory, ".venv", "lib", "leftover")
        for _, command in BLOCKS[:2]:
            leftover.parent.mkdir(exist_ok=True)
            leftover.touch()
            self.shell(command)
            self.assertFalse(leftover.exists())
