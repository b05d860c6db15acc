"""Copies each item of a table into a table of its own: its newest state, never an older one.

Edit `view`. The copy has a row for each item: its identity, the version of its state, and the view,
which is empty once the item is deleted.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.config import Config

from dynamodb_streams_cdc import Change, Deadline, Image, Outcome, Processor, Source
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.errors import require_request_id, translated
from dynamodb_streams_cdc.aws.s3 import S3DeadLetters
from dynamodb_streams_cdc.dead_letters import json_ready
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, ItemVersion, ReadItem, evaluated

CLIENT = Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1})
"""Short waits and no retries: the processor retries as long as the invocation lasts."""


def view(item: Image) -> dict[str, Any]:
    """Return the attributes to copy. An error makes a dead letter of the change."""
    return {"status": item["status"], "total": item["total"]}


class Copy:
    """The sink. `apply` is enough for a processor; with the rest, `cdc repair` works too."""

    retains = False

    def __init__(self, table: Any) -> None:
        self.table = table

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Write each change, unless the row has its version or a greater one."""
        outcome = Outcome()
        for change in changes:
            older = Attr("version").not_exists() | Attr("version").lt(change.version)
            try:
                deadline.check()
                row = _row(change.item_id, change.version, change.new_image, deadline)
                written = self._write(row, older)
            except Exception as error:  # the processor retries it, or writes a dead letter
                outcome.failures[change] = error
            else:
                outcome.applied += written
                outcome.stale += not written
        return outcome

    def repair(
        self,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None = None,
    ) -> bool:
        """Make a row equal to its item; return whether it differed."""
        while True:
            deadline.check()
            held = self._read(item_id)  # before the item: see `Repairable`
            versions = [held["version"]] if held else []
            versions += [known.version] if known else []
            if not versions:
                return False
            row = _row(item_id, max(versions), read_item(), deadline)
            differs = held is None or held["view"] != row["view"]
            if not differs and held and held["version"] == row["version"]:
                return False
            revision = Attr("revision")
            if self._write(row, revision.eq(held["revision"]) if held else revision.not_exists()):
                return differs

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return a row as JSON can carry it, for `cdc dead-letters show`."""
        row: Mapping[str, Any] | None = json_ready(self._read(item_id))
        return row

    def _read(self, item_id: str) -> Mapping[str, Any] | None:
        with translated():
            response = self.table.get_item(Key={"item": item_id}, ConsistentRead=True)
        row: Mapping[str, Any] | None = response.get("Item")
        return row

    def _write(self, row: Mapping[str, Any], condition: ConditionBase) -> bool:
        try:
            with translated():
                self.table.put_item(Item=row, ConditionExpression=condition)
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _row(item_id: str, version: str, item: Image | None, deadline: Deadline) -> dict[str, Any]:
    """Return the row of an item. One without a view is a tombstone, which expires."""
    row = {"item": item_id, "version": version, "revision": uuid4().hex}
    if item is None:
        return {**row, "view": None, "expires_at": int(deadline.now()) + 2 * TOMBSTONE_SECONDS}
    return {**row, "view": evaluated(view, item)}


@cache
def dynamodb() -> Any:
    """Return the function's client of DynamoDB."""
    return session().client("dynamodb", config=CLIENT)


@cache
def s3() -> Any:
    """Return the function's client of S3."""
    return session().client("s3", config=CLIENT)


@cache
def session() -> boto3.Session:
    """Return a session to whose clients an answer that is not of AWS is an outage."""
    made = boto3.Session()
    made.events.register("before-parse", require_request_id)
    return made


@cache
def processor() -> Processor:
    """Return the processor, made at the function's first call."""
    name = os.environ["PROCESSOR"]
    copy = session().resource("dynamodb", config=CLIENT).Table(os.environ["COPY_TABLE"])
    return Processor(
        name,
        Source(os.environ["SOURCE"]),
        Copy(copy),
        S3DeadLetters(s3, os.environ["DEAD_LETTER_BUCKET"], f"dead-letters/{name}/"),
        source_table=DynamoDbSourceTable(dynamodb, os.environ["TABLE"]),
    )


def handler(event: Any, context: Any) -> Any:
    """Process a batch of the stream, or a request of `cdc`."""
    return processor()(event, context)
