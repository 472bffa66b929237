"""
Tests for the layers of the package.
"""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.layers import findViolations


class LayersTests(SynchronousTestCase):
    """
    Tests for L{tests.layers}.
    """

    def violations(self, **modules: str) -> list[str]:
        """
        Find the violations in a tree of modules.

        @param modules: The source of each module; an underscore in the name of one
            stands for a slash.
        """
        root = Path(self.mktemp(), "shout")
        for name, source in {"__init__": "", **modules}.items():
            path = root / f"{name if name[0] == '_' else name.replace('_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return findViolations(root)

    def test_shout(self) -> None:
        """
        The imports of this package keep to the layers.
        """
        root = Path(__file__).parent.parent / "shout"
        self.assertEqual(findViolations(root), [])

    def test_allowed(self) -> None:
        """
        Imports of lower layers, imports within a package, imports within a layer in
        one direction, the version and other packages are allowed.
        """
        self.assertEqual(
            self.violations(
                __init__="import shout.service",
                service="import shout, twisted; shout.__version__",
                guard="from shout.sources import a; from . import sources",
                sources="from shout.udp.peer import a; from shout import sockets",
                sockets_bind="",
                udp_peer="from .port import a; from shout.udp import port",
            ),
            [],
        )

    def test_higher(self) -> None:
        """
        An import of a higher layer is a violation, in every form and place.
        """
        for source in (
            "from shout.guard import Guard",
            "from shout import guard",
            "from .. import guard",
            "from ..guard import Guard",
            "import os, shout.guard",
            "import shout\nshout.guard.Guard",
            "def function():\n    from shout.guard import Guard",
            "if TYPE_CHECKING:\n    from shout.guard import Guard",
        ):
            [violation] = self.violations(udp_port=source, guard="")
            self.assertRegex(
                violation,
                "^shout/udp/port.py:[12]: udp must not import guard, which is in a"
                " higher layer$",
            )

    def test_publicNames(self) -> None:
        """
        An import of a public name from the package itself is a violation.
        """
        for source in ("from shout import Guard", "from . import Guard"):
            [violation] = self.violations(tap=source)
            self.assertIn("tap must not import __init__", violation)

    def test_circle(self) -> None:
        """
        Imports within a layer in both directions are a violation.
        """
        self.assertEqual(
            self.violations(
                guard="from . import sources", sources="import shout.guard"
            ),
            ["units import each other: guard <- sources <- guard"],
        )

    def test_unknown(self) -> None:
        """
        A unit that is in no layer is a violation.
        """
        self.assertEqual(self.violations(utils=""), ["utils is in no layer"])

    def test_tooMany(self) -> None:
        """
        More than twelve modules directly in the package are a violation.
        """
        names = ["__main__", "client", "counters", "guard", "listening", "options"]
        names += ["protocol", "ratelimitedlog", "request", "service", "sources", "tap"]
        self.assertEqual(self.violations(**dict.fromkeys(names, "")), [])
        [violation] = self.violations(**dict.fromkeys(names, ""), udp="")
        self.assertEqual(violation, "13 modules directly in shout/, at most 12 allowed")


class TestFilesTests(SynchronousTestCase):
    """
    Tests for the files of tests.
    """

    files = sorted(Path(__file__).parent.rglob("*.py"))

    def test_imports(self) -> None:
        """
        No test module is imported by another one: fakes are in modules of their own.
        """
        pattern = re.compile(r"^ *from tests[.\w]*( import |\.)test_", re.M)
        importing = [each for each in self.files if pattern.search(each.read_text())]
        self.assertEqual(importing, [])

    def test_length(self) -> None:
        """
        No file has more than 600 lines.
        """
        long = [
            each for each in self.files if len(each.read_bytes().splitlines()) > 600
        ]
        self.assertEqual(long, [])
