"""Best practices: where cdk-nag checks them. Accepted findings are in stacks/findings.py."""

from collections.abc import Iterator

from aws_cdk import Acknowledgment, App, Validations
from cdk_nag import AwsSolutionsChecks, NagPack, NIST80053R5Checks
from constructs import IConstruct

from stacks.environments import Environment
from stacks.findings import rows_for


def check_best_practices(app: App, environment: Environment) -> None:
    """Let synth fail on a finding that no row of the table accepts.

    Every environment is held to the pack AwsSolutions, and profile production to NIST 800-53 r5 as
    well. Call it when the app has all its stacks.
    """
    packs: list[NagPack] = [AwsSolutionsChecks(app)]
    if environment.keeps_data:
        packs.append(NIST80053R5Checks(app))
    for pack in packs:
        for rule, path in findings(pack, app):
            for row in rows_for(rule, path, environment.profile):
                Validations.of(_at(app, path)).acknowledge(
                    Acknowledgment(id=f"{pack.name}::{rule}", reason=row.reason)
                )
    Validations.of(app).add_plugins(*packs)


def findings(pack: NagPack, app: App) -> Iterator[tuple[str, str]]:
    """Yield each unaccepted (rule, path of the construct) that a pack finds in the app."""
    for violation in pack.validate_scope(app).violations:
        for resource in violation.violating_resources:
            assert resource.construct_path is not None
            yield violation.rule_name, resource.construct_path


def _at(app: App, path: str) -> IConstruct:
    """Return the construct that a finding is acknowledged at, for all that is below it.

    That of a role's policy is the role: the CDK divides a large policy when it synthesises.
    """
    found: IConstruct = app
    for name in path.partition("/DefaultPolicy")[0].split("/"):
        found = found.node.find_child(name)
    return found
