"""Best practices: where they are checked, and how a finding is accepted."""

from typing import Any

from aws_cdk import Acknowledgment, App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct


def check_best_practices(app: App) -> None:
    """Let synth fail on a finding of cdk-nag's AwsSolutions pack that nobody accepted."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def acknowledge(construct: Construct, rule: str, reason: str) -> None:
    """Accept one finding on a construct and what is below it."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def acknowledge_wildcard(construct: Construct, arn: str, reason: str) -> None:
    """Accept one wildcard among the resources of a role; any other is still a finding."""
    resource = _as_nag_writes_it(Stack.of(construct).resolve(arn))
    acknowledge(construct, f"IAM5[Resource::{resource}]", reason)


def _as_nag_writes_it(value: Any) -> str:
    match value:
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter).join(_as_nag_writes_it(part) for part in parts)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::ImportValue": export}:
            return str(export)
        case {"Ref": name}:
            return f"<{name}>"
        case _:
            return str(value)
