"""Three functions that keep sums over items in DynamoDB, and the expected sums.

The peers add the difference between the old and the new image of each record. Their functions are
written as their documentation shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import uuid4

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from benchmarks.harness.clients import create_table
from benchmarks.harness.delivery import Function
from benchmarks.harness.records import SOURCE, Record
from benchmarks.harness.rows import OURS
from dynamodb_streams_cdc import Aggregation, Contribution, Image, Processor
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.sinks.contributions import RESERVED, add
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters

Contributions: TypeAlias = Callable[[Image], Contribution]


def by_day_and_status(image: Image) -> Contribution:
    """Return an order's part in its day and in its status: sums that many orders share."""
    return {
        f"day#{image['placed_at'][:10]}": {"orders": 1, "revenue": image["total"]},
        f"status#{image['status']}": {"orders": 1},
    }


def by_customer(image: Image) -> Contribution:
    """Return an order's part in what its customer ordered: a sum that few orders share."""
    return {f"customer#{image['customer_id']}": {"orders": 1, "revenue": image["total"]}}


@dataclass(frozen=True)
class Tables:
    """Tables of a function: markers or ledger, and sums."""

    markers: str
    sums: str

    @classmethod
    def create(cls, client: Any) -> "Tables":
        name = f"sums-{uuid4()}"
        tables = cls(f"{name}-markers", name)
        create_table(client, tables.markers, [("id", "S")])
        create_table(client, tables.sums, [("aggregate", "S"), ("shard", "N")])
        return tables

    def delete(self, client: Any) -> None:
        client.delete_table(TableName=self.markers)
        client.delete_table(TableName=self.sums)

    def error(self, client: Any, expected: Contribution) -> float:
        """Return the error of the sums, in percent of the expected ones."""
        pages = client.get_paginator("scan").paginate(TableName=self.sums, ConsistentRead=True)
        rows: list[Any] = [deserialize_item(row) for page in pages for row in page["Items"]]
        found = add(
            {row["aggregate"]: {name: row[name] for name in row.keys() - RESERVED}} for row in rows
        )
        off = sum((abs(amount) for amount in _amounts(_difference(found, expected))), Decimal(0))
        return float(100 * off / sum(map(abs, _amounts(expected))))


def ours(client: Any, tables: Tables, contributions: Contributions) -> Function:
    """Return the aggregation sink behind its processor."""
    ledger = DynamoDbLedger(client, tables.markers, tables.sums)
    return Processor("sums", SOURCE, Aggregation(ledger, contributions), MemoryDeadLetters())


def powertools(client: Any, tables: Tables, contributions: Contributions) -> Function:
    """Return their batch processor with an idempotent function for each record.

    https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/
    """
    processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
    layer = DynamoDBPersistenceLayer(table_name=tables.markers, boto3_client=client)
    config = IdempotencyConfig(event_key_jmespath="eventID")
    count = _counter(client, tables, contributions)

    # Powertools does not type this decorator.
    @idempotent_function(data_keyword_argument="record", config=config, persistence_store=layer)  # type: ignore[untyped-decorator]
    def record_handler(record: DynamoDBRecord) -> None:
        body = record.dynamodb
        assert body is not None
        count(body.old_image, body.new_image)

    def handler(event: Any, context: Any) -> Any:
        config.register_lambda_context(context)
        return process_partial_response(event, record_handler, processor, context)

    return handler


def counters(client: Any, tables: Tables, contributions: Contributions) -> Function:
    """Return a loop with an atomic counter for each record and sum."""
    deserializer = TypeDeserializer()
    count = _counter(client, tables, contributions)

    def image(record: Record, name: str) -> Image:
        attributes = record["dynamodb"].get(name, {})
        return {key: deserializer.deserialize(value) for key, value in attributes.items()}

    def handler(event: Any, context: Any) -> Any:
        for record in event["Records"]:
            count(image(record, "OldImage"), image(record, "NewImage"))
        return {"batchItemFailures": []}

    return handler


VARIANTS = {OURS: ours, "Powertools": powertools, "counters": counters}


def _counter(
    client: Any, tables: Tables, contributions: Contributions
) -> Callable[[Image | None, Image | None], None]:
    """Return a function that adds the difference of two images, with one update for each sum."""
    serializer = TypeSerializer()

    def count(old: Image | None, new: Image | None) -> None:
        delta = _difference(contributions(new) if new else {}, contributions(old) if old else {})
        for aggregate, measures in delta.items():
            client.update_item(
                TableName=tables.sums,
                Key={"aggregate": {"S": aggregate}, "shard": {"N": "0"}},
                UpdateExpression="ADD " + ", ".join(f"#{name} :{name}" for name in measures),
                ExpressionAttributeNames={f"#{name}": name for name in measures},
                ExpressionAttributeValues={
                    f":{name}": serializer.serialize(amount) for name, amount in measures.items()
                },
            )

    return count


def expected(records: Sequence[Record], contributions: Contributions) -> Contribution:
    """Return the sums over the items as the records leave them."""
    last: dict[str, Any] = {}
    for record in records:
        body = record["dynamodb"]
        last[str(body["Keys"])] = body.get("NewImage")
    images = [deserialize_item(image) for image in last.values() if image is not None]
    return add(contributions(image) for image in images)


def _difference(new: Contribution, old: Contribution) -> Contribution:
    negated = {
        aggregate: {name: -Decimal(amount) for name, amount in measures.items()}
        for aggregate, measures in old.items()
    }
    return add((new, negated))


def _amounts(contribution: Mapping[str, Mapping[str, Any]]) -> Iterator[Decimal]:
    for measures in contribution.values():
        yield from map(Decimal, measures.values())
