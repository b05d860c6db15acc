"""`OperatorNotes` in the idempotency table; see `idempotency` for the table."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.names import IDEMPOTENCY_KEY, NOTES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class DynamoDbNotes:
    """`OperatorNotes` in one item of a table with partition key `id`: an attribute for each note.

    Attributes:
        client: returns the client of DynamoDB; called for each operator.
        table: the idempotency table.
    """

    client: Callable[[], "DynamoDBClient"]
    table: str

    def read(self, deadline: Deadline) -> Mapping[str, Mapping[str, Any]]:
        """Return the notes by name, read consistently."""
        deadline.check()
        with translated():
            response = self.client().get_item(
                TableName=self.table, Key={IDEMPOTENCY_KEY: {"S": NOTES}}, ConsistentRead=True
            )
        found = response.get("Item", {})
        return {n: json.loads(value["S"]) for n, value in found.items() if n != IDEMPOTENCY_KEY}

    def write(self, notes: Mapping[str, Mapping[str, Any]], deadline: Deadline) -> None:
        """Write notes by name; others stay."""
        deadline.check()
        names = list(notes)
        with translated():
            self.client().update_item(
                TableName=self.table,
                Key={IDEMPOTENCY_KEY: {"S": NOTES}},
                UpdateExpression="SET " + ", ".join(f"#n{i} = :n{i}" for i in range(len(names))),
                ExpressionAttributeNames={f"#n{i}": name for i, name in enumerate(names)},
                ExpressionAttributeValues={
                    f":n{i}": {"S": json.dumps(notes[name])} for i, name in enumerate(names)
                },
            )

    def erase(self, names: Sequence[str], deadline: Deadline) -> None:
        """Remove the notes of these names."""
        deadline.check()
        with translated():
            self.client().update_item(
                TableName=self.table,
                Key={IDEMPOTENCY_KEY: {"S": NOTES}},
                UpdateExpression="REMOVE " + ", ".join(f"#n{i}" for i in range(len(names))),
                ExpressionAttributeNames={f"#n{i}": name for i, name in enumerate(names)},
            )
