"""The processor: applies the batch of an event to a sink and returns the failure to report.

The action on a failed change depends on the failure, never on the change's place in the batch:

    permanent    it can never succeed: a dead letter at once; the batch goes on. An error of a pure
                 function of one image is permanent: no retry changes the image
    too many     most recent items fail for one reason: the code is at fault, not the records. They
                 are reported and none becomes a dead letter (see `breaker`)
    outage       the sink takes nothing for now: retried while the invocation lasts, then reported
    wrong setup  a person has to act, such as for a permission: reported at once
    unexpected   narrowed down to the record by halving the batch; reported while the record is
                 young, a dead letter once it is older than 15 minutes
    everywhere   five distinct items fail with one type of unexpected error: the sink or the code is
                 at fault. Work stops, the batch is reported, nothing becomes a dead letter
    source       all records share a malformed field that the stream fills, or the stream does not
                 carry an image that the sink needs: reported, no dead letters (see `source_fault`)
    killed       the function dies on a record that is alone in its batch and older than 15 minutes:
                 a dead letter after three such deaths (see `attempts`). If it dies on many records
                 in an hour, the code is at fault, and the others are tried again
    no time      work stops; the first change that was not tried is reported

A failure is reported by the *sequence number* of the earliest record that is not done. Lambda
delivers that record and all after it again, and none before it
(https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html). With an
event id instead, Lambda would retry the whole batch. The processor drops nothing: if a dead letter
cannot be written, its record is reported.

A change that is older than a tombstone's life is applied, and then its item is repaired: it comes
from a redrive, and the tombstone that would have refused it may be gone. `control` has the requests
of an operator.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.canary import is_canary
from dynamodb_streams_cdc.change import Change, Source
from dynamodb_streams_cdc.dead_letters import DeadLetter, DeadLetterWriter, loggable, reason_of
from dynamodb_streams_cdc.deadline import Clock, Deadline, SystemClock
from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    BlockedByEarlierFailure,
    DeadlineExceeded,
    MalformedRecord,
    MisconfiguredError,
    MissingImage,
    PermanentError,
    RetryableError,
    form_of,
    text_of,
    visible,
)
from dynamodb_streams_cdc.guards.attempts import (
    MOST_DEATHS,
    MOST_IN_AN_HOUR,
    Attempts,
    FunctionDied,
    Suspect,
    name_of,
)
from dynamodb_streams_cdc.guards.breaker import Breaker
from dynamodb_streams_cdc.guards.source_fault import source_fault, told_time
from dynamodb_streams_cdc.lambda_types import (
    AnyEvent,
    AnyRecord,
    BatchResponse,
    ItemFailure,
    LambdaContext,
    StreamRecord,
    sequence_number,
)
from dynamodb_streams_cdc.metrics import Counts, Metrics, NoMetrics
from dynamodb_streams_cdc.names import LogEvent
from dynamodb_streams_cdc.sinks.base import (
    LATE_SECONDS,
    Outcome,
    Sink,
    SinkChoice,
    SourceTable,
)

if TYPE_CHECKING:
    from dynamodb_streams_cdc.control.notes import OperatorNotes

logger = logging.getLogger(__name__)

PERMANENT: tuple[type[Exception], ...] = (MalformedRecord, PermanentError)
"""Errors that no retry can fix."""

PASSING = (RetryableError, DeadlineExceeded, BlockedByEarlierFailure)
"""Errors that say nothing of the change, also where a processor calls all errors permanent."""

YOUNG_SECONDS = 15 * 60
"""Seconds that an unexpected failure may block its shard; then the record is a dead letter."""

EVERYWHERE = 5
"""Distinct items with one unexpected error from which on the sink or the code is at fault."""

RecordParser = Callable[[AnyRecord, Source], Change]
"""Returns the change of a record: `Change.from_record`, or `change_from_log_record`."""


@dataclass(frozen=True)
class Processor:
    """A Lambda function: `Processor(...)(event, context)`.

    Attributes:
        name: name of the processor, on its dead letters and metrics.
        source: table that the changes come from.
        sink: a `Sink`, `ChangeHandlers`, or `ByEntity`, which chooses a sink for each item.
        dead_letters: store of the changes that can never succeed.
        read: `Change.from_record`, or `change_from_log_record` behind a change log.
        permanent: further error types that no retry can fix, such as those of a validator.
        source_table: the table itself, for repairs; without it, no copy is repaired.
        breaker: keeps records from becoming dead letters for an error that most items share.
        attempts: store of the function's deaths on a record; without it, a record that kills the
            function is delivered again until the mapping gives it up.
        notes: notes of operators, such as open fills; without them, no tombstone is purged.
    """

    name: str
    source: Source
    sink: Sink | SinkChoice
    dead_letters: DeadLetterWriter
    read: RecordParser = Change.from_record
    permanent: tuple[type[Exception], ...] = ()
    metrics: Metrics = field(default_factory=NoMetrics)
    clock: Clock = field(default_factory=SystemClock)
    source_table: SourceTable | None = None
    breaker: Breaker = field(default_factory=Breaker)
    attempts: Attempts | None = None
    notes: "OperatorNotes | None" = None
    survived: set[str] = field(default_factory=set, init=False, repr=False)
    """Names of attempts that this process survived and could not clear yet."""

    def __post_init__(self) -> None:
        """Refuse what each of its invocations would fail with.

        Raises:
            TypeError: an argument is of another kind than its attribute.
        """
        is_sink = hasattr(self.sink, "apply") or hasattr(self.sink, "sink_of")
        for name, needed, fits in (
            ("source", "a Source", isinstance(self.source, Source)),
            ("sink", "a sink, with `apply` or `sink_of`", is_sink),
            ("dead_letters", "a store, with `write`", hasattr(self.dead_letters, "write")),
        ):
            if not fits:
                given = type(getattr(self, name)).__name__
                message = f"{name} of processor {self.name!r} must be {needed}; got {given}"
                raise TypeError(message)

    def __call__(self, event: AnyEvent, context: LambdaContext) -> BatchResponse:
        """Process one batch; return the earliest record that is not done, or none.

        Raises:
            MalformedRecord: the event is not a batch of stream records. The mapping then retries
                the batch as a whole, which is right: nothing of it was done.
        """
        records = _records(event)
        operation = event.get("operation")
        if operation is None:
            return _Batch(self, context, records).run()
        # Loaded for an operator alone: it takes as long as the rest of the library.
        from dynamodb_streams_cdc.control.dispatch import respond

        applier = self.applier(Deadline.of(context, self.clock), everywhere=float("inf"))
        return respond(event, records, applier, self.source, lambda: self._read_all(records))

    def applier(self, deadline: Deadline, everywhere: float = EVERYWHERE) -> SinkApplier:
        """Return the applier of one invocation."""
        return SinkApplier(
            self.sink,
            deadline,
            self.is_unexpected,
            everywhere,
            self.source_table,
            self.notes,
        )

    def _read_all(self, records: Sequence[StreamRecord]) -> Sequence[Change | MalformedRecord]:
        return [self.reading(record) for record in records]

    def reading(self, record: StreamRecord) -> Change | MalformedRecord:
        """Return the change of a record, or why it could not be read."""
        try:
            return self.read(record, self.source)
        except MalformedRecord as error:
            return error

    def is_permanent(self, error: Exception) -> bool:
        """Return whether no retry can fix the error."""
        return isinstance(error, (*PERMANENT, *self.permanent)) and not isinstance(error, PASSING)

    def is_unexpected(self, error: Exception) -> bool:
        """Return whether the error is in no table."""
        return not self.is_permanent(error) and not isinstance(error, PASSING)


def _records(event: object) -> Sequence[StreamRecord]:
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        message = (
            "the event must be an object with a list under Records, as the mapping of a DynamoDB "
            f"stream sends it; got {form_of(event)}"
        )
        raise MalformedRecord(message)
    return records


class _Action(Enum):
    """The action on a change that failed."""

    RETRY = "apply it again in this invocation"
    GIVE_UP = "write a dead letter"
    HOLD = "report it, because the breaker is open"
    REPORT = "report it"


class _Batch:
    """One invocation of a processor."""

    def __init__(
        self, processor: Processor, context: LambdaContext, records: Sequence[StreamRecord]
    ) -> None:
        self.processor = processor
        self.context = context
        self.records = records
        self.deadline = Deadline.of(context, processor.clock)
        self.applier = processor.applier(self.deadline)
        self.counts = Counts(received=len(records))
        self.position: dict[Change, int] = {}
        self.failed: dict[int, Exception] = {}
        self.given_up: set[int] = set()
        self.suspect = Suspect(
            processor.attempts,
            processor.name,
            self._suspect_name(),
            processor.survived,
            self.deadline,
            lambda: context.get_remaining_time_in_millis() / 1000,
        )

    def run(self) -> BatchResponse:
        deaths = self.suspect.begin()
        pending = self._read()
        is_over = True
        if deaths >= MOST_DEATHS and pending and not self._dies_of_everything(deaths):
            is_over = self._give_up_killer(deaths, pending.pop())
        attempt = 0
        while pending:
            outcome = self._apply(pending)
            retry = self._settle(outcome.failures)
            errors = outcome.failures.values()
            hopeless = any(isinstance(error, MisconfiguredError) for error in errors)
            waiting = not hopeless and any(isinstance(error, RetryableError) for error in errors)
            stuck = len(retry) == len(pending) and not waiting
            if stuck or hopeless or not retry or (waiting and not self.deadline.pause(attempt)):
                self.failed |= {self.position[c]: outcome.failures[c] for c in retry}
                break
            attempt += waiting
            pending = retry
        if is_over:
            self.suspect.end()
        return self._respond()

    def _dies_of_everything(self, deaths: int) -> bool:
        """Return whether the function may die on many records; the record is tried again then.

        A hold would go on after the fix. The attempt may be the next death, so the metric is
        published before it.
        """
        if not (known := self.suspect.dies_of_everything()):
            return known is None
        logger.error(
            "the breaker is open: the function dies on many records, on this one %d times. That is "
            "the code or its memory, not the records: beyond %d in an hour none becomes a dead "
            "letter, and this one is tried again",
            deaths,
            MOST_IN_AN_HOUR,
            extra=LogEvent.BREAKER_OPEN.fields(reason=FunctionDied.__name__),
        )
        self.processor.metrics.emit(Counts(breaker_open=1))
        return True

    def _give_up_killer(self, deaths: int, change: Change) -> bool:
        """Write a dead letter of a record that kills the function, and count it; see `_give_up`."""
        message = f"the function died {deaths} times on this record: memory, crash or time"
        is_written = self._give_up(0, change, FunctionDied(message))
        if is_written:
            self.suspect.gave_up()
        return is_written

    def _suspect_name(self) -> str | None:
        """Return the name of a record that may have killed the function, in a batch of its own."""
        if len(self.records) != 1 or not self._overdue(told_time(self.records[0])):
            return None
        return name_of(self.processor.name, self.records[0])

    def _read(self) -> list[Change]:
        changes: list[Change] = []
        unreadable: dict[int, MalformedRecord] = {}
        for position, record in enumerate(self.records):
            match self.processor.reading(record):
                case Change() as change:
                    self.position[change] = position
                    changes.append(change)
                case MalformedRecord() as error:
                    unreadable[position] = error
        if self._is_source_at_fault(unreadable):
            return []
        breaker = self.processor.breaker
        names = {p: f"unreadable/{sequence_number(self.records[p]) or p}" for p in unreadable}
        held = (change.item_id for change in changes if self.applier.holds(change))
        breaker.deliver([*held, *names.values()])
        for position, error in unreadable.items():
            breaker.fail(names[position], reason_of(error))
        for position, error in unreadable.items():
            if self._is_held(error, told_time(self.records[position])):
                self._hold(position, error)
            else:
                self._give_up(position, None, error)
        return changes

    def _is_source_at_fault(self, unreadable: Mapping[int, MalformedRecord]) -> bool:
        """Return whether the batch is held because of its source; it is then reported."""
        fault = source_fault(self.records, unreadable, self.deadline.now() - YOUNG_SECONDS)
        if fault is None:
            return False
        self.failed |= unreadable
        logger.error(
            "the stream is at fault, not the records: all %d of the batch have a malformed %s. "
            "None becomes a dead letter, the shard waits: %s",
            len(self.records),
            fault.field,
            fault,
            extra=LogEvent.SOURCE_AT_FAULT.fields(received=len(self.records), field=fault.field),
        )
        return True

    def _apply(self, changes: list[Change]) -> Outcome:
        outcome = self.applier.apply(changes)
        self.counts.applied += outcome.applied
        self.counts.stale += outcome.stale
        self.counts.skipped += outcome.skipped
        self.counts.unknown += outcome.unknown
        self.counts.version_order_violations += outcome.version_order_violations
        latest = self.deadline.now() - LATE_SECONDS
        late = [c for c in changes if c.timestamp < latest and c not in outcome.failures]
        repairs = self.applier.repair(late)
        for change in late:
            result = repairs.get(change.item_id)
            if isinstance(result, Exception):
                outcome.failures[change] = result
            else:
                self.counts.repaired += result is True
        return outcome

    def _settle(self, failures: Mapping[Change, Exception]) -> list[Change]:
        """Act on each failure; return the changes to try again, in the order of the batch."""
        for change, error in failures.items():
            if self._hopeless(change, error):
                self.processor.breaker.fail(change.item_id, reason_of(error))
        retry: list[Change] = []
        blocked: set[str] = set()
        for change, error in failures.items():
            position = self.position[change]
            match self._decide(change, error, blocked):
                case _Action.RETRY:
                    retry.append(change)
                case _Action.GIVE_UP:
                    if not self._give_up(position, change, error):
                        blocked.add(change.item_id)
                case _Action.HOLD:
                    self._hold(position, error)
                    blocked.add(change.item_id)
                case _Action.REPORT:
                    self.failed.setdefault(position, error)
                    blocked.add(change.item_id)
        return sorted(retry, key=self.position.__getitem__)

    def _decide(self, change: Change, error: Exception, blocked: Collection[str]) -> "_Action":
        """Return the action on a failure; `blocked` are items with an earlier reported change."""
        if isinstance(error, RetryableError):
            return _Action.RETRY
        if isinstance(error, BlockedByEarlierFailure) and change.item_id not in blocked:
            return _Action.RETRY
        if not self._hopeless(change, error):
            return _Action.REPORT
        if self._is_held(error, change.recorded_at):
            return _Action.HOLD
        return _Action.GIVE_UP

    def _hopeless(self, change: Change, error: Exception) -> bool:
        return self.processor.is_permanent(error) or (
            self.processor.is_unexpected(error)
            and not isinstance(error, MissingImage)
            and self._overdue(change.recorded_at)
            and not self.applier.stopped
        )

    def _overdue(self, recorded_at: float) -> bool:
        return self.deadline.now() - recorded_at > YOUNG_SECONDS

    def _is_held(self, error: Exception, recorded_at: float) -> bool:
        """Return whether the breaker keeps a record from becoming a dead letter."""
        return self.processor.breaker.holds(reason_of(error), overdue=self._overdue(recorded_at))

    def _hold(self, position: int, error: Exception) -> None:
        """Report a record that the breaker keeps from becoming a dead letter."""
        self.failed.setdefault(position, error)
        if not self.counts.breaker_open:
            reason = reason_of(error)
            failing, seen = self.processor.breaker.failing(reason)
            logger.error(
                "the breaker is open: %d of the last %d items fail with %s. That is the code or "
                "the writer, not the records: none becomes a dead letter, the shard waits",
                failing,
                seen,
                visible(reason),
                extra=LogEvent.BREAKER_OPEN.fields(
                    reason=visible(reason), failing=failing, items=seen
                ),
            )
        self.counts.breaker_open = 1

    def _record(self, position: int) -> AnyRecord:
        record: object = self.records[position]
        return record if isinstance(record, Mapping) else {"unreadable": record}

    def _give_up(self, position: int, change: Change | None, error: Exception) -> bool:
        """Write a dead letter; if that fails, report the record and return False."""
        dead_letter = DeadLetter(
            processor=self.processor.name,
            record=self._record(position),
            change=change,
            error=error,
            written_at=self.deadline.now(),
            request_id=self.context.aws_request_id,
            function_arn=self.context.invoked_function_arn,
        )
        try:
            self.deadline.check()
            is_new = self.processor.dead_letters.write(dead_letter)
        except Exception as lost:
            logger.exception("a dead letter could not be written; the record is reported as failed")
            self.failed[position] = lost
            return False
        self.given_up.add(position)
        self.counts.dead_lettered += is_new
        logger.error(
            "dead letter %s: %s",
            dead_letter.name,
            visible(dead_letter.reason),
            extra=LogEvent.DEAD_LETTER.fields(
                dead_letter=dead_letter.name,
                reason=visible(dead_letter.reason),
                item=None if change is None else visible(change.item_id),
            ),
        )
        return True

    def _respond(self) -> BatchResponse:
        failures: list[ItemFailure] = []
        if self.failed:
            first = min(self.failed)
            identifier = sequence_number(self.records[first])
            item = next((c.item_id for c, p in self.position.items() if p == first), None)
            logger.warning(
                "%d of %d records are not done, the first is %s: %s of %s",
                len(self.failed),
                len(self.records),
                visible(identifier or "not identifiable: the whole batch is retried"),
                visible(loggable(self.failed[first])),
                visible(item or "an unreadable item"),
                extra=LogEvent.BATCH_REPORTED.fields(
                    reported=len(self.failed),
                    received=len(self.records),
                    sequence_number=visible(identifier),
                    item=None if item is None else visible(item),
                    error=type(self.failed[first]).__name__,
                ),
            )
            failures.append(ItemFailure(itemIdentifier=identifier))
            self.counts.reported = len(self.records) - first
        for error in self.failed.values():
            if isinstance(error, AccessDeniedError):
                logger.error(
                    "access denied: %s",
                    visible(text_of(error)),
                    extra=LogEvent.ACCESS_DENIED.fields(error=type(error).__name__),
                )
                self.counts.access_denied = 1
                break
        for error in self.failed.values():
            if isinstance(error, MissingImage) and not self.processor.is_permanent(error):
                logger.error(
                    "the stream is at fault, not the records. None becomes a dead letter, the "
                    "shard waits: %s",
                    visible(text_of(error)),
                    extra=LogEvent.SOURCE_AT_FAULT.fields(received=len(self.records)),
                )
                break
        self.counts.access_denied |= self.suspect.denied
        self.counts.canaries = sum(
            is_canary(change.keys)
            for change, position in self.position.items()
            if position not in self.failed and position not in self.given_up
        )
        self.processor.metrics.emit(self.counts)
        return BatchResponse(batchItemFailures=failures)
