"""Write the reference of the library: an index, and a page for each part.

    docs/reference/index.md     the other pages, and the names of the package itself
    docs/reference/PART.md      the modules of a part of the library, for mkdocstrings to render

A name is public if no part of it begins with an underscore and it is a class, a function, or
something that a module documents or lists in `__all__`. Examples are not part of the reference, nor
is the code of the command line: its page is cli.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import griffe

from tools.markdown import table

PACKAGE = "dynamodb_streams_cdc"
ROOT = Path(__file__).parent.parent
LEFT_OUT = {"examples", "cli"}

PARTS: dict[str, tuple[str, str]] = {
    "poller": (f"{PACKAGE}.esm.poller", "The event source mapping on real endpoints"),
    "simulation": (f"{PACKAGE}.testing.simulation", "The simulation"),
    "sinks": (f"{PACKAGE}.sinks", "The sinks"),
    "aws": (f"{PACKAGE}.aws", "AWS clients"),
    "operations": (f"{PACKAGE}.operations", "Operations"),
    "esm": (f"{PACKAGE}.esm", "The event source mapping"),
    "testing": (f"{PACKAGE}.testing", "The testing kit"),
    "library": (PACKAGE, "The library"),
}
"""The pages: the package that each shows, without what an earlier one shows, and the title."""

TABLES: Mapping[str, str] = {
    "cli.md": "commands of `cdc`, with options and exit statuses",
    "settings.md": "settings of an environment, variables of functions and of `make`",
    "alarms.md": "alarms, with urgency and runbook section",
    "limits.md": "limits of the library and of AWS",
    "functions.md": "memory, time-out, batch size and age limits of the deployed functions",
    "permissions.md": "grants of every role",
    "findings.md": "accepted findings of cdk-nag",
}
"""Pages that list something else than names of the library, and their contents."""

GENERATED = "<!-- Written by `python -m tools.docs`: edit tools/reference.py instead. -->"


@cache
def modules() -> Sequence[griffe.Module]:
    """Return the public modules of the library, packages before their modules."""
    return list(_public(_package()))


@cache
def _package() -> griffe.Module:
    package = griffe.load(PACKAGE, search_paths=[str(ROOT / "src")])
    assert isinstance(package, griffe.Module)
    return package


def _public(module: griffe.Module) -> Iterator[griffe.Module]:
    yield module
    for name, inner in sorted(module.modules.items()):
        if not inner.is_alias and not name.startswith("_") and name not in LEFT_OUT:
            yield from _public(inner)


def pages() -> dict[str, str]:
    """Return the reference's pages by file name."""
    return {"index.md": _index()} | {f"{part}.md": _part(part) for part in PARTS}


def defined(module: griffe.Module) -> list[griffe.Object]:
    """Return the public names that a module defines, in order."""
    return [
        member
        for name, member in module.members.items()
        if not name.startswith("_")
        and isinstance(member, griffe.Class | griffe.Function | griffe.Attribute)
        and (member.docstring or not isinstance(member, griffe.Attribute))
    ]


def _home(name: str) -> str:
    """Follow a name that packages export to the module that defines it."""
    module, _, own = name.rpartition(".")
    imports = {each.path: each.imports for each in modules()}
    found = imports.get(module, {}).get(own, name)
    return name if found == name else _home(found)


def part_of(name: str) -> str:
    """Return the page that shows a name."""
    return next(
        part for part, (package, _) in PARTS.items() if f"{name}.".startswith(f"{package}.")
    )


def summary(described: griffe.Object) -> str:
    """Return the first paragraph of a docstring in one line."""
    text = described.docstring.value if described.docstring else ""
    return " ".join(text.partition("\n\n")[0].split())


def _part(part: str) -> str:
    found = [module for module in modules() if part_of(module.path) == part]
    rows = [
        (f"[`{module.path}`](#{module.path})", f"`{_file(module)}`", summary(module))
        for module in found
    ]
    return "\n\n".join(
        [
            GENERATED,
            f"# {PARTS[part][1]}",
            "Signatures and docstrings are on the site: run `make docs` and open "
            f"`build/site/reference/{part}/index.html`. In the repository, read the files.",
            table(["module", "file", "purpose"], rows),
            *(f"::: {module.path}" for module in found),
            "",
        ]
    ).removesuffix("\n")


def _file(module: griffe.Module) -> Path:
    assert isinstance(module.filepath, Path)
    return module.filepath.relative_to(ROOT)


def _index() -> str:
    parts = [(f"{part}.md", f"`{package}`: {title}") for part, (package, title) in PARTS.items()]
    pages = [*reversed(parts), *TABLES.items()]
    own = modules()[0]
    documented = {each.path: each for module in modules() for each in defined(module)}
    names = {str(name): _home(f"{PACKAGE}.{name}") for name in own.exports or ()}
    rows = [
        (f"[`{name}`]({part_of(home)}.md#{home})", summary(documented[home]))
        for name, home in sorted(names.items())
        if home in documented
    ]
    return "\n\n".join(
        [
            GENERATED,
            "# Reference",
            table(["page", "contents"], [(f"[{name}]({name})", what) for name, what in pages]),
            f"Most programs need no more than the names of `{PACKAGE}` itself:",
            table(["name", "summary"], rows),
            "",
        ]
    ).removesuffix("\n")
