"""The library's public names, and the pages of the reference that show them.

    docs/reference/index.md     every name, with the page that explains it
    docs/reference/<part>.md    the modules of a part of the library, for mkdocstrings to render

A name is public if no part of it begins with an underscore and it is a class, a function, or
something that a module documents or lists in `__all__`. Examples are not part of the reference, and
neither is what the command line is made of: that is `cdc --help`.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PACKAGE = "dynamodb_streams_cdc"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE
LEFT_OUT = {"examples", "cli"}

PARTS: Mapping[str, str] = {
    "library": "The library",
    "aws": "On AWS",
    "esm": "The event source mapping",
    "simulation": "The simulation",
    "testing": "The testing kit",
    "live": "The mapping on real endpoints",
}
"""The pages, and their titles; all but the first are packages of the same name."""

GENERATED = "<!-- Written by `python -m tools.docs`: edit tools/reference.py instead. -->"


@dataclass(frozen=True)
class Module:
    """A public module.

    Attributes:
        name: with the package's.
        names: what it defines that is public, in order.
        exports: its `__all__`: each name, and the name by which its own module defines it.
    """

    name: str
    names: Sequence[str]
    exports: Mapping[str, str]

    @property
    def part(self) -> str:
        """The page that it is on."""
        inner = self.name.split(".")[1:]
        return inner[0] if inner and inner[0] in PARTS else "library"


def modules() -> list[Module]:
    """Return the public modules of the library, packages before what is in them."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        inner = [part for part in path.relative_to(SOURCE).with_suffix("").parts]
        if inner[-1] == "__init__":
            inner.pop()
        if not any(part.startswith("_") for part in inner) and not LEFT_OUT & set(inner):
            found.append(_module(".".join((PACKAGE, *inner)), ast.parse(path.read_text())))
    return _resolved(sorted(found, key=lambda module: module.name))


def pages() -> dict[str, str]:
    """Return the reference's pages by file name."""
    found = modules()
    return {"index.md": _index(found)} | {
        f"{part}.md": _part(part, [module for module in found if module.part == part])
        for part in PARTS
    }


def _module(name: str, tree: ast.Module) -> Module:
    names: list[str] = []
    exports: dict[str, str] = {}
    imported: dict[str, str] = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        match node:
            case ast.ImportFrom(module=str(source)):
                imported |= {
                    alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names
                }
            case ast.ClassDef() | ast.FunctionDef():
                names.append(node.name)
            case (
                ast.Assign(targets=[ast.Name(id=target)])
                | ast.AnnAssign(target=ast.Name(id=target))
            ):
                if target == "__all__":
                    assert isinstance(node, ast.Assign)
                    exports = dict.fromkeys(ast.literal_eval(node.value), "")
                elif _is_text(following):
                    names.append(target)
    public = [each for each in names if not each.startswith("_")]
    return Module(name, public, {each: imported.get(each, f"{name}.{each}") for each in exports})


def _resolved(of: list[Module]) -> list[Module]:
    """Follow what packages export to the modules that define it, through other packages."""
    exported = {f"{module.name}.{name}": to for module in of for name, to in module.exports.items()}

    def home(name: str) -> str:
        found = exported.get(name, name)
        return name if found == name else home(found)

    return [
        replace(module, exports={name: home(to) for name, to in module.exports.items()})
        for module in of
    ]


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _part(part: str, of: Sequence[Module]) -> str:
    blocks = "\n\n".join(f"::: {module.name}" for module in of)
    return f"{GENERATED}\n\n# {PARTS[part]}\n\n{blocks}\n"


def _index(of: Sequence[Module]) -> str:
    return "\n".join((GENERATED, "", *_lines(of)))


def _lines(of: Sequence[Module]) -> Iterator[str]:
    pages = {f"{module.name}.{name}": module.part for module in of for name in module.names}
    yield "# Reference"
    yield ""
    yield (
        "Every public name of the library, by the module that defines it. What most programs need "
        f"is in `{PACKAGE}` itself."
    )
    for part, title in PARTS.items():
        yield from ("", f"## {title}", "")
        for module in of:
            if module.part == part:
                listed = {name: f"{module.name}.{name}" for name in module.names}
                listed.update(module.exports)
                links = [
                    f"[{name}]({pages.get(target, part)}.md#{target})"
                    for name, target in sorted(listed.items())
                ]
                yield f"- [`{module.name}`]({part}.md#{module.name})" + (":" if links else "")
                yield from (f"  {link}" for link in links)
    yield ""
