"""Settings of the whole pipeline."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

RETENTION_DAYS = (1, 3, 7, 14, 30, 90, 180, 365, 731, 3653)


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        message = f"must be one of {', '.join(map(str, RETENTION_DAYS))}"
        raise ValueError(message)
    return days


class GeneralSettings(BaseModel):
    """Pipeline.

    Attributes:
        epoch: First part of every version. Raise it when the sinks follow a restored table or
            another Region. Example: `0002`.
        log_retention_days: Time that CloudWatch keeps the functions' logs. Unit: days. Example:
            `90`.
        aggregate_shards: Rows over which each aggregate is spread, at least four times
            `parallelization_factor`. It may be raised at any time. Unit: rows. Example: `16`.
        protection: Termination protection of the stacks and deletion protection of the tables.
            `make deploy` turns it off for a first deploy: CloudFormation cannot remove a protected
            stack that failed. Example: `true`.
    """

    epoch: Annotated[str, Field(pattern=r"^\d{4}$")] = "0001"
    log_retention_days: Annotated[
        int, AfterValidator(_retention), Field(json_schema_extra={"enum": list(RETENTION_DAYS)})
    ] = 14
    aggregate_shards: Annotated[int, Field(ge=1, le=100)] = 8
    protection: bool = False
