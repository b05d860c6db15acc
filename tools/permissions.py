"""Render docs/reference/permissions.md: every grant of the synthesised templates.

A test compares the page with the templates, so that a wider or narrower grant is a changed line.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.markdown import table

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "permissions.md"

HEAD = """\
<!-- Written by `python -m tools.template_pages`: edit the stacks instead. -->

# Permissions

The grants of every role and of the operator policy, and the policies of buckets, queues, topics and
the domain. A name is the logical id of a resource without its hash. The page shows production; a
sandbox has the same, without the topic for alarms.

Tests record every call that the functions and the `cdc` command make, and evaluate it against these
policies: each call is allowed, and each grant is used.
"""

HOLDERS = {
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SQS::QueuePolicy": "Queues",
    "AWS::SNS::TopicPolicy": "Topics",
}


def page(templates: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page, for templates by what the stack is for."""
    roles: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    resources: set[tuple[str, ...]] = set()
    for template in templates.values():
        for name, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            match resource["Type"]:
                case "AWS::IAM::Policy":
                    for role in properties["Roles"]:
                        roles[_short(role)].update(_granted(properties["PolicyDocument"]))
                case "AWS::IAM::ManagedPolicy":
                    roles[_bare(name)].update(_granted(properties["PolicyDocument"]))
                case "AWS::OpenSearchService::Domain":
                    resources.update(_ruled(_bare(name), properties["AccessPolicies"]))
                case kind if kind in HOLDERS:
                    for holder in _each(properties[HOLDERS[kind]]):
                        resources.update(_ruled(_short(holder), properties["PolicyDocument"]))
    parts = [HEAD]
    for name, rows in sorted(roles.items()):
        parts += [f"## {name}\n", table(["action", "resource", "condition"], sorted(rows)) + "\n"]
    head = ["resource", "effect", "principal", "action", "on", "condition"]
    return "\n".join([*parts, "## Policies of resources\n", table(head, sorted(resources))]) + "\n"


def _granted(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for statement in document["Statement"]:
        effect = "" if statement["Effect"] == "Allow" else f"{statement['Effect']} "
        for action in _each(statement["Action"]):
            for resource in _each(statement["Resource"]):
                yield f"{effect}`{action}`", f"`{_short(resource)}`", _condition(statement)


def _ruled(holder: str, document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for statement in document["Statement"]:
        actions = ", ".join(f"`{action}`" for action in _each(statement["Action"]))
        on = ", ".join(f"`{_short(resource)}`" for resource in _each(statement["Resource"]))
        principal = statement["Principal"]
        named = [principal] if isinstance(principal, str) else map(_short, principal.values())
        who = f"`{', '.join(named)}`"
        yield f"`{holder}`", statement["Effect"], who, actions, on, _condition(statement)


def _condition(statement: Mapping[str, Any]) -> str:
    return ", ".join(
        f"`{operator} {key} {_short(value)}`"
        for operator, keys in sorted(statement.get("Condition", {}).items())
        for key, value in keys.items()
    )


def _short(value: Any) -> str:
    """A value with the names of resources, without hashes, account and Region."""
    match value:
        case {"Ref": str(name)}:
            return _bare(name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return _bare(name) + ("" if attribute == "Arn" else f".{attribute}")
        case {"Fn::ImportValue": str(export)}:
            return re.sub(r"^cdc-\w+-(?:search-)?(\w+?)(?:Arn)?$", r"\1", export)
        case {"Fn::Join": [str(delimiter), parts]}:
            text = delimiter.join(map(_short, parts))
            text = re.sub(r"^arn:AWS::Partition:", "", text)
            text = re.sub(r":(?:AWS::Region|[a-z0-9-]*):AWS::AccountId:", ":", text)
            bare = re.sub(r"cdc-\w+-search-Domain\w+", "Domain", text)
            return re.sub(r"cdc-\w+?-", "cdc-ENVIRONMENT-", bare)
        case _:
            return str(value)


def _bare(name: str) -> str:
    """A logical id without the hash that the CDK ends it with."""
    return re.sub(r"[0-9A-F]{8}$", "", name)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
