"""Redrive dead letters through the deployed functions, which apply them and repair their items.

    for result in Redrive(store, functions, names).run(d.key for d in store.dead_letters()):
        ...

A dead letter is archived when all its records are done. If records of a batch fail again, each
first gets a dead letter of its own; a dead letter of one record that fails again stays. If the sink
or the function is not healthy, the dead letter waits. If a healthy function raises, times out or
has no time for any record, it gets one half of the records and then the other, down to the record
at fault.

A redrive can be stopped at any moment, run again, and run concurrently: versions make replays
harmless, the key of a record's own dead letter is written once, and a dead letter is deleted only
after its copy is in the archive.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dynamodb_streams_cdc.control.functions import (
    RESPONSE_TOO_LARGE,
    Functions,
    InvocationFailed,
    RecordFailure,
    ReplayResult,
    is_healthy,
    parse_inspect_response,
    parse_replay_response,
)
from dynamodb_streams_cdc.control.items import HeldState
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.guards.halves import halves, in_halves
from dynamodb_streams_cdc.lambda_types import AnyRecord
from dynamodb_streams_cdc.names import ARCHIVE, Operation
from dynamodb_streams_cdc.operations.dead_letter_store import (
    DeadLetterStore,
    DeployedNames,
    ReadableDeadLetter,
    RecordIdentity,
    UnreadableDeadLetter,
    dead_letter_of_one_record,
    parse_dead_letter,
)

MOST_RECORDS = 100
"""Most records of one replay: the batch size of the mappings, which a function applies within its
minute."""

MOST_BYTES = 6 * 1024 * 1024 - 1024
"""Most bytes of one replay: a synchronous invocation takes 6 MB
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). A larger record is sent
alone, and Lambda decides."""

PATIENCE = 3
"""After this many consecutive dead letters of one processor fail with a retryable error, skip the
rest: the sink is down."""


class RedriveStatus(StrEnum):
    """Result of redriving a dead letter; see `Result`."""

    ARCHIVED = "archived"
    SPLIT = "split"
    KEPT = "kept"
    WAITING = "waiting"
    GONE = "gone"
    UNREADABLE = "unreadable"

    @property
    def leaves_dead_letters(self) -> bool:
        """Whether something of it is still to be redriven."""
        return self not in (RedriveStatus.ARCHIVED, RedriveStatus.GONE)


@dataclass(frozen=True)
class Result:
    """Result of redriving one dead letter, with one of these statuses.

        archived    every record is done
        split       some records are done; the others have dead letters of their own
        kept        its one record failed again
        waiting     the sink or the function is not healthy; some records may be applied
        gone        another redrive has archived it
        unreadable  it cannot be redriven as it is

    Attributes:
        records: records in the dead letter; 0 if it was not read.
        applied, stale, unapplied: records that the sink applied, that were older than its state,
            and that were replayed but not applied. A record that is not applied is done if its item
            is repaired.
        untried: records that were not replayed, or that the function did not report. The four
            counts add up to `records`.
        repaired: items whose copy differed from the table.
        failures: records that are not done.
        dead_letters: keys of the dead letters that hold the rest.
        problem: a sentence on why it waits or cannot be read; empty otherwise.
    """

    key: str
    status: RedriveStatus
    processor: str | None = None
    records: int = 0
    applied: int = 0
    stale: int = 0
    unapplied: int = 0
    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    dead_letters: tuple[str, ...] = ()
    problem: str = ""

    @property
    def untried(self) -> int:
        """Records that were not replayed."""
        return self.records - self.applied - self.stale - self.unapplied


@dataclass(frozen=True)
class Redrive:
    """Redrive the dead letters of a store through the deployed functions."""

    store: DeadLetterStore
    functions: Functions
    names: DeployedNames
    clock: Clock = field(default_factory=SystemClock)

    def run(self, keys: Iterable[str]) -> Iterator[Result]:
        """Redrive dead letters one by one; the content of one never ends the run.

        Raises:
            Exception: any error of the store, and any of the functions except `InvocationFailed`.
                The results so far are valid, and no dead letter is lost.
        """
        waiting: Counter[str] = Counter()
        for key in keys:
            dead_letter = self.open(key)
            if not isinstance(dead_letter, ReadableDeadLetter):
                yield _unread(key, dead_letter)
                continue
            processor = dead_letter.processor
            if waiting[processor] >= PATIENCE:
                problem = (
                    f"{key} was not tried: {PATIENCE} dead letters of {processor} had to wait."
                )
                yield _untouched(dead_letter, problem)
                continue
            try:
                result = self.one(dead_letter)
            except OF_CONTENT as error:
                result = _unexpected(dead_letter, error)
            waiting[processor] = (
                waiting[processor] + 1 if result.status is RedriveStatus.WAITING else 0
            )
            yield result

    def open(self, key: str) -> ReadableDeadLetter | UnreadableDeadLetter | None:
        """Return a dead letter; None if it is gone."""
        body = self.store.read(key)
        return None if body is None else parse_dead_letter(key, body, self.names)

    def one(self, dead_letter: ReadableDeadLetter) -> Result:
        """Redrive one dead letter."""
        answer = self._replay(dead_letter)
        # A record that was applied and not repaired was stale when it was replayed once more.
        applied = min(answer.applied, answer.replayed)
        stale = min(answer.stale, answer.replayed - applied)
        result = Result(
            dead_letter.key,
            RedriveStatus.WAITING,
            processor=dead_letter.processor,
            records=len(dead_letter.records),
            applied=applied,
            stale=stale,
            unapplied=answer.replayed - applied - stale,
            repaired=answer.repaired,
            failures=answer.failures,
            dead_letters=(dead_letter.key,),
        )
        if answer.problem:
            return replace(result, problem=answer.problem)
        if not answer.failures:
            return self._archived(replace(result, dead_letters=()), RedriveStatus.ARCHIVED)
        if len(dead_letter.records) == 1:
            return replace(result, status=RedriveStatus.KEPT)
        keys = [self._keep(dead_letter, failure) for failure in answer.failures]
        if dead_letter.key in keys:
            return replace(result, status=RedriveStatus.KEPT)
        left = tuple(f for f, key in zip(answer.failures, keys, strict=True) if key is not None)
        kept = tuple(dict.fromkeys(key for key in keys if key is not None))
        result = replace(result, failures=left, dead_letters=kept)
        return self._archived(result, RedriveStatus.SPLIT if kept else RedriveStatus.ARCHIVED)

    def inspect(self, dead_letter: ReadableDeadLetter) -> list[HeldState]:
        """Return the sink's state of the items in a dead letter, one per record; changes nothing.

        Raises:
            InvocationFailed: the function did not answer, or does not know the operation.
        """
        records, processor = dead_letter.records, dead_letter.processor

        def ask(positions: Sequence[int]) -> list[HeldState]:
            asked = [records[position] for position in positions]
            answer = self.functions.invoke(
                processor, {"operation": Operation.INSPECT, "Records": asked}
            )
            return parse_inspect_response(processor, answer, positions)

        def failed(_: Sequence[int], error: Exception) -> None:
            if not isinstance(error, InvocationFailed) or error.reason != RESPONSE_TOO_LARGE:
                raise error

        return [
            state
            for chunk in _chunks(records)
            for part in in_halves(ask, chunk, failed, InvocationFailed)
            for state in part
        ]

    def _archived(self, result: Result, status: RedriveStatus) -> Result:
        """Archive a dead letter whose records are all done or have dead letters of their own."""
        if self.store.archive(result.key) or status is RedriveStatus.SPLIT:
            return replace(result, status=status)
        return replace(result, status=RedriveStatus.GONE)

    def _keep(self, dead_letter: ReadableDeadLetter, failure: RecordFailure) -> str | None:
        """Write a dead letter for one record; return its key, or None if the record is done.

        Another redrive may have archived that dead letter since this replay failed. Archiving
        copies before it deletes, so a redrive that can write the key again finds the copy.
        """
        identity = None
        if failure.item is not None:
            version = failure.version or _version(dead_letter.identities[failure.position])
            identity = RecordIdentity(failure.item, version) if version else None
        key, document = dead_letter_of_one_record(
            dead_letter, failure.position, identity, failure.reason, failure.error, self.clock.now()
        )
        if self.store.keep(key, document) and self.store.holds(ARCHIVE + key):
            self.store.archive(key)
            return None
        return key

    def _replay(self, dead_letter: ReadableDeadLetter) -> ReplayResult:
        total = ReplayResult()
        for positions in _chunks(dead_letter.records):
            try:
                total += replace(
                    self._replay_until_stuck(dead_letter, positions), replayed=len(positions)
                )
            except InvocationFailed as error:
                return replace(total, problem=f"{dead_letter.key} waits: {error}")
            waiting = [failure for failure in total.failures if failure.retryable]
            if waiting:
                first = waiting[0]
                problem = f"{dead_letter.key} waits: {first.reason}: {first.error}"
                return replace(total, problem=problem)
        return total

    def _replay_until_stuck(
        self, dead_letter: ReadableDeadLetter, positions: Sequence[int]
    ) -> ReplayResult:
        """Replay records, and the retryable ones again while they become fewer.

        Of records that all had no time, each half has as much: the first one is replayed, and the
        second one if the first is done.
        """
        total, pending = ReplayResult(), positions
        while True:
            found = self._replay_in_halves(dead_letter, pending)
            again = [failure.position for failure in found.failures if failure.retryable]
            if len(again) == len(pending) > 1 and all(map(_had_no_time, found.failures)):
                for half in halves(pending):
                    total += self._replay_until_stuck(dead_letter, half)
                    if any(failure.retryable for failure in total.failures):
                        break
                return total
            if not again or len(again) == len(pending):
                return total + found
            final = tuple(failure for failure in found.failures if not failure.retryable)
            total, pending = total + replace(found, failures=final), again

    def _replay_in_halves(
        self, dead_letter: ReadableDeadLetter, pending: Sequence[int]
    ) -> ReplayResult:
        """Replay records; a record that fails the function even alone has failed."""
        processor = dead_letter.processor

        def ask(positions: Sequence[int]) -> ReplayResult:
            asked = [dead_letter.records[position] for position in positions]
            answer = self.functions.invoke(
                processor, {"operation": Operation.REPLAY, "Records": asked}
            )
            return parse_replay_response(processor, answer, positions)

        def failed(positions: Sequence[int], error: Exception) -> ReplayResult | None:
            assert isinstance(error, InvocationFailed)
            if error.outage or not is_healthy(self.functions, processor):
                raise error
            if len(positions) > 1:
                return None
            return ReplayResult(failures=(_too_much(dead_letter, positions[0], error),))

        return sum(in_halves(ask, pending, failed, InvocationFailed), ReplayResult())


OF_CONTENT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors that malformed content can raise; neither the store nor the functions raise them."""


def _chunks(records: Sequence[AnyRecord]) -> Iterator[Sequence[int]]:
    """Return the positions of the records, in runs that one invocation takes."""
    chunk: list[int] = []
    size = 0
    for position, record in enumerate(records):
        length = len(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if chunk and (len(chunk) == MOST_RECORDS or size + length > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(position)
        size += length
    yield chunk


def _had_no_time(failure: RecordFailure) -> bool:
    return failure.reason == DeadlineExceeded.__name__


def _too_much(
    dead_letter: ReadableDeadLetter, position: int, error: InvocationFailed
) -> RecordFailure:
    identity = dead_letter.identities[position]
    item = identity.item if identity else None
    return RecordFailure(position, item, None, error.reason, str(error), retryable=False)


def _version(identity: RecordIdentity | None) -> str | None:
    return identity.version if identity else None


def _unread(key: str, dead_letter: UnreadableDeadLetter | None) -> Result:
    if dead_letter is None:
        return Result(key, RedriveStatus.GONE)
    return Result(
        key,
        RedriveStatus.UNREADABLE,
        dead_letter.processor or None,
        dead_letters=(key,),
        problem=dead_letter.problem,
    )


def _unexpected(dead_letter: ReadableDeadLetter, error: Exception) -> Result:
    problem = (
        f"{dead_letter.key} has content that this command cannot process ({type(error).__name__}: "
        f"{str(error)[:80]}): some of its records may be applied; it stays as it is."
    )
    return _untouched(dead_letter, problem, RedriveStatus.UNREADABLE)


def _untouched(
    dead_letter: ReadableDeadLetter, problem: str, status: RedriveStatus = RedriveStatus.WAITING
) -> Result:
    return Result(
        dead_letter.key,
        status,
        processor=dead_letter.processor,
        records=len(dead_letter.records),
        dead_letters=(dead_letter.key,),
        problem=problem,
    )
