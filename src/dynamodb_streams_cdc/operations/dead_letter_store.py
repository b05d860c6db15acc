"""Dead letters as an operator finds them: opened, or with a sentence on what keeps them shut.

There are two kinds, each in a bucket of its own. Lambda writes the batches that a mapping gave up
into the on-failure bucket, under `aws/lambda/<mapping UUID>/`, with all their records as payload.
Processors write single records into the dead-letter bucket, under `dead_letters/<processor>/`. What
has been redriven moves to `archive/` of the dead-letter bucket, under its old key. So a key says by
its beginning which bucket it belongs to, and names a dead letter on its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

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
from dynamodb_streams_cdc.lambda_types import OnFailureDocument
from dynamodb_streams_cdc.names import DEAD_LETTERS

Record: TypeAlias = Mapping[str, Any]


class Stored(NamedTuple):
    """A dead letter in its box, unopened; `size` in bytes, `written_at` in seconds since 1970."""

    key: str
    size: int
    written_at: float


class DeadLetterStore(Protocol):
    """Where dead letters lie until they are redriven.

    Several people may work on one box: whatever is listed may be gone when it is asked for.
    """

    def dead_letters(self) -> Iterable[Stored]:
        """Return the dead letters that are not archived, in the order of their keys."""

    def read(self, key: str) -> bytes | None:
        """Return a dead letter as it is stored; None if it is gone."""

    def holds(self, key: str) -> bool:
        """Return whether a dead letter is there."""

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a dead letter; return False, leaving what is there, if the key is taken."""

    def archive(self, key: str) -> bool:
        """Move a dead letter to the archive; return False if it is gone.

        It is copied before it is deleted: one who is killed in between leaves both, and archiving
        it again is all there is to do.
        """


@dataclass(frozen=True)
class Names:
    """What is deployed, by the names that dead letters mention.

    Attributes:
        processors: processors by the names of their functions.
        tables: logical names of tables by physical ones; others stand for themselves.
        successor: the processor that takes over dead letters whose own is not deployed any more.
    """

    processors: Mapping[str, str]
    tables: Mapping[str, str] = field(default_factory=dict)
    successor: str | None = None


class Identity(NamedTuple):
    """Whose record it is; `version` lacks its epoch where only the function knows that."""

    item: str
    version: str


@dataclass(frozen=True)
class ReadableDeadLetter:
    """A dead letter that can be redriven.

    Attributes:
        processor: whose function is to replay it.
        reason: the name by which dead letters of one cause are grouped.
        error: what went wrong, in words; empty where Lambda knew nothing.
        records: what was given up, as it was delivered.
        identities: of each record; None for one that cannot be read here.
        document: all that the dead letter says.
    """

    key: str
    processor: str
    reason: str
    error: str
    records: Sequence[Record] = field(repr=False)
    identities: Sequence[Identity | None] = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class UnreadableDeadLetter:
    """An object that nobody can redrive as it is.

    Attributes:
        problem: a sentence that names the key, what is wrong, and what to do.
        processor: whose it is, by its key; empty below the prefix that all share.
    """

    key: str
    problem: str
    processor: str = ""


def parse_dead_letter(
    key: str, body: bytes, names: Names
) -> ReadableDeadLetter | UnreadableDeadLetter:
    """Return the dead letter of this key and content."""
    try:
        return _opened(key, body, names)
    except _Shut as shut:
        problem = str(shut)
    except RecursionError:
        problem = f"is no dead letter: it is nested too deep. {_ASIDE}."
    processor = (
        key.removeprefix(DEAD_LETTERS).partition("/")[0] if key.startswith(DEAD_LETTERS) else ""
    )
    return UnreadableDeadLetter(key, f"{key} {problem}", processor)


def dead_letter_of_one_record(
    dead_letter: ReadableDeadLetter,
    position: int,
    identity: Identity | None,
    reason: str,
    error: str,
    now: float,
) -> tuple[str, OnFailureDocument]:
    """Return key and content of a dead letter of its own for one record of a dead letter.

    The key is that under which the processor would have written it.
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
    """Return the name in a function's ARN, without a version or an alias."""
    parts = arn.split(":")
    return parts[6] if len(parts) > 6 else arn


def identify(record: Record, tables: Mapping[str, str]) -> Identity | None:
    """Return whose change a record tells of, as far as can be told outside of the function.

    A record of the change log's stream names both; one of a table's stream has the item's keys.
    """
    body = _part(record, "dynamodb")
    keys = _part(body, "Keys")
    try:
        if keys.keys() == {"item", "version"}:
            found = deserialize_item(keys)
            return Identity(str(found["item"]), check_version(str(found["version"])))
        arn = str(record.get("eventSourceARN", ""))
        physical = arn.partition("/stream/")[0].rpartition("/")[2]
        table = check_table(tables.get(physical, physical))
        item = item_id(table, deserialize_item(keys))  # type: ignore[arg-type]
        _, version = version_of("", stream_label(arn), str(body.get("SequenceNumber"))).split(
            "/", 1
        )
        return Identity(item, version)
    except (MalformedRecord, ValueError):
        return None


class _Shut(Exception):
    """What is wrong with a dead letter: the end of a sentence that begins with its key."""


_NOT_JSON = (ValueError, RecursionError)
_ASIDE = (
    "Look at it with `cdc dead-letters show`; if nobody needs it, move it to archive/ or delete it"
)


def _opened(key: str, body: bytes, names: Names) -> ReadableDeadLetter:
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
        identities = [Identity(item, version)]
    return ReadableDeadLetter(
        key, processor, str(reason), str(error), records, identities, document
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except _NOT_JSON as error:
        message = f"is no dead letter, or a truncated one: it is not JSON ({error}). {_ASIDE}."
        raise _Shut(message) from None
    if not isinstance(document, Mapping):
        message = (
            f"is no dead letter: it holds a JSON {type(document).__name__}, no object. {_ASIDE}."
        )
        raise _Shut(message)
    return document


def _records(document: Mapping[str, Any]) -> Sequence[Record]:
    payload = document.get("payload")
    if payload is None:
        message = (
            "has no payload: it only points into a stream, which forgets after 24 hours. Compare "
            "the sink with the table, then move it to archive/ or delete it."
        )
        raise _Shut(message)
    try:
        event = json.loads(payload) if isinstance(payload, str) else payload
    except _NOT_JSON as error:
        message = f"is truncated: its payload is not JSON ({error}). {_ASIDE}."
        raise _Shut(message) from None
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not records:
        message = f"is no dead letter: its payload has no list of records under Records. {_ASIDE}."
        raise _Shut(message)
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            message = (
                f"holds something that is no record: Records[{position}] is "
                f"{form_of(record)}. {_ASIDE}."
            )
            raise _Shut(message)
    return records


def _known(processor: object, names: Names) -> str:
    deployed = sorted(set(names.processors.values()))
    if isinstance(processor, str) and processor in deployed:
        return processor
    return _taken_over(f"is for processor {processor!r}", deployed, names)


def _processor_of(arn: object, names: Names) -> str:
    if not isinstance(arn, str):
        message = f"is no dead letter: it names no function under requestContext. {_ASIDE}."
        raise _Shut(message)
    name = function_name(arn)
    if name in names.processors:
        return names.processors[name]
    return _taken_over(f"was written for function {name}", sorted(names.processors), names)


def _taken_over(whose: str, deployed: Sequence[str], names: Names) -> str:
    if names.successor is not None:
        return names.successor
    message = (
        f"{whose}, which is not deployed; deployed are {', '.join(deployed) or 'none'}. Redrive it "
        "through the processor that took over (`cdc redrive --as PROCESSOR`), or move it to "
        "archive/."
    )
    raise _Shut(message)


def _part(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = holder.get(name)
    return part if isinstance(part, Mapping) else {}


def _recorded_at(record: Record) -> float | None:
    value = _part(record, "dynamodb").get("ApproximateCreationDateTime")
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
