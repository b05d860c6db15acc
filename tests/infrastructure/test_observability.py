"""An alarm that watches nothing is worse than none."""

import json

import pytest

from dynamodb_streams_cdc import Counts
from dynamodb_streams_cdc.metrics import LogMetrics
from tests.infrastructure.templates import Assembly, flat, of_type, processors

ALARM = "AWS::CloudWatch::Alarm"


def test_each_processor_is_watched_in_every_way_that_it_can_fall_behind(sandbox: Assembly) -> None:
    names = {
        processor: [
            logical_id for logical_id, f in sandbox.pipeline["Resources"].items() if f is function
        ]
        for processor, function in processors(sandbox.pipeline).items()
    }
    for processor, (function,) in names.items():
        watched = {
            alarm["Properties"]["MetricName"]
            for alarm in of_type(sandbox.observability, ALARM).values()
            for dimension in alarm["Properties"]["Dimensions"]
            if function in flat(dimension["Value"])
            or f"{processor.capitalize()}Letters" in flat(dimension["Value"])
            or flat(dimension["Value"]) == processor
        }
        assert watched == {
            "IteratorAge",
            "Errors",
            "Throttles",
            "DestinationDeliveryFailures",
            "ApproximateNumberOfMessagesVisible",
            "FailedInvocations",
            "Reported",
            "StaleButNewer",
        }


def test_the_processors_own_metrics_are_the_ones_that_they_write(
    sandbox: Assembly, capsys: pytest.CaptureFixture[str]
) -> None:
    LogMetrics("production", "audit").emit(Counts())
    written = json.loads(capsys.readouterr().out)
    (metrics,) = written["_aws"]["CloudWatchMetrics"]
    (dashboard,) = of_type(sandbox.observability, "AWS::CloudWatch::Dashboard").values()
    dimensions = ["Environment", "sandbox", "Processor"]
    shown = {
        metric[1]
        for widget in json.loads(flat(dashboard["Properties"]["DashboardBody"]))["widgets"]
        for metric in widget["properties"].get("metrics", ())
        if metric[0] == metrics["Namespace"] and metric[2:5] == dimensions
    }
    assert metrics["Dimensions"] == [["Environment", "Processor"]]
    assert shown == {"Received", "Applied", "Stale", "Reported"}
    assert shown | {"StaleButNewer"} <= {metric["Name"] for metric in metrics["Metrics"]}


def test_dropped_changes_are_watched_beside_the_mapping(sandbox: Assembly) -> None:
    alarms = of_type(sandbox.pipeline, ALARM).values()
    watched = [flat(alarm["Properties"]["Dimensions"][0]["Value"]) for alarm in alarms]
    assert sorted(watched) == sorted(of_type(sandbox.pipeline, "AWS::Lambda::EventSourceMapping"))


@pytest.mark.parametrize("environment", ["sandbox", "production", "local"])
def test_no_export_keeps_a_stream_from_being_replaced(
    environment: str, request: pytest.FixtureRequest
) -> None:
    """CloudFormation refuses to change what another stack imports."""
    assembly: Assembly = request.getfixturevalue(environment)
    exported = {
        flat(output["Value"])
        for output in assembly.pipeline["Outputs"].values()
        if "Export" in output
    }
    assert exported
    assert not [value for value in exported if value.endswith("StreamArn") or "Mapping" in value]


def test_every_alarm_is_sent_to_whoever_is_on_call(production: Assembly) -> None:
    (topic,) = of_type(production.observability, "AWS::SNS::Topic")
    (subscription,) = of_type(production.observability, "AWS::SNS::Subscription").values()
    assert subscription["Properties"]["Endpoint"] == "on-call@example.com"
    composites = of_type(production.observability, "AWS::CloudWatch::CompositeAlarm")
    sent = {**of_type(production.observability, ALARM), **composites}
    for logical_id, alarm in sent.items():
        assert [flat(action) for action in alarm["Properties"]["AlarmActions"]] == [topic], (
            logical_id
        )
    # The alarms beside the mappings send nothing themselves: each has a composite that does.
    assert len(composites) == len(of_type(production.pipeline, ALARM))


def test_the_dashboard_shows_every_alarm(production: Assembly) -> None:
    (dashboard,) = of_type(production.observability, "AWS::CloudWatch::Dashboard").values()
    shown = flat(dashboard["Properties"]["DashboardBody"])
    json.loads(shown)
    for kind in (ALARM, "AWS::CloudWatch::CompositeAlarm"):
        for logical_id in of_type(production.observability, kind):
            assert f'"{logical_id}.Arn"' in shown
