"""How long log groups keep what they hold; every log group of the app takes it from here."""

from aws_cdk.aws_logs import RetentionDays

# The keys are the days that stacks/environments.py accepts.
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
