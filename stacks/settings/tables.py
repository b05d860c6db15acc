"""Settings of the source tables."""

import json
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TABLE_ARN = r"^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}$"
STREAM_ARN = rf"{TABLE_ARN[:-1]}/stream/\d{{4}}-\d\d-\d\dT[\d:.]+$"
KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"


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
        arn: of the table.
        stream_arn: of its current stream.
        readers: Lambda functions and other programs that read the stream already. Unit: readers per
            shard.
        canary: whether the watcher writes the canary into the table, every five minutes; other
            readers of the stream get it too.
        key_arn: KMS key of the table, if it is the customer's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arn: Annotated[str, Field(pattern=TABLE_ARN)]
    stream_arn: Annotated[str, Field(pattern=STREAM_ARN)]
    readers: Annotated[int, Field(ge=0, le=2)] = 0
    canary: bool = False
    key_arn: Annotated[str, Field(pattern=KEY_ARN)] | None = None

    @model_validator(mode="after")
    def _stream_is_of_the_table(self) -> Self:
        if not self.stream_arn.startswith(f"{self.arn}/stream/"):
            message = f"stream_arn is not a stream of {self.arn}"
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
