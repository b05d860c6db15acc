"""Forms of values that several entities share."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainValidator


def _in_utc(value: object) -> datetime:
    """Return the moment that an ISO 8601 text with an offset means; pydantic takes far more."""
    moment = None
    with suppress(ValueError):  # its message quotes the text
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        message = "a moment is ISO 8601 text with an offset, such as 1997-01-01T00:00:00Z"
        raise ValueError(message)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = "the moment is in UTC outside the years 1 to 9999"
        raise ValueError(message) from None


Money = Annotated[Decimal, Field(max_digits=15, decimal_places=2, ge=0)]
"""Below 10^13: the index counts in cents, exactly up to 2^53 of them."""

Quantity = Annotated[int, Field(ge=1, le=10**9)]
Moment = Annotated[datetime, PlainValidator(_in_utc)]


def iso(moment: datetime) -> str:
    """Return a moment in UTC as ISO 8601 text, to the second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


INDEX_SETTINGS: dict[str, Any] = {
    "index": {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "search.slowlog.threshold.query.warn": "1s",
        "search.slowlog.threshold.fetch.warn": "1s",
        "indexing.slowlog.threshold.index.warn": "1s",
    }
}
"""Of the index. Its number of shards is fixed once there is an index; one holds 50 GiB at most. The
replicas are those of an index without settings. Without thresholds a domain publishes no slow
request:
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/createdomain-configure-slow-logs.html
"""
