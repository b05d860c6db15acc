"""Print the modules of the library, their imports of each other, and the imports that break rules.

    python -m tools.imports

Exits with 1 if modules import each other in a circle, or if a wing imports one above it.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "dynamodb_streams_cdc"
SOURCE = Path(__file__).parent.parent / "src"

WINGS = (
    {"root", "sinks", "guards", "control"},
    {"aws"},
    {"esm"},
    {"operations"},
    {"cli"},
    {"testing"},
    {"examples"},
)
"""The wings, lowest first. A module imports its own level and those below."""

FORBIDDEN = {("operations", "esm"), ("cli", "esm")}
"""Further imports from one wing to another: an operator needs no engine."""

Arrows = Mapping[str, set[str]]


def arrows() -> dict[str, set[str]]:
    """Return the modules that each module imports, imports within functions included."""
    paths = {_name(path.relative_to(SOURCE)): path for path in (SOURCE / PACKAGE).rglob("*.py")}
    return {name: set(_imported(path, paths)) - {name} for name, path in paths.items()}


def circle(found: Arrows) -> list[str]:
    """Return the modules of a circle; empty if there is none."""
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(found: Arrows) -> list[str]:
    """Return the imports that lead to a wing above, each as `importer -> imported`."""
    wrong = {
        f"{importer} -> {imported}"
        for importer, names in found.items()
        if importer != PACKAGE  # it exports names of every level
        for imported in names
        if _level(importer) < _level(imported) or (wing(importer), wing(imported)) in FORBIDDEN
    }
    return sorted(wrong)


def wing(module: str) -> str:
    """Return the wing of a module: `root`, or the first package below the library."""
    parts = module.split(".")
    is_package = len(parts) > 1 and (SOURCE / PACKAGE / parts[1]).is_dir()
    return parts[1] if is_package else "root"


def _level(module: str) -> int:
    return next(level for level, wings in enumerate(WINGS) if wing(module) in wings)


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in modules)
            case ast.ImportFrom(module=str(module), names=names) if module in modules:
                inner = [f"{module}.{alias.name}" for alias in names]
                yield from (name if name in modules else module for name in inner)


def main() -> int:
    found = arrows()
    loop, wrong = circle(found), upward(found)
    print(f"modules          {len(found):4}")
    print(f"arrows           {sum(map(len, found.values())):4}")
    print(f"circles          {int(bool(loop)):4}  {' -> '.join(loop)}".rstrip())
    print(f"upward arrows    {len(wrong):4}")
    for each in wrong:
        print(f"  {each}")
    return 1 if loop or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
