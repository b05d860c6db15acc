"""`Attempts` in the idempotency table, which expires them; see `idempotency` for the table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.guards.attempts import KEEP_SECONDS
from dynamodb_streams_cdc.names import ATTEMPT, IDEMPOTENCY_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbAttempts:
    """`Attempts` in a table with partition key `id` and TTL attribute `expires_at`.

    One item for each record, at `attempt/<name>`; a function needs to update keys of that prefix,
    and nothing else.

    Attributes:
        client: returns the client of DynamoDB; called for each suspect.
        table: the idempotency table.
    """

    client: Callable[[], "DynamoDBClient"]
    table: str

    def begin(self, name: str, now: float) -> int:
        """Count an attempt; return how many began before and did not end."""
        return self._add(1, name, now) - 1

    def end(self, name: str, now: float) -> None:
        """Set the count to zero, which takes no other permission."""
        with translated():
            self.client().update_item(
                TableName=self.table,
                Key={IDEMPOTENCY_KEY: {"S": ATTEMPT + name}},
                UpdateExpression="SET attempts = :none, expires_at = :expires_at",
                ExpressionAttributeValues={":none": {"N": "0"}, ":expires_at": _expiry(now)},
            )

    def read(self, name: str, now: float) -> int:
        """Return how many attempts began and did not end, which takes no other permission."""
        return self._add(0, name, now)

    def _add(self, number: int, name: str, now: float) -> int:
        with translated():
            response = self.client().update_item(
                TableName=self.table,
                Key={IDEMPOTENCY_KEY: {"S": ATTEMPT + name}},
                UpdateExpression="ADD attempts :number SET expires_at = :expires_at",
                ExpressionAttributeValues={
                    ":number": {"N": str(number)},
                    ":expires_at": _expiry(now),
                },
                ReturnValues="ALL_NEW",  # also a count that stays as it is
            )
        return int(response["Attributes"]["attempts"]["N"])


def _expiry(now: float) -> dict[str, str]:
    return {"N": str(int(now) + KEEP_SECONDS)}
