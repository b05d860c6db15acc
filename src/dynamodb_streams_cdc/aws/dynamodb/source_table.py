"""The table whose changes are followed, read to repair, compare and fill its copies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.dynamodb.reads import read_items, scan_page
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item, with_bytes
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbSourceTable:
    """`WholeTable`.

    Attributes:
        client: returns the client of DynamoDB; called for each repair, and most do none.
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
        wanted = [with_bytes(each) for each in keys]
        found = {
            _name({name: item[name] for name in keys[0]}): item
            for item in read_items(self.client(), self.table, wanted, deadline)
        }
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
        client = self.client()
        page = scan_page(client, self.table, segment, place, most, deadline, consistent=consistent)
        return TablePage(page.items, page.following, page.units)


def _name(keys: Mapping[str, Any]) -> str:
    decoded: Image = deserialize_item(keys, "Keys")
    return item_id("-", decoded)
