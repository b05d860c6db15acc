"""Settings of the aggregation function."""

from typing import Annotated

from pydantic import Field

from lambdas.settings import Name, Settings


class AggregationSettings(Settings):
    """Variables of the aggregation function.

    Attributes:
        source_table_name: Name of the source table, for repair, verification and backfill.
        idempotency_table: Name of the idempotency table, which has the version and contribution of
            each item under `ledger/`.
        aggregates_table: Name of the table with the aggregates.
        aggregate_shards: Rows over which each aggregate is spread. Unit: rows.
    """

    source_table_name: Name
    idempotency_table: Name
    aggregates_table: Name
    aggregate_shards: Annotated[int, Field(ge=1, le=1000)]
