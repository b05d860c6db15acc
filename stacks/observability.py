"""Alarms, the dashboard and the saved queries.

Every alarm means that a copy of the data has stopped following the table, that it soon will, or
that a change needs a person. The alarms are part of the pipeline's stack: a resource that they
watch may be replaced, and a value that another stack imports may not.
"""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from dynamodb_streams_cdc.names import METRICS_NAMESPACE, RETIRED, Metric
from stacks.constructs.alarms import FIVE_MINUTES, LESS_THAN, Alarms
from stacks.constructs.release import release_gradually
from stacks.constructs.source_table import SourceTable
from stacks.constructs.stream_processor import StreamProcessor
from stacks.constructs.watcher import Watcher
from stacks.domain_alarms import watch_domain
from stacks.environments import Environment
from stacks.maintenance import Maintenance
from stacks.queries import QUERIES
from stacks.runbook import Urgency
from stacks.search import SearchTarget
from stacks.settings.search import SearchCluster

# A stream forgets after 24 hours and a mapping gives up after 20: an hour leaves time to act.
LATE_AFTER = Duration.hours(1)
# While the watcher does not run, dead letters that waited still wait.
UNTIL_COUNTED = cloudwatch.TreatMissingData.IGNORE
# A verification takes the next part of the table every hour: an alarm of an hour would end then.
A_DAY = Duration.days(1)
SHOWN = (Metric.RECEIVED, Metric.APPLIED, Metric.STALE, Metric.REPORTED)


class Observability(Construct):
    """Alarms for each processor, table, and the domain, and a dashboard."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        processors: Sequence[StreamProcessor],
        tables: Sequence[SourceTable],
        watcher: Watcher,
        maintenance: Maintenance | None,
        search: SearchTarget | None,
        cluster: SearchCluster | None,
    ) -> None:
        super().__init__(scope, id)
        self._watcher = watcher
        self._maintenance = maintenance
        self._has_canary = watcher.has_canary
        self.alarms = Alarms(self, "Alarms", environment=environment)
        for processor in processors:
            self._watch_processor(Construct(self, processor.node.id), processor)
        for table in tables:
            self._watch_table(Construct(self, f"{table.node.id}Table"), table)
        self._watch_watcher()
        if maintenance is not None:
            self._watch_maintenance(maintenance)
        if search and search.domain_name is not None and cluster is not None:
            watch_domain(
                Construct(self, "Domain"),
                self.alarms,
                domain_name=search.domain_name,
                cluster=cluster,
            )
        self._add_dashboard(processors)
        if not environment.is_emulated:
            self._save_queries(processors)

    def _add_dashboard(self, processors: Sequence[StreamProcessor]) -> None:
        dashboard = cloudwatch.Dashboard(self, "Dashboard")
        dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=self.alarms.all, width=24)
        )
        for processor in processors:
            dashboard.add_widgets(*_graphs(processor))

    def _save_queries(self, processors: Sequence[StreamProcessor]) -> None:
        """The runbook's questions to all functions, saved for CloudWatch Logs Insights."""
        for name, text in QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                name.title().replace(" ", ""),
                name=f"{Stack.of(self).stack_name}/{name}",
                query_string=text,
                log_group_names=[
                    *(each.log_group.log_group_name for each in processors),
                    self._watcher.log_group.log_group_name,
                    *([self._maintenance.log_group.log_group_name] if self._maintenance else []),
                ],
            )

    def _watch_processor(self, scope: Construct, processor: StreamProcessor) -> None:
        name, function, add = processor.name, processor.function, self.alarms.add
        add(
            scope,
            "IteratorAgeHigh",
            _iterator_age(processor),
            f"{name} is an hour behind its stream, which forgets after 24.",
            urgency=Urgency.TODAY,
            threshold=LATE_AFTER.to_milliseconds(),
        )
        if self._has_canary or processor.feed.kind == "change-log":
            # Without the canary, a table may have writes and no stream record: a write whose
            # condition fails, or that changes nothing, consumes write units.
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
            add(
                scope,
                "NotPolled",
                _although(
                    written=_of_table(processor.feed.table, "ConsumedWriteCapacityUnits"),
                    seen=_of_mapping(processor, "PolledEventCount"),
                ),
                f"The event source mapping of {name} reads nothing, although the table is written.",
                urgency=Urgency.TODAY,
                periods=3,
            )
        if self._has_canary:
            add(
                scope,
                "CanaryMissing",
                _although(
                    written=self._watcher.function.metric_invocations(period=FIVE_MINUTES),
                    seen=_own(processor, Metric.CANARIES),
                ),
                f"The canary is written every five minutes, and {name} has not applied it for 15.",
                urgency=Urgency.TODAY,
                periods=3,
            )
        errors = add(
            scope,
            "Errors",
            function.metric_errors(period=FIVE_MINUTES),
            f"{name} crashes or times out: its batches are delivered again until it does not.",
            urgency=Urgency.TODAY,
            periods=3,
        )
        add(
            scope,
            "Throttles",
            function.metric_throttles(period=FIVE_MINUTES),
            f"{name} is throttled: the account's concurrency is used up.",
            urgency=Urgency.TODAY,
            periods=3,
        )
        add(
            scope,
            "DestinationDeliveryFailed",
            function.metric("DestinationDeliveryFailures", statistic="Sum"),
            f"Lambda could not write a batch of {name} to the on-failure bucket.",
            urgency=Urgency.NOW,
        )
        add(
            scope,
            "DeadLettersPresent",
            _own(processor, Metric.DEAD_LETTERS_WAITING, statistic=cloudwatch.Stats.MAXIMUM),
            f"{name} has dead letters: read them, fix the cause, redrive.",
            urgency=Urgency.WORKDAY,
            missing=UNTIL_COUNTED,
        )
        add(
            scope,
            "DeadLetterNotificationFailed",
            cloudwatch.Metric(
                namespace="AWS/Events",
                metric_name="FailedInvocations",
                dimensions_map={"RuleName": processor.notifications.rule_name},
                statistic=cloudwatch.Stats.SUM,
                period=FIVE_MINUTES,
            ),
            f"A dead letter of {name} could not be announced on its queue: look into the bucket.",
            urgency=Urgency.WORKDAY,
        )
        add(
            scope,
            "RecordsDropped",
            _of_mapping(processor, "DroppedEventCount"),
            f"{name} dropped changes: no sink and no dead letter has them.",
            urgency=Urgency.NOW,
        )
        reported = add(
            scope,
            "BatchFailuresReported",
            _own(processor, Metric.REPORTED),
            f"{name} reports changes as not done, again and again: its shard waits for them.",
            urgency=Urgency.TODAY,
            periods=3,
        )
        breaker = add(
            scope,
            "BreakerOpen",
            _own(processor, Metric.BREAKER_OPEN),
            f"Most changes fail in {name} for one reason: its shard waits, no dead letters.",
            urgency=Urgency.TODAY,
        )
        add(
            scope,
            "AccessDenied",
            _own(processor, Metric.ACCESS_DENIED),
            f"{name} lacks a permission: its shard waits until it is given.",
            urgency=Urgency.TODAY,
        )
        add(
            scope,
            "VersionOrderViolation",
            _own(processor, Metric.VERSION_ORDER_VIOLATIONS),
            f"{name} refused changes as stale that are newer than what it holds: repair them.",
            urgency=Urgency.WORKDAY,
        )
        if self._maintenance is not None:
            add(
                scope,
                "CopiesDiffer",
                _own(processor, Metric.DIFFERENCES, cloudwatch.Stats.MAXIMUM, A_DAY),
                f"The scheduled verification found copies of {name} that differ from the table.",
                urgency=Urgency.WORKDAY,
                missing=UNTIL_COUNTED,
            )
        if processor.alias is not None and processor.releases_gradually:
            at_fault = [alarm for alarm in (errors, reported, breaker) if alarm is not None]
            release_gradually(scope, processor.alias, at_fault)

    def _watch_table(self, scope: Construct, table: SourceTable) -> None:
        self.alarms.add(
            scope,
            "TableThrottled",
            cloudwatch.MathExpression(
                expression="FILL(reads, 0) + FILL(writes, 0)",
                label="throttled requests",
                using_metrics={
                    "reads": _of_table(table, "ReadThrottleEvents"),
                    "writes": _of_table(table, "WriteThrottleEvents"),
                },
                period=FIVE_MINUTES,
            ),
            f"DynamoDB throttles requests to the table {table.node.id}.",
            urgency=Urgency.TODAY,
            periods=3,
        )

    def _watch_watcher(self) -> None:
        self.alarms.add(
            self,
            "DeadLettersPresent",
            _counted(
                Stack.of(self).stack_name,
                RETIRED,
                Metric.DEAD_LETTERS_WAITING,
                cloudwatch.Stats.MAXIMUM,
            ),
            "There are dead letters of a mapping or a processor that is gone: redrive them.",
            urgency=Urgency.WORKDAY,
            missing=UNTIL_COUNTED,
        )
        self.alarms.add(
            self,
            "WatcherSilent",
            self._watcher.function.metric_invocations(period=FIVE_MINUTES),
            "The function that writes the canary and counts dead letters does not run.",
            urgency=Urgency.TODAY,
            periods=3,
            comparison=LESS_THAN,
            missing=cloudwatch.TreatMissingData.MISSING,
        )
        self.alarms.add(
            self,
            "WatcherErrors",
            self._watcher.function.metric_errors(period=FIVE_MINUTES),
            "The function that writes the canary and counts dead letters fails.",
            urgency=Urgency.TODAY,
            periods=3,
        )

    def _watch_maintenance(self, maintenance: Maintenance) -> None:
        self.alarms.add(
            self,
            "MaintenanceErrors",
            maintenance.function.metric_errors(period=FIVE_MINUTES),
            "The function that verifies copies and purges tombstones fails.",
            urgency=Urgency.WORKDAY,
        )


def _iterator_age(processor: StreamProcessor) -> cloudwatch.Metric:
    return processor.function.metric(
        "IteratorAge", statistic=cloudwatch.Stats.MAXIMUM, period=FIVE_MINUTES
    )


def _own(
    processor: StreamProcessor,
    name: Metric,
    statistic: str = cloudwatch.Stats.SUM,
    period: Duration = FIVE_MINUTES,
) -> cloudwatch.Metric:
    return _counted(processor.pipeline, processor.name, name, statistic, period)


def _counted(
    pipeline: str,
    processor: str,
    name: Metric,
    statistic: str,
    period: Duration = FIVE_MINUTES,
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={"Pipeline": pipeline, "Processor": processor},
        statistic=statistic,
        period=period,
    )


def _of_mapping(processor: StreamProcessor, name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=name,
        dimensions_map={"EventSourceMappingUUID": processor.mapping.event_source_mapping_id},
        statistic=cloudwatch.Stats.SUM,
        period=FIVE_MINUTES,
    )


def _of_table(table: SourceTable, name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name=name,
        dimensions_map={"TableName": table.name},
        statistic=cloudwatch.Stats.SUM,
        period=FIVE_MINUTES,
    )


def _although(*, written: cloudwatch.Metric, seen: cloudwatch.Metric) -> cloudwatch.MathExpression:
    """Return 1 where something was written and `seen`, missing or not, counts nothing.

    A mapping that is disabled or deleted publishes no metric at all, which `FILL` reads as none.
    While nothing is written there is no data, and no alarm; the watcher writes every five minutes.
    """
    return cloudwatch.MathExpression(
        expression="IF(written > 0 AND FILL(seen, 0) < 1, 1, 0)",
        label=f"written, and no {seen.metric_name}",
        using_metrics={"written": written, "seen": seen},
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
            left=[_own(processor, name) for name in SHOWN],
        ),
        cloudwatch.GraphWidget(
            title=f"{processor.name}: invocations",
            width=6,
            left=[function.metric_invocations(), function.metric_errors()],
            right=[function.metric_duration(statistic=cloudwatch.Stats.p(99))],
        ),
        cloudwatch.GraphWidget(
            title=f"{processor.name}: dead letters",
            width=6,
            left=[
                _own(processor, Metric.DEAD_LETTERS_WAITING, statistic=cloudwatch.Stats.MAXIMUM),
                processor.dead_letters.queue.metric_approximate_number_of_messages_visible(),
            ],
        ),
    ]
