"""Names of the deployed resources, from the outputs of the pipeline's stack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        if "Manifest" in outputs:
            return cls._of_manifest(outputs)
        return cls(
            orders=outputs["OrdersTableName"],
            change_log=outputs["ChangeLogTableName"],
            aggregates=outputs["AggregatesTableName"],
            ledger=outputs["IdempotencyTableName"],
            large_images=outputs["LargeImagesBucketName"],
            search_endpoint=outputs["SearchEndpoint"],
            search_index=outputs["SearchIndex"],
            dead_letters=outputs["DeadLetterBucketName"],
            on_failure=outputs["OnFailureBucketName"],
            functions=_by_processor(outputs, "FunctionName"),
            notification_queues=_by_processor(outputs, "DeadLetterQueueUrl"),
        )

    @classmethod
    def _of_manifest(cls, outputs: Mapping[str, str]) -> Resources:
        found = json.loads(outputs["Manifest"])
        tables, buckets = found["tables"], found["buckets"]
        [source] = found["source_tables"]
        return cls(
            orders=source["table"],
            change_log=tables["change_log"],
            aggregates=tables["aggregates"],
            ledger=tables["idempotency"],
            large_images=buckets["large_images"],
            search_endpoint=found["search"]["endpoint"],
            search_index=found["search"]["index"],
            dead_letters=buckets["dead_letters"],
            on_failure=buckets["on_failure"],
            functions={each["name"]: each["function"] for each in found["processors"]},
            notification_queues={
                each["name"]: each["dead_letter_queue"] for each in found["processors"]
            },
        )


def _by_processor(outputs: Mapping[str, str], suffix: str) -> dict[str, str]:
    return {
        name.removesuffix(suffix).lower(): value
        for name, value in outputs.items()
        if name.endswith(suffix)
    }
