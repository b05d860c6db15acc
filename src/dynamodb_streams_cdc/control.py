"""The contract between an operator and a deployed function.

    {"operation": "replay", "Records": [...]}     apply the records and repair their items
    {"operation": "inspect", "Records": [...]}    return the sink's states of the records' items
    {"operation": "repair", "Records": [{"Keys": ...}], "streamArn": ...}
                                                  repair the copies of items from the table
    {"operation": "verify", ...}                  compare copies with the table; see `verification`
    {"operation": "backfill", ...}                fill copies from the table; see `backfill`
    {"operation": "rebuild-sums", ...}            rebuild the sums; see `sums_rebuild`
    {"operation": "remove", "Records": [{"item": ..., "store": ..., "token": ...}]}
                                                  delete copies that are none of an item
    {"operation": "rebuild-index", ...}           rebuild a search index; see `index_rebuild`

They run in the function, which has the deployed code, the permissions and the network path to the
sink. A replay writes no dead letters, because the operator has them, and returns each failed record
with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict, cast

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Change, Image, Source
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import CdcError, DeadlineExceeded, MalformedRecord, RetryableError
from dynamodb_streams_cdc.identity import floor_of, item_id, stream_label
from dynamodb_streams_cdc.lambda_types import AnyEvent, BatchResponse, ItemFailure, sequence_number
from dynamodb_streams_cdc.names import Operation
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
    wanted = [(keys, _identity(source, keys)) for keys in map(_keys, records)]
    repaired, failures = 0, []
    gone: set[str] = set()
    if applier.source_table is not None:
        applier.source_table = _Noting(applier.source_table, gone)
    for position, (keys, item) in enumerate(wanted if applier.repairs else ()):
        known = ItemVersion(item, version, now)
        result = applier.repair_item(known, keys, counts_missing=counts_missing)
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


def _keys(record: Any) -> Attributes:
    keys = record.get("Keys") if isinstance(record, Mapping) else None
    if not isinstance(keys, Mapping):
        message = f"Records: expected an item's key under Keys, got {str(record)[:80]!r}"
        raise MalformedRecord(message)
    return keys


def _identity(source: Source, keys: Attributes) -> str:
    decoded: Image = deserialize_item(keys, "Keys")
    return item_id(source.table, decoded)


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
    outcome = applier.apply(changes)
    for attempt in range(RETRIES):
        waiting = [c for c in changes if isinstance(outcome.failures.get(c), RetryableError)]
        if not waiting or not applier.deadline.pause(attempt):
            break
        for change in waiting:
            del outcome.failures[change]
        outcome += applier.apply(waiting)
    return outcome


def _retryable(error: Exception) -> bool:
    return isinstance(error, RetryableError | DeadlineExceeded)


def _failure(position: int, known: ItemVersion | None, error: Exception) -> FailureReport:
    return FailureReport(
        position=position,
        item=known.item_id if known else None,
        version=known.version if known else None,
        reason=reason_of(error),
        error=str(error),
        retryable=_retryable(error),
    )


def _holding(applier: SinkApplier, position: int, change: Change | MalformedRecord) -> HeldState:
    if not isinstance(change, Change):
        return HeldState(position=position, item=None, offered=None, version=None, state=None)
    holding = HeldState(
        position=position, item=change.item_id, offered=change.version, version=None, state=None
    )
    sink = applier.sink_of(change.keys)
    if isinstance(sink, Skip):
        return holding
    if not isinstance(sink, Repairable):
        return {**holding, "state_unknown": True}
    held = sink.held(change.item_id, applier.deadline)
    return {**holding, "version": held["version"] if held else None, "state": held}


RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
"""Error type of a response above 6 MB."""


class InvocationFailed(CdcError):
    """A function was not reached, was throttled, raised, or timed out.

    Some of the records may be applied.

    Attributes:
        reason: error type, such as `TooManyRequestsException`.
        outage: whether the records are not the cause: the function was not reached, was throttled,
            or does not know the operation.
    """

    def __init__(
        self, message: str, reason: str = "InvocationFailed", *, outage: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.outage = outage


class Functions(Protocol):
    """The deployed functions."""

    def invoke(self, processor: str, event: AnyEvent) -> Any:
        """Invoke a processor's function and return its parsed response.

        Raises:
            InvocationFailed: there was no response.
        """


@dataclass(frozen=True)
class RecordFailure:
    """A record that is not done.

    Attributes:
        position: index in the dead letter, or in the items of a repair.
        item, version: as the function read them; None if it could not.
        reason: name that groups failures of one cause.
        retryable: whether the sink was at fault, and not the record.
    """

    position: int
    item: str | None
    version: str | None
    reason: str
    error: str
    retryable: bool


@dataclass(frozen=True)
class ReplayResult:
    """Result of a replay, added up over invocations; `problem` says why the rest waits.

    `replayed` counts each record once, however often it was replayed.
    """

    applied: int = 0
    stale: int = 0
    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    problem: str = ""
    replayed: int = 0

    def __add__(self, other: "ReplayResult") -> "ReplayResult":
        return ReplayResult(
            self.applied + other.applied,
            self.stale + other.stale,
            self.repaired + other.repaired,
            self.failures + other.failures,
            replayed=self.replayed + other.replayed,
        )


def parse_replay_response(processor: str, answer: Any, positions: Sequence[int]) -> ReplayResult:
    """Return the result of a replay of the records at `positions`.

    Raises:
        InvocationFailed: the response is not a replay's, or contradicts itself. A dead letter is
            archived only if the function clearly states that all of it is done.
    """
    try:
        failures = failures_of(answer, positions)
        reported = answer["batchItemFailures"]
        counts = [answer[name] for name in ("applied", "stale", "repaired")]
    except (LookupError, TypeError, ValueError):
        raise not_understood(processor, Operation.REPLAY, answer) from None
    if (
        not isinstance(reported, list)
        or bool(reported) != bool(failures)
        or not all(isinstance(count, int) and count >= 0 for count in counts)
        or counts[0] + counts[1] > len(positions)
    ):
        raise not_understood(processor, Operation.REPLAY, answer)
    applied, stale, repaired = counts
    return ReplayResult(applied, stale, repaired, failures)


@dataclass(frozen=True)
class RepairResult:
    """Result of a repair, added up over invocations.

    Attributes:
        repaired: copies that differed from the table.
        gone: items that are not in the table; their copies are removed.
        repairable: whether the sink keeps copies that a repair can fix.
    """

    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    repairable: bool = True
    gone: int = 0

    def __add__(self, other: "RepairResult") -> "RepairResult":
        return RepairResult(
            self.repaired + other.repaired,
            self.failures + other.failures,
            self.repairable and other.repairable,
            self.gone + other.gone,
        )


def parse_repair_response(processor: str, answer: Any, positions: Sequence[int]) -> RepairResult:
    """Return the result of a repair of the items at `positions`.

    Raises:
        InvocationFailed: the response is not a repair's.
    """
    try:
        repaired, repairable, gone = answer["repaired"], answer["repairable"], answer["gone"]
        failures = failures_of(answer, positions)
    except (LookupError, TypeError):
        raise not_understood(processor, Operation.REPAIR, answer) from None
    if not isinstance(repaired, int) or not isinstance(repairable, bool):
        raise not_understood(processor, Operation.REPAIR, answer)
    return RepairResult(repaired, failures, repairable, int(gone))


def parse_inspect_response(
    processor: str, answer: Any, positions: Sequence[int]
) -> list[HeldState]:
    """Return the sink's state of the records at `positions`.

    Raises:
        InvocationFailed: the response is not an inspection's.
    """
    held = answer.get("held") if isinstance(answer, Mapping) else None
    if (
        not isinstance(held, list)
        or len(held) != len(positions)
        or not all(isinstance(each, Mapping) for each in held)
    ):
        raise not_understood(processor, Operation.INSPECT, answer)
    return [
        cast("HeldState", {**each, "position": position})
        for each, position in zip(held, positions, strict=True)
    ]


def failures_of(answer: Any, positions: Sequence[int]) -> tuple[RecordFailure, ...]:
    """Return the failures in a response about the records or items at `positions`.

    Raises:
        LookupError, TypeError: it has no list of failures, or one of another form.
    """
    failures = answer["failures"]
    if not isinstance(failures, list):
        raise TypeError
    return tuple(_read_failure(failure, positions) for failure in failures)


def _read_failure(failure: Mapping[str, Any], positions: Sequence[int]) -> RecordFailure:
    place, item, version = failure["position"], failure["item"], failure.get("version")
    if not isinstance(place, int) or place < 0 or not isinstance(failure["retryable"], bool):
        raise TypeError
    return RecordFailure(
        position=positions[place],
        item=None if item is None else str(item),
        version=None if version is None else str(version),
        reason=str(failure["reason"]),
        error=str(failure["error"]),
        retryable=failure["retryable"],
    )


def not_understood(processor: str, operation: str, answer: Any) -> InvocationFailed:
    """Return the error for a response that does not fit the operation."""
    message = (
        f"the function of {processor} does not know the operation {operation}: it answered "
        f"{str(answer)[:80]!r}. Deploy the version that this command belongs to."
    )
    return InvocationFailed(message, "NotUnderstood", outage=True)


def is_healthy(functions: Functions, processor: str) -> bool:
    """Return whether a function responds to an event without records."""
    try:
        functions.invoke(processor, {"operation": Operation.REPLAY, "Records": []})
    except InvocationFailed:
        return False
    return True
