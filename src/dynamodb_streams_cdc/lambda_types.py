"""What a function answers to the mapping that invoked it."""

from collections.abc import Mapping
from typing import Any, TypedDict


class ItemFailure(TypedDict):
    """One entry of `batchItemFailures`."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """What a function with ReportBatchItemFailures returns."""

    batchItemFailures: list[ItemFailure]


def sequence_number(record: object) -> str:
    """Return the record's sequence number; empty, which fails the whole batch, if it has none."""
    body = record.get("dynamodb") if isinstance(record, Mapping) else None
    number: Any = body.get("SequenceNumber") if isinstance(body, Mapping) else None
    return number if isinstance(number, str) else ""
