"""The table whose changes are followed, read to repair, compare and fill its copies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.dynamodb.ledger import BATCH_GET_KEYS
from dynamodb_streams_cdc.aws.dynamodb.units import units_of
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item, with_bytes
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbSourceTable:
    """`WholeTable`.

    Attributes:
        client: returns the client of DynamoDB; called for the first repair, and most do none.
        table: its physical name.
    """

    client: Callable[[], "DynamoDBClient"]
    table: str

    def read(self, keys: Attributes) -> Image | None:
        """Return the item with these keys by a consistent read; `None` if it is not there."""
        key: Any = with_bytes(keys)
        with translated():
            response = self.client().get_item(TableName=self.table, Key=key, ConsistentRead=True)
        item = response.get("Item")
        return None if item is None else deserialize_item(item)

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        """Return the items with these keys by consistent reads, in order; `None` for no item.

        No two keys are the same. Items are as DynamoDB JSON.
        """
        wanted: list[Any] = [with_bytes(each) for each in keys]
        found: dict[str, Attributes] = {}
        for start in range(0, len(wanted), BATCH_GET_KEYS):
            left: list[Any] = wanted[start : start + BATCH_GET_KEYS]
            while left:
                deadline.check()
                with translated():
                    response = self.client().batch_get_item(
                        RequestItems={self.table: {"Keys": left, "ConsistentRead": True}}
                    )
                items = response["Responses"].get(self.table, [])
                for item in items:
                    found[_name({name: item[name] for name in keys[0]})] = item
                unread = response["UnprocessedKeys"].get(self.table)
                left = list(unread["Keys"]) if unread else []
                if left and not items:
                    message = f"DynamoDB left {len(left)} items unread: capacity is short"
                    raise RetryableError(message)
        return [found.get(_name(each)) for each in wanted]

    def scan(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        consistent: bool,
    ) -> TablePage:
        """Return the next items of a segment: one page of a scan."""
        deadline.check()
        start: Any = {"ExclusiveStartKey": with_bytes(place)} if place else {}
        with translated():
            page = self.client().scan(
                TableName=self.table,
                ConsistentRead=consistent,
                Limit=most,
                Segment=segment.number,
                TotalSegments=segment.of,
                ReturnConsumedCapacity="TOTAL",
                **start,
            )
        return TablePage(page["Items"], page.get("LastEvaluatedKey"), units_of(page))


def _name(keys: Mapping[str, Any]) -> str:
    decoded: Image = deserialize_item(keys, "Keys")
    return item_id("-", decoded)
