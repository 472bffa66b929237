"""
The layers of the package: C{python -m tests.layers} prints the imports between its
units, or those that break the layers.

A unit is a package or a module directly in C{shout/}.  It may import units of lower
layers, and of its own layer in one direction.  Every import counts: also inside of
functions, for type checkers alone, and relative ones.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

# From top to bottom.  The public names are on top: a unit imports from where a name is
# defined.
LAYERS = (
    {"__init__", "__main__"},
    {"cli", "tap"},
    {"listening", "options"},
    {"workers"},
    {"service"},
    {"_capitals", "protocol"},
    {"status"},
    {"measure"},
    {"client", "request"},
    {"guard", "sources"},
    {"counters", "ratelimitedlog"},
    {"sockets"},
    {"udp"},
)

# The number of modules directly in the package, C{__init__} aside.
MAX_MODULES = 12

_DEPTHS = {unit: depth for depth, layer in enumerate(LAYERS) for unit in layer}


def findImports(root: Path) -> dict[str, dict[str, str]]:
    """
    Find the imports between the units.

    @param root: The directory C{shout/}.

    @return: The units that each unit imports, with the place of the first import.
    """
    units = {path.stem for path in root.iterdir()}
    found: dict[str, dict[str, str]] = {}
    for path in sorted(root.rglob("*.py")):
        module = ("shout", *path.relative_to(root).with_suffix("").parts)
        imports = found.setdefault(module[1], {})
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _importedNames(node, module[:-1]):
                unit = name[1] if name[1] in units else "__init__"
                if name[0] == "shout" and unit != module[1]:
                    line = getattr(node, "lineno", 0)
                    imports.setdefault(unit, f"{path.relative_to(root.parent)}:{line}")
    return found


def _importedNames(node: ast.AST, package: tuple[str, ...]) -> Iterator[list[str]]:
    """
    Return the names that a node of a module in a package imports, split at the dots.
    """
    match node:
        case ast.Import(names=names):
            prefix = []
        case ast.ImportFrom(module=module, names=names, level=level):
            prefix = list(package[: len(package) + 1 - level] if level else ())
            prefix += module.split(".") if module else []
        # Nothing but the version is taken from C{import shout}.
        case ast.Attribute(value=ast.Name(id="shout"), attr=attr) if (
            attr != "__version__"
        ):
            prefix, names = ["shout"], [ast.alias(attr)]
        case _:
            return
    for alias in names:
        name = [*prefix, *alias.name.split(".")]
        if len(name) > 1:
            yield name


def findViolations(root: Path) -> list[str]:
    """
    Find what breaks the layers.

    @param root: The directory C{shout/}.

    @return: One line for each violation.
    """
    imports = findImports(root)
    violations = [f"{unit} is in no layer" for unit in imports if unit not in _DEPTHS]
    violations += [
        f"{place}: {unit} must not import {other}, which is in a higher layer"
        for unit, others in imports.items()
        for other, place in others.items()
        if _DEPTHS.get(other, len(LAYERS)) < _DEPTHS.get(unit, 0)
    ]
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as e:
        violations.append(f"units import each other: {' <- '.join(e.args[1])}")
    count = len(list(root.glob("*.py"))) - 1
    if count > MAX_MODULES:
        text = f"{count} modules directly in shout/, at most {MAX_MODULES} allowed"
        violations.append(text)
    return violations


def main() -> None:
    """
    Run the command.
    """
    root = Path(__file__).parent.parent / "shout"
    violations = findViolations(root)
    if violations:
        sys.exit("\n".join(violations))
    imports = findImports(root)
    for unit in sorted(imports, key=lambda unit: (_DEPTHS[unit], unit)):
        print(f"{unit}:", *sorted(imports[unit], key=lambda each: _DEPTHS[each]))


if __name__ == "__main__":
    main()
