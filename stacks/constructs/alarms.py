"""Alarms, and the topic that they notify."""

import re

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.constructs.keys import key_of
from stacks.environments import Environment
from stacks.runbook import Urgency, described

FIVE_MINUTES = Duration.minutes(5)
# DestinationDeliveryFailed has the section #destination-delivery-failed.
WITHIN_NAME = re.compile(r"(?<!^)(?=[A-Z])")

AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
AT_MOST = cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD
LESS_THAN = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD


class Alarms(Construct):
    """The alarms of an environment, in the order in which they were added, and where they go.

    They go to the topic that the environment names, to a topic of our own with a subscriber by
    mail, or nowhere.
    """

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._topic = self._find_topic(environment)
        self.all: list[cloudwatch.IAlarm] = []

    def add(
        self,
        scope: Construct,
        id: str,
        metric: cloudwatch.IMetric,
        description: str,
        *,
        urgency: Urgency,
        threshold: float = 1,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = AT_LEAST,
        section: str | None = None,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.IAlarm | None:
        """Add an alarm; the runbook has the section of that name, or of the alarm's own.

        Returns it; None if the emulator cannot have it.

        `missing` says what a metric without data means: nothing is wrong, the state stays as it is
        (IGNORE), or the alarm tells of it (MISSING). It then tells of a metric that has come and
        stays away, and not while none has come yet: a first deployment wakes no one. The emulator
        knows no metric math: such alarms are left out there.
        """
        if self._environment.is_emulated and isinstance(metric, cloudwatch.MathExpression):
            return None
        section = section or WITHIN_NAME.sub("-", id).lower()
        alarm = cloudwatch.Alarm(
            scope,
            id,
            metric=metric,
            alarm_description=described(description, urgency, section),
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))
            if missing is cloudwatch.TreatMissingData.MISSING:
                alarm.add_insufficient_data_action(actions.SnsAction(self._topic))
        self.all.append(alarm)
        return alarm

    def _find_topic(self, environment: Environment) -> sns.ITopic | None:
        if environment.alarm_topic_arn is not None:
            return sns.Topic.from_topic_arn(self, "Topic", environment.alarm_topic_arn)
        if environment.alarm_email is None:
            return None
        topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=key_of(self))
        topic.add_subscription(subscriptions.EmailSubscription(environment.alarm_email))
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": topic.stack.account}},
            )
        )
        return topic
