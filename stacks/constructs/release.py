"""Versions of a function's code behind an alias, and gradual releases, which alarms take back.

SnapStart makes snapshots of versions alone. For a gradual release, the event source mapping invokes
an alias, and CodeDeploy moves the alias to the new version in steps. Both versions read the same
shards meanwhile, which the sinks allow: they converge. This is what AWS SAM deploys for a function
with streams:
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/automating-updates-to-serverless-apps.html
"""

from collections.abc import Sequence

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

ALIAS = "live"
# In 30 minutes, an alarm that needs three periods of five minutes has the time to fire.
STEPS = codedeploy.LambdaDeploymentConfig.LINEAR_10_PERCENT_EVERY_3_MINUTES


def add_alias(scope: Construct, function: lambda_.Function) -> lambda_.Alias:
    """Add the alias of a function's current version."""
    return lambda_.Alias(scope, "Alias", alias_name=ALIAS, version=function.current_version)


def release_gradually(
    scope: Construct, alias: lambda_.Alias, alarms: Sequence[cloudwatch.IAlarm]
) -> None:
    """Let CodeDeploy move the alias, and move it back when an alarm fires.

    No alarm may be on a metric of the event source mapping, which depends on the alias.
    """
    codedeploy.LambdaDeploymentGroup(
        scope, "Release", alias=alias, deployment_config=STEPS, alarms=list(alarms)
    )
