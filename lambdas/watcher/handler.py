"""Writes the canary and publishes how many dead letters wait; runs every few minutes."""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.canary import canary_item
from dynamodb_streams_cdc.metrics import publish
from lambdas import runtime
from lambdas.watcher.settings import WatcherSettings

COUNTED_UP_TO = 10_000
"""Objects of a place; ten requests of 1,000 keys. So many need no exact number."""


@cache
def settings() -> WatcherSettings:
    """Return the function's settings, read at its cold start."""
    return WatcherSettings.load()


def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Count first: the count has to be right even where the table cannot be written."""
    known = settings()
    for processor, places in known.dead_letters.items():
        waiting = sum(_count(bucket, prefix) for bucket, prefix in places)
        publish(known.environment, processor, {"DeadLettersWaiting": waiting})
    runtime.dynamodb().put_item(
        TableName=known.source_table_name,
        Item=canary_item(known.source_table_keys, time.time()),
    )


def _count(bucket: str, prefix: str) -> int:
    """Return how many objects a place holds, at most `COUNTED_UP_TO`."""
    pages = (
        runtime.s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": COUNTED_UP_TO})
    )
    return sum(len(page.get("Contents", ())) for page in pages)
