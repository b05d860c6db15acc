"""Read dead letters: each is readable, or unreadable with a sentence on what to do.

There are two kinds, each in a bucket of its own:

- Lambda writes a batch that a mapping gave up to the on-failure bucket, under
  `aws/lambda/<mapping UUID>/`, with all its records as payload.
- A processor writes a single record to the dead-letter bucket, under `dead-letters/<processor>/`.

A redrive moves a dead letter to `archive/` of the dead-letter bucket, under its old key. So the
prefix of a key tells the bucket, and the key alone identifies a dead letter.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dynamodb_streams_cdc.dead_letters import dead_letter_name, envelope_of
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, form_of
from dynamodb_streams_cdc.identity import (
    check_table,
    check_version,
    item_id,
    stream_label,
    version_of,
)
from dynamodb_streams_cdc.lambda_types import AnyRecord, OnFailureDocument
from dynamodb_streams_cdc.names import CHANGE_LOG_KEYS, DEAD_LETTERS

_ITEM = re.compile(r"#[0-9a-f]{64}$|[A-Za-z0-9_.-]+/[SNB]=", re.ASCII)
"""How an identity begins; see `identity.item_id`."""


class StoredDeadLetter(NamedTuple):
    """A dead letter in a list, unread: `size` in bytes, `written_at` in seconds since 1970."""

    key: str
    size: int
    written_at: float


class DeadLetterStore(Protocol):
    """Dead letters that wait for a redrive.

    Redrives may run concurrently: a dead letter that was listed may be gone when it is read.
    """

    def dead_letters(self) -> Iterable[StoredDeadLetter]:
        """Return the dead letters that are not archived, in the order of their keys."""

    def read(self, key: str) -> bytes | None:
        """Return the content of a dead letter; None if it is gone."""

    def holds(self, key: str) -> bool:
        """Return whether a dead letter exists."""

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a dead letter; return False and change nothing if the key is taken."""

    def archive(self, key: str) -> bool:
        """Move a dead letter to the archive; return False if it is gone.

        It is copied before it is deleted: a process that is killed in between leaves both, and
        archiving again completes the move.
        """


@dataclass(frozen=True)
class DeployedNames:
    """Names in dead letters, and the deployed processors and tables that they refer to.

    Attributes:
        processors: processors by function name.
        tables: logical names of tables by physical name; a table that is missing keeps its name.
        successor: processor that redrives the dead letters of processors that are not deployed.
    """

    processors: Mapping[str, str]
    tables: Mapping[str, str] = field(default_factory=dict)
    successor: str | None = None


class RecordIdentity(NamedTuple):
    """Item and version of a record; `version` has no epoch if only the function knows it."""

    item: str
    version: str


@dataclass(frozen=True)
class ReadableDeadLetter:
    """A dead letter that can be redriven.

    Attributes:
        processor: processor whose function replays it.
        reason: name that groups dead letters of one cause.
        error: error message; empty if Lambda recorded none.
        records: stream records, as delivered.
        identities: one per record; None for a record that cannot be decoded.
        document: the whole dead letter.
    """

    key: str
    processor: str
    reason: str
    error: str
    records: Sequence[AnyRecord] = field(repr=False)
    identities: Sequence[RecordIdentity | None] = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class UnreadableDeadLetter:
    """An object that cannot be redriven as it is.

    Attributes:
        problem: a sentence with the key, the fault, and what to do.
        processor: processor in its key; empty in the on-failure bucket.
    """

    key: str
    problem: str
    processor: str = ""


def parse_dead_letter(
    key: str, body: bytes, names: DeployedNames
) -> ReadableDeadLetter | UnreadableDeadLetter:
    """Return the dead letter of a key and its content."""
    try:
        return _parse(key, body, names)
    except _Unreadable as error:
        problem = str(error)
    except RecursionError:
        problem = f"is not a dead letter: it is nested too deep. {_ADVICE}."
    processor = ""
    if key.startswith(DEAD_LETTERS):
        processor = key.removeprefix(DEAD_LETTERS).partition("/")[0]
    return UnreadableDeadLetter(key, f"{key} {problem}", processor)


def dead_letter_of_one_record(
    dead_letter: ReadableDeadLetter,
    position: int,
    identity: RecordIdentity | None,
    reason: str,
    error: str,
    now: float,
) -> tuple[str, OnFailureDocument]:
    """Return key and content of a dead letter for one record of a batch.

    The key is the one that the processor would have used.
    """
    record = dead_letter.records[position]
    item, version = identity or (None, None)
    context = _part(dead_letter.document, "requestContext")
    document = envelope_of(
        record,
        processor=dead_letter.processor,
        item=item,
        version=version,
        reason=reason,
        error=error,
        arrived_at=_recorded_at(record),
        written_at=now,
        request_id=context.get("requestId"),
        function_arn=str(context.get("functionArn", "")),
    )
    return (
        f"{DEAD_LETTERS}{dead_letter.processor}/{dead_letter_name(item, version, record)}",
        document,
    )


def function_name(arn: str) -> str:
    """Return the name in a function's ARN, without version or alias."""
    parts = arn.split(":")
    return parts[6] if len(parts) > 6 else arn


def identify(record: AnyRecord, tables: Mapping[str, str]) -> RecordIdentity | None:
    """Return item and version of a record, as far as they are known outside the function.

    A record of the change log's stream names both; one of a table's stream has the item's keys,
    which may have the same names as those of the change log.
    """
    body = _part(record, "dynamodb")
    keys = _part(body, "Keys")
    try:
        arn = str(record.get("eventSourceARN", ""))
        physical = arn.partition("/stream/")[0].rpartition("/")[2]
        if physical not in tables and (entry := _of_change_log(keys)):
            return entry
        table = check_table(tables.get(physical, physical))
        item = item_id(table, deserialize_item(keys))  # type: ignore[arg-type]
        _, version = version_of("", stream_label(arn), str(body.get("SequenceNumber"))).split(
            "/", 1
        )
        return RecordIdentity(item, version)
    except (MalformedRecord, ValueError):
        return None


def _of_change_log(keys: Mapping[str, Any]) -> RecordIdentity | None:
    """Return the item and version that the key of an entry names; None for any other key."""
    if keys.keys() != set(CHANGE_LOG_KEYS):
        return None
    item, version = (str(deserialize_item(keys)[name]) for name in CHANGE_LOG_KEYS)
    if not _ITEM.match(item):
        return None
    try:
        return RecordIdentity(item, check_version(version))
    except MalformedRecord:
        return None


class _Unreadable(Exception):
    """Fault of a dead letter: the end of a sentence that begins with its key."""


_NOT_JSON = (ValueError, RecursionError)
_ADVICE = (
    "Look at it with `cdc dead-letters show`; if it is not needed, move it to archive/ or delete it"
)


def _parse(key: str, body: bytes, names: DeployedNames) -> ReadableDeadLetter:
    document = _document(body)
    records = _records(document)
    own, context = _part(document, "dead_letter"), _part(document, "requestContext")
    if own:
        processor = _known(own.get("processor"), names)
        reason, error = own.get("reason", "unknown"), own.get("error", "")
    else:
        processor = _processor_of(context.get("functionArn"), names)
        reason = context.get("condition", "unknown")
        error = _part(document, "responseContext").get("functionError") or ""
    identities = [identify(record, names.tables) for record in records]
    item, version = own.get("item"), own.get("version")
    if isinstance(item, str) and isinstance(version, str) and len(records) == 1:
        identities = [RecordIdentity(item, version)]
    return ReadableDeadLetter(
        key, processor, str(reason), str(error), records, identities, document
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except _NOT_JSON as error:
        message = f"is not a dead letter, or a truncated one: it is not JSON ({error}). {_ADVICE}."
        raise _Unreadable(message) from None
    if not isinstance(document, Mapping):
        message = (
            f"is not a dead letter: it holds a JSON {type(document).__name__}, not an object. "
            f"{_ADVICE}."
        )
        raise _Unreadable(message)
    return document


def _records(document: Mapping[str, Any]) -> Sequence[AnyRecord]:
    payload = document.get("payload")
    if payload is None:
        message = (
            "has no payload, only a position in a stream, which keeps records for 24 hours. Repair "
            "its items (`cdc repair`), then move it to archive/ or delete it."
        )
        raise _Unreadable(message)
    try:
        event = json.loads(payload) if isinstance(payload, str) else payload
    except _NOT_JSON as error:
        message = f"is truncated: its payload is not JSON ({error}). {_ADVICE}."
        raise _Unreadable(message) from None
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not records:
        message = (
            f"is not a dead letter: its payload has no list of records under Records. {_ADVICE}."
        )
        raise _Unreadable(message)
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            message = (
                f"holds something that is not a record: Records[{position}] is "
                f"{form_of(record)}. {_ADVICE}."
            )
            raise _Unreadable(message)
    return records


def _known(processor: object, names: DeployedNames) -> str:
    deployed = sorted(set(names.processors.values()))
    if isinstance(processor, str) and processor in deployed:
        return processor
    return _successor(f"is for processor {processor!r}", deployed, names)


def _processor_of(arn: object, names: DeployedNames) -> str:
    if not isinstance(arn, str):
        message = f"is not a dead letter: it names no function under requestContext. {_ADVICE}."
        raise _Unreadable(message)
    name = function_name(arn)
    if name in names.processors:
        return names.processors[name]
    return _successor(f"was written for function {name}", sorted(names.processors), names)


def _successor(whose: str, deployed: Sequence[str], names: DeployedNames) -> str:
    if names.successor is not None:
        return names.successor
    message = (
        f"{whose}, which is not deployed; deployed are {', '.join(deployed) or 'none'}. Redrive it "
        "through the processor that replaced it (`cdc redrive --as PROCESSOR`), or move it to "
        "archive/."
    )
    raise _Unreadable(message)


def _part(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = holder.get(name)
    return part if isinstance(part, Mapping) else {}


def _recorded_at(record: AnyRecord) -> float | None:
    value = _part(record, "dynamodb").get("ApproximateCreationDateTime")
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
