"""The poller on real services: killed again and again, and in place of the emulator's poller."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from dynamodb_streams_cdc.esm.poller.runner import runner_of, running, take_over
from lambdas.example_domain import TABLES
from local.deployed.deployment import session
from local.deployed.resources import Resources
from local.deployed.trace import TraceReader
from local.services import service
from local.services.emulator import UNPATCHED
from local.verify import DeployedCopies, compare
from local.workload.traffic import Writer
from tests.example_domain.told import told_orders
from tests.integration.poller_process import TRACE
from tests.integration.processes import eventually
from tests.lambdas.conftest import create_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient

    from local.workload.stories import ItemStory

ROOT = Path(__file__).parents[2]
KILLS = 10
ORDERS = 120


# Killed at ten points of a run


class Child:
    """The process of `poller_process`; `start` replaces one that is dead."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "tests.integration.poller_process", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=ROOT, start_new_session=True)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def started(*arguments: str) -> Iterator[Child]:
    child = Child(*arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()


def make_tables(client: DynamoDBClient, prefix: str) -> None:
    keys = {
        "orders": [("customer_id", "S"), ("order_id", "S")],
        "log": [("item", "S"), ("version", "S")],
        "ledger": [("id", "S")],
        "aggregates": [("aggregate", "S"), ("shard", "N")],
    }
    for table, names in keys.items():
        views = {"orders": "NEW_AND_OLD_IMAGES", "log": "NEW_IMAGE"}
        create_table(client, f"{prefix}-{table}", names, view=views.get(table))


def test_a_runner_killed_at_ten_points_loses_nothing(
    tmp_path: Path, dynamodb_local_url: str, opensearch_url: str
) -> None:
    """SIGKILL while it works, ten times; every copy ends equal to the table all the same."""
    random, prefix = Random(1), f"live-{uuid.uuid4().hex[:8]}"
    client = session(dynamodb_local_url).client("dynamodb")
    make_tables(client, prefix)
    # The functions of this test know orders alone.
    [declared] = TABLES
    table = replace(declared, entities=(replace(declared.entities[0], keys={}),))
    copies = DeployedCopies(
        client,
        table,
        Resources(
            "",
            f"{prefix}-orders",
            f"{prefix}-ledger",
            change_log=f"{prefix}-log",
            aggregates=f"{prefix}-aggregates",
            search_endpoint=opensearch_url,
            indexes={"orders": prefix},
        ),
    )
    trace = TraceReader(tmp_path / TRACE)

    def invokes(process: int) -> bool:
        trace.read()
        return any(call.process == str(process) for call in trace.calls.values())

    killed = threading.Event()

    def orders() -> Iterator[ItemStory]:
        """Enough of them that there is something to do until the last kill."""
        for number, story in enumerate(told_orders()):
            if number >= ORDERS and killed.is_set():
                return
            yield story

    writer = Writer(client, {"orders": f"{prefix}-orders"}, seed=1, workers=2, pause=0.02)
    with started(dynamodb_local_url, opensearch_url, str(tmp_path), prefix) as child:
        written: list[Any] = []
        writing = threading.Thread(target=lambda: written.append(writer.run(orders())))
        writing.start()
        try:
            for _ in range(KILLS):
                eventually(lambda: invokes(child.process.pid))
                time.sleep(random.uniform(0, 0.4))  # at a random point
                child.kill()
                child.start()
        finally:
            killed.set()
            writing.join()
        [acknowledged] = written
        eventually(lambda: compare([copies], acknowledged.effective).equal)
    trace.read()
    outcomes = trace.outcomes()
    deliveries = Counter(
        (call.function, number) for call in trace.calls.values() for number in call.records
    )
    assert outcomes["cut off"] >= 1
    assert max(deliveries.values()) > 1
    report = compare([copies], acknowledged.effective)
    assert report.equal
    inserts = [entry for entry in copies.entries() if entry["kind"] == "INSERT"]
    assert len(inserts) == acknowledged.stories >= ORDERS
    client.close()


# In the place of the emulator's poller

HANDLER = """
import json, os, time
import boto3

seen = boto3.client("dynamodb")

def wait_for(name):
    deadline = time.monotonic() + 60
    key = {"id": {"S": name}}
    while "Item" not in seen.get_item(TableName=os.environ["SEEN"], Key=key, ConsistentRead=True):
        assert time.monotonic() < deadline
        time.sleep(0.05)

def count(name):
    return seen.update_item(
        TableName=os.environ["SEEN"],
        Key={"id": {"S": name}},
        UpdateExpression="ADD deliveries :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )["Attributes"]["deliveries"]["N"]

def handler(event, context):
    print("batch", len(event["Records"]))
    for record in event["Records"]:
        number = record["dynamodb"]["SequenceNumber"]
        name = record["dynamodb"]["Keys"]["id"]["S"]
        if name == "slow":
            count("begun")
            wait_for("go")
        counted = count(name)
        if name == "poison" or (name == "flaky" and counted == "1"):
            return {"batchItemFailures": [{"itemIdentifier": number}]}
"""


class Deployed:
    """A table, a function on its stream and a dead-letter bucket, in the emulator."""

    def __init__(self, made: boto3.Session, name: str, **settings: Any) -> None:
        self.name = name
        self.dynamodb = made.client("dynamodb")
        self.functions = made.client("lambda")
        self.s3 = made.client("s3")
        create_table(self.dynamodb, f"{name}-seen", [("id", "S")])
        created = create_table(self.dynamodb, name, [("id", "S")], view="NEW_IMAGE")
        self.stream = created["LatestStreamArn"]
        self.s3.create_bucket(Bucket=name)
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("probe.py", HANDLER)
        self.functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="probe.handler",
            Role="arn:aws:iam::000000000000:role/probe",
            Code={"ZipFile": package.getvalue()},
            Environment={"Variables": {"SEEN": f"{name}-seen"}},
            Timeout=90,
        )
        self.mapping = self.functions.create_event_source_mapping(
            EventSourceArn=self.stream,
            FunctionName=name,
            StartingPosition="TRIM_HORIZON",
            FunctionResponseTypes=["ReportBatchItemFailures"],
            DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{name}"}},
            **settings,
        )

    def put(self, *names: str) -> None:
        for name in names:
            self.dynamodb.put_item(TableName=self.name, Item={"id": {"S": name}})

    def deliveries(self) -> dict[str, int]:
        rows = self.dynamodb.scan(TableName=f"{self.name}-seen", ConsistentRead=True)["Items"]
        return {row["id"]["S"]: int(row["deliveries"]["N"]) for row in rows}

    def let_go(self) -> None:
        """Let the slow function continue."""
        row = {"id": {"S": "go"}, "deliveries": {"N": "0"}}
        self.dynamodb.put_item(TableName=f"{self.name}-seen", Item=row)

    def last_result(self) -> str:
        uuid = self.mapping["UUID"]
        return self.functions.get_event_source_mapping(UUID=uuid)["LastProcessingResult"]

    def dead_letters(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [each["Key"] for each in found]

    def close(self) -> None:
        self.let_go()
        self.functions.delete_event_source_mapping(UUID=self.mapping["UUID"])
        self.functions.delete_function(FunctionName=self.name)
        for client in (self.dynamodb, self.functions, self.s3):
            client.close()


@contextmanager
def deployed(made: boto3.Session, **settings: Any) -> Iterator[Deployed]:
    found = Deployed(made, f"probe-{uuid.uuid4().hex[:8]}", **settings)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def made(emulator_url: str) -> boto3.Session:
    return session(emulator_url)


@contextmanager
def taken_over(
    made: boto3.Session,
    found: Deployed,
    folder: Path,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[None]:
    mappings = take_over(found.functions, folder, pause=pause)
    assert [each["UUID"] for each in mappings] == [found.mapping["UUID"]]
    with running([runner_of(each, made, folder) for each in mappings]):
        yield


def test_a_failed_record_is_in_the_dead_letter_bucket(made: boto3.Session, tmp_path: Path) -> None:
    """The poison record and, as nothing bisects, what came after it in its batch."""
    # The window is longer than anything waits here: it is the batch size that ends a batch.
    settings = {"MaximumRetryAttempts": 1, "BatchSize": 3, "MaximumBatchingWindowInSeconds": 300}
    with deployed(made, **settings) as found, taken_over(made, found, tmp_path):
        found.put("first", "poison", "third")
        eventually(found.dead_letters)
        found.put("fourth", "fifth", "sixth")
        eventually(lambda: "sixth" in found.deliveries())

        [key] = found.dead_letters()
        with found.s3.get_object(Bucket=found.name, Key=key)["Body"] as body:
            document = json.load(body)
        deliveries = found.deliveries()
    assert re.fullmatch(
        rf"aws/lambda/{found.mapping['UUID']}/shardId-[0-9-]+/\d{{4}}/\d\d/\d\d/"
        r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}",
        key,
    )
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["requestContext"]["approximateInvokeCount"] == 2
    assert document["requestContext"]["functionArn"].endswith(f":function:{found.name}")
    assert document["responseContext"]["functionError"] is None
    info = document["DDBStreamBatchInfo"]
    assert (info["batchSize"], info["streamArn"]) == (2, found.stream)
    records = json.loads(document["payload"])["Records"]
    assert [each["dynamodb"]["NewImage"]["id"]["S"] for each in records] == ["poison", "third"]
    assert {each["eventSourceARN"] for each in records} == {found.stream}
    assert deliveries == {"first": 1, "poison": 3, "fourth": 1, "fifth": 1, "sixth": 1}


def test_a_reported_record_is_delivered_again(made: boto3.Session, tmp_path: Path) -> None:
    with deployed(made) as found:
        found.put("flaky")
        eventually(lambda: found.deliveries().get("flaky") == 1)
        eventually(lambda: found.last_result().startswith("OK"))
        assert found.deliveries() == {"flaky": 1}
    with deployed(made) as found, taken_over(made, found, tmp_path):
        found.put("flaky", "after")
        eventually(lambda: "after" in found.deliveries())
        assert found.deliveries()["flaky"] == 2


def test_a_take_over_waits_for_the_batch_under_way(made: boto3.Session, tmp_path: Path) -> None:
    with deployed(made) as found:
        found.put("warm")
        eventually(lambda: "warm" in found.deliveries())
        found.put("slow")
        eventually(lambda: "begun" in found.deliveries())
        looks = count(1)

        def pause(seconds: float) -> None:
            if next(looks) == 3:
                assert "slow" not in found.deliveries()
                found.let_go()
            time.sleep(seconds)

        with taken_over(made, found, tmp_path, pause):
            assert found.deliveries()["slow"] == 1
            eventually(lambda: found.deliveries().get("slow") == 2)
            assert found.deliveries()["warm"] == 2


def test_the_repair_that_a_take_over_needs_is_still_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(UNPATCHED, "1")
    with service.emulator() as unpatched, deployed(session(unpatched.url)) as found:
        found.put("slow")
        eventually(lambda: "begun" in found.deliveries())
        updated = found.functions.update_event_source_mapping(
            UUID=found.mapping["UUID"], Enabled=False
        )
        assert "slow" not in found.deliveries()
    assert updated["State"] == "Disabled", (
        "The emulator now says by itself that a batch is under way: delete `fix_disabling` from "
        "local/services/emulator.py."
    )
