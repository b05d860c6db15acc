"""The tables of an erasure on DynamoDB: entries and markers that can be deleted, and records.

Records are in the idempotency table. `forgetting/<item>` is an erasure that is not complete, of an
item whose tombstones have its key as well; `erased/<receipt>` says that something was erased and
when, and nothing else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dynamodb_streams_cdc.aws.dynamodb.log import PARALLEL, DynamoDbLog
from dynamodb_streams_cdc.aws.dynamodb.reads import read_items, scan_page
from dynamodb_streams_cdc.aws.errors import meaning, translated
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.erasure import ErasureRecord, Start
from dynamodb_streams_cdc.control.erasure_copies import Marker
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item, serialize_item
from dynamodb_streams_cdc.idempotency import MARKER_SECONDS
from dynamodb_streams_cdc.names import (
    ERASED,
    EXPIRES_AT,
    FORGETTING,
    IDEMPOTENCY_KEY,
    ONCE,
    WRITTEN_AT,
)
from dynamodb_streams_cdc.sinks.comparison import Segment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MARKERS_PAGE = 5_000
"""Items of the idempotency table that one request reads: about 1 MB, the most of a scan's page."""


def _delete(
    client: "DynamoDBClient", table: str, keys: Iterable[Mapping[str, Any]], deadline: Deadline
) -> None:
    """Delete items, some at a time: DeleteItem alone, because BatchWriteItem may put as well."""

    def delete(key: Mapping[str, Any]) -> None:
        deadline.check()
        with translated():
            client.delete_item(TableName=table, Key=dict(key))

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(delete, keys))


@dataclass(frozen=True)
class DynamoDbErasableLog(DynamoDbLog):
    """`ErasableLog`."""

    def read(self, item_id: str) -> Iterator[Attributes]:
        """Return the entries of an item in the order of their versions, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """
        with translated():
            yield from super().read(item_id)

    def delete(self, item_id: str, versions: Sequence[str], deadline: Deadline) -> None:
        """Delete entries of an item."""
        keys = ({"item": {"S": item_id}, "version": {"S": version}} for version in versions)
        _delete(self.client, self.table, keys, deadline)


@dataclass(frozen=True)
class DynamoDbMarkers:
    """`ErasableMarkers`: a scan of the idempotency table, whose keys begin with the effect."""

    client: "DynamoDBClient"
    table: str

    def walk(self, start: Start, deadline: Deadline) -> tuple[Iterable[Marker], Start]:
        """Return the next markers: one page of a scan."""
        page = scan_page(
            self.client,
            self.table,
            Segment(),
            start,
            MARKERS_PAGE,
            deadline,
            FilterExpression="begins_with(id, :once)",
            ExpressionAttributeValues={":once": {"S": ONCE}},
            ProjectionExpression=f"{IDEMPOTENCY_KEY}, {EXPIRES_AT}, {WRITTEN_AT}",
        )
        return [_marker(item) for item in page.items], page.following

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete markers."""
        _delete(self.client, self.table, ({IDEMPOTENCY_KEY: {"S": key}} for key in keys), deadline)


@dataclass(frozen=True)
class DynamoDbErasureRecords:
    """`ErasureRecords` in the idempotency table."""

    client: "DynamoDBClient"
    table: str

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, ErasureRecord]:
        """Return the records of erasures that are not complete, by item, read consistently."""
        keys = [{IDEMPOTENCY_KEY: {"S": FORGETTING + item_id}} for item_id in item_ids]
        found: list[dict[str, Any]] = [
            deserialize_item(item) for item in read_items(self.client, self.table, keys, deadline)
        ]
        return {
            item[IDEMPOTENCY_KEY].removeprefix(FORGETTING): ErasureRecord(
                item["receipt"],
                float(item["began_at"]),
                float(item["since"]),
                int(item["revision"]),
            )
            for item in found
        }

    def note(self, item_id: str, since: float, deadline: Deadline) -> None:
        """Make the record of an item, or raise its `since`."""
        deadline.check()
        values = {":now": _number(deadline.now()), ":since": _number(since)}
        update = partial(
            self.client.update_item,
            TableName=self.table,
            Key={IDEMPOTENCY_KEY: {"S": FORGETTING + item_id}},
        )
        with translated():
            update(
                UpdateExpression=(
                    "ADD revision :one SET began_at = if_not_exists(began_at, :now), "
                    "receipt = if_not_exists(receipt, :receipt), "
                    "since = if_not_exists(since, :since)"
                ),
                ExpressionAttributeValues=serialize_item(
                    {**values, ":one": 1, ":receipt": str(uuid4())}
                ),
            )
        try:
            with translated():
                update(
                    UpdateExpression="SET since = :since",
                    ConditionExpression="since < :since",
                    ExpressionAttributeValues=serialize_item({":since": values[":since"]}),
                )
        except self.client.exceptions.ConditionalCheckFailedException:
            return

    def complete(self, item_id: str, record: ErasureRecord, deadline: Deadline) -> bool:
        """Write the receipt and delete the record in one transaction; return False if it moved."""
        deadline.check()
        receipt = {
            IDEMPOTENCY_KEY: ERASED + record.receipt,
            "began_at": _number(record.began_at),
            "erased_at": _number(deadline.now()),
        }
        actions: list[Any] = [
            {
                "Delete": {
                    "TableName": self.table,
                    "Key": {IDEMPOTENCY_KEY: {"S": FORGETTING + item_id}},
                    "ConditionExpression": "receipt = :receipt AND revision = :revision",
                    "ExpressionAttributeValues": serialize_item(
                        {":receipt": record.receipt, ":revision": record.revision}
                    ),
                }
            },
            {"Put": {"TableName": self.table, "Item": serialize_item(receipt)}},
        ]
        try:
            with translated():
                self.client.transact_write_items(TransactItems=actions)
        except self.client.exceptions.TransactionCanceledException as error:
            reasons = error.response.get("CancellationReasons", [])
            for reason in reasons:
                code = reason.get("Code", "None")
                if code not in ("None", "ConditionalCheckFailed"):
                    raise meaning(code, reason.get("Message", "")) from error
            return False
        return True

    def find_receipts(self, names: Collection[str], deadline: Deadline) -> Collection[str]:
        """Return which of these receipts have been written, read consistently."""
        keys = [{IDEMPOTENCY_KEY: {"S": ERASED + name}} for name in names]
        found = read_items(self.client, self.table, keys, deadline)
        return {item[IDEMPOTENCY_KEY]["S"].removeprefix(ERASED) for item in found}


def _marker(item: Attributes) -> Marker:
    """Return a marker; one of an earlier version says only when it expires."""
    marker: dict[str, Any] = deserialize_item(item)
    written_at = marker.get(WRITTEN_AT, marker.get(EXPIRES_AT, 0) - MARKER_SECONDS)
    return Marker(marker[IDEMPOTENCY_KEY], float(written_at))


def _number(seconds: float) -> Decimal:
    return Decimal(str(round(seconds, 3)))
