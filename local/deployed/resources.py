"""Names of the deployed resources of a table, from the manifest of its stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.operations.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamodb_streams_cdc.entities import Table


@dataclass(frozen=True, slots=True)
class Resources:
    """Names of the deployed resources of one source table.

    Attributes:
        stack: name of the pipeline's stack.
        source, ledger: tables.
        change_log, aggregates: tables; None if no entity uses the sink.
        large_images: bucket of the images that are too large for a log entry; None without log.
        search_endpoint: URL of OpenSearch; None if no entity has a document.
        indexes: read aliases by the declared name of the index.
        dead_letters: bucket of the processors' dead letters.
        on_failure: bucket of Lambda's dead letters.
        functions, feeds, notification_queues: by processor: the function's name, `table` or
            `change-log`, and the queue's URL.
    """

    stack: str
    source: str
    ledger: str
    change_log: str | None = None
    aggregates: str | None = None
    large_images: str | None = None
    search_endpoint: str | None = None
    indexes: Mapping[str, str] = field(default_factory=dict)
    dead_letters: str = ""
    on_failure: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)
    feeds: Mapping[str, str] = field(default_factory=dict)
    notification_queues: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table, stack: str, outputs: Mapping[str, str]) -> Resources:
        """Return the resources; `outputs` are those of the table's stack."""
        manifest = Manifest.of(stack, outputs)
        search = manifest.search
        aliases = search.indexes if search else ()
        return cls(
            stack=stack,
            source=manifest.source_table(table.name).table,
            ledger=manifest.table("idempotency"),
            change_log=manifest.tables.get("change_log"),
            aggregates=manifest.tables.get("aggregates"),
            large_images=manifest.buckets.get("large_images"),
            search_endpoint=search.endpoint if search else None,
            indexes={i.name: alias for i, alias in zip(table.indexes, aliases, strict=True)},
            dead_letters=manifest.bucket("dead_letters"),
            on_failure=manifest.bucket("on_failure"),
            functions=manifest.functions,
            feeds={each.name: each.feed for each in manifest.processors},
            notification_queues={e.name: e.dead_letter_queue for e in manifest.processors},
        )


def stack_of(stack_prefix: str, table: Table) -> str:
    """Return the name of the stack that has a table's pipeline."""
    return f"{stack_prefix}-{table.stack}"
