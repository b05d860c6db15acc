"""Snapshots of the stacks, so that a change of the infrastructure shows in review.

The sandbox's stacks are written out, and of production's only the differences. Asset hashes and the
CDK's metadata are left out; references are written as text. Logical ids are whole: where one
changes, CloudFormation replaces the resource.
`pytest tests/infrastructure/test_snapshots.py --snapshot-update` takes new snapshots.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.infrastructure.templates import Assembly

ASSET_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
WIDTH = 100


class TextFile(SingleFileSnapshotExtension):
    file_extension = "txt"
    _write_mode = WriteMode.TEXT


@pytest.mark.parametrize(
    ("environment", "stack"),
    [("sandbox", "search"), ("sandbox", "pipeline"), ("production", "search-logs")],
)
def test_template(
    environment: str, stack: str, request: pytest.FixtureRequest, snapshot: SnapshotAssertion
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    text = "\n".join(_lines(normalised(assembly.templates[stack])))
    assert text == snapshot(extension_class=TextFile)


@pytest.mark.parametrize("stack", ["search", "pipeline"])
def test_production_differs_from_the_sandbox_by(
    stack: str, sandbox: Assembly, production: Assembly, snapshot: SnapshotAssertion
) -> None:
    """The environment's name, which is in every tag, is not among the differences."""
    left, right = (
        json.loads(json.dumps(normalised(assembly.templates[stack])).replace(name, "<name>"))
        for assembly, name in ((sandbox, "sandbox"), (production, "production"))
    )
    text = "\n".join(_differences("", left, right))
    assert text == snapshot(extension_class=TextFile)


def test_a_grant_an_alarm_and_a_retention_show(sandbox: Assembly) -> None:
    """Each of these changes, made in a copy of the template, turns a snapshot red."""
    before = list(_lines(normalised(sandbox.pipeline)))
    for kind, path, value in (
        ("AWS::IAM::Policy", ["PolicyDocument", "Statement", 0, "Action"], "s3:*"),
        ("AWS::CloudWatch::Alarm", ["EvaluationPeriods"], 7),
        ("AWS::Logs::LogGroup", ["RetentionInDays"], 9),
    ):
        template = json.loads(json.dumps(sandbox.pipeline))
        resource = next(r for r in template["Resources"].values() if r["Type"] == kind)
        holder: Any = resource["Properties"]
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
        assert list(_lines(normalised(template))) != before, kind


def normalised(template: dict[str, Any]) -> dict[str, Any]:
    """The resources by logical id and type, and the outputs, with references as text."""
    resources = {
        f"{name} {resource['Type']}": {
            key: _plain(value) for key, value in resource.items() if key not in ("Type", "Metadata")
        }
        for name, resource in template["Resources"].items()
    }
    return resources | {"Outputs": _plain(template.get("Outputs", {}))}


def _plain(value: Any) -> Any:
    """A part of a template, with its references as text: `<Orders.Arn>`."""
    match value:
        case {"Ref": name}:
            return f"<{_plain(name)}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{_plain(name)}.{attribute}>"
        case {"Fn::Join": [delimiter, [*parts]]}:
            return str(delimiter).join(str(_plain(part)) for part in parts)
        case dict():
            return {name: _plain(member) for name, member in value.items()}
        case list():
            return [_plain(member) for member in value]
        case str():
            return ASSET_HASH.sub("<asset>", value)
        case _:
            return value


def _lines(value: Any, name: str = "", indent: str = "") -> Iterator[str]:
    """JSON without the brackets of what does not fit on a line."""
    head = f"{indent}{name}: " if name else indent
    short = head + json.dumps(value, ensure_ascii=False)
    if (len(short) <= WIDTH and (indent or not name)) or not isinstance(value, dict | list):
        yield short
        return
    yield head.rstrip()
    members = value.items() if isinstance(value, dict) else (("-", member) for member in value)
    for key, member in members:
        yield from _lines(member, key, indent + "  " if name else indent)


def _differences(path: str, left: Any, right: Any) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*left, *right]):
            below = f"{path} / {name}" if path else name
            if name not in right:
                yield f"- {below}"
            elif name not in left:
                yield from _lines(right[name], f"+ {below}")
            else:
                yield from _differences(below, left[name], right[name])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(f"{path}[{place}]", one, other)
    elif left != right:
        yield path
        for sign, value in (("-", left), ("+", right)):
            yield from _lines(value, sign, "  ")
