"""Each handler does its one job, wired as deployed, against moto."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from opensearchpy import Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as SearchConnectionError
from urllib3 import HTTPResponse, HTTPSConnectionPool

from dynamodb_streams_cdc import LambdaContext, deserialize_item, serialize_item
from dynamodb_streams_cdc.aws.dynamodb.attempts import DynamoDbAttempts
from dynamodb_streams_cdc.aws.opensearch_documents import SCRIPT
from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.canary import canary_item
from dynamodb_streams_cdc.guards.attempts import KEEP_SECONDS
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from lambdas import runtime
from lambdas.aggregation import handler as aggregation
from lambdas.audit import handler as audit
from lambdas.example_domain.order import contributions, document
from lambdas.search import handler as search_handler
from lambdas.settings import SettingsError
from tests.contracts.attempts import AttemptsContract
from tests.factories import NOON, FakeContext, ManualClock, change, order, record

Aws = Callable[[str], Any]


def event(*records: Any) -> Any:
    return {"Records": [*records]}


PLACED, SHIPPED = order(), order(status="shipped")
BATCH = event(
    record(1, None, PLACED),
    record(2, PLACED, SHIPPED),
    record(3, None, order("00005-0001", total="10.00")),
)
INVALID: Any = {
    "Records": [record(1, None, order(status="lost")), record(2, None, order("00005-1"))]
}
DONE: Any = {"batchItemFailures": []}


def brief() -> LambdaContext:
    """Return a context with so little time left that an outage is not waited out."""
    return FakeContext(ManualClock(), seconds=0.4)


def rows(aws: Aws, table: str) -> list[dict[str, Any]]:
    items = aws("dynamodb").scan(TableName=table, ConsistentRead=True)["Items"]
    return [deserialize_item(item) for item in items]


def dead_letters(aws: Aws) -> list[Any]:
    listed = aws("s3").list_objects_v2(Bucket="dead-letters").get("Contents", [])
    bodies = [aws("s3").get_object(Bucket="dead-letters", Key=entry["Key"]) for entry in listed]
    return [json.loads(body["Body"].read()) for body in bodies]


def total(aws: Aws, aggregate: str, measure: str) -> Any:
    found = [row for row in rows(aws, "aggregates") if row["aggregate"] == aggregate]
    return sum(row.get(measure, 0) for row in found)


def test_aggregation_sums_once_however_often_it_is_delivered(
    aws: Aws, context: LambdaContext
) -> None:
    for _ in range(2):
        assert aggregation.handler(BATCH, context) == DONE
    assert total(aws, "month#1997-01", "revenue") * 100 == 3933
    assert total(aws, "status#shipped", "orders") == 1
    assert {row["id"] for row in rows(aws, "idempotency")} == {
        "ledger/orders/S=00004/S=00004-0001",
        "ledger/orders/S=00005/S=00005-0001",
    }


def test_audit_keeps_each_change_once(aws: Aws, context: LambdaContext) -> None:
    for _ in range(2):
        assert audit.handler(BATCH, context) == DONE
    entries = sorted(rows(aws, "change-log"), key=lambda row: row["version"])
    assert [entry["kind"] for entry in entries] == ["INSERT", "MODIFY", "INSERT"]
    assert [entry["actor"] for entry in entries] == ["shop"] * 3
    assert (entries[1]["before"], entries[1]["after"]) == (PLACED, SHIPPED)
    assert entries[1]["changed"] == ["status"]


def test_an_invalid_order_is_a_dead_letter_with_payload(aws: Aws, context: LambdaContext) -> None:
    for _ in range(2):
        assert aggregation.handler(INVALID, context) == DONE
    [dead_letter] = dead_letters(aws)
    assert json.loads(dead_letter["payload"])["Records"] == [INVALID["Records"][0]]
    assert dead_letter["dead_letter"]["item"] == "orders/S=00004/S=00004-0001"
    assert dead_letter["dead_letter"]["reason"] == "ValidationError"
    assert "status" in dead_letter["dead_letter"]["error"]
    assert dead_letter["DDBStreamBatchInfo"]["startSequenceNumber"] == "100000000003126276362"
    assert total(aws, "status#placed", "orders") == 1


def test_an_invalid_order_is_audited_all_the_same(aws: Aws, context: LambdaContext) -> None:
    assert audit.handler(INVALID, context) == DONE
    assert len(rows(aws, "change-log")) == 2
    assert dead_letters(aws) == []


def test_a_bucket_that_is_gone_leaves_the_record_reported(aws: Aws, context: LambdaContext) -> None:
    aws("s3").delete_bucket(Bucket="dead-letters")
    [failure] = aggregation.handler(INVALID, context)["batchItemFailures"]
    assert failure["itemIdentifier"] == "100000000003126276362"
    assert total(aws, "status#placed", "orders") == 1


def test_a_missing_table_is_an_outage_and_nobodys_dead_letter(aws: Aws) -> None:
    aws("dynamodb").delete_table(TableName="change-log")
    [failure] = audit.handler(BATCH, brief())["batchItemFailures"]
    assert failure["itemIdentifier"] == "100000000003126276362"
    assert dead_letters(aws) == []


def test_one_line_of_metrics_per_invocation(
    aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    aggregation.handler(BATCH, context)
    line = json.loads(capsys.readouterr().out)
    assert (line["Processor"], line["Received"], line["Applied"], line["Stale"]) == (
        "orders",
        3,
        2,
        1,
    )
    metrics = {entry["Name"] for entry in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert metrics == {
        "Received",
        "Applied",
        "Stale",
        "VersionOrderViolations",
        "DeadLettered",
        "Reported",
        "Repaired",
        "Canaries",
        "BreakerOpen",
        "AccessDenied",
        "Skipped",
        "UnknownItems",
    }


class Cluster:
    """Answers the requests of one client of OpenSearch in this process."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Mapping[str, Any], str]] = []
        self.lookups: list[str] = []
        self.down = False

    def perform_request(
        self, connection: Any, method: str, url: str, *args: Any, **kwargs: Any
    ) -> Any:
        if self.down:
            message = "N/A"
            raise SearchConnectionError(message, "refused", OSError())
        if url.endswith("/_alias"):
            self.lookups.append(url)
            return 404, {}, json.dumps({"error": {"type": MISSING}, "status": 404})
        params, body = (*args, None, None)[:2]
        text = body.decode() if isinstance(body, bytes) else str(body)
        self.requests.append((method, url, params or {}, text))
        items = [
            {action: {"status": 200, "result": "updated"}}
            for action in re.findall(r"^\{\"(create|update)\"", text, re.MULTILINE)
        ]
        return 200, {}, json.dumps({"errors": False, "items": items})


@pytest.fixture
def cluster(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()
    monkeypatch.setattr(
        Urllib3HttpConnection,
        "perform_request",
        lambda connection, *args, **kwargs: found.perform_request(connection, *args, **kwargs),
    )
    return found


def test_search_sends_one_bulk_request_with_an_alias_required(
    cluster: Cluster, context: LambdaContext
) -> None:
    assert search_handler.handler(BATCH, context) == DONE
    [(method, url, params, body)] = cluster.requests
    assert (method, url) == ("POST", "/orders-write/_bulk")
    assert cluster.lookups == ["/orders-second/_alias"]
    assert params["require_alias"] in ("true", b"true")
    create, shipped, other, placed = [json.loads(line) for line in body.splitlines()]
    assert create["create"]["_id"] == "orders/S=00004/S=00004-0001"
    assert other["create"]["_id"] == "orders/S=00005/S=00005-0001"
    assert (shipped["status"], placed["status"]) == ("shipped", "placed")


def test_search_compares_versions_by_one_script(cluster: Cluster, context: LambdaContext) -> None:
    changes = [record(2, PLACED, SHIPPED), record(4, order("00005-0001"), None)]
    assert search_handler.handler(event(*changes), context) == DONE
    [(*_, body)] = cluster.requests
    update, shipped, removal, tombstone = [json.loads(line) for line in body.splitlines()]
    assert update["update"]["_id"] == "orders/S=00004/S=00004-0001"
    assert removal["update"]["_id"] == "orders/S=00005/S=00005-0001"
    assert {each["script"]["source"] for each in (shipped, tombstone)} == {SCRIPT}
    assert shipped["script"]["params"]["source"]["status"] == "shipped"
    assert tombstone["script"]["params"]["source"]["cdc"]["deleted"] is True


def test_search_reads_behind_the_change_log(
    cluster: Cluster, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED", "change-log")
    wrapped = record(9, None, PLACED)
    entry = entry_of(change(7, None, PLACED))
    wrapped["dynamodb"] = {**wrapped["dynamodb"], "NewImage": entry}
    assert search_handler.handler(event(wrapped), context) == DONE
    assert change(7, None, PLACED).version in cluster.requests[0][3]


def test_a_search_outage_writes_no_dead_letter(aws: Aws, cluster: Cluster) -> None:
    cluster.down = True
    [failure] = search_handler.handler(BATCH, brief())["batchItemFailures"]
    assert failure["itemIdentifier"] == "100000000003126276362"
    assert dead_letters(aws) == []


@pytest.mark.parametrize(
    ("module", "variable", "value"),
    [
        (aggregation, "AGGREGATE_SHARDS", "none"),
        (audit, "CHANGE_LOG_TABLE", " "),
        (search_handler, "SEARCH_ENDPOINT", "search.example.com"),
        (search_handler, "SEARCH_AUTH", "basic"),
        (audit, "FEED", "kinesis"),
        (audit, "EPOCH", "1"),
        (audit, "DEAD_LETTER_PREFIX", "dead_letters"),
    ],
)
def test_a_wrong_setting_stops_the_function_at_its_cold_start(
    aws: Aws,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"environment of the function: {variable}: "):
        module.handler(BATCH, context)


def test_all_missing_settings_are_named(
    aws: Aws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_TABLE")
    monkeypatch.delenv("CHANGE_LOG_TABLE")
    with pytest.raises(SettingsError, match=r"SOURCE_TABLE: Field required.*CHANGE_LOG_TABLE"):
        audit.handler(BATCH, context)


def test_requests_to_a_managed_domain_are_signed(
    aws: Aws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_AUTH", "iam")
    monkeypatch.setenv("SEARCH_ENDPOINT", "https://search-x-1.eu-west-1.es.amazonaws.com")
    monkeypatch.setenv("SEARCH_REGION", "eu-west-1")
    sent: list[Mapping[str, str]] = []

    def urlopen(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> HTTPResponse:
        sent.append(kwargs["headers"])
        items = [{"update": {"status": 200, "result": "updated"}}] * 2
        missing = {"error": {"type": MISSING}}
        answer = missing if url.endswith("_alias") else {"errors": False, "items": items}
        body = json.dumps(answer).encode()
        return HTTPResponse(body, headers={"content-type": "application/json"}, status=200)

    monkeypatch.setattr(HTTPSConnectionPool, "urlopen", urlopen)
    assert search_handler.handler(BATCH, context) == DONE
    authorization = sent[0]["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=")
    assert "/eu-west-1/es/aws4_request" in authorization


def test_nothing_is_signed_for_without_a_region(
    aws: Aws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_AUTH", "iam")
    with pytest.raises(SettingsError, match="SEARCH_REGION must name"):
        search_handler.handler(BATCH, context)


@pytest.mark.parametrize("moment", ["852076800", "1997-01-01T00:00:00", "yesterday", 852076800])
def test_an_order_with_an_ambiguous_moment_is_invalid(
    aws: Aws, context: LambdaContext, moment: Any
) -> None:
    batch = event(record(1, None, {**PLACED, "placed_at": moment}))
    assert aggregation.handler(batch, context) == DONE
    [dead_letter] = dead_letters(aws)
    assert dead_letter["dead_letter"]["reason"] == "ValidationError"


def test_sums_and_documents_read_a_moment_alike() -> None:
    late = {**PLACED, "placed_at": "1997-01-31T23:30:00-01:00"}
    assert "month#1997-02" in contributions(late)
    assert document(late)["placed_at"] == "1997-02-01T00:30:00Z"


def test_reasons_do_not_show_what_people_ordered(aws: Aws, context: LambdaContext) -> None:
    secret = {**PLACED, "lines": [{"title": "CD", "quantity": 1, "amount": "4111-1111"}]}
    aggregation.handler(event(record(1, None, secret)), context)
    [dead_letter] = dead_letters(aws)
    assert "4111" not in dead_letter["dead_letter"]["error"]
    assert "4111" in dead_letter["payload"]


def test_a_large_image_goes_round_the_log(aws: Aws, context: LambdaContext) -> None:
    """Audit keeps it in the bucket, and search, behind the log, finds it there."""
    large = order(notes="x" * 399_000)
    batch = event(record(1, None, large), record(2, large, order(status="shipped")))
    for _ in range(2):
        assert audit.handler(batch, context) == DONE
    first, second = sorted(rows(aws, "change-log"), key=lambda row: row["version"])
    assert "after" not in first
    assert "before" not in second
    stored = aws("s3").get_object(Bucket="large-images", Key=second["overflow"])["Body"].read()
    assert json.loads(stored)["before"]["notes"] == {"S": large["notes"]}
    assert S3ImageStore(lambda: aws("s3"), "large-images").read(first["overflow"])


def test_a_dead_letter_is_replayed_and_its_item_repaired(aws: Aws, context: LambdaContext) -> None:
    replay: Any = {"operation": "replay", "Records": INVALID["Records"][:1]}
    item = {**order(status="lost"), "total": Decimal("29.33")}
    aws("dynamodb").put_item(TableName="orders-1A2B", Item=serialize_item(item))
    [failure] = aggregation.handler(replay, context)["failures"]  # type: ignore[typeddict-item]
    assert failure["reason"] == "ValidationError"
    assert dead_letters(aws) == []
    aws("dynamodb").put_item(TableName="orders-1A2B", Item=serialize_item(SHIPPED))
    answer: Any = aggregation.handler(replay, context)
    assert (answer["failures"], answer["repaired"]) == ([], 1)
    assert total(aws, "status#shipped", "orders") == 1
    replay["operation"] = "inspect"
    look: Any = aggregation.handler(replay, context)
    assert look["held"][0]["state"]["contribution"]["status#shipped"] == {"orders": "1"}


def canaries() -> Any:
    """The canary as the watcher writes it, twice."""
    keys = {"customer_id": "S", "order_id": "S"}
    first, second = (deserialize_item(canary_item(keys, at)) for at in (1_000.0, 1_300.0))
    return event(record(1, None, first), record(2, first, second))


class TestCanary:
    """No order, and yet in every copy: see dynamodb_streams_cdc.canary."""

    def test_sums_know_it_and_count_nothing(
        self, aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert aggregation.handler(canaries(), context) == DONE
        [row] = rows(aws, "idempotency")
        assert row["id"] == "ledger/orders/S=cdc-canary/S=cdc-canary"
        assert rows(aws, "aggregates") == []
        self.arrived(aws, capsys)

    def test_the_log_has_its_history(
        self, aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert audit.handler(canaries(), context) == DONE
        assert len(rows(aws, "change-log")) == 2
        self.arrived(aws, capsys)

    def test_the_index_holds_what_no_search_finds(
        self,
        aws: Aws,
        cluster: Cluster,
        context: LambdaContext,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert search_handler.handler(canaries(), context) == DONE
        [(*_, body)] = cluster.requests
        [action, written] = [json.loads(line) for line in body.splitlines()]
        [meta] = action.values()
        assert meta["_id"] == "orders/S=cdc-canary/S=cdc-canary"
        assert '"deleted": true' in json.dumps(written)
        self.arrived(aws, capsys)

    def arrived(self, aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
        assert json.loads(capsys.readouterr().out)["Canaries"] == 2
        assert dead_letters(aws) == []

    def test_one_that_is_not_taken_has_not_arrived(
        self, aws: Aws, capsys: pytest.CaptureFixture[str]
    ) -> None:
        aws("dynamodb").delete_table(TableName="change-log")
        [_] = audit.handler(canaries(), brief())["batchItemFailures"]
        assert json.loads(capsys.readouterr().out)["Canaries"] == 0


class TestAttempts(AttemptsContract):
    @pytest.fixture
    def attempts(self, aws: Aws) -> DynamoDbAttempts:
        return DynamoDbAttempts(runtime.dynamodb, "idempotency")

    def test_a_count_expires(self, attempts: DynamoDbAttempts, aws: Aws) -> None:
        attempts.begin("search/1", NOON)
        attempts.end("search/2", NOON)
        items = aws("dynamodb").scan(TableName="idempotency")["Items"]
        assert {item["id"]["S"] for item in items} == {"attempt/search/1", "attempt/search/2"}
        assert {item["expires_at"]["N"] for item in items} == {str(NOON + KEEP_SECONDS)}
