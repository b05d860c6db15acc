"""The app follows a table that was there before, next to its other reader and another deployment.

The table has 5,000 items that no stream has a record of. Changes arrive by the stream. `cdc
backfill`, killed twice and begun again, brings in the rest. A second deployment, with a table of
its own, takes nothing of it. The environment sets another size, and an export as the source:

    EXISTING_ITEMS=100000 EXISTING_FROM=export pytest tests/integration/test_existing_table.py
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import urllib3

from dynamodb_streams_cdc import serialize_item
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.names import CANARY
from dynamodb_streams_cdc.operations.manifest import Manifest
from dynamodb_streams_cdc.sinks.contributions import RESERVED, Contribution, add
from lambdas.example_domain.order import contributions, document
from local.deployed import command_line
from local.deployed.command_line import CommandLine
from local.deployed.deployment import ROOT, deploy, session
from local.deployed.poller_process import PollerProcess
from local.services import loopback, service
from local.waiting import wait_until
from tests import exports
from tests.factories import order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient

ITEMS = int(os.environ.get("EXISTING_ITEMS", "5000"))
FROM = os.environ.get("EXISTING_FROM", "table")
EXPORTED_FILES = 8
PATIENCE = 300.0 + ITEMS / 20
DEEPER = max(0, ITEMS - 5000) / 2500
"""Seconds for which a backfill goes on before it is killed, once it has begun."""

pytestmark = pytest.mark.timeout(900 + PATIENCE)

PAGE = 10_000
OF_A_CUSTOMER = 5
AT_ONCE = 25
SECOND = """
import sys
sys.path.insert(0, {root!r})
from dataclasses import replace
from aws_cdk import App
from lambdas.example_domain import TABLES
from stacks import environments
from stacks.application import add_stacks
from stacks.packaging import package

app = App()
environment = environments.load(app.node.get_all_context())
tables = [replace(table, stack="pipeline-second") for table in TABLES]
add_stacks(app, environment=environment, tables=tables, package=package("host"))
app.synth()
"""
OTHER_READER = "def handler(event, context): return {'batchItemFailures': []}"


@dataclass(frozen=True)
class Copies:
    """A source table and its copies, read without the library's own readers."""

    aws: boto3.Session
    manifest: Manifest

    @property
    def table(self) -> str:
        return self.manifest.source_table().table

    def items(self) -> dict[str, dict[str, Any]]:
        """Return the items in the table, by the identity of each."""
        return {
            f"orders/S={item['customer_id']}/S={item['order_id']}": item
            for item in self._scan(self.table)
        }

    def orders(self) -> dict[str, dict[str, Any]]:
        """Return the items that the watcher did not write."""
        return {name: item for name, item in self.items().items() if not is_canary(item)}

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return the documents that readers find."""
        assert self.manifest.search is not None
        index = f"{self.manifest.search.endpoint}/{self.manifest.search.indexes[0]}"
        if _sent(f"{index}/_refresh").status == 404:
            return {}
        query: dict[str, Any] = {
            "size": PAGE,
            "_source": {"excludes": ["cdc"]},
            "sort": ["cdc.item"],
        }
        found: dict[str, dict[str, Any]] = {}
        while hits := _sent(f"{index}/_search", query).json()["hits"]["hits"]:
            found |= {hit["_id"]: hit["_source"] for hit in hits}
            query["search_after"] = hits[-1]["sort"]
        return found

    def sums(self) -> Contribution:
        """Return the sums over all shards, without those that are zero."""
        return add(
            {row["aggregate"]: {n: v for n, v in row.items() if n not in RESERVED}}
            for row in self._scan(self.manifest.table("aggregates"))
        )

    def logged(self) -> Counter[str]:
        """Return the number of entries of each item in the change log."""
        return Counter(entry["item"] for entry in self._scan(self.manifest.table("change_log")))

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        for page in self.aws.client("dynamodb").get_paginator("scan").paginate(TableName=table):
            yield from (deserialize_item(item, "row") for item in page["Items"])


def is_canary(item: dict[str, Any]) -> bool:
    return bool(item["customer_id"] == CANARY)


def _sent(url: str, body: Any = None) -> urllib3.BaseHTTPResponse:
    """Send a request to OpenSearch, which may take long on a machine that is busy."""
    return urllib3.request("POST", url, json=body, timeout=60.0)


def becomes(current: Callable[[], object], wanted: object) -> None:
    """Wait until a copy is as wanted; the failure shows how it is."""
    wait_until(lambda: current() == wanted, seconds=PATIENCE, every=0.2 if ITEMS < PAGE else 10.0)
    assert current() == wanted


def wanted_sums(items: Iterable[dict[str, Any]]) -> Contribution:
    return add(map(contributions, items))


def wanted_documents(items: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the documents as OpenSearch stores them: numbers that are no integers as text."""
    return json.loads(json.dumps({k: document(v) for k, v in items.items()}, default=str))  # type: ignore[no-any-return]


def numbered(number: int, **others: Any) -> dict[str, Any]:
    customer, position = divmod(number, OF_A_CUSTOMER)
    return order(f"{customer:05}-{position:04}", **others)


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    """An emulator of this module: its mappings are taken over."""
    with service.emulator() as engine:
        yield engine.url


@pytest.fixture(scope="module")
def source(aws_url: str) -> dict[str, str]:
    """A table with items from before its stream, and another program's mapping on the stream."""
    aws = session(aws_url)
    client = aws.client("dynamodb")
    keys = ("customer_id", "HASH"), ("order_id", "RANGE")
    client.create_table(
        TableName="Shop",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],  # type: ignore[typeddict-item]
        BillingMode="PAY_PER_REQUEST",
    )

    def write(first: int) -> None:
        numbers = range(first, first + AT_ONCE)
        puts: Any = [{"PutRequest": {"Item": serialize_item(numbered(n))}} for n in numbers]
        client.batch_write_item(RequestItems={"Shop": puts})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, ITEMS, AT_ONCE)))
    client.update_table(
        TableName="Shop",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    described = client.describe_table(TableName="Shop")["Table"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("other.py", OTHER_READER)
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="other-reader",
        Runtime="python3.13",
        Handler="other.handler",
        Role=f"arn:aws:iam::{loopback.ACCOUNT}:role/other",
        Code={"ZipFile": package.getvalue()},
    )
    functions.create_event_source_mapping(
        EventSourceArn=described["LatestStreamArn"],
        FunctionName="other-reader",
        StartingPosition="TRIM_HORIZON",
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    return {"arn": described["TableArn"], "stream_arn": described["LatestStreamArn"]}


@pytest.fixture(scope="module")
def deployed(
    aws_url: str,
    opensearch_url: str,
    source: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Copies]]:
    """Both deployments by the name of their stack, with Lambda's pollers."""
    tables = json.dumps({"orders": {**source, "readers": 1}})
    deploy(aws_url, opensearch_url, settings={"source_tables": tables, "index_prefix": "shop-"})
    app: Path = tmp_path_factory.mktemp("second")
    (app / "app.py").write_text(SECOND.format(root=str(ROOT)))
    settings = json.loads((ROOT / "cdk.json").read_text())
    (app / "cdk.json").write_text(json.dumps({**settings, "app": f"{sys.executable} app.py"}))
    deploy(aws_url, opensearch_url, app=app, settings={"index_prefix": "second-"})
    aws = session(aws_url)
    found = {}
    for name in ("cdc-local-pipeline", "cdc-local-pipeline-second"):
        [stack] = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        found[name] = Copies(aws, Manifest.of(name, outputs))
    with PollerProcess(aws_url):
        yield found


class Traffic(threading.Thread):
    """Changes items of the table, about fifty a second."""

    def __init__(self, client: DynamoDBClient) -> None:
        super().__init__()
        self.client = client
        self.ended = threading.Event()
        self.writes = 0

    def run(self) -> None:
        rng = random.Random(7)
        while not self.ended.wait(0.02):
            number = rng.randrange(200, ITEMS)
            item = serialize_item(numbered(number, status=rng.choice(["placed", "shipped"])))
            if rng.random() < 0.1:
                key = {name: item[name] for name in ("customer_id", "order_id")}
                self.client.delete_item(TableName="Shop", Key=key)
            else:
                self.client.put_item(TableName="Shop", Item=item)
            self.writes += 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def written(jobs: Path) -> int:
    """Return how many bytes the jobs' logs of writes have; every answer adds some."""
    return sum(path.stat().st_size for path in jobs.glob("*.sqlite-wal"))


def source_of(copies: Copies, arn: str) -> list[str]:
    """Return the words by which a backfill reads the table, or an export that this makes."""
    if FROM == "table":
        return []
    pages = copies.aws.client("dynamodb").get_paginator("scan").paginate(TableName="Shop")
    items = [item for page in pages for item in page["Items"]]
    files = [items[number::EXPORTED_FILES] for number in range(EXPORTED_FILES)]
    exports.export(copies.aws.client("s3"), arn, files)
    return ["--export", exports.URL]


def kill_a_backfill(cdc: CommandLine, jobs: Path, source: list[str]) -> None:
    """Begin a backfill, and kill it in the middle."""
    command = Path(sys.executable).with_name("cdc")
    words = cdc.cdc("backfill", "--yes", *source)[1:]
    begun = subprocess.Popen([str(command), *words], env=dict(cdc.variables))
    wait_until(lambda: written(jobs) > 0 or begun.poll() is not None, seconds=60)
    at_first = written(jobs)
    wait_until(lambda: written(jobs) > at_first or begun.poll() is not None, seconds=60)
    time.sleep(DEEPER)
    begun.kill()
    assert begun.wait() == -signal.SIGKILL, "it was done before it could be killed"


def test_a_table_that_was_there_is_followed_and_filled(
    aws_url: str,
    deployed: dict[str, Copies],
    source: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_line, "_SECONDS", 600 + PATIENCE)
    shop, second = deployed.values()
    client = shop.aws.client("dynamodb")
    assert shop.table == "Shop"
    assert second.table != "Shop"
    for copies, numbers in ((shop, range(0, 40)), (second, range(20))):
        for number in numbers:
            item = serialize_item(numbered(number, status="shipped"))
            client.put_item(TableName=copies.table, Item=item)
    for number in range(100, 110):
        keys = ("customer_id", "order_id")
        key = {name: serialize_item(numbered(number))[name] for name in keys}
        client.delete_item(TableName="Shop", Key=key)
    for number in range(ITEMS, ITEMS + 10):
        client.put_item(TableName="Shop", Item=serialize_item(numbered(number)))

    changed = {*range(40), *range(ITEMS, ITEMS + 10)}
    names = {f"orders/S={n // 5:05}/S={n // 5:05}-{n % 5:04}" for n in changed}
    items = shop.items()
    assert len(items) == ITEMS
    arrived = {name: items[name] for name in names}
    becomes(lambda: len(shop.logged()), 60)
    becomes(shop.sums, wanted_sums(arrived.values()))
    becomes(shop.documents, wanted_documents(arrived))
    assert set(shop.logged().values()) == {1}

    cdc = CommandLine.of_emulator(aws_url, CDC_JOBS=str(tmp_path)).on("cdc-local-pipeline")

    words = source_of(shop, source["arn"])
    with Traffic(client) as traffic:
        for _ in range(2):
            kill_a_backfill(cdc, tmp_path, words)
        status, report = cdc.json("backfill", "--yes", *words)
    assert (status, report["failures"], report["problems"]) == (0, [], [])
    assert report["read"].keys() == {"audit"}, "the others follow the change log"
    assert report["read"]["audit"] >= ITEMS - traffic.writes
    assert traffic.writes > 50
    items = shop.items()
    becomes(shop.sums, wanted_sums(items.values()))
    becomes(shop.documents, wanted_documents(items))
    status, report = cdc.json("verify", "--settle", "2")
    assert (status, report["differences"]) == (0, []), report

    own = second.orders()
    assert len(own) == 20
    assert shop.items() == shop.orders(), "the watcher wrote into a table of others"
    becomes(second.documents, wanted_documents(own))
    becomes(second.sums, wanted_sums(own.values()))
    assert second.logged().keys() - own.keys() <= {"orders/S=cdc-canary/S=cdc-canary"}
    assert second.logged().keys() >= own.keys()
    described = client.describe_table(TableName="Shop")["Table"]
    assert described["LatestStreamArn"] == source["stream_arn"]
    mappings = shop.aws.client("lambda").list_event_source_mappings(
        EventSourceArn=source["stream_arn"]
    )["EventSourceMappings"]
    readers = sorted(each["FunctionArn"].rpartition(":")[2] for each in mappings)
    assert len(readers) == 2
    assert "other-reader" in readers
