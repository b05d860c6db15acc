"""What wakes somebody up, and where they look first.

Every alarm here means that a copy of the data has stopped following the table, or that a change
needs a human. Nothing here is imported by another stack: it can be destroyed and deployed again.
"""

import re
from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.constructs.stream_processor import StreamProcessor
from stacks.environments import Environment
from stacks.queries import QUERIES
from stacks.runbook import described

FIVE_MINUTES = Duration.minutes(5)
# A stream forgets after 24 hours and a mapping gives up after 20: an hour leaves time to act.
LATE_AFTER = Duration.hours(1)
# Between the words of an id: UndeliveredLetters has the section #undelivered-letters.
WITHIN_NAME = re.compile(r"(?<!^)(?=[A-Z])")
# What the processors count themselves, under their own name.
OWN_METRICS = "DynamoDbStreamsCdc"


class ObservabilityStack(Stack):
    """Alarms for each processor and for the domain, a dashboard, and where alarms are sent."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        processors: Sequence[StreamProcessor],
        domain: opensearch.IDomain | None,
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.keeps_data)
        self.topic = self._topic(environment.alarm_email)
        self.dashboard = cloudwatch.Dashboard(self, "Dashboard")
        alarms: list[cloudwatch.IAlarm] = []
        for processor in processors:
            alarms += self._watch_processor(Construct(self, processor.node.id), processor)
        if domain is not None:
            alarms += self._watch_domain(domain)
        self.dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=24)
        )
        for processor in processors:
            self.dashboard.add_widgets(*_graphs(processor))
        if environment.has_log_queries:
            self._save_queries(environment.name, processors)

    def _topic(self, email: str | None) -> sns.Topic | None:
        if email is None:
            return None
        topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        topic.add_subscription(subscriptions.EmailSubscription(email))
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    def _save_queries(self, environment: str, processors: Sequence[StreamProcessor]) -> None:
        """The runbook's questions, among the saved queries of CloudWatch Logs Insights."""
        for name, text in QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                name.title().replace(" ", ""),
                name=f"cdc-{environment}/{name}",
                query_string=text,
                log_group_names=[processor.log_group.log_group_name for processor in processors],
            )

    def _watch_processor(
        self, scope: Construct, processor: StreamProcessor
    ) -> list[cloudwatch.IAlarm]:
        name, function = processor.name, processor.function
        rule = processor.bell.rule_name
        alarms: list[cloudwatch.IAlarm] = [
            self._alarm(
                scope,
                "Late",
                _iterator_age(processor),
                f"{name} is an hour behind its stream, which forgets after 24.",
                threshold=LATE_AFTER.to_milliseconds(),
            ),
            self._alarm(
                scope,
                "Errors",
                function.metric_errors(period=FIVE_MINUTES),
                f"{name} crashes or times out: its batches are delivered again until it does not.",
                periods=3,
            ),
            self._alarm(
                scope,
                "Throttles",
                function.metric_throttles(period=FIVE_MINUTES),
                f"{name} is throttled: the account's concurrency is used up.",
                periods=3,
            ),
            self._alarm(
                scope,
                "UndeliveredLetters",
                function.metric("DestinationDeliveryFailures", statistic="Sum"),
                f"Lambda could not write a batch of {name} to the dead-letter bucket.",
            ),
            self._alarm(
                scope,
                "Letters",
                processor.letters.queue.metric_approximate_number_of_messages_visible(
                    statistic=cloudwatch.Stats.MAXIMUM, period=FIVE_MINUTES
                ),
                f"{name} has dead letters: read them, mend the cause, redrive.",
            ),
            self._alarm(
                scope,
                "SilentBell",
                cloudwatch.Metric(
                    namespace="AWS/Events",
                    metric_name="FailedInvocations",
                    dimensions_map={"RuleName": rule},
                    statistic=cloudwatch.Stats.SUM,
                    period=FIVE_MINUTES,
                ),
                f"A dead letter of {name} could not ring its queue: look into the bucket.",
            ),
            self._alarm(
                scope,
                "Stuck",
                _own(processor, "Reported"),
                f"{name} reports changes as not done, again and again: its shard waits for them.",
                periods=3,
            ),
            self._alarm(
                scope,
                "StaleButNewer",
                _own(processor, "StaleButNewer"),
                f"{name} refused changes as stale that are newer than what it holds: repair them.",
            ),
        ]
        return [*alarms, self._forward(scope, processor)]

    def _forward(self, scope: Construct, processor: StreamProcessor) -> cloudwatch.IAlarm:
        """The processor's own alarm for dropped changes, sent where the others are sent."""
        if self.topic is None:
            return processor.dropped
        forwarded = cloudwatch.CompositeAlarm(
            self,
            f"{scope.node.id}Dropped",
            alarm_rule=cloudwatch.AlarmRule.from_alarm(
                processor.dropped, cloudwatch.AlarmState.ALARM
            ),
            alarm_description=processor.when_dropped,
        )
        forwarded.add_alarm_action(actions.SnsAction(self.topic))
        return forwarded

    def _watch_domain(self, domain: opensearch.IDomain) -> list[cloudwatch.IAlarm]:
        return [
            self._alarm(
                self,
                "DomainRed",
                domain.metric_cluster_status_red(period=Duration.minutes(1)),
                "A primary shard of the search domain is lost.",
            ),
            self._alarm(
                self,
                "DomainWritesBlocked",
                domain.metric_cluster_index_writes_blocked(period=FIVE_MINUTES),
                "The search domain refuses writes, mostly because its disks are full.",
            ),
        ]

    def _alarm(
        self,
        scope: Construct,
        id: str,
        metric: cloudwatch.Metric,
        description: str,
        *,
        threshold: float = 1,
        periods: int = 1,
    ) -> cloudwatch.Alarm:
        """Return an alarm; the runbook has a section of the same name."""
        section = WITHIN_NAME.sub("-", id).lower()
        alarm = metric.create_alarm(
            scope,
            id,
            alarm_description=described(description, section),
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self.topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
        return alarm


def _iterator_age(processor: StreamProcessor) -> cloudwatch.Metric:
    return processor.function.metric(
        "IteratorAge", statistic=cloudwatch.Stats.MAXIMUM, period=FIVE_MINUTES
    )


def _own(processor: StreamProcessor, name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=OWN_METRICS,
        metric_name=name,
        dimensions_map={"Environment": processor.environment, "Processor": processor.name},
        statistic=cloudwatch.Stats.SUM,
        period=FIVE_MINUTES,
    )


def _graphs(processor: StreamProcessor) -> list[cloudwatch.IWidget]:
    function = processor.function
    return [
        cloudwatch.GraphWidget(
            title=f"{processor.name}: behind by", width=6, left=[_iterator_age(processor)]
        ),
        cloudwatch.GraphWidget(
            title=f"{processor.name}: changes",
            width=6,
            left=[_own(processor, name) for name in ("Received", "Applied", "Stale", "Reported")],
        ),
        cloudwatch.GraphWidget(
            title=f"{processor.name}: invocations",
            width=6,
            left=[function.metric_invocations(), function.metric_errors()],
            right=[function.metric_duration(statistic=cloudwatch.Stats.p(99))],
        ),
        cloudwatch.GraphWidget(
            title=f"{processor.name}: letters",
            width=6,
            left=[processor.letters.queue.metric_approximate_number_of_messages_visible()],
        ),
    ]
