"""Settings of each processor: its function and its event source mapping."""

from typing import Annotated

from pydantic import BaseModel, Field


class ProcessorSettings(BaseModel):
    """Processors.

    Attributes:
        memory_mib: Memory of a processor's function; its share of a processor grows with it. Unit:
            MiB. Example: `1024`.
        batch_size: Most records of a batch. A batch has at most 6 MB. Unit: records. Example:
            `500`.
        batching_window_seconds: Time that Lambda gathers records for a batch. Unit: seconds.
            Example: `5`.
        parallelization_factor: Batches of a shard that a function processes at the same time. Unit:
            batches per shard. Example: `4`.
        reserved_concurrency: Invocations that are reserved for a function, and its most at once.
            Fewer than shards times `parallelization_factor` throttle it. Unit: invocations.
            Example: `40`.
        max_record_age_hours: Age at which a mapping gives a record up. The stream keeps it for 24
            hours, and Lambda needs some of them to write it to the bucket. Unit: hours. Example:
            `24`.
        breaker_share: Share of the recent items that may become dead letters for one reason, before
            a shard waits instead; 1 turns the breaker off. Unit: share. Example: `0.9`.
    """

    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; a batch of 6 MB and
    # its changes do not fit into the least that Lambda offers, 128 MB.
    memory_mib: Annotated[int, Field(ge=256, le=10_240)] = 512
    # https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    batching_window_seconds: Annotated[int, Field(ge=0, le=300)] = 1
    parallelization_factor: Annotated[int, Field(ge=1, le=10)] = 2
    reserved_concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_record_age_hours: Annotated[int, Field(ge=2, le=24)] = 20
    breaker_share: Annotated[float, Field(ge=0, le=1)] = 0.5
