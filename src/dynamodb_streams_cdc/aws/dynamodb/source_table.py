"""The table whose changes are followed, read item by item to repair its copies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.deserializer import deserialize_item, with_bytes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbSourceTable:
    """`SourceTable`.

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
