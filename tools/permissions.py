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
sandbox has the same, without the topic for alarms. [Settings that add
permissions](#settings-that-add-permissions) are at the end.

Tests record every call that the functions and the `cdc` command make, and evaluate it against these
policies: each call is allowed, and each grant is used.
"""

ADDED_HEAD = """\
## Settings that add permissions

A permissions boundary (`permissions_boundary_arn`) has to allow the actions of all roles above, and
those that the settings of your environment add. `KEY` is the key of `kms_key_arn`, and `FORMER_KEY`
are those of `former_key_arns`. With the policy of AWS, CodeDeploy reads alarms and moves aliases:
`cloudwatch:DescribeAlarms`, `lambda:GetAlias`, `lambda:UpdateAlias` and
`lambda:GetProvisionedConcurrencyConfig`. A source table with a `key_arn` adds actions of KMS on
that key, and a further sink those of its service.
"""

_KEYS_OF_KMS = "arn:aws:kms:us-east-1:111122223333:key"
EVERYTHING: Mapping[str, str] = {
    "environment": "production",
    "alarm_email": "on-call@example.com",
    "former_key_arns": f"{_KEYS_OF_KMS}/0987dcba-09fe-87dc-65ba-ab0987654321",
    "kms_key_arn": f"{_KEYS_OF_KMS}/1234abcd-12ab-34cd-56ef-1234567890ab",
    "permissions_boundary_arn": "arn:aws:iam::111122223333:policy/boundary",
    "release": "gradual",
    "route_table_ids": "rtb-0123456789abcdef0",
    "security_group_ids": "sg-0123456789abcdef0",
    "snap_start": "true",
    "subnet_ids": ", ".join(f"subnet-0123456789abcdef{number}" for number in range(3)),
    "tracing": "true",
    "vpc_id": "vpc-0123456789abcdef0",
}
"""Production with every setting that adds resources or permissions."""

KEYS = {EVERYTHING["kms_key_arn"]: "KEY", EVERYTHING["former_key_arns"]: "FORMER_KEY"}

ADDED_BY = {
    "ec2": "`vpc_id`",
    "kms": "`kms_key_arn`",
    "lambda": "`release`, `snap_start`",
    "xray": "`tracing`",
}
"""Settings, by the service of the actions that they add."""

AWS_POLICY = (
    "[`{0}`](https://docs.aws.amazon.com/aws-managed-policy/latest/reference/{0}.html) of AWS"
)

HOLDERS = {
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SQS::QueuePolicy": "Queues",
    "AWS::SNS::TopicPolicy": "Topics",
}


Templates = Mapping[str, Mapping[str, Any]]
Rows = set[tuple[str, ...]]


def page(templates: Templates, everything: Templates | None = None) -> str:
    """Return the page, for templates by what the stack is for.

    `everything` are those with every setting that adds permissions.
    """
    roles, resources = _found(templates)
    parts = [HEAD]
    for name, rows in sorted(roles.items()):
        parts += [f"## {name}\n", table(["action", "resource", "condition"], sorted(rows)) + "\n"]
    head = ["resource", "effect", "principal", "action", "on", "condition"]
    parts += ["## Policies of resources\n", table(head, sorted(resources))]
    if everything is not None:
        rows = {*_added(roles, _found(everything)[0]), *_policies_of_aws(everything)}
        head = ["setting", "action", "resource", "roles"]
        parts += ["\n" + ADDED_HEAD, table(head, sorted(rows))]
    return "\n".join(parts) + "\n"


def _added(before: Mapping[str, Rows], after: Mapping[str, Rows]) -> Iterator[tuple[str, ...]]:
    """Yield each grant of some roles that these did not have before, once."""
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, rows in sorted(after.items()):
        for row in rows - before.get(name, set()):
            holders[row].append(name)
    for (action, resource, _), names in holders.items():
        setting = ADDED_BY[action.strip("`").partition(":")[0]]
        if resource == "`FORMER_KEY`":
            setting = "`former_key_arns`"
        yield setting, action, resource, ", ".join(names)


def _policies_of_aws(templates: Templates) -> Iterator[tuple[str, ...]]:
    holders: dict[str, list[str]] = defaultdict(list)
    for template in templates.values():
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::IAM::Role":
                for policy in resource["Properties"].get("ManagedPolicyArns", ()):
                    holders[_short(policy).rpartition("/")[2]].append(_bare(name))
    for policy, names in holders.items():
        yield "`release`", AWS_POLICY.format(policy), "", ", ".join(sorted(names))


def _found(templates: Templates) -> tuple[dict[str, Rows], Rows]:
    """Return the grants of each role and policy, and the rules of resources."""
    roles: dict[str, Rows] = defaultdict(set)
    resources: Rows = set()
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
    return roles, resources


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
            return KEYS.get(str(value), str(value))


def _bare(name: str) -> str:
    """A logical id without the hash that the CDK ends it with."""
    return re.sub(r"[0-9A-F]{8}$", "", name)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
