"""Lambda function that erases what the pipeline holds of items that were deleted.

Its role alone may delete in every store; who may invoke it is a matter of IAM (`ErasurePolicyArn`).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.aws.dynamodb.erasure import (
    DynamoDbErasableLog,
    DynamoDbErasureRecords,
    DynamoDbMarkers,
)
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.notes import DynamoDbNotes
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.s3_versions import S3ObjectVersions
from dynamodb_streams_cdc.control.erasure import Erasure, HoldingPlace
from dynamodb_streams_cdc.control.erasure_copies import (
    IndexPlace,
    LedgerPlace,
    LogPlace,
    MarkersPlace,
)
from dynamodb_streams_cdc.control.erasure_objects import DeadLettersPlace, ImagesPlace
from dynamodb_streams_cdc.deadline import Deadline, SystemClock
from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS, GIVEN_UP_BY_LAMBDA
from lambdas import runtime
from lambdas.erasure.settings import ErasureSettings
from lambdas.search_client import search_client


@cache
def erasure() -> Erasure:
    """Return what the function runs, made at its cold start."""
    settings = ErasureSettings.load()
    return Erasure(
        settings.source_table,
        runtime.source_table(settings.source_table_name),
        places=_places(settings),
        copies=_copies(settings),
        records=DynamoDbErasureRecords(runtime.dynamodb(), settings.idempotency_table),
        notes=DynamoDbNotes(runtime.dynamodb, settings.idempotency_table),
    )


def _places(settings: ErasureSettings) -> dict[str, HoldingPlace]:
    """Return the places but the copies. A redrive moves dead letters to the archive: it is last."""
    own = S3ObjectVersions(runtime.s3, settings.dead_letter_bucket)
    given_up = S3ObjectVersions(runtime.s3, settings.on_failure_bucket)
    table = settings.source_table

    def waiting(objects: S3ObjectVersions, prefix: str) -> DeadLettersPlace:
        return DeadLettersPlace(objects, prefix, table, may_move=True, own=settings.own_sinks)

    places: dict[str, HoldingPlace] = {
        "given-up": waiting(given_up, ""),
        "dead-letters": waiting(own, DEAD_LETTERS),
        # Before decision 16 Lambda wrote there.
        "given-up-earlier": waiting(own, GIVEN_UP_BY_LAMBDA),
        "archive": DeadLettersPlace(own, ARCHIVE, table, may_move=False),
    }
    if settings.change_log_table:
        log = DynamoDbErasableLog(runtime.dynamodb(), settings.change_log_table)
        places["change-log"] = LogPlace(log)
    if settings.large_images_bucket:
        images = S3ObjectVersions(runtime.s3, settings.large_images_bucket)
        places["large-images"] = ImagesPlace(images)
    if settings.own_sinks:
        markers = DynamoDbMarkers(runtime.dynamodb(), settings.idempotency_table)
        places["markers"] = MarkersPlace(markers)
    return places


def _copies(settings: ErasureSettings) -> dict[str, HoldingPlace]:
    copies: dict[str, HoldingPlace] = {}
    if settings.search_endpoint:
        client = search_client(
            settings.search_endpoint, settings.search_auth, settings.search_region
        )
        for name in settings.search_indexes:
            # Reads and deletes only: the mapping is of no use.
            index = OpenSearchIndex(client, name, properties={}, settings={})
            copies[f"search-{name}"] = IndexPlace(index.every)
    if settings.aggregates_table:
        copies["aggregation"] = LedgerPlace(
            DynamoDbLedger(
                runtime.dynamodb(), settings.idempotency_table, settings.aggregates_table
            )
        )
    return copies


def handler(event: Mapping[str, Any], context: LambdaContext) -> Any:
    """Respond to a request of `cdc forget`."""
    return erasure().respond(event, Deadline.of(context, SystemClock()))
