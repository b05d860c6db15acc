"""A thousand places of the real stores damaged at random: each is named, healed, and right again.

The functions run in this process, on DynamoDB Local and OpenSearch. tests/unit/damage.py has
further kinds, in memory.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opensearchpy import OpenSearch

from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Sink, Source
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.operations.backfill import Backfill
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.repair_differences import RepairDifferences
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from tests.factories import FakeContext
from tests.integration.clients import differences
from tests.lambdas.conftest import create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEMS = 1_200
PLACES = 1_000
KEYS = {"id": "S"}
SINKS = {name: name for name in ("aggregation", "audit", "search")}


def item(number: int) -> dict[str, Any]:
    return {"id": f"{number:05}", "group": number % 400, "amount": Decimal(number % 97) / 4}


def identity(number: int) -> str:
    return f"items/S={number:05}"


def contributions(image: Mapping[str, Any]) -> Any:
    return {f"group#{image['group']}": {"items": 1, "amount": image["amount"]}}


def document(image: Mapping[str, Any]) -> dict[str, Any]:
    return {"group": image["group"], "amount": image["amount"]}


class Stores:
    """The stores, and the functions on them."""

    def __init__(self, client: "DynamoDBClient", url: str) -> None:
        self.client = client
        self.search = OpenSearch(url, max_retries=0, timeout=60)
        self.clock = SystemClock()
        properties = {"group": {"type": "long"}, "amount": {"type": "double"}}
        index = OpenSearchIndex(self.search, "damage", properties, {"number_of_replicas": 0})
        sinks: dict[str, Sink] = {
            "aggregation": Aggregation(
                DynamoDbLedger(client, "damage-ledger", "damage-sums", 3), contributions
            ),
            "audit": ChangeLog(DynamoDbLog(client, "damage-log")),
            "search": Search(index, document),
        }
        table = DynamoDbSourceTable(lambda: client, "damage-items")
        self.processors = {
            name: Processor(
                name,
                Source("items"),
                sink,
                MemoryDeadLetters(),
                clock=self.clock,
                source_table=table,
            )
            for name, sink in sinks.items()
        }
        described = client.describe_table(TableName="damage-items")["Table"]
        self.stream = described["LatestStreamArn"]

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        context = FakeContext(self.clock, seconds=60)
        answer = self.processors[processor](json.loads(json.dumps(event)), context)
        return json.loads(json.dumps(answer))

    def differences(self, name: str) -> list[dict[str, Any]]:
        self.search.indices.refresh(index="damage-write")
        return differences(self, name, KEYS)

    # Damage to documents

    def held(self, number: int) -> dict[str, Any]:
        found = self.search.get(index="damage-write", id=identity(number))
        source: dict[str, Any] = found["_source"]
        return source

    def put(self, name: str, source: Mapping[str, Any]) -> None:
        self.search.index(index="damage-write", id=name, body=source)

    def lose(self, number: int) -> None:
        self.search.delete(index="damage-write", id=identity(number))

    def bury(self, number: int) -> None:
        self.put(identity(number), {CDC: {**self.held(number)[CDC], "deleted": True}})

    def alter(self, number: int) -> None:
        self.put(identity(number), {**self.held(number), "amount": "-1.5"})

    def take_a_field(self, number: int) -> None:
        held = self.held(number)
        self.put(identity(number), {"group": held["group"], CDC: held[CDC]})

    def add_a_field(self, number: int) -> None:
        self.put(identity(number), {**self.held(number), "note": "mine"})

    def take_the_version(self, number: int) -> None:
        self.put(identity(number), {"group": 1, "amount": 1})

    def take_the_mark(self, number: int) -> None:
        held = self.held(number)
        about = {name: value for name, value in held[CDC].items() if name != "deleted"}
        self.put(identity(number), {**held, CDC: about})

    def make_one_that_never_was(self, number: int) -> str:
        name, held = f"items/S=never-{number}", self.held(number)
        self.put(name, {**held, CDC: {**held[CDC], "item": name}})
        return name

    def double(self, number: int) -> str:
        self.put(f"double-{number}", self.held(number))
        return f"double-{number}"

    def bring_in_a_stranger(self, number: int) -> str:
        self.put(f"stranger-{number}", {"hello": number})
        return f"stranger-{number}"

    # Damage to rows and entries

    def forget_the_item(self, number: int) -> None:
        """Neither row nor sum know the item, as if its change had been lost."""
        self._move(number, Decimal(-1), -item(number)["amount"])
        self.client.delete_item(TableName="damage-ledger", Key=self._row(number))

    def leave_it_stale(self, number: int) -> None:
        """Row and sum show an earlier state, as if the last change had been lost."""
        self._move(number, Decimal(0), Decimal(8))
        group = f"group#{item(number)['group']}"
        earlier = {group: {"items": 1, "amount": item(number)["amount"] + 8}}
        self.client.update_item(
            TableName="damage-ledger",
            Key=self._row(number),
            UpdateExpression="SET contribution = :earlier",
            ExpressionAttributeValues=serialize_item({":earlier": earlier}),
        )

    def _row(self, number: int) -> Any:
        return serialize_item({"id": f"ledger/{identity(number)}"})

    def _move(self, number: int, items: Decimal, amount: Decimal) -> None:
        aggregate = f"group#{item(number)['group']}"
        self.client.update_item(
            TableName="damage-sums",
            Key=serialize_item({"aggregate": aggregate, "shard": 0}),
            UpdateExpression="ADD revision :one, #items :items, amount :amount",
            ExpressionAttributeNames={"#items": "items"},
            ExpressionAttributeValues=serialize_item(
                {":one": 1, ":items": items, ":amount": amount}
            ),
        )

    def forget_the_history(self, number: int) -> None:
        [entry] = self.client.query(
            TableName="damage-log",
            KeyConditionExpression="#item = :item",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":item": {"S": identity(number)}},
        )["Items"]
        key = {name: entry[name] for name in ("item", "version")}
        self.client.delete_item(TableName="damage-log", Key=key)


Damage = Callable[[Stores, int], str | None]

KINDS: tuple[tuple[Damage, str, str], ...] = (
    (Stores.lose, "search", "missing"),
    (Stores.bury, "search", "missing"),
    (Stores.alter, "search", "wrong"),
    (Stores.take_a_field, "search", "wrong"),
    (Stores.add_a_field, "search", "wrong"),
    (Stores.take_the_version, "search", "foreign"),
    (Stores.take_the_mark, "search", "wrong"),
    (Stores.make_one_that_never_was, "search", "extra"),
    (Stores.double, "search", "foreign"),
    (Stores.bring_in_a_stranger, "search", "foreign"),
    (Stores.forget_the_item, "aggregation", "missing"),
    (Stores.leave_it_stale, "aggregation", "wrong"),
    (Stores.forget_the_history, "audit", "missing"),
)


@pytest.fixture
def stores(
    dynamodb_local: "DynamoDBClient",
    opensearch_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stores]:
    monkeypatch.setenv("CDC_JOBS", str(tmp_path))
    client = dynamodb_local
    create_table(client, "damage-items", [("id", "S")], view="NEW_AND_OLD_IMAGES")
    create_table(client, "damage-ledger", [("id", "S")])
    create_table(client, "damage-log", [("item", "S"), ("version", "S")])
    create_table(client, "damage-sums", [("aggregate", "S"), ("shard", "N")])
    for first in range(0, ITEMS, 25):
        numbered = (serialize_item(item(number)) for number in range(first, first + 25))
        puts: Any = [{"PutRequest": {"Item": each}} for each in numbered]
        client.batch_write_item(RequestItems={"damage-items": puts})
    made = Stores(client, opensearch_url)
    report = Backfill(made, made.stream, KEYS, [*SINKS], Job("fill", {})).run()
    assert report.complete
    assert report.applied == dict.fromkeys(SINKS, ITEMS)
    yield made
    made.search.close()


def test_a_thousand_damaged_places_are_named_and_healed(stores: Stores) -> None:
    assert stores.differences("before") == []
    rng = random.Random(15)
    wanted = []
    for number in rng.sample(range(ITEMS), PLACES):
        damage, sink, kind = rng.choice(KINDS)
        wanted.append((sink, kind, damage(stores, number) or identity(number)))
    found = stores.differences("damaged")
    assert sorted((d["sink"], d["kind"], d["item"]) for d in found) == sorted(wanted)
    report = RepairDifferences(stores, stores.stream, KEYS, SINKS).run(found)
    assert report.unrepaired == []
    assert report.repaired == Counter(sink for sink, _, _ in wanted)
    assert stores.differences("after") == []
