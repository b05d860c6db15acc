"""Replay records, inspect states, and repair copies of items; see `control`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, TypeAlias, TypedDict

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Change, Image, Source
from dynamodb_streams_cdc.control.parts import keyed
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import (
    BlockedByEarlierFailure,
    DeadlineExceeded,
    MalformedRecord,
    PermanentError,
    RetryableError,
    text_of,
)
from dynamodb_streams_cdc.identity import floor_of, stream_label
from dynamodb_streams_cdc.lambda_types import BatchResponse, ItemFailure, sequence_number
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import ItemVersion, Outcome, Repairable, Skip, SourceTable

ReadRecords: TypeAlias = Sequence[Change | MalformedRecord]
"""The change of each record, or the error of reading it."""

RETRIES = 3
"""Retries of changes that the sink refuses for now; the operator waits, and can ask again."""


class FailureReport(TypedDict):
    """A record that is not done.

    `position` is its place in the event; `retryable` says that the sink, and not the record, was
    the reason, and the same replay may succeed later.
    """

    position: int
    item: str | None
    version: str | None
    reason: str
    error: str
    retryable: bool


class ReplayResponse(BatchResponse):
    """The response to a replay.

    `applied` and `stale` count records that the sink took and that it refused as stale; `repaired`
    counts items whose copy differed from the table.
    """

    applied: int
    stale: int
    repaired: int
    failures: list[FailureReport]


class HeldState(TypedDict):
    """The sink's state of one record's item; `offered` is the record's own version.

    `state_unknown` is true for a sink that its function cannot read, such as an append-only log.
    """

    position: int
    item: str | None
    offered: str | None
    version: str | None
    state: Mapping[str, Any] | None
    state_unknown: NotRequired[bool]


class InspectResponse(BatchResponse):
    """The response to an inspection."""

    held: list[HeldState]


class RepairResponse(BatchResponse):
    """The response to a repair: the number of copies that differed, and the failures.

    `repairable` is false, and nothing was done, for a sink that keeps no copies, such as a log.
    `gone` counts items that are not in the table; their copies are deleted.
    """

    repairable: bool
    repaired: int
    gone: int
    failures: list[FailureReport]


def replay(applier: SinkApplier, records: Sequence[Any], reading: ReadRecords) -> ReplayResponse:
    """Apply the records and repair their items; report all that are not done.

    A record is done once its item is repaired, even if it could never be applied: fixing the item
    in the table is enough. Only an expiry that retains a contribution has to be applied, because
    only its record has the contribution.
    """
    changes = [change for change in reading if isinstance(change, Change)]
    outcome = _applied(applier, changes)
    untouched = {
        change.item_id
        for change, error in outcome.failures.items()
        if _retryable(error) or applier.retains(change)
    }
    repairs = applier.repair(c for c in changes if c.item_id not in untouched)
    failures: list[FailureReport] = []
    for position, change in enumerate(reading):
        if not isinstance(change, Change):
            failures.append(_failure(position, None, change))
            continue
        error = repairs.get(change.item_id, outcome.failures.get(change))
        if isinstance(error, Exception):
            failures.append(_failure(position, ItemVersion.of(change), error))
    return ReplayResponse(
        batchItemFailures=[
            ItemFailure(itemIdentifier=sequence_number(records[failure["position"]]))
            for failure in failures
        ],
        applied=outcome.applied,
        stale=outcome.stale,
        repaired=sum(result is True for result in repairs.values()),
        failures=failures,
    )


def repair(
    applier: SinkApplier,
    source: Source,
    records: Sequence[Any],
    stream_arn: object,
    *,
    counts_missing: bool = False,
) -> RepairResponse:
    """Repair the copies of items from the table, by their keys as DynamoDB JSON.

    A copy gets at least the floor of the table's current stream, which `stream_arn` names. It is
    older than every change of that stream, and newer than every change of an earlier one.

    An item without a ledger row is left alone, unless `counts_missing`: the sums may count it all
    the same, and would count it twice.

    Raises:
        MalformedRecord: `stream_arn` or a key is not of its form. Nothing was done.
    """
    version = floor_of(source.epoch, stream_label(str(stream_arn)))
    now = applier.deadline.now()
    wanted = [keyed(record, source.table) for record in records]
    repaired, failures = 0, []
    gone: set[str] = set()
    if applier.source_table is not None:
        applier.source_table = _Noting(applier.source_table, gone)
    for position, (item, keys) in enumerate(wanted if applier.repairs else ()):
        known = ItemVersion(item, version, now)
        error = None if counts_missing else _uncounted(applier, known, keys)
        result = error or applier.repair_item(known, keys)
        if isinstance(result, Exception):
            failures.append(_failure(position, known, result))
        else:
            repaired += result
    return RepairResponse(
        batchItemFailures=[],
        repairable=applier.repairs,
        repaired=repaired,
        gone=len(gone),
        failures=failures,
    )


def _uncounted(applier: SinkApplier, known: ItemVersion, keys: Attributes) -> Exception | None:
    """Return why an item is not to be added to sums; None if it has a row, or there are no sums."""
    assert applier.source_table is not None
    try:
        sink = applier.sink_of(deserialize_item(keys, "Keys"))
        if isinstance(sink, Aggregation):
            read_item = partial(applier.source_table.read, keys)
            sink.check_row(known.item_id, read_item, applier.deadline)
    except Exception as error:  # as `repair_item` does
        return error
    return None


@dataclass(frozen=True)
class _Noting:
    """A table, and the keys of items that were not in it."""

    source_table: SourceTable
    gone: set[str]

    def read(self, keys: Attributes) -> Image | None:
        image = self.source_table.read(keys)
        if image is None:
            self.gone.add(repr(keys))
        return image


def inspect(applier: SinkApplier, reading: ReadRecords) -> InspectResponse:
    """Return the sink's states of the records' items.

    Raises:
        RetryableError: the sink cannot be read at the moment.
    """
    return InspectResponse(
        batchItemFailures=[],
        held=[_holding(applier, place, change) for place, change in enumerate(reading)],
    )


def _applied(applier: SinkApplier, changes: Sequence[Change]) -> Outcome:
    outcome = _waiting(applier.apply(changes))
    for attempt in range(RETRIES):
        waiting = [c for c in changes if isinstance(outcome.failures.get(c), RetryableError)]
        if not waiting or not applier.deadline.pause(attempt):
            break
        for change in waiting:
            del outcome.failures[change]
        outcome += _waiting(applier.apply(waiting))
    return outcome


def _waiting(outcome: Outcome) -> Outcome:
    """Let a change that is held back wait as the change does that holds it back."""
    held = {c.item_id: error for c, error in outcome.failures.items() if _retryable(error)}
    for change, error in outcome.failures.items():
        if isinstance(error, BlockedByEarlierFailure):
            outcome.failures[change] = held.get(change.item_id, error)
    return outcome


def _retryable(error: Exception) -> bool:
    return isinstance(error, RetryableError | DeadlineExceeded)


def _failure(position: int, known: ItemVersion | None, error: Exception) -> FailureReport:
    return FailureReport(
        position=position,
        item=known.item_id if known else None,
        version=known.version if known else None,
        reason=reason_of(error),
        error=text_of(error),
        retryable=_retryable(error),
    )


def _holding(applier: SinkApplier, position: int, change: Change | MalformedRecord) -> HeldState:
    if not isinstance(change, Change):
        return HeldState(position=position, item=None, offered=None, version=None, state=None)
    holding = HeldState(
        position=position, item=change.item_id, offered=change.version, version=None, state=None
    )
    try:
        sink = applier.sink_of(change.keys)
    except PermanentError:  # a dead letter for that reason: no sink holds its item
        return holding
    if isinstance(sink, Skip):
        return holding
    if not isinstance(sink, Repairable):
        return {**holding, "state_unknown": True}
    held = sink.held(change.item_id, applier.deadline)
    return {**holding, "version": held["version"] if held else None, "state": held}
