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
        environment: name of the deployment, on its metrics: sandbox, production or local.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: Name

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
        source_table: logical name of the table whose changes are followed.
        epoch: of the lineage of streams, four digits.
        feed: stream that the mapping reads: the table's own, or the change log's.
        processor: the function's role, on its dead letters and metrics.
        dead_letter_bucket: name of the dead-letter bucket.
        dead_letter_prefix: of the dead letters' keys.
        attempts_table: name of the idempotency table; the function counts its deaths on a record
            there, under `attempt/<processor>/`.
        breaker_share: of the recent items that may become dead letters for one reason, 0 to 1; with
            1 the breaker never opens.
        breaker_items: distinct failing items below which the breaker never opens.
    """

    source_table: Name
    epoch: Annotated[str, Field(pattern=r"^\d{4}$")]
    feed: Literal["table", "change-log"]
    processor: Name
    dead_letter_bucket: Name
    dead_letter_prefix: Annotated[str, Field(pattern=r".+/$")]
    attempts_table: Name
    breaker_share: Annotated[float, Field(ge=0, le=1)] = SHARE
    breaker_items: Annotated[int, Field(ge=1)] = LEAST
