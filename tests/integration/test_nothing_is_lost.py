"""The deployed pipeline with large items, an outage and expired batches loses no change.

With the real templates, the real functions and a real OpenSearch.
"""

from __future__ import annotations

import io
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import urllib3
from rich.console import Console

from dynamodb_streams_cdc import serialize_item
from dynamodb_streams_cdc.esm.poller.streams import lambda_record
from lambdas import example_domain
from lambdas.domain import TABLES
from local.console import DemoConsole
from local.deployed.command_line import CommandLine
from local.deployed.deployment import session
from local.deployed.pipeline import running_pipeline
from local.verify import compare, settle
from tests.example_domain.expected import aggregates_of, sum_of
from tests.factories import order
from tests.integration.processes import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from local.deployed.pipeline import Pipeline
    from local.deployed.resources import Resources
    from local.verify import Comparison

pytestmark = pytest.mark.skipif(
    TABLES != example_domain.TABLES,
    reason="lambdas/domain declares another domain than the example",
)
CANARY = "orders/S=cdc-canary/S=cdc-canary"
RUNBOOK = Path(__file__).parents[2] / "docs/how-to/runbook.md"
OUTAGE_SECONDS = 20.0
LARGEST_ITEM = 400 * 1024


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with running_pipeline(DemoConsole(Console(file=io.StringIO()))) as pipeline:
        yield pipeline


@pytest.fixture
def s3(pipeline: Pipeline) -> Any:
    return session(pipeline.aws.url).client("s3")


def resources(pipeline: Pipeline) -> Resources:
    return pipeline.tables[0].resources


def put(pipeline: Pipeline, item: dict[str, Any]) -> None:
    pipeline.client.put_item(TableName=resources(pipeline).source, Item=serialize_item(item))


def keys(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def settled(pipeline: Pipeline) -> Comparison:
    report = settle(lambda: compare(pipeline.tables), unchanged_for=20.0)
    assert report.items
    return report


def test_an_item_of_400_kb_changed_ten_times_is_in_every_copy(pipeline: Pipeline, s3: Any) -> None:
    statuses = ["placed", "shipped", "refunded"]
    for number in range(11):
        item = order("90000-0001", status=statuses[number % 3], notes="")
        room = LARGEST_ITEM - size(item)
        put(pipeline, {**item, "notes": chr(ord("a") + number) * room})
    with pytest.raises(pipeline.client.exceptions.ClientError, match="size"):
        put(pipeline, {**item, "notes": "z" * (room + 1)})
    report = settled(pipeline)
    assert report.equal, [str(each) for sink in report.sinks for each in sink.differences]
    name = "orders/S=90000/S=90000-0001"
    assert pipeline.tables[0].history_length(name) == 11
    assert pipeline.tables[0].find("orders", [name])[name]["status"] == statuses[10 % 3]
    assert len(keys(s3, resources(pipeline).large_images or "")) == 11
    assert keys(s3, resources(pipeline).dead_letters) == []


def size(item: dict[str, Any]) -> int:
    """Return the size of an item as DynamoDB counts it, for what orders are made of here
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
    """

    def of(value: Any) -> int:
        match value:
            case str():
                return len(value.encode())
            case int() | Decimal():
                digits = str(value).replace(".", "").strip("0")
                return (len(digits) + 1) // 2 + 1
            case list():
                return 3 + sum(1 + of(member) for member in value)
            case dict():
                return 3 + sum(1 + len(name) + of(member) for name, member in value.items())
        raise TypeError

    return sum(len(name) + of(value) for name, value in item.items())


def test_an_outage_of_search_delays_search_alone(pipeline: Pipeline, s3: Any) -> None:
    assert pipeline.node is not None
    settled(pipeline)
    pipeline.node.stop()
    try:
        began = time.monotonic()
        number = 0
        while time.monotonic() - began < OUTAGE_SECONDS:
            number += 1
            put(pipeline, order(f"91000-{number:04}", total=f"{number}.00"))
            time.sleep(0.2)
        eventually(
            lambda: (
                sums(pipeline) == aggregates_of(image for _, image in pipeline.tables[0].items())
            )
        )
        eventually(lambda: logged(pipeline, "91000") == number)
    finally:
        pipeline.node.start()
    report = settled(pipeline)
    assert report.equal, [str(each) for sink in report.sinks for each in sink.differences]
    assert keys(s3, resources(pipeline).dead_letters) == []


def items(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    return (image for _, image in pipeline.tables[0].items())


def sums(pipeline: Pipeline) -> dict[str, dict[str, Decimal]]:
    rows = list(pipeline.tables[0].aggregates())
    apart = ("aggregate", "shard", "revision")
    return sum_of(
        (row["aggregate"], {name: row[name] for name in row if name not in apart}) for row in rows
    )


def logged(pipeline: Pipeline, customer: str) -> int:
    return sum(customer in each["item"] for each in pipeline.tables[0].entries())


def test_a_batch_that_lambda_gave_up_is_redriven(pipeline: Pipeline, s3: Any) -> None:
    """The documents of its orders were never written, and newer changes have come since."""
    for number in range(5):
        put(pipeline, order(f"92000-{number}"))
    settled(pipeline)
    dead_letter = given_up(pipeline, "92000")
    put(pipeline, order("92000-0", status="shipped"))
    settled(pipeline)
    forget(pipeline, [f"orders/S=92000/S=92000-{number}" for number in range(1, 5)])
    missing = compare(pipeline.tables)
    assert sum(each.count("missing") for each in missing.sinks if each.sink == "search") == 4
    bucket = resources(pipeline).dead_letters
    key = "aws/lambda/00000000-0000-4000-8000-000000000000/shardId-1/batch"
    given_up_in = resources(pipeline).on_failure
    s3.put_object(Bucket=given_up_in, Key=key, Body=json.dumps(dead_letter))

    done = cdc(pipeline, "redrive", "--yes", "--json")

    assert done.returncode == 0, done.stderr
    report = settled(pipeline)
    assert report.equal, [str(each) for sink in report.sinks for each in sink.differences]
    assert keys(s3, bucket) == [f"archive/{key}"]
    assert keys(s3, given_up_in) == []
    again = cdc(pipeline, "redrive", "--yes", "--json")
    assert again.returncode == 0, again.stderr


def given_up(pipeline: Pipeline, customer: str) -> dict[str, Any]:
    """Return Lambda's dead letter for a batch of the search mapping that is too old."""
    streams = session(pipeline.aws.url).client("dynamodbstreams")
    log = pipeline.client.describe_table(TableName=resources(pipeline).change_log or "")
    arn = log["Table"]["LatestStreamArn"]
    records: list[Any] = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = streams.get_records(ShardIterator=iterator)
            records += [lambda_record(each, arn) for each in page["Records"]]
            iterator = page.get("NextShardIterator") if page["Records"] else None
    mine = [each for each in records if customer in each["dynamodb"]["Keys"]["item"]["S"]]
    assert len(mine) == 5
    function = resources(pipeline).functions["search"]
    return {
        "requestContext": {
            "requestId": "00000000-0000-4000-8000-000000000001",
            "functionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{function}",
            "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 9,
        },
        "version": "1.0",
        "timestamp": "2024-05-01T12:00:00.000Z",
        "DDBStreamBatchInfo": {"streamArn": arn, "batchSize": len(mine)},
        "payload": json.dumps({"Records": mine}),
    }


def forget(pipeline: Pipeline, items: list[str]) -> None:
    """Delete documents as though they had never been written."""
    index = f"{resources(pipeline).search_endpoint}/{resources(pipeline).indexes['orders']}-write"
    for item in items:
        url = f"{index}/_doc/{quote(item, safe='')}?refresh=true"
        assert urllib3.request("DELETE", url).status == 200


def cdc(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = pipeline.aws.url
    line = CommandLine.of_emulator(url, CDC_ENVIRONMENT="local", AWS_ENDPOINT_URL=url)
    return line.run(["cdc", *arguments])


def write_the_canary(pipeline: Pipeline) -> None:
    client = session(pipeline.aws.url).client("lambda")
    functions = client.list_functions(MaxItems=50)["Functions"]
    [watcher] = [f["FunctionName"] for f in functions if "Watcher" in f["FunctionName"]]
    before = pipeline.tables[0].history_length(CANARY)
    answer: Any = client.invoke(FunctionName=watcher, Payload=b"{}")
    assert "FunctionError" not in answer, answer["Payload"].read()
    eventually(lambda: pipeline.tables[0].history_length(CANARY) > before)


def test_every_command_of_the_runbook_works(
    pipeline: Pipeline, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of `cdc`, in the runbook's order, on a pipeline that has one dead letter."""
    monkeypatch.setenv("CDC_JOBS", str(tmp_path))
    report = tmp_path / "differences.json"
    put(pipeline, order("00004-0001"))
    put(pipeline, order("93000-1", status="lost"))
    bucket = resources(pipeline).dead_letters
    eventually(lambda: len([k for k in keys(s3, bucket) if k.startswith("dead-letters/")]) == 2)
    listed = json.loads(cdc(pipeline, "dead-letters", "list", "--json", "-p", "search").stdout)
    [dead_letter] = [each["id"] for each in listed["dead_letters"]]
    put(pipeline, order("93000-1"))
    write_the_canary(pipeline)
    commands = re.findall(r"^ *cdc (.*)$", RUNBOOK.read_text(), re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        typed = command.replace("-e production", "-e local").replace(" ID", f" {dead_letter}")
        words, writes, _ = typed.replace("differences.json", str(report)).partition(" > ")
        done = cdc(pipeline, *words.split())
        assert done.returncode <= bool(writes), f"cdc {command}: {done.stdout}{done.stderr}"
        if writes:
            report.write_text(done.stdout)
    assert settled(pipeline).equal
    assert not [key for key in keys(s3, bucket) if key.startswith("dead-letters/")]


def test_the_canary_is_in_every_copy_and_in_no_reader_s_way(pipeline: Pipeline) -> None:
    """The deployed watcher writes it; each deployed processor takes it."""
    put(pipeline, order("93000-0001"))
    write_the_canary(pipeline)
    ledger = resources(pipeline).ledger
    key = {"id": {"S": f"ledger/{CANARY}"}}
    eventually(lambda: pipeline.client.get_item(TableName=ledger, Key=key).get("Item"))
    address = f"{resources(pipeline).search_endpoint}/orders-write/_doc/{quote(CANARY, safe='')}"
    eventually(lambda: urllib3.request("GET", address).status == 200)
    assert pipeline.tables[0].find("orders", [CANARY]) == {}, "readers see it"
    assert settled(pipeline).equal
