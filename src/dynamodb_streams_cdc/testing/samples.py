"""Events without a lab: stream records made of items, for a test that calls a function.

    event = sample_event({"id": "1", "status": "placed"})
    assert invoke(handler, event) == {"batchItemFailures": []}

A published sample often has a placeholder for the stream's ARN, or no time; none of its records can
be read, and a function that reports no failure for them has done nothing. And a sample with a fixed
time is older than any retry: a record that fails is given up at once. Those made here are new.
"""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dynamodb_streams_cdc.change import Change, Source
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.esm import FunctionContext, Result, classify
from dynamodb_streams_cdc.testing.simulation.poller import Handler
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER, STEP
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable

SAMPLE_ARN = "arn:aws:lambda:us-east-1:000000000000:function:sample"

_numbers = itertools.count(1)


class UnreadableEvent(AssertionError):
    """An event of which no record can be read: a test with it tests nothing."""


def sample_record(
    new: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    *,
    keys: Sequence[str] | Mapping[str, str] = ("id",),
    table: str = "sample-table",
    view_type: str = "NEW_AND_OLD_IMAGES",
    age: float = 0.0,
    expired: bool = False,
) -> dict[str, Any]:
    """Return the record of a change: of an insertion, a modification, or a removal.

    Args:
        new: the item after the change, in plain Python; None for a removal.
        old: the item before the change; None for an insertion.
        keys: names of the table's key attributes, or their types by name.
        table: its name.
        view_type: of the stream.
        age: how long ago the change was made, in seconds.
        expired: whether it was Time to Live that removed the item.

    Each record has a sequence number above those made before.

    Raises:
        ValueError: there is neither image, or they are of different items.
        WriteRefused: DynamoDB refuses the item.
    """
    if new is None and old is None:
        message = "a record is of a change: give the item after it, before it, or both"
        raise ValueError(message)
    number, made = next(_numbers), time.time() - age
    types = dict(keys) if isinstance(keys, Mapping) else {}
    source = SimulatedTable(table, tuple(keys), key_types=types)
    first = FIRST_SEQUENCE_NUMBER + number * 4 * STEP
    stream = source.enable_stream(made, view_type=view_type, first_sequence_number=first)
    for item in (old, new):
        if item is not None and not source.put(dict(item), made):
            message = "nothing changes from the old item to the new one: there is no record of that"
            raise ValueError(message)
    if new is None:
        source.delete(dict(old or {}), made, expired=expired)
    if len(source.history) > 1:
        message = f"the old and the new item have different keys: {', '.join(source.history)}"
        raise ValueError(message)
    [shard] = stream.shards.values()
    return json.loads(json.dumps({**shard.records[-1], "eventID": f"{number:032x}"}))  # type: ignore[no-any-return]


def sample_event(*changes: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Return an event: of records as they are, and of items as insertions of them.

    `options` are those of `sample_record`, for the items.
    """
    records = [
        change
        if "dynamodb" in change and "eventName" in change
        else sample_record(change, **options)
        for change in changes
    ]
    return {"Records": records}


def check_event(event: Mapping[str, Any]) -> None:
    """See whether an event is one that a stream delivers: any of its records can be read.

    Raises:
        UnreadableEvent: none can; the message says why.
    """
    records = event.get("Records")
    if records == [] and event.get("isFinalInvokeForWindow"):
        return
    if not isinstance(records, Sequence) or not records:
        message = (
            f'an event of a stream is {{"Records": [...]}} with a record or more, got {event!r:.80}'
        )
        raise UnreadableEvent(message)
    problems = [problem for record in records if (problem := _problem(record))]
    if len(problems) == len(records):
        message = (
            f"no record of this event can be read, so a test with it tests nothing: {problems[0]}. "
            "sample_event(...) makes an event that can"
        )
        raise UnreadableEvent(message)


def _problem(record: Any) -> str:
    try:
        Change.from_record(record, Source("sample"))
    except MalformedRecord as error:
        return str(error)
    return ""


def invoke(handler: Handler, event: Mapping[str, Any], *, timeout: float = 60.0) -> Any:
    """Call a function with a copy of an event and a whole context; return its response.

    Args:
        handler: the function, `handler(event, context)`.
        event: one of a stream.
        timeout: seconds of the machine's time that the context grants.

    Raises:
        UnreadableEvent: no record of the event can be read.
        TypeError: Lambda cannot write the response as JSON, so the invocation fails there.
    """
    check_event(event)
    began = time.monotonic()
    context = FunctionContext(
        aws_request_id=f"{next(_numbers):08x}-0000-4000-8000-000000000000",
        invoked_function_arn=SAMPLE_ARN,
        remaining=lambda: timeout - (time.monotonic() - began),
        started=time.time(),
    )
    response = handler(json.loads(json.dumps(event)), context)
    verdict = classify(response, (), report_batch_item_failures=False)
    if verdict.result is Result.ERROR:
        message = f"on Lambda this invocation fails, by its response: {verdict.reason}"
        raise TypeError(message)
    return response
