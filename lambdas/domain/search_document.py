"""The search document of an order, and the mapping of the index."""

from typing import Any

from dynamodb_streams_cdc import Image
from lambdas.domain.order import Order

PROPERTIES: dict[str, Any] = {
    "customer_id": {"type": "keyword"},
    "order_id": {"type": "keyword"},
    "status": {"type": "keyword"},
    "placed_at": {"type": "date"},
    "total": {"type": "scaled_float", "scaling_factor": 100},
    "currency": {"type": "keyword"},
    "units": {"type": "long"},
    "titles": {"type": "text"},
    "updated_by": {"type": "keyword"},
}
"""Types of the document's fields. A changed type needs a new index."""

SETTINGS: dict[str, Any] = {
    "index": {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "search.slowlog.threshold.query.warn": "1s",
        "search.slowlog.threshold.fetch.warn": "1s",
        "indexing.slowlog.threshold.index.warn": "1s",
    }
}
"""Of the index. A replica where there is a second node to hold it. Without thresholds a domain
publishes no slow request:
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/createdomain-configure-slow-logs.html
"""


def document(image: Image) -> dict[str, Any]:
    """Return the document of an order. Pure: it sees the order alone."""
    order = Order.of(image)
    return {
        "customer_id": order.customer_id,
        "order_id": order.order_id,
        "status": order.status,
        "placed_at": order.placed_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "total": order.total,
        "currency": order.currency,
        "units": order.units,
        "titles": sorted({line.title for line in order.lines}),
        "updated_by": order.updated_by,
    }
