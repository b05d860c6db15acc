"""The alarms that AWS recommends for a domain, for what this app uses of one.

Names, statistics, periods and thresholds are those of
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/cloudwatch-alarms.html.
Left out are those of features that are off here: warm and cold storage, audit logs, SQL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.constructs.alarms import AT_LEAST, AT_MOST, LESS_THAN, Alarms
from stacks.constructs.keys import key_of
from stacks.runbook import Urgency
from stacks.settings.search import SearchCluster

_MIB_IN_GIB = 1024
_STORAGE_LEFT = 0.25
"""Of each node's volume: what AWS asks for in place of a fixed 20 GiB."""


@dataclass(frozen=True, kw_only=True)
class DomainAlarm:
    """One recommended alarm; `minutes` is the period of the metric."""

    id: str
    metric: str
    statistic: Literal["Maximum", "Minimum", "Average", "Sum"]
    minutes: int
    description: str
    periods: int = 1
    threshold: float = 1
    comparison: cloudwatch.ComparisonOperator = AT_LEAST
    section: str | None = None
    urgency: Urgency = Urgency.TODAY


_KEY = (
    DomainAlarm(
        id="DomainKeyDisabled",
        metric="KMSKeyError",
        statistic="Maximum",
        minutes=1,
        description="The key of the search domain is disabled: the domain stops.",
        section="domain-key-unusable",
        urgency=Urgency.NOW,
    ),
    DomainAlarm(
        id="DomainKeyInaccessible",
        metric="KMSKeyInaccessible",
        statistic="Maximum",
        minutes=1,
        description="The key of the search domain is deleted, or OpenSearch may not use it.",
        section="domain-key-unusable",
        urgency=Urgency.NOW,
    ),
)


def watch_domain(
    scope: Construct, alarms: Alarms, *, domain_name: str, cluster: SearchCluster
) -> None:
    """Add the alarms for a domain of this size."""
    encrypted = _KEY if key_of(scope) else ()
    for each in (*_health(cluster), *_load(cluster), *encrypted):
        alarms.add(
            scope,
            each.id,
            _metric(domain_name, each.metric, each.statistic, each.minutes),
            each.description,
            threshold=each.threshold,
            periods=each.periods,
            comparison=each.comparison,
            section=each.section,
            urgency=each.urgency,
        )
    alarms.add(
        scope,
        "DomainServerErrors",
        cloudwatch.MathExpression(
            expression="IF(requests > 0, 100 * FILL(errors, 0) / requests, 0)",
            label="share of 5xx answers, %",
            using_metrics={
                "errors": _metric(domain_name, "5xx", "Sum", 5),
                "requests": _metric(domain_name, "OpenSearchRequests", "Sum", 5),
            },
            period=Duration.minutes(5),
        ),
        "A tenth of the search domain's answers are server errors.",
        urgency=Urgency.TODAY,
        threshold=10,
        section="domain-overloaded",
    )


def _metric(domain: str, name: str, statistic: str, minutes: int) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/ES",
        metric_name=name,
        dimensions_map={"DomainName": domain, "ClientId": Aws.ACCOUNT_ID},
        statistic=statistic,
        period=Duration.minutes(minutes),
    )


def _health(cluster: SearchCluster) -> Iterator[DomainAlarm]:
    yield DomainAlarm(
        id="DomainRed",
        metric="ClusterStatus.red",
        statistic="Maximum",
        minutes=1,
        description="A primary shard of the search domain is lost.",
        urgency=Urgency.NOW,
    )
    yield DomainAlarm(
        id="DomainYellow",
        metric="ClusterStatus.yellow",
        statistic="Maximum",
        minutes=1,
        periods=5,
        description="A replica shard of the search domain is on no node.",
        urgency=Urgency.WORKDAY,
    )
    yield DomainAlarm(
        id="DomainStorageLow",
        metric="FreeStorageSpace",
        statistic="Minimum",
        minutes=1,
        threshold=_STORAGE_LEFT * cluster.volume_gib * _MIB_IN_GIB,
        comparison=AT_MOST,
        description="A node of the search domain has only a quarter of its volume left.",
    )
    yield DomainAlarm(
        id="DomainWritesBlocked",
        metric="ClusterIndexWritesBlocked",
        statistic="Maximum",
        minutes=5,
        description="The search domain refuses writes, usually because its disks are full.",
    )
    yield DomainAlarm(
        id="DomainNodesMissing",
        metric="Nodes",
        statistic="Minimum",
        minutes=24 * 60,
        threshold=cluster.nodes + cluster.masters,
        comparison=LESS_THAN,
        description="A node of the search domain has been missing for a day.",
        urgency=Urgency.WORKDAY,
    )
    yield DomainAlarm(
        id="DomainSnapshotFailed",
        metric="AutomatedSnapshotFailure",
        statistic="Maximum",
        minutes=1,
        description="An automated snapshot of the search domain failed.",
        urgency=Urgency.WORKDAY,
    )
    if cluster.masters:
        yield DomainAlarm(
            id="DomainMasterUnreachable",
            metric="MasterReachableFromNode",
            statistic="Maximum",
            minutes=1,
            periods=5,
            comparison=LESS_THAN,
            section="domain-nodes-missing",
            description="The nodes of the search domain do not reach its master node.",
            urgency=Urgency.NOW,
        )


def _load(cluster: SearchCluster) -> Iterator[DomainAlarm]:
    for id, metric, minutes, threshold, what in (
        ("DomainCpuHigh", "CPUUtilization", 15, 80, "processors"),
        ("DomainMemoryHigh", "JVMMemoryPressure", 1, 95, "Java heaps"),
        ("DomainOldMemoryHigh", "OldGenJVMMemoryPressure", 1, 80, "old Java heaps"),
        ("DomainMasterCpuHigh", "MasterCPUUtilization", 15, 50, "master nodes' processors"),
        ("DomainMasterMemoryHigh", "MasterJVMMemoryPressure", 1, 95, "master nodes' Java heaps"),
        (
            "DomainMasterOldMemoryHigh",
            "MasterOldGenJVMMemoryPressure",
            1,
            80,
            "master nodes' old Java heaps",
        ),
    ):
        if "Master" in id and not cluster.masters:
            continue
        yield DomainAlarm(
            id=id,
            metric=metric,
            statistic="Maximum",
            minutes=minutes,
            periods=3,
            threshold=threshold,
            section="domain-overloaded",
            description=f"The search domain's {what} are used to {threshold} % or more.",
        )
    yield DomainAlarm(
        id="DomainWriteQueueLong",
        metric="ThreadpoolWriteQueue",
        statistic="Average",
        minutes=1,
        threshold=100,
        section="domain-overloaded",
        description="A hundred write requests wait on a node of the search domain.",
    )
