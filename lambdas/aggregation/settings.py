"""Settings of the aggregation function."""

from typing import Annotated

from pydantic import Field

from lambdas.settings import Name, Settings


class AggregationSettings(Settings):
    """The tables of items, ledger and sums, and over how many rows a sum is spread."""

    source_table_name: Name
    idempotency_table: Name
    aggregates_table: Name
    aggregate_shards: Annotated[int, Field(ge=1, le=1000)]
