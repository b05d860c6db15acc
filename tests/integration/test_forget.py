"""An item is erased on the deployed pipeline: afterwards no store has its key, or anything of it.

The commands are those of docs/how-to/erase-a-person.md. The week between them is taken out of the
times that the stores hold.
"""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opensearchpy import OpenSearch
from rich.console import Console

from dynamodb_streams_cdc import serialize_item
from lambdas import example_domain
from lambdas.domain import TABLES
from local.console import DemoConsole
from local.deployed.command_line import CommandLine
from local.deployed.deployment import session
from local.deployed.pipeline import running_pipeline
from local.verify import compare, settle
from tests.factories import order, record
from tests.fake_pipeline import given_up, lambdas_key
from tests.integration.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.deployed.pipeline import Pipeline
    from local.deployed.resources import Resources

pytestmark = pytest.mark.skipif(
    TABLES != example_domain.TABLES,
    reason="lambdas/domain declares another domain than the example",
)
PAGE = Path(__file__).parents[2] / "docs/how-to/erase-a-person.md"
WEEK = 8 * 24 * 3600
ANNA, BEN = order("00004-0001", notes="x" * 300_000), order("00005-0001")
ITEM = "orders/S=00004/S=00004-0001"
BATCH = lambdas_key("batch")


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with running_pipeline(DemoConsole(Console(file=io.StringIO()))) as pipeline:
        yield pipeline


def resources(pipeline: Pipeline) -> Resources:
    return pipeline.tables[0].resources


def cdc(pipeline: Pipeline, command: str, status: int) -> Any:
    typed = command.replace("-e production", "-e local")
    url = pipeline.aws.url
    line = CommandLine.of_emulator(url, AWS_ENDPOINT_URL=url)
    done = line.run(["cdc", *typed.split(), "--json"])
    assert done.returncode == status, f"cdc {command}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def held(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return everything in any store that has the item's key, or its name in an object's key."""
    names = resources(pipeline)
    aws = session(pipeline.aws.url)
    dynamodb, s3 = aws.client("dynamodb"), aws.client("s3")
    found: dict[str, list[str]] = {}
    for table in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            found.setdefault(table, []).extend(map(str, page["Items"]))
    for bucket in (names.dead_letters, names.on_failure, names.large_images or ""):
        for version in s3.list_object_versions(Bucket=bucket).get("Versions", ()):
            body = s3.get_object(Bucket=bucket, Key=version["Key"])["Body"].read().decode()
            found.setdefault(bucket, []).append(f"{version['Key']} {body}")
    client = OpenSearch(names.search_endpoint, max_retries=0, timeout=60)
    for index in client.indices.get_alias(index="*"):
        client.indices.refresh(index=index)
        hits = client.search(index=index, body={"size": 1000})["hits"]["hits"]
        found.setdefault(index, []).extend(f"{hit['_id']} {hit['_source']}" for hit in hits)
    mine = {
        where: [each for each in texts if "00004-0001" in each] for where, texts in found.items()
    }
    return {where: texts for where, texts in mine.items() if texts}


def give_up(pipeline: Pipeline) -> None:
    """Leave dead letters of both kinds, and one in the archive; one batch has another item."""
    s3, names = session(pipeline.aws.url).client("s3"), resources(pipeline)
    changes = [record(1, None, ANNA), record(2, None, BEN), record(3, ANNA, None)]
    body = json.dumps(given_up(changes)).encode()
    s3.put_object(Bucket=names.on_failure, Key=BATCH, Body=body)
    s3.put_object(Bucket=names.dead_letters, Key=f"archive/{BATCH}", Body=body)


def make_older(pipeline: Pipeline) -> None:
    """Take a week from the times of the tombstones and of the record."""
    names = resources(pipeline)
    for key in (f"ledger/{ITEM}", f"forgetting/{ITEM}"):
        row = pipeline.client.get_item(TableName=names.ledger, Key={"id": {"S": key}})["Item"]
        moved = {
            name: {"N": str(float(value["N"]) - WEEK)}
            for name, value in row.items()
            if name in ("written_at", "since", "began_at")
        }
        pipeline.client.put_item(TableName=names.ledger, Item={**row, **moved})
    client = OpenSearch(names.search_endpoint, max_retries=0, timeout=60)
    index = f"{names.indexes['orders']}-write"
    source = client.get(index=index, id=ITEM)["_source"]
    source["cdc"]["written_at"] -= WEEK
    client.index(index=index, id=ITEM, body=source)


def test_nothing_is_left_of_an_erased_item(pipeline: Pipeline, tmp_path: Path) -> None:
    names, client = resources(pipeline), pipeline.client
    commands = re.findall(r"^ *cdc (forget .*)$", PAGE.read_text(), re.MULTILINE)
    first, from_file, again, check = commands
    for item in (ANNA, BEN):
        client.put_item(TableName=names.source, Item=serialize_item(item))
    assert settle(lambda: compare(pipeline.tables), unchanged_for=20.0).equal

    (refused,) = cdc(pipeline, f"{first} --yes", 1)["items"]
    assert refused["why"] == "the item is in the table: delete it there"
    assert len(held(pipeline)) == 5, "table, ledger, log, images, index"

    keys = {name: serialize_item(ANNA)[name] for name in ("customer_id", "order_id")}
    client.delete_item(TableName=names.source, Key=keys)
    assert settle(lambda: compare(pipeline.tables), unchanged_for=20.0).equal
    eventually(lambda: pipeline.tables[0].history_length(ITEM) == 2)
    give_up(pipeline)

    (looked,) = cdc(pipeline, check, 1)["items"]
    assert looked["left"] == {"given-up": 1, "archive": 1, "change-log": 2, "large-images": 2}
    (waiting,) = cdc(pipeline, f"{first} --yes", 1)["items"]
    assert (waiting["status"], waiting["found"]) == ("waiting", looked["left"])
    texts = [text for texts in held(pipeline).values() for text in texts]
    assert not [text for text in texts if "29.33" in text or "xxx" in text]
    assert len(texts) == 3, "two tombstones and the record"
    s3 = session(pipeline.aws.url).client("s3")
    rest = json.loads(s3.get_object(Bucket=names.on_failure, Key=BATCH)["Body"].read())
    assert json.loads(rest["payload"])["Records"] == [record(2, None, BEN)]

    make_older(pipeline)
    items = tmp_path / "items.jsonl"
    items.write_text('{"customer_id": "00004", "order_id": "00004-0001"}\n')
    begun = time.time()
    typed = from_file.replace("items.jsonl", str(items)).removesuffix(" --yes")
    (erased,) = cdc(pipeline, f"{typed} --yes", 0)["items"]
    assert erased["status"] == "erased"
    assert held(pipeline) == {}
    receipt = {"id": {"S": f"erased/{erased['receipt']}"}}
    found = client.get_item(TableName=names.ledger, Key=receipt)["Item"]
    assert begun - 60 < float(found["erased_at"]["N"]) < time.time() + 60

    (nothing,) = cdc(pipeline, f"{again} --yes", 0)["items"]
    assert nothing["status"] == "nothing held"
    assert settle(lambda: compare(pipeline.tables), unchanged_for=20.0).equal
