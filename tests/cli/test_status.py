"""`cdc status`: one screen about a pipeline."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.names import METRICS_NAMESPACE
from dynamodb_streams_cdc.operations import status as operations
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.status import StatusReader
from dynamodb_streams_cdc.testing.memory import MemoryIndex
from tests.cli.conftest import Cloud, fail, refuse
from tests.fake_pipeline import lambdas_key

LAGS = ("iterator_age_seconds", "lag_seconds", "canary_seconds")


def status(cloud: Cloud, *options: str) -> dict[str, Any]:
    return cloud.json("status", *options)


def unknown(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(each["processor"], each["fact"]): each["reason"] for each in found["unknown"]}


def uuid_of(cloud: Cloud, processor: str) -> str:
    [found] = [e["mapping"] for e in cloud.manifest["processors"] if e["name"] == processor]
    return str(found)


def measure(cloud: Cloud, processor: str, metric: str, *values: tuple[float, float]) -> None:
    """Put values of a metric of a processor, each some minutes ago."""
    own = {"Pipeline": "cdc-sandbox-pipeline", "Processor": processor}
    dimensions = {"FunctionName": f"cdc-sandbox-{processor}"} if metric == "IteratorAge" else own
    for minutes, value in values:
        cloud.client("cloudwatch").put_metric_data(
            Namespace="AWS/Lambda" if metric == "IteratorAge" else METRICS_NAMESPACE,
            MetricData=[
                {
                    "MetricName": metric,
                    "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()],
                    "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes),
                    "Value": value,
                }
            ],
        )


def test_each_processor_is_shown(cloud: Cloud) -> None:
    found = status(cloud)
    assert (found["stack"], list(found["processors"])) == (
        "cdc-sandbox-pipeline",
        ["audit", "search"],
    )
    search = found["processors"]["search"]
    age = search.pop("deployed_seconds")
    assert age > 365 * 86_400
    assert search == {
        "feed": "table",
        "mapping": "Enabled",
        "last_result": "OK",
        **dict.fromkeys(LAGS),
        "dead_letters": 0,
        "oldest_dead_letter_seconds": None,
        "notifications": 0,
        **dict.fromkeys(("differences", "verified_seconds", "tombstones", "purged_seconds")),
        "rebuild": None,
        "version": "7",
        "code_sha256": "2yZHlu2",
    }


def test_the_last_verification_and_purge_are_shown(cloud: Cloud) -> None:
    """As operators have noted them."""
    hour_ago = SystemClock().now() - 3600
    notes = {
        "verify/search": {"at": hour_ago, "differences": 3},
        "purge/search": {"at": hour_ago, "tombstones": 12, "purged": 7},
    }
    cloud.pipeline.answers["audit"] = lambda event: {"batchItemFailures": [], "notes": notes}
    found = status(cloud)["processors"]
    assert (found["search"]["differences"], found["search"]["tombstones"]) == (3, 12)
    assert 3600 <= found["search"]["verified_seconds"] <= 3700
    assert 3600 <= found["search"]["purged_seconds"] <= 3700
    assert found["audit"]["differences"] is None


def test_a_verification_of_a_part_claims_no_right_copies(cloud: Cloud) -> None:
    """A sink that did not answer has no differences that are known."""
    note = {"at": SystemClock().now(), "complete": False}
    notes = {
        "verify/audit": {**note, "differences": 0},
        "verify/search": {**note, "differences": 3},
    }
    cloud.pipeline.answers["audit"] = lambda event: {"batchItemFailures": [], "notes": notes}
    found = status(cloud)
    differences = [found["processors"][name]["differences"] for name in ("audit", "search")]
    assert differences == [None, 3]
    said = "did not compare all of it: run cdc verify."
    assert unknown(found)["audit", "differences"].endswith(said)
    shown = cloud.run("status").output
    [line] = [line for line in shown.splitlines() if line.startswith("differences")]
    assert line.split() == ["differences", "unknown", "3", "or", "more"]
    assert f"Partly known differences: The last verification of search {said}" in shown


def answering(operation: str, **answer: Any) -> Any:
    """Return a function that answers one operation so, and reads notes."""

    def answered(event: Any) -> Any:
        return answer if event["operation"] == operation else {"notes": {}}

    return answered


@pytest.mark.parametrize(
    ("second", "live", "leftovers", "shown"),
    [
        (3, 2, [], "orders-v3 begun"),
        (2, 3, [], "orders-v2 kept"),
        (None, 3, [1], "orders-v1 left over"),
        (None, 3, [], None),
    ],
)
def test_an_index_that_is_not_finished_is_shown(
    cloud: Cloud, second: int | None, live: int, leftovers: list[int], shown: str | None
) -> None:
    indexes = [{"index": "orders", "live": live, "second": second, "leftovers": leftovers}]
    cloud.pipeline.answers["search"] = answering("rebuild-index", indexes=indexes)
    assert status(cloud)["processors"]["search"]["rebuild"] == shown


@pytest.mark.parametrize(
    ("generations", "shown"),
    [
        ({"base": 0, "built": 1, "live": 0, "dropped": None}, "generation 1 begun"),
        ({"base": 0, "built": 1, "live": 1, "dropped": None}, "generation 0 kept"),
        ({"base": 1, "built": None, "live": 1, "dropped": 0}, "generation 0 left over"),
        ({"base": 1, "built": None, "live": 1, "dropped": None}, None),
    ],
)
def test_sums_that_are_not_finished_are_shown(
    cloud: Cloud, generations: dict[str, Any], shown: str | None
) -> None:
    cloud.add_processor("aggregation")
    answer = answering("rebuild-sums", generations=generations, problem="")
    cloud.pipeline.answers["aggregation"] = answer
    assert status(cloud)["processors"]["aggregation"]["rebuild"] == shown


def test_indexes_that_cannot_be_read_are_unknown(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function says so: an error of it would fire an alarm."""

    def out(*_: Any) -> Any:
        message = "OpenSearch does not answer"
        raise RetryableError(message)

    monkeypatch.setattr(MemoryIndex, "status", out)
    found = unknown(status(cloud))["search", "rebuild"]
    assert found == ("search did not read its indexes: RetryableError: OpenSearch does not answer.")


def test_open_rebuilds_are_asked_for_once_a_minute(cloud: Cloud) -> None:
    reader = StatusReader(Deployment.find("sandbox", None, None, None))
    for _ in range(2):
        reader.read()
    asked = [event["operation"] for name, event in cloud.pipeline.invocations if name == "search"]
    assert asked.count("rebuild-index") == 1


def test_sums_that_do_not_answer_are_unknown(cloud: Cloud) -> None:
    cloud.add_processor("aggregation")
    answer = answering("rebuild-sums", generations={}, problem="RetryableError: throttled")
    cloud.pipeline.answers["aggregation"] = answer
    found = unknown(status(cloud))["aggregation", "rebuild"]
    assert found == "aggregation did not read its generations: RetryableError: throttled."


def test_notes_that_cannot_be_read_are_unknown(cloud: Cloud) -> None:
    def out(event: Any) -> Any:
        message = "audit is out"
        raise InvocationFailed(message, outage=True)

    cloud.pipeline.answers["audit"] = out
    found = status(cloud)
    unknown = {each["fact"]: each["reason"] for each in found["unknown"]}
    assert "audit is out" in unknown["tombstones"]


def test_a_stopped_mapping_is_shown(cloud: Cloud) -> None:
    cloud.described[uuid_of(cloud, "audit")] |= {
        "State": "Disabled",
        "LastProcessingResult": "PROBLEM: Function call failed",
    }
    audit = status(cloud)["processors"]["audit"]
    assert (audit["mapping"], audit["last_result"]) == (
        "Disabled",
        "PROBLEM: Function call failed",
    )


def test_the_code_of_an_alias_is_that_which_is_invoked(cloud: Cloud) -> None:
    mapping = cloud.described[uuid_of(cloud, "audit")]
    live = f"{mapping['FunctionArn']}:live"
    cloud.described[live] = {**cloud.described[mapping["FunctionArn"]], "Version": "8"}
    mapping["FunctionArn"] = live
    found = status(cloud)["processors"]
    assert [found[name]["version"] for name in ("audit", "search")] == ["8", "7"]


def test_lags_of_the_latest_minutes(cloud: Cloud) -> None:
    """A sink behind the change log is late by the log's processor too."""
    cloud.manifest["processors"][1]["feed"] = "change-log"
    measure(cloud, "audit", "IteratorAge", (9, 60_000), (3, 4_000), (8, 50_000))
    measure(cloud, "search", "IteratorAge", (4, 30_000), (2, 3_000))
    measure(cloud, "audit", "Canaries", (12, 1), (7, 1), (3, 0))
    found = status(cloud)
    audit, search = found["processors"]["audit"], found["processors"]["search"]
    assert (audit["iterator_age_seconds"], search["iterator_age_seconds"]) == (4, 3)
    assert (audit["lag_seconds"], search["lag_seconds"]) == (4, 7)
    assert 6 * 60 <= audit["canary_seconds"] <= 8 * 60
    assert unknown(found) == {
        ("search", "canary_seconds"): ("CloudWatch has no metric Canaries of the last 30 minutes.")
    }


def test_a_lag_without_a_part_is_unknown(cloud: Cloud) -> None:
    cloud.manifest["processors"][1]["feed"] = "change-log"
    measure(cloud, "search", "IteratorAge", (2, 3_000), (45, 1))
    measure(cloud, "audit", "IteratorAge", (45, 1))
    found = status(cloud)
    assert found["processors"]["search"]["iterator_age_seconds"] == 3
    reason = "CloudWatch has no metric IteratorAge of the last 30 minutes."
    assert unknown(found)["search", "lag_seconds"] == reason
    assert found["processors"]["search"]["lag_seconds"] is None


def test_dead_letters_by_processor(cloud: Cloud) -> None:
    cloud.put("dead-letters/audit/x/1.json")
    cloud.put("dead-letters/search/x/1.json")
    cloud.put(f"aws/lambda/{uuid_of(cloud, 'search')}/shard/batch")
    cloud.put(lambdas_key("batch"), processor="audit")
    cloud.put("dead-letters/gone/x/1.json")
    cloud.put("archive/dead-letters/audit/x/2.json", processor="audit")
    found = status(cloud)["processors"]
    assert list(found) == ["audit", "search", "retired"]
    assert [each["dead_letters"] for each in found.values()] == [1, 2, 2]
    assert found["retired"].keys() == {"dead_letters", "oldest_dead_letter_seconds"}
    assert all(0 <= each["oldest_dead_letter_seconds"] < 600 for each in found.values())
    assert [found[name]["notifications"] for name in ("audit", "search")] == [3, 2]


def test_received_notifications_count(cloud: Cloud) -> None:
    for number in range(3):
        cloud.put(f"dead-letters/audit/x/{number}.json")
    cloud.client("sqs").receive_message(QueueUrl=cloud.queues["audit"], VisibilityTimeout=60)
    assert status(cloud)["processors"]["audit"]["notifications"] == 3


def test_too_many_dead_letters_to_count(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "COUNTED_UP_TO", 2)
    cloud.put("dead-letters/audit/x/1.json")
    assert status(cloud)["processors"]["audit"]["dead_letters"] == 1
    cloud.put("dead-letters/audit/x/2.json")
    found = status(cloud)
    assert found["processors"]["audit"]["dead_letters"] is None
    assert unknown(found)["audit", "dead_letters"] == "There are 2 dead letters or more."


@pytest.mark.parametrize(
    ("operation", "facts", "reason"),
    [
        (
            "GetEventSourceMapping",
            ["mapping", "last_result"],
            "These credentials may not do lambda:GetEventSourceMapping on event source mapping ",
        ),
        (
            "GetMetricData",
            LAGS,
            "These credentials may not do cloudwatch:GetMetricData on metrics: no.",
        ),
        (
            "ListObjectsV2",
            ["dead_letters", "oldest_dead_letter_seconds"],
            "These credentials may not do s3:ListBucket on s3://",
        ),
        (
            "GetQueueAttributes",
            ["notifications"],
            "These credentials may not do sqs:GetQueueAttributes on ",
        ),
        (
            "GetFunctionConfiguration",
            ["version", "code_sha256", "deployed_seconds"],
            "These credentials may not do lambda:GetFunctionConfiguration on function ",
        ),
    ],
)
def test_what_a_service_refuses_is_unknown(
    cloud: Cloud, operation: str, facts: Sequence[str], reason: str
) -> None:
    for name in ("audit", "search"):
        measure(cloud, name, "IteratorAge", (2, 3_000))
        measure(cloud, name, "Canaries", (2, 1))
    cloud.described |= {
        each["function"]: cloud.described[
            f"arn:aws:lambda:us-east-1:000000000000:function:{each['function']}"
        ]
        for each in cloud.manifest["processors"]
    }
    assert unknown(status(cloud)) == {}
    cloud.fails = refuse(operation)
    found = status(cloud)
    assert unknown(found).keys() == {(name, fact) for name in ("audit", "search") for fact in facts}
    assert all(each.startswith(reason) for each in unknown(found).values())
    cloud.fails = refuse(operation, "InvalidAction")
    assert f"AWS refused {operation}: InvalidAction: no." in unknown(status(cloud)).values()
    cloud.fails = fail(EndpointConnectionError(endpoint_url="http://user:secret@x"), operation)
    found = status(cloud)
    assert unknown(found).keys() == {(name, fact) for name in ("audit", "search") for fact in facts}
    [reason] = {*unknown(found).values()}
    assert reason == 'Could not connect to the endpoint URL: "http://***@x".'


def test_a_manifest_without_mappings(cloud: Cloud) -> None:
    for each in cloud.manifest["processors"]:
        cloud.described[each["function"]] = {"Version": "$LATEST", "CodeSha256": "x"}
        cloud.described[each["function"]]["LastModified"] = "2024-05-01T11:00:00.000+0000"
        del each["mapping"]
    found = status(cloud)
    assert found["processors"]["audit"]["version"] == "$LATEST"
    reason = "The manifest names no mapping: deploy the pipeline again."
    assert unknown(found)["audit", "mapping"] == reason


def test_credentials_that_expire_end_it(cloud: Cloud) -> None:
    cloud.fails = refuse("GetMetricData", "ExpiredToken")
    result = cloud.run("status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "The AWS credentials have expired: sign in again.\n"


def test_the_screen(cloud: Cloud) -> None:
    cloud.put("dead-letters/gone/x/1.json")
    measure(cloud, "audit", "IteratorAge", (2, 61_000))
    result = cloud.run("status")
    assert result.exit_code == 0
    head, names, *rows = result.stdout.splitlines()
    assert head.startswith("cdc-sandbox-pipeline at ")
    assert names.split() == ["audit", "search", "retired"]
    shown = {line[:20].strip(): line[20:].split() for line in rows}
    assert shown["reads"] == ["table", "table", "-"]
    assert shown["iterator age"] == ["1m", "unknown", "-"]
    assert shown["dead letters"] == ["0", "0", "1"]
    assert shown["oldest dead letter"][:2] == ["-", "-"]
    assert shown["deployed"][1::2] == ["ago", "ago"]
    assert rows[-2:] == [
        "Unknown iterator age, behind the table by: CloudWatch has no metric IteratorAge of the "
        "last 30 minutes.",
        "Unknown canary applied: CloudWatch has no metric Canaries of the last 30 minutes.",
    ]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between refreshes; Ctrl-C in the third."""
    found: list[float] = []

    def sleep(clock: SystemClock, seconds: float) -> None:
        found.append(seconds)
        if len(found) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    return found


def test_refreshed_until_ctrl_c(cloud: Cloud, pauses: list[float]) -> None:
    result = cloud.run("status", "--watch", "10")
    assert result.exit_code == 0
    assert result.stdout.count("cdc-sandbox-pipeline at ") == 3
    assert pauses == [10.0] * 3
    assert cloud.calls.count("DescribeStacks") == 1


def test_a_refresh_is_a_line_of_json(cloud: Cloud, pauses: list[float]) -> None:
    result = cloud.run("status", "--watch", "5", "--json")
    assert result.exit_code == 0
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["stack"] for each in found] == ["cdc-sandbox-pipeline"] * 3


def test_metrics_are_asked_for_once_a_minute(
    cloud: Cloud, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudWatch counts a minute at a time, and each metric costs."""
    start = datetime.now(UTC).timestamp()
    monkeypatch.setattr(SystemClock, "now", lambda clock: start + sum(pauses))
    cloud.run("status", "--watch", "29")
    assert cloud.calls.count("GetMetricData") == 1
    pauses.clear()
    cloud.run("status", "--watch", "30")
    assert cloud.calls.count("GetMetricData") == 1 + 2


@pytest.mark.parametrize("seconds", ["4.9", "0", "-1", "nan", "inf", "often"])
def test_a_wrong_period(cloud: Cloud, seconds: str) -> None:
    result = cloud.run("status", "--watch", seconds)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"--watch: expected seconds, 5 or more, got '{seconds}'.\n"
    assert cloud.calls == []
