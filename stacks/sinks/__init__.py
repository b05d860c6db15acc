"""The sinks: a module each, which adds a processor with its resources and permissions.

A table's sinks are those that its entities use: the others are not deployed.
A further sink is a module here, a line in `SINKS`, and a function in lambdas/NAME: see
docs/how-to/add-a-sink.md.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT, SEARCH
from stacks.constructs.stream_processor import StreamProcessor
from stacks.sinks.aggregation import add_aggregation
from stacks.sinks.audit import add_audit
from stacks.sinks.notifications import NAME as NOTIFICATIONS
from stacks.sinks.notifications import add_notifications
from stacks.sinks.search import add_search

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack

SINKS: Mapping[str, Callable[["PipelineStack"], StreamProcessor]] = {
    AGGREGATION: add_aggregation,
    AUDIT: add_audit,
    SEARCH: add_search,
    NOTIFICATIONS: add_notifications,
}
"""By the sink's name, which is also the name of its processor and of its folder in lambdas."""
