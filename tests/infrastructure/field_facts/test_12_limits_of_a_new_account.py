"""A new on-demand table has four partitions and so four shards; each lane of each adds to sums.

With fewer rows of a sum than lanes, transactions conflict at real latencies. The rows of one sum
share a partition key, so one partition takes them (1,000 write units a second) until DynamoDB
splits it: 500 transactions a second on one sum, each of which may carry a whole batch.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
"""

import pytest

from stacks.environments import DEFAULTS, Environment, SettingsError, load
from stacks.settings.names import PROFILES
from tools.example_context import CONTEXT


@pytest.mark.parametrize("name", PROFILES)
def test_a_sum_has_a_row_for_every_lane_of_a_new_stream(name: str) -> None:
    """Of the defaults, which no validator has seen."""
    fields = Environment.model_fields
    settings = {
        field: DEFAULTS[name].get(field, fields[field].default)
        for field in ("aggregate_shards", "parallelization_factor")
    }
    assert settings["aggregate_shards"] >= 4 * settings["parallelization_factor"]


def test_fewer_rows_than_lanes_are_refused() -> None:
    with pytest.raises(SettingsError) as refused:
        load({**CONTEXT, "environment": "sandbox", "parallelization_factor": "10"})
    assert "Setting 'aggregate_shards' is 8, fewer than the 40 lanes" in str(refused.value)
    assert "give at least 40" in str(refused.value)
