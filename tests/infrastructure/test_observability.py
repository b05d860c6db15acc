"""An alarm that watches nothing is worse than none; a lost change fires one."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.metrics import Counts, LogMetrics
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import Assembly, flat, of_type, only, processors

ALARM = "AWS::CloudWatch::Alarm"
TABLE = "AWS::DynamoDB::GlobalTable"
OF_A_MAPPING = {"DroppedEventCount", "PolledEventCount"}


def test_each_processor_has_every_alarm(sandbox: Assembly) -> None:
    for processor in processors(sandbox.pipeline):
        prefix = f"Observability{processor.capitalize()}"
        alarms = [a for id, a in of_type(sandbox.pipeline, ALARM).items() if id.startswith(prefix)]
        watched = {name for alarm in alarms for name, _ in _watched(alarm)}
        assert watched == {
            "IteratorAge",
            "PolledEventCount",
            "ConsumedWriteCapacityUnits",
            "Canaries",
            "Invocations",
            "Errors",
            "Throttles",
            "DestinationDeliveryFailures",
            "DeadLettersWaiting",
            "Differences",
            "FailedInvocations",
            "DroppedEventCount",
            "Reported",
            "BreakerOpen",
            "AccessDenied",
            "VersionOrderViolations",
        }
        for alarm in alarms:
            for name, dimensions in _watched(alarm):
                if name in OF_A_MAPPING:
                    assert dimensions[0].startswith(f"{processor.capitalize()}Mapping")


def test_alarms_read_metrics_that_are_written(
    sandbox: Assembly, capsys: pytest.CaptureFixture[str]
) -> None:
    LogMetrics("production", "audit").emit(Counts())
    written = json.loads(capsys.readouterr().out)
    (metrics,) = written["_aws"]["CloudWatchMetrics"]
    (dashboard,) = of_type(sandbox.pipeline, "AWS::CloudWatch::Dashboard").values()
    dimensions = ["Pipeline", "cdc-sandbox-pipeline", "Processor"]
    shown = {
        metric[1]
        for widget in json.loads(flat(dashboard["Properties"]["DashboardBody"]))["widgets"]
        for metric in widget["properties"].get("metrics", ())
        if metric[0] == metrics["Namespace"] and metric[2:5] == dimensions
    }
    alarmed = {
        name
        for alarm in of_type(sandbox.pipeline, ALARM).values()
        for name, dimensions in _watched(alarm)
        if "cdc-sandbox-pipeline" in dimensions
    }
    assert metrics["Dimensions"] == [["Pipeline", "Processor"]]
    assert shown == {"Received", "Applied", "Stale", "Reported", "DeadLettersWaiting"}
    by_others = {"DeadLettersWaiting", "Differences"}
    assert (shown | alarmed) - by_others <= {metric["Name"] for metric in metrics["Metrics"]}


class TestNothingIsLostUnseen:
    """Each of these was silent once: the metric went away, or was not counted."""

    def test_an_alarm_finds_a_mapping_that_reads_nothing(self, sandbox: Assembly) -> None:
        """A mapping that is disabled or gone has no metric at all: FILL makes that a zero."""
        followed = {"Aggregation": "Orders", "Audit": "Orders", "Search": "ChangeLog"}
        for processor, table in followed.items():
            alarm = only(sandbox.pipeline, ALARM, f"Observability{processor}NotPolled")
            (expression,) = _expressions(alarm)
            assert expression == "IF(written > 0 AND FILL(seen, 0) < 1, 1, 0)"
            (written,) = [d for n, d in _watched(alarm) if n == "ConsumedWriteCapacityUnits"]
            assert written[0].startswith(table)
            assert alarm["Properties"]["TreatMissingData"] == "notBreaching"

    def test_a_canary_that_is_written_and_does_not_arrive(self, sandbox: Assembly) -> None:
        for processor in processors(sandbox.pipeline):
            prefix = f"Observability{processor.capitalize()}CanaryMissing"
            alarm = only(sandbox.pipeline, ALARM, prefix)
            assert _expressions(alarm) == ["IF(written > 0 AND FILL(seen, 0) < 1, 1, 0)"]
            minutes = sum(_periods(alarm)) / len(_periods(alarm)) / 60
            assert minutes * alarm["Properties"]["EvaluationPeriods"] == 15

    def test_a_stopped_watcher_raises_an_alarm(self, production: Assembly) -> None:
        """Missing data is a state of its own: no one is woken before the first run."""
        alarm = only(production.pipeline, ALARM, "ObservabilityWatcherSilent")["Properties"]
        assert alarm["TreatMissingData"] == "missing"
        assert alarm["InsufficientDataActions"] == alarm["AlarmActions"]
        rule = only(production.pipeline, "AWS::Events::Rule", "WatcherSchedule")["Properties"]
        assert rule["ScheduleExpression"] == "rate(5 minutes)"
        assert rule["State"] == "ENABLED"

    def test_the_alarm_stays_while_dead_letters_wait(self, sandbox: Assembly) -> None:
        """A queue forgets after 14 days at most, and an alarm on it turns green."""
        for processor in processors(sandbox.pipeline):
            prefix = f"Observability{processor.capitalize()}DeadLettersPresent"
            alarm = only(sandbox.pipeline, ALARM, prefix)["Properties"]
            assert (alarm["MetricName"], alarm["Statistic"]) == ("DeadLettersWaiting", "Maximum")
            assert alarm["TreatMissingData"] == "ignore", "a watcher that stops turns it green"

    def test_a_difference_is_alarmed_for_a_day(self, production: Assembly) -> None:
        """An hour later, the scheduled verification reads another part, which may be right."""
        for processor in processors(production.pipeline):
            prefix = f"Observability{processor.capitalize()}CopiesDiffer"
            alarm = only(production.pipeline, ALARM, prefix)["Properties"]
            assert (alarm["MetricName"], alarm["Statistic"]) == ("Differences", "Maximum")
            assert alarm["Period"] == 24 * 3600
        rules = {
            name: only(production.pipeline, "AWS::Events::Rule", f"Maintenance{name}")["Properties"]
            for name in ("Verify", "Purge")
        }
        assert rules["Verify"]["ScheduleExpression"] == "rate(1 hour)"
        assert rules["Purge"]["ScheduleExpression"] == "rate(1 day)"
        for name, rule in rules.items():
            [target] = rule["Targets"]
            assert json.loads(target["Input"]) == {"task": name.lower()}

    def test_a_failing_maintenance_raises_an_alarm(self, production: Assembly) -> None:
        alarm = only(production.pipeline, ALARM, "ObservabilityMaintenanceErrors")["Properties"]
        (dimension,) = alarm["Dimensions"]
        assert flat(dimension["Value"]).startswith("MaintenanceFunction")

    def test_throttled_tables(self, sandbox: Assembly) -> None:
        tables = set(of_type(sandbox.pipeline, TABLE))
        watched = {
            dimensions[0]
            for id, alarm in of_type(sandbox.pipeline, ALARM).items()
            if "TableThrottled" in id
            for _, dimensions in _watched(alarm)
        }
        assert watched == tables

    def test_the_images_of_the_log_can_be_brought_back(
        self, production: Assembly, sandbox: Assembly
    ) -> None:
        bucket = only(production.pipeline, "AWS::S3::Bucket", "LargeImages")["Properties"]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
        emptied = only(sandbox.pipeline, "AWS::S3::Bucket", "LargeImages")["Properties"]
        assert "VersioningConfiguration" not in emptied


class TestWhoIsTold:
    def test_an_address_gets_every_alarm(self, production: Assembly) -> None:
        (topic,) = of_type(production.pipeline, "AWS::SNS::Topic")
        (subscription,) = of_type(production.pipeline, "AWS::SNS::Subscription").values()
        assert subscription["Properties"]["Endpoint"] == "on-call@example.com"
        for logical_id, alarm in of_type(production.pipeline, ALARM).items():
            actions = [flat(action) for action in alarm["Properties"]["AlarmActions"]]
            assert actions == [topic], logical_id

    def test_a_topic_of_the_team_s_own_gets_every_alarm(self, synthesise: Synthesise) -> None:
        arn = "arn:aws:sns:eu-west-1:123456789012:on-call"
        assembly = synthesise(environment="production", alarm_topic_arn=arn)
        for alarm in of_type(assembly.pipeline, ALARM).values():
            assert alarm["Properties"]["AlarmActions"] == [arn]
        kinds = {resource["Type"] for resource in assembly.pipeline["Resources"].values()}
        assert "AWS::SNS::Topic" not in kinds

    def test_alarms_have_no_action_without_a_recipient(self, synthesise: Synthesise) -> None:
        assembly = synthesise(environment="production", alarms="none")
        for alarm in of_type(assembly.pipeline, ALARM).values():
            assert "AlarmActions" not in alarm["Properties"]


RECOMMENDED = {
    "ClusterStatus.red",
    "ClusterStatus.yellow",
    "FreeStorageSpace",
    "ClusterIndexWritesBlocked",
    "Nodes",
    "AutomatedSnapshotFailure",
    "CPUUtilization",
    "JVMMemoryPressure",
    "OldGenJVMMemoryPressure",
    "ThreadpoolWriteQueue",
    "5xx",
    "OpenSearchRequests",
}
OF_MASTERS = {
    "MasterReachableFromNode",
    "MasterCPUUtilization",
    "MasterJVMMemoryPressure",
    "MasterOldGenJVMMemoryPressure",
}


class TestDomain:
    def test_what_aws_recommends_is_watched(self, sandbox: Assembly, production: Assembly) -> None:
        assert self._watched(sandbox) == RECOMMENDED
        assert self._watched(production) == RECOMMENDED | OF_MASTERS

    def test_storage_is_low_at_a_quarter_of_a_node_s_volume(self, production: Assembly) -> None:
        (alarm,) = [
            a for id, a in of_type(production.pipeline, ALARM).items() if "DomainStorageLow" in id
        ]
        assert alarm["Properties"]["Threshold"] == 100 * 1024 / 4
        assert alarm["Properties"]["ComparisonOperator"] == "LessThanOrEqualToThreshold"

    def _watched(self, assembly: Assembly) -> set[str]:
        return {
            name
            for alarm in of_type(assembly.pipeline, ALARM).values()
            for name, dimensions in _watched(alarm)
            if any("DomainName" in dimension for dimension in dimensions)
        }


def test_the_emulator_is_asked_for_no_metric_math(local: Assembly) -> None:
    for alarm in of_type(local.pipeline, ALARM).values():
        assert "Metrics" not in alarm["Properties"]


def test_the_dashboard_shows_every_alarm(production: Assembly) -> None:
    (dashboard,) = of_type(production.pipeline, "AWS::CloudWatch::Dashboard").values()
    shown = flat(dashboard["Properties"]["DashboardBody"])
    json.loads(shown)
    for logical_id in of_type(production.pipeline, ALARM):
        assert f'"{logical_id}.Arn"' in shown


def _metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    properties = alarm["Properties"]
    if "Metrics" not in properties:
        return [properties]
    stats = [each["MetricStat"] for each in properties["Metrics"] if "MetricStat" in each]
    return [{**stat["Metric"], "Period": stat["Period"]} for stat in stats]


def _watched(alarm: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Names of the metrics behind an alarm, with the values of their dimensions."""
    return [
        (metric["MetricName"], [flat(each["Value"]) for each in metric["Dimensions"]])
        for metric in _metrics(alarm)
    ]


def _periods(alarm: dict[str, Any]) -> list[int]:
    return [metric["Period"] for metric in _metrics(alarm)]


def _expressions(alarm: dict[str, Any]) -> list[str]:
    return [each["Expression"] for each in alarm["Properties"]["Metrics"] if "Expression" in each]
