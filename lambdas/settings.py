"""Settings of the functions, from environment variables, checked once at the cold start."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from dynamodb_streams_cdc.guards.breaker import LEAST, SHARE

Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class SettingsError(Exception):
    """Environment variables are missing or wrong; the message names each one."""


class FunctionSettings(BaseModel):
    """Variables of any function's environment, in lower case.

    Attributes:
        pipeline: Name of the pipeline's stack, a dimension of the metrics.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pipeline: Name

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings of an environment.

        Raises:
            SettingsError: variables are missing or wrong; names them all.
        """
        named = {name.upper(): name for name in cls.model_fields}
        found = {field: environ[name] for name, field in named.items() if name in environ}
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            problems = "; ".join(
                ": ".join([*(str(name).upper() for name in problem["loc"][:1]), problem["msg"]])
                for problem in error.errors()
            )
            message = f"environment of the function: {problems}"
            raise SettingsError(message) from None


class Settings(FunctionSettings):
    """Variables of a processor's environment, in lower case.

    Attributes:
        source_table: Logical name of the source table, the first part of item ids.
        epoch: First part of every version, four digits.
        feed: Stream that the mapping reads: the source table's or the change log's.
        processor: Name of the processor in dead letters and metrics.
        dead_letter_bucket: S3 bucket for dead letters.
        dead_letter_prefix: Prefix of the keys of this processor's dead letters.
        large_images_bucket: S3 bucket for images that are too large for an entry of the change log;
            empty if the function reads the table's own stream.
        attempts_table: Name of the idempotency table, which counts the invocations that die on a
            record, under `attempt/PROCESSOR/`.
        breaker_share: Share of the recent items that may become dead letters for one reason; 1
            turns the breaker off. Unit: share.
        breaker_items: Failing items below which the breaker stays closed. Unit: items.
    """

    source_table: Name
    epoch: Annotated[str, Field(pattern=r"^\d{4}$")]
    feed: Literal["table", "change-log"]
    processor: Name
    dead_letter_bucket: Name
    dead_letter_prefix: Annotated[str, Field(pattern=r".+/$")]
    large_images_bucket: str = ""
    attempts_table: Name
    breaker_share: Annotated[float, Field(ge=0, le=1)] = SHARE
    breaker_items: Annotated[int, Field(ge=1)] = LEAST
