"""Write docs/reference/settings.md: settings of environments, functions and `make`.

Meaning, unit and example come from the docstrings of the classes ("Attributes:"), values and
defaults from their fields; those of `make` from the comments and lists of the Makefile.
"""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe
from pydantic import BaseModel

from lambdas.settings import FunctionSettings, Settings
from stacks.environments import DEFAULTS, GROUPS, PER_PROCESSOR
from stacks.settings.tables import ExistingTable
from tools.markdown import table

ROOT = Path(__file__).parent.parent
LAMBDAS = ROOT / "lambdas"


def settings_of_functions() -> dict[type[FunctionSettings], str]:
    """Return the classes of settings, with the functions that have them."""
    found: dict[type[FunctionSettings], str] = {
        FunctionSettings: "all",
        Settings: "the processors",
    }
    for path in sorted(LAMBDAS.glob("*/settings.py")):
        module = importlib.import_module(f"lambdas.{path.parent.name}.settings")
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__:
                assert issubclass(each, FunctionSettings)
                found[each] = path.parent.name.replace("_", "-")
    return found


FUNCTIONS = settings_of_functions()
LABEL = re.compile(r"\.\s+(Unit|Default|Example): ")

HEAD = """\
<!-- Written by `python -m tools.docs`: edit the classes of settings or the Makefile instead. -->

# Settings

## Settings of an environment

`-c NAME=VALUE` sets one for one command:
`make deploy ENVIRONMENT=sandbox CDK_OPTIONS="-c log_retention_days=90"`. To keep a value, write it
into `cdk.json` under `environments.ENVIRONMENT`. Synth stops at an unknown name or value.
`stacks/environments.py` and the modules of `stacks/settings` define them. The columns `sandbox`,
`production` and `local` are the defaults of each profile.

An environment of a name of your own, such as `staging` or `dev-anna`, is an entry in `cdk.json`
with a profile: `"environments": {"dev-anna": {"profile": "sandbox"}}`.
"""
PROCESSORS = """\
Any of these may be given for one processor: `-c batch_size.audit=500`, or `"batch_size.audit": 500`
in `cdk.json`.
"""
EXISTING = """
## Source tables that exist

Each table of `source_tables` is an object with these fields:
"""
VARIABLES = """
## Variables of the functions

The stacks set these environment variables. A function checks them at its cold start and names each
one that is missing or wrong.
"""
MAKE = """
## Variables of make

`make TARGET NAME=VALUE`. Make stops at a name that the target does not take, and at an empty value.
"""


def page() -> str:
    """Return the page."""
    functions = table(
        ["variable", "functions", "meaning", "unit", "values", "default"], _functions()
    )
    make = table(["variable", "targets", "meaning", "default", "example"], _make())
    existing = table(["field", "meaning", "unit", "values", "default", "example"], _existing())
    return "\n".join([HEAD, *_groups(), EXISTING, existing, VARIABLES, functions, MAKE, make, ""])


def attributes(of: type) -> dict[str, dict[str, str]]:
    """Return the docstring's text on each attribute of a class, split by `labelled`."""
    sections = griffe.Docstring(inspect.cleandoc(of.__doc__ or "")).parse("google")
    return {
        each.name: labelled(each.description)
        for section in sections
        if isinstance(section, griffe.DocstringSectionAttributes)
        for each in section.value
    }


def labelled(text: str) -> dict[str, str]:
    """Split "Text. Unit: days. Example: `90`." into Meaning, Unit, Default and Example."""
    parts = LABEL.split(" ".join(text.split()).removesuffix("."))
    found = {"Meaning": parts[0] + ".", "Unit": "", "Default": "", "Example": ""}
    return found | dict(zip(parts[1::2], parts[2::2], strict=True))


def _groups() -> Iterator[str]:
    """Yield heading and table of each group of an environment's settings."""
    head = ["setting", "meaning", "unit", "values", *DEFAULTS, "example"]
    for group in GROUPS:
        settings = attributes(group)
        heading, _, note = str(group.__doc__).partition("\n")[0].partition(".")
        yield f"\n### {heading}\n"
        if note:
            yield f"{note.strip()}\n"
        if set(settings) == set(PER_PROCESSOR):
            yield PROCESSORS
        yield table(head, _settings(group, settings))


def _existing() -> Iterator[list[str]]:
    for name, text in attributes(ExistingTable).items():
        values, default = _values(ExistingTable, name), _default(ExistingTable, name, {})
        yield [f"`{name}`", text["Meaning"], text["Unit"], values, default, text["Example"]]


def _settings(
    group: type[BaseModel], settings: Mapping[str, Mapping[str, str]]
) -> Iterator[list[str]]:
    for name, text in settings.items():
        defaults = [_default(group, name, {"profile": each, **DEFAULTS[each]}) for each in DEFAULTS]
        example = f"`-c {name}={text['Example'].strip('`')}`"
        values = _values(group, name)
        yield [f"`{name}`", text["Meaning"], text["Unit"], values, *defaults, example]


def _functions() -> Iterator[list[str]]:
    for model, functions in FUNCTIONS.items():
        for name, text in attributes(model).items():
            values, default = _values(model, name), _default(model, name, {})
            variable = f"`{name.upper()}`"
            yield [variable, functions, text["Meaning"], text["Unit"], values, default]


def _make() -> Iterator[list[str]]:
    text = (ROOT / "Makefile").read_text()
    takers = {
        target: names.split() for target, names in re.findall(r"^TAKES_(\S+) := (.+)$", text, re.M)
    }
    defaults = dict(re.findall(r"^([A-Z_]+) \?= (\S+)$", text, re.M))
    for name, line in re.findall(r"^# ([A-Z_]+): (.+)$", text, re.M):
        targets = [f"`{target}`" for target, names in takers.items() if name in names]
        found = labelled(line)
        default = f"`{defaults[name]}`" if name in defaults else found["Default"]
        example = f"`{name}={found['Example'].strip('`')}`"
        yield [f"`{name}`", ", ".join(targets) or "all", found["Meaning"], default, example]


def _default(model: type[BaseModel], name: str, given: Mapping[str, Any]) -> str:
    field = model.model_fields[name]
    if name not in given and field.is_required():
        return "required"
    return _shown(given.get(name, field.default))


def _shown(value: Any) -> str:
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def _values(model: type[BaseModel], name: str) -> str:
    """Return the values that a field takes, from its JSON schema."""
    schema = model.model_json_schema()["properties"][name]
    for each in schema.get("anyOf", [schema]):
        match each:
            case {"const": value}:
                return f"`{value}`"
            case {"enum": values}:
                return ", ".join(f"`{value}`" for value in values)
            case {"items": {"pattern": pattern}}:
                return f"`{pattern}`, separated by commas"
            case {"minimum": low, "maximum": high}:
                return f"{low} to {high}"
            case {"minimum": low}:
                return f"at least {low}"
            case {"pattern": pattern}:
                return f"`{pattern}`"
            case {"type": "boolean"}:
                return "`true`, `false`"
    return "text"
