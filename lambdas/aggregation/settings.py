"""Settings of the aggregation function."""

from typing import Annotated

from pydantic import Field

from lambdas.settings import Name, Settings


class AggregationSettings(Settings):
    """Variables of the aggregation's environment.

    Attributes:
        source_table_name: name of the table of items, which repairs read.
        idempotency_table: name of the idempotency table. Its rows under `ledger/` are the
            aggregation's idempotency records: an item's version and contribution.
        aggregates_table: name of the table of sums.
        aggregate_shards: number of rows that a sum is spread over, 1 to 1,000.
    """

    source_table_name: Name
    idempotency_table: Name
    aggregates_table: Name
    aggregate_shards: Annotated[int, Field(ge=1, le=1000)]
