"""
Tests for what the modules of shout import.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

# Prints the modules that are loaded after each step.
SCRIPT = """
import json, pkgutil, sys
import shout
steps = [sorted(sys.modules)]
import shout.tap
steps.append(sorted(sys.modules))
for module in pkgutil.walk_packages(shout.__path__, "shout."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
steps.append(sorted(sys.modules))
print(json.dumps(steps))
"""


@cache
def loaded() -> list[set[str]]:
    """
    Return the modules that a new interpreter has loaded after it has imported
    C{shout}, then L{shout.tap}, and then all modules of shout.
    """
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    return [set(modules) for modules in json.loads(ended.stdout)]


class ImportTests(SynchronousTestCase):
    """
    Tests for what is loaded by an import, in a new interpreter.
    """

    def test_package(self) -> None:
        """
        Importing C{shout} loads none of its modules, and nothing of Twisted.
        """
        names = {"shout", "twisted"}
        found = {name for name in loaded()[0] if name.split(".")[0] in names}
        self.assertEqual(found, {"shout"})

    def test_tap(self) -> None:
        """
        Importing L{shout.tap} loads neither the client nor C{shout.measure}, and no
        status, which needs the client.
        """
        packages = {"cli", "client", "measure", "request", "status"}
        modules = [name.split(".") for name in loaded()[1]]
        found = [each for each in modules if each[0] == "shout" and each[1:2]]
        self.assertIn(["shout", "tap"], found)
        self.assertEqual([each for each in found if each[1] in packages], [])

    def test_reactor(self) -> None:
        """
        No module of shout imports a reactor at module level.
        """
        modules = loaded()[2]
        self.assertLessEqual({"shout.cli.main", "shout.status.service"}, modules)
        self.assertNotIn("twisted.internet.reactor", modules)
