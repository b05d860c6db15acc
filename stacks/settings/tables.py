"""Settings of the source tables."""

import json
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dynamodb_streams_cdc.entities import Table
from stacks.settings.encryption import KEY_ARN

# Named in "Reading and processing a stream" of the DynamoDB developer guide:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
READERS_PER_SHARD = 2
READERS_PER_SHARD_OF_A_GLOBAL_TABLE = 1
TABLE_ARN = r"^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}$"
STREAM_ARN = rf"{TABLE_ARN[:-1]}/stream/\d{{4}}-\d\d-\d\dT[\d:.]+$"


def _parsed(value: object) -> object:
    """Return a setting that is an object, given on the command line as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        message = f"must be a JSON object: {error}"
        raise ValueError(message) from None


class ExistingTable(BaseModel):
    """A source table that exists.

    Attributes:
        arn: ARN of the table. Example: `arn:aws:dynamodb:eu-west-1:123456789012:table/Orders`.
        stream_arn: ARN of its current stream. Example:
            `arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-01-01T00:00:00.000`.
        readers: Lambda functions and other programs that read the stream already. Unit: readers per
            shard. Example: `1`.
        global_table: A global table, whose replication leaves one reader per shard:
            docs/how-to/global-tables.md. Example: `true`.
        canary: The watcher writes the canary into the table, every five minutes; other readers of
            the stream get it too. Example: `true`.
        key_arn: KMS key of the table, if it is the customer's.
            Example: `arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arn: Annotated[str, Field(pattern=TABLE_ARN)]
    stream_arn: Annotated[str, Field(pattern=STREAM_ARN)]
    readers: Annotated[int, Field(ge=0, le=2)] = 0
    global_table: bool = False
    canary: bool = False
    key_arn: Annotated[str, Field(pattern=KEY_ARN)] | None = None

    @property
    def room(self) -> int:
        """The processors of this app that its stream serves, in addition to other readers."""
        limit = READERS_PER_SHARD_OF_A_GLOBAL_TABLE if self.global_table else READERS_PER_SHARD
        return max(0, limit - self.readers)

    @model_validator(mode="after")
    def _stream_is_of_the_table(self) -> Self:
        if not self.stream_arn.startswith(f"{self.arn}/stream/"):
            message = (
                f"stream_arn is not a stream of {self.arn}: give the LatestStreamArn of the table"
            )
            raise ValueError(message)
        return self


class TableSettings(BaseModel):
    """Tables.

    Attributes:
        source_tables: Source tables that exist, by the name that the domain declares. Without one,
            the app creates the table. Unit: JSON. Example:
            `{"orders": {"arn": "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders",
            "stream_arn":
            "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-01-01T00:00:00.000"}}`.
    """

    source_tables: Annotated[dict[str, ExistingTable], BeforeValidator(_parsed)] = {}

    def readers(self, table: Table) -> int:
        """Return how many processors may read a table's stream, next to those that already do."""
        existing = self.source_tables.get(table.name)
        return READERS_PER_SHARD if existing is None else existing.room
