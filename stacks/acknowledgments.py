"""Best practices: where they are checked, and how a finding is acknowledged."""

from aws_cdk import Acknowledgment, App, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct


def check_best_practices(app: App) -> None:
    """Let synth fail on a finding of cdk-nag's AwsSolutions pack that nobody acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def acknowledge(construct: Construct, rule: str, reason: str) -> None:
    """Accept one AwsSolutions finding on a construct and what is below it."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )
