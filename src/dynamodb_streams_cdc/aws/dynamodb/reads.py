"""Reads of many items: pages of a scan, and items by their keys."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import with_bytes
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.sinks.comparison import Place, Segment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_KEYS = 100
"""The most keys of one BatchGetItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)."""


class ScanPage(NamedTuple):
    """A page of a scan: its items, where to go on (None at the end), and the units consumed."""

    items: Sequence[Attributes]
    following: Place | None
    units: float


def scan_page(
    client: "DynamoDBClient",
    table: str,
    segment: Segment,
    place: Place | None,
    most: int,
    deadline: Deadline,
    *,
    consistent: bool = True,
    **options: Any,
) -> ScanPage:
    """Return the next items of a segment; `options` are further parameters of Scan.

    Raises:
        RetryableError: the table cannot be read at the moment.
        DeadlineExceeded: the deadline has passed.
    """
    deadline.check()
    if place is not None:
        options["ExclusiveStartKey"] = with_bytes(place)
    with translated():
        page = client.scan(
            TableName=table,
            ConsistentRead=consistent,
            Limit=most,
            Segment=segment.number,
            TotalSegments=segment.of,
            ReturnConsumedCapacity="TOTAL",
            **options,
        )
    units = float(page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
    return ScanPage(page["Items"], page.get("LastEvaluatedKey"), units)


def read_items(
    client: "DynamoDBClient", table: str, keys: Sequence[Any], deadline: Deadline
) -> Iterator[Attributes]:
    """Yield the items that exist, in any order, read consistently; no two keys are the same.

    Raises:
        RetryableError: they cannot be read at the moment.
        DeadlineExceeded: the deadline has passed.
    """
    for start in range(0, len(keys), BATCH_GET_KEYS):
        wanted: list[Any] = list(keys[start : start + BATCH_GET_KEYS])
        while wanted:
            deadline.check()
            with translated():
                response = client.batch_get_item(
                    RequestItems={table: {"Keys": wanted, "ConsistentRead": True}}
                )
            found = response["Responses"].get(table, [])
            yield from found
            left = response["UnprocessedKeys"].get(table)
            wanted = list(left["Keys"]) if left else []
            if wanted and not found:
                message = f"DynamoDB left {len(wanted)} items of {table} unread: capacity is short"
                raise RetryableError(message)
