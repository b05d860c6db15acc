"""Names of the deployed resources, from the manifest of the pipeline's stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.operations.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Resources:
    """Names of the deployed resources.

    Attributes:
        orders, change_log, aggregates, ledger: tables.
        large_images: bucket of the images that are too large for a log entry.
        search_endpoint: URL of OpenSearch.
        search_index: read alias.
        dead_letters: bucket of the processors' dead letters.
        on_failure: bucket of Lambda's dead letters.
        functions: by processor.
        notification_queues: URLs by processor.
    """

    orders: str
    change_log: str
    aggregates: str
    ledger: str
    large_images: str
    search_endpoint: str
    search_index: str
    dead_letters: str
    on_failure: str
    functions: Mapping[str, str]
    notification_queues: Mapping[str, str]

    @classmethod
    def of(cls, outputs: Mapping[str, str]) -> Resources:
        """Return the resources; `outputs` are those of the stack."""
        manifest = Manifest.of("cdc-local-pipeline", outputs)
        assert manifest.search is not None
        return cls(
            orders=manifest.source_table().table,
            change_log=manifest.table("change_log"),
            aggregates=manifest.table("aggregates"),
            ledger=manifest.table("idempotency"),
            large_images=manifest.bucket("large_images"),
            search_endpoint=manifest.search.endpoint,
            search_index=manifest.search.indexes[0],
            dead_letters=manifest.bucket("dead_letters"),
            on_failure=manifest.bucket("on_failure"),
            functions=manifest.functions,
            notification_queues={e.name: e.dead_letter_queue for e in manifest.processors},
        )
