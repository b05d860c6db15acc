"""Lambda function of the watcher: counts the dead letters and writes the canary on a schedule."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.canary import canary_item
from dynamodb_streams_cdc.metrics import publish
from dynamodb_streams_cdc.names import RETIRED, Metric
from lambdas import runtime
from lambdas.watcher.settings import WatcherSettings

COUNTED_UP_TO = 10_000
"""Objects of a place that are counted at most: ten requests of 1,000 keys."""


@cache
def settings() -> WatcherSettings:
    """Return the function's settings, read at its cold start."""
    return WatcherSettings.load()


def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Publish the counts first: they have to be right even if the table cannot be written.

    Without the keys of a table, write no canary.
    """
    known = settings()
    waiting = Counter(dict.fromkeys([*known.dead_letters, RETIRED], 0))
    for bucket, prefix in known.all_dead_letters:
        waiting.update(_owner(known, bucket, key) for key in _keys(bucket, prefix))
    for processor, number in waiting.items():
        # No canary has arrived here; but the metric is there before the first one does.
        publish(
            known.pipeline, processor, {Metric.DEAD_LETTERS_WAITING: number, Metric.CANARIES: 0}
        )
    if known.source_table_keys:
        runtime.dynamodb().put_item(
            TableName=known.source_table_name,
            Item=canary_item(known.source_table_keys, time.time()),
        )


def _owner(known: WatcherSettings, bucket: str, key: str) -> str:
    """Return the processor that a dead letter is of, or `RETIRED` if it is gone."""
    for processor, places in known.dead_letters.items():
        if any(bucket == where and key.startswith(prefix) for where, prefix in places):
            return processor
    return RETIRED


def _keys(bucket: str, prefix: str) -> Iterator[str]:
    """Return the keys of a place, at most `COUNTED_UP_TO`."""
    listing = runtime.s3().get_paginator("list_objects_v2")
    for page in listing.paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": COUNTED_UP_TO}
    ):
        yield from (entry["Key"] for entry in page.get("Contents", ()))
