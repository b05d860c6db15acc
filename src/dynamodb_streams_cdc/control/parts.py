"""Parts of a table or a sink: what a request asks for, and how far its response has come.

A request goes on from `place` and ends at `limit` items, when time runs short, or at the end of its
segment. Its response says where the next one goes on.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item
from dynamodb_streams_cdc.errors import (
    DeadlineExceeded,
    MalformedRecord,
    RetryableError,
    form_of,
)
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.lambda_types import BatchResponse
from dynamodb_streams_cdc.sinks.base import WholeTable
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import Contribution

DEFAULT_LIMIT = 500
"""Items of a request that names no limit."""

RESPONSE_BYTES = 4_000_000
"""JSON of a response after which no page is read any more; a response of Lambda has 6 MB at most
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

PAGE_BYTES = 1_500_000
"""JSON of one page's findings; a page that has more is read again in halves."""

LAST_PAGE_SECONDS = 10.0
"""Time that has to be left to begin another page."""

SMALL_PAGE = 100
"""Items of a page of a small response, whose failures have a text each."""

SMALL_RESPONSE_BYTES, SMALL_PAGE_BYTES = 120_000, 100_000
"""As `RESPONSE_BYTES` and `PAGE_BYTES`, for a response below 256 KiB."""

PARTS = ("table", "copies", "sums", "items")


@dataclass(frozen=True)
class Part:
    """The part that a request asks for.

    Attributes:
        of: what is read: `table`, `copies`, `sums` or `items`.
        segment: part of the table or of the store.
        place: where to go on; None for the beginning.
        limit: items to read, about.
        store: number of the store whose copies are read.
        entity: takes items of this entity alone.
        keys: types of the table's key attributes, to look up the items of copies.
        records: items to compare, each `{"Keys": ...}` or `{"item": ..., "store": ...}`.
        look_up: looks up the items of copies; without it, copies are only added up.
        small: keeps the response below 256 KiB, the payload of a state of Step Functions
            (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
    """

    of: str
    segment: Segment = field(default_factory=Segment)
    place: Place | None = None
    limit: int = DEFAULT_LIMIT
    store: int = 0
    entity: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()
    small: bool = False
    look_up: bool = True

    def page(self, most: int) -> int:
        """Return the number of items of a page, where `most` are usual."""
        return min(most, self.limit, SMALL_PAGE if self.small else most)

    @property
    def page_bytes(self) -> int:
        """JSON of a page's findings, at most; a page that has more is read again in halves."""
        return SMALL_PAGE_BYTES if self.small else PAGE_BYTES

    @property
    def response_bytes(self) -> int:
        """JSON of a response after which no page is read any more."""
        return SMALL_RESPONSE_BYTES if self.small else RESPONSE_BYTES

    @classmethod
    def from_event(cls, event: Mapping[str, Any], of: str | None = None) -> "Part":
        """Return the part that an event asks for; `of` is what it reads, if there is no choice.

        Raises:
            MalformedRecord: a field has another form.
        """
        of = of or event.get("of")
        if of not in PARTS:
            message = f"of: expected one of {', '.join(PARTS)}, got {form_of(of)}"
            raise MalformedRecord(message)
        number, segments = event.get("segment", 0), event.get("segments", 1)
        limit, store = event.get("limit", DEFAULT_LIMIT), event.get("store", 0)
        if not all(type(n) is int and n >= 0 for n in (number, segments, limit, store)):
            message = "segment, segments, limit and store: expected whole numbers"
            raise MalformedRecord(message)
        if number >= segments:
            message = f"segment: expected a number below segments ({segments}), got {number}"
            raise MalformedRecord(message)
        return cls(
            of,
            Segment(number, segments),
            event.get("place"),
            max(1, limit),
            store,
            event.get("entity"),
            event.get("keys", {}),
            event.get("Records", ()),
            event.get("small") is True,
            event.get("lookUp") is not False,
        )


class PartResponse(BatchResponse):
    """The response to a request for a part.

    Attributes:
        read: number of items, copies or rows read.
        units: read capacity units of DynamoDB consumed by reading them.
        place: where the next request goes on.
        done: whether the segment is done.
        problem: why the request ended early, if the sink or the table was at fault; ask again.
    """

    read: int
    units: float
    place: Place | None
    done: bool
    problem: str


class Page(NamedTuple):
    """What was read at one time; `following` is where to go on, None at the end.

    `size` is the number of bytes that it adds to the response.
    """

    read: int
    units: float
    following: Place | None
    size: int = 0


def take(
    pages: Iterable[Page],
    part: Part,
    response: PartResponse,
    deadline: Deadline,
) -> None:
    """Take pages, and count them in the response, while there is time.

    It ends at the part's limit, and at `RESPONSE_BYTES`. An outage ends it with the `problem` of
    the response.
    """
    size = 0
    try:
        for page in pages:
            size += page.size
            response["read"] += page.read
            response["units"] += page.units
            response["place"] = json.loads(json.dumps(page.following, default=base64_text))
            response["done"] = page.following is None
            is_late = deadline.remaining() < LAST_PAGE_SECONDS
            is_full = response["read"] >= part.limit or size >= part.response_bytes
            if response["done"] or is_full or is_late:
                return
    except (RetryableError, DeadlineExceeded) as error:
        response["problem"] = f"{type(error).__name__}: {error}"


def whole_table(applier: SinkApplier) -> WholeTable:
    """Return the table, of which many items can be read.

    Raises:
        MalformedRecord: the function has none.
    """
    table = applier.source_table
    if not isinstance(table, WholeTable):
        message = (
            "the function reads no source table, so it cannot take items from it: give its "
            "Processor a `source_table`"
        )
        raise MalformedRecord(message)
    return table


def keyed(record: Any, table: str) -> tuple[str, Attributes]:
    """Return the identity and the key of the item that a record `{"Keys": ...}` names.

    Raises:
        MalformedRecord: it has no key.
    """
    keys = record.get("Keys") if isinstance(record, Mapping) else None
    if not isinstance(keys, Mapping):
        message = f"Records: expected an item's key under Keys, got {form_of(record)}"
        raise MalformedRecord(message)
    decoded: Image = deserialize_item(keys, "Keys")
    return item_id(table, decoded), keys


def size_of(findings: object) -> int:
    """Return the bytes of findings in a response; none for nothing."""
    return len(json.dumps(findings)) if findings else 0


def as_text(sums: Contribution) -> dict[str, dict[str, str]]:
    """Return sums as JSON can carry them without loss."""
    return {
        aggregate: {measure: str(amount) for measure, amount in measures.items()}
        for aggregate, measures in sums.items()
    }
