"""The markers of `idempotency.Once` in the idempotency table, which expires them.

The table holds seven kinds of records, told apart by the prefix of their key `id`:

    ledger/<item>                          ledger rows, the idempotency records of the aggregation:
                                           the item's version and contribution; they do not expire
    attempt/<processor>/<sequence number>  attempts at a record that may kill its function; 2 days
    once/<effect>/<item>/<version>         markers of `Once`; 90 days
    generations/sums                       the generations of the sums; see `sinks.generations`
    notes/operations                       notes of operators; see `control.notes`
    forgetting/<item>, erased/<receipt>    erasures that are not complete, and receipts of those
                                           that are; see `control.erasure`

Aggregation writes ledger rows and generations, every processor writes attempts and notes, functions
with effects that do not converge, such as `lambdas/notifications`, write markers, and
`lambdas/erasure` writes the records of erasures.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.errors import meaning, translated
from dynamodb_streams_cdc.names import EXPIRES_AT, IDEMPOTENCY_KEY, WRITTEN_AT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbIdempotencyStore:
    """`IdempotencyStore` in a table with partition key `id` and TTL attribute `expires_at`."""

    client: "DynamoDBClient"
    table: str

    def seen(self, key: str) -> bool:
        """Return whether the marker is there, read consistently."""
        with translated():
            response = self.client.get_item(
                TableName=self.table, Key={IDEMPOTENCY_KEY: {"S": key}}, ConsistentRead=True
            )
        return "Item" in response

    def mark(self, key: str, keep_seconds: int) -> None:
        """Write the marker."""
        with translated():
            self.client.put_item(TableName=self.table, Item=_marker(key, keep_seconds))

    def mark_with(self, key: str, keep_seconds: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Write the marker and do the actions in one transaction, if the marker is not there."""
        marker: dict[str, Any] = {
            "Put": {
                "TableName": self.table,
                "Item": _marker(key, keep_seconds),
                "ConditionExpression": "attribute_not_exists(id)",
            }
        }
        items: Any = [marker, *actions]
        try:
            with translated():
                self.client.transact_write_items(TransactItems=items)
        except self.client.exceptions.TransactionCanceledException as error:
            reasons = error.response.get("CancellationReasons", [])
            if reasons and reasons[0].get("Code") == "ConditionalCheckFailed":
                return False
            for reason in reasons:
                if reason.get("Code", "None") != "None":
                    raise meaning(reason["Code"], reason.get("Message", "")) from error
            raise
        return True


def _marker(key: str, keep_seconds: int) -> dict[str, Any]:
    now = int(time.time())
    return {
        IDEMPOTENCY_KEY: {"S": key},
        EXPIRES_AT: {"N": str(now + keep_seconds)},
        WRITTEN_AT: {"N": str(now)},
    }
