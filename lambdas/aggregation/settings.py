"""Settings of the aggregation function."""

from typing import Annotated

from pydantic import Field

from lambdas.settings import Name, Settings


class AggregationSettings(Settings):
    """Variables of the aggregation function.

    Attributes:
        source_table_name: Name of the source table, for repairs.
        large_images_bucket: S3 bucket for images that are too large for an entry; empty if the
            function reads the table's own stream.
        idempotency_table: Name of the idempotency table, which has the version and contribution of
            each item under `ledger/`.
        aggregates_table: Name of the table with the aggregates.
        aggregate_shards: Rows over which each aggregate is spread. Unit: rows.
    """

    source_table_name: Name
    large_images_bucket: str = ""
    idempotency_table: Name
    aggregates_table: Name
    aggregate_shards: Annotated[int, Field(ge=1, le=1000)]
