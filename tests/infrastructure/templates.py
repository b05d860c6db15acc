"""Reading synthesised templates: who may do what, to what, and what a value would look like."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Template = dict[str, Any]
Resource = dict[str, Any]


@dataclass(frozen=True)
class Assembly:
    """The templates of one environment, by what the stacks are for, and their folder."""

    folder: Path
    templates: Mapping[str, Template]

    @property
    def pipeline(self) -> Template:
        return self.templates["pipeline"]

    @property
    def search(self) -> Template:
        return self.templates["search"]


def of_type(template: Template, kind: str) -> dict[str, Resource]:
    """The resources of a type by logical id; there must be some, or a test would test nothing."""
    found = {
        logical_id: resource
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == kind
    }
    assert found, f"no {kind} in the template"
    return found


def only(template: Template, kind: str, prefix: str = "") -> Resource:
    """The one resource of a type whose logical id has a prefix."""
    found = [r for name, r in of_type(template, kind).items() if name.startswith(prefix)]
    assert len(found) == 1, f"{len(found)} of {kind} have the prefix {prefix}"
    return found[0]


def processors(template: Template) -> dict[str, Resource]:
    """The functions by the name of their processor."""
    functions = of_type(template, "AWS::Lambda::Function").values()
    return {
        variables["PROCESSOR"]: function
        for function in functions
        if "PROCESSOR" in (variables := environment_of(function))
    }


def environment_of(function: Resource) -> dict[str, str]:
    """A function's environment variables as it would find them."""
    variables = function["Properties"]["Environment"]["Variables"]
    return {name: flat(value) for name, value in variables.items()}


def flat(value: Any) -> str:
    """A value with its references replaced by the names of what they refer to."""
    match value:
        case {"Ref": name}:
            return str(name)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
        case {"Fn::ImportValue": name} if "DomainEndpoint" in name:
            return "search-domain-66ac69e0.us-east-1.es.amazonaws.com"
        case {"Fn::ImportValue": name}:
            return str(name).rpartition(":")[2]
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter).join(flat(part) for part in parts)
        case _:
            return str(value)


def statements(template: Template) -> Iterator[tuple[str, str, str]]:
    """Every (role, action, resource) that a policy of the template allows."""
    for policy in of_type(template, "AWS::IAM::Policy").values():
        roles = [flat(role) for role in policy["Properties"]["Roles"]]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for role in roles:
                for action in as_list(statement["Action"]):
                    for resource in as_list(statement["Resource"]):
                        yield role, action, flat(resource)


def allowed(template: Template, processor: str) -> set[tuple[str, str]]:
    """Every (action, resource) that a processor's role allows."""
    role = flat(processors(template)[processor]["Properties"]["Role"]).removesuffix(".Arn")
    found = {
        (action, resource) for holder, action, resource in statements(template) if holder == role
    }
    assert found, f"{processor} may do nothing"
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
