"""Capacity that DynamoDB consumed, from its responses."""

from collections.abc import Mapping
from typing import Any


def units_of(response: Mapping[str, Any]) -> float:
    """Return the units of a response to a request for one table; 0 if it does not tell.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ConsumedCapacity.html
    """
    return float(response.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
