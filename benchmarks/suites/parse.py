"""Decoding a stream record: the keys, the new and the old image, each read in full.

Ours against boto3's `TypeDeserializer`, Powertools' `DynamoDBRecord` and, for orientation,
`json.loads` of the text of the same images. Two kinds of record: flat, a purchase as the CDNOW data
set has it, and nested, an order with its lines. A third row does more than its peer: `Change`, with
the version, the item's identity and every field checked, against Powertools' record class.
"""

import json
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from boto3.dynamodb.types import TypeDeserializer

from benchmarks.harness.records import SOURCE, Record, record, stream
from benchmarks.harness.rows import OURS, Options, Row, compare, turns
from benchmarks.suites.runner import fastest
from dynamodb_streams_cdc import Change
from dynamodb_streams_cdc.deserializer import deserialize_item
from lambdas.example_domain.stories.purchases import read_purchases

IMAGES = ("Keys", "NewImage", "OldImage")
RECORDS = 100
REPEATS = 60

# Peer's time divided by ours, at least.
GOALS = {
    "nested": {"boto3": 2.5, "Powertools": 4.0, "json.loads": 1 / 1.3},
    "flat": {"boto3": 2.0, "Powertools": 3.0, "json.loads": 1 / 1.3},
}


def run(options: Options) -> list[Row]:
    """Measure every variant on both kinds of record, in microseconds of processor time a record."""
    number = options.changes or RECORDS
    repeats = options.repeats or REPEATS
    rows: list[Row] = []
    for kind, records in (
        ("nested", nested_orders(options.records, number)),
        ("flat", flat_purchases(options.records, number)),
    ):
        values = turns(variants(records), repeats)
        change = values.pop("as a Change")
        rows += compare("parse", kind, "us/record", values, goals=GOALS[kind])
        both = {OURS: change, "Powertools": values["Powertools"]}
        rows += compare("parse", f"{kind}, as a Change", "us/record", both)
    return rows


def variants(records: list[Record]) -> dict[str, Callable[[], float]]:
    """Return the timed functions: each reads all images of all `records`."""
    images = [[each["dynamodb"][image] for image in IMAGES] for each in records]
    texts = [json.dumps(dict(zip(IMAGES, of_record, strict=True))) for of_record in images]
    deserializer = TypeDeserializer()

    def ours() -> None:
        for of_record in images:
            for image in of_record:
                deserialize_item(image)

    def as_change() -> None:
        for each in records:
            change = Change.from_record(each, SOURCE)
            _ = change.item_id, change.keys, change.new_image, change.old_image

    def boto3() -> None:
        for of_record in images:
            for image in of_record:
                {name: deserializer.deserialize(value) for name, value in image.items()}

    def powertools() -> None:
        for each in records:
            stream_record = DynamoDBRecord(each).dynamodb
            assert stream_record is not None
            _ = stream_record.keys, stream_record.new_image, stream_record.old_image

    def json_loads() -> None:
        for text in texts:
            json.loads(text)

    contestants = {
        OURS: ours,
        "boto3": boto3,
        "Powertools": powertools,
        "json.loads": json_loads,
        "as a Change": as_change,
    }
    return {name: partial(fastest, run, len(records)) for name, run in contestants.items()}


def nested_orders(path: Path, number: int) -> list[Record]:
    """Return changes of orders with their lines."""
    modified = (each for each in stream(path) if each["eventName"] == "MODIFY")
    return list(islice(modified, number))


def flat_purchases(path: Path, number: int) -> list[Record]:
    """Return changes of purchases as the data set has them: who, when, how many discs, for what."""
    records: list[Record] = []
    for purchase in read_purchases(path, number):
        before = {
            "customer_id": purchase.customer,
            "order_id": f"{purchase.customer}-{purchase.number:04}",
            "date": f"{purchase.day:%Y-%m-%d}",
            "status": "placed",
            "quantity": purchase.units,
            "value": purchase.value,
        }
        records.append(record(before, before | {"status": "shipped"}))
    return records
