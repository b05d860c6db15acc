"""Retention of log groups, and removal policies."""

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

# The keys are the days that stacks/settings/general.py accepts.
RETENTION = {
    1: RetentionDays.ONE_DAY,
    3: RetentionDays.THREE_DAYS,
    7: RetentionDays.ONE_WEEK,
    14: RetentionDays.TWO_WEEKS,
    30: RetentionDays.ONE_MONTH,
    90: RetentionDays.THREE_MONTHS,
    180: RetentionDays.SIX_MONTHS,
    365: RetentionDays.ONE_YEAR,
    731: RetentionDays.TWO_YEARS,
    3653: RetentionDays.TEN_YEARS,
}


def removal(*, keep: bool) -> RemovalPolicy:
    """Return the removal policy of a resource that holds data.

    A kept resource is removed only if the creation of its stack fails, so that a first deployment
    that failed can be repeated.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
    """
    return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if keep else RemovalPolicy.DESTROY
