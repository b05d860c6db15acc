"""Redrive dead letters through the deployed functions, which apply them and repair their items.

    for result in Redrive(box, functions, names).run(stored.key for stored in box.letters()):
        ...

A dead letter is archived once every record of it is done. Records of a batch that fail again get
dead letters of their own first; a dead letter of one record that fails again stays as it is. Where
the sink or the function is not well, nothing is judged: the dead letter waits. A function that
raises or runs out of time, and is well without the records, is asked again with one half of them
and then with the other, down to the record that is at fault.

It can be stopped at any moment and run again, by several people at once: a replay can only help
(versions), a dead letter of its own is written once (its key), and a dead letter is deleted only
after its copy is in the archive.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dynamodb_streams_cdc.control import RESPONSE_TOO_LARGE as RESPONSE_TOO_LARGE
from dynamodb_streams_cdc.control import Functions as Functions
from dynamodb_streams_cdc.control import InvocationFailed as InvocationFailed
from dynamodb_streams_cdc.control import RecordFailure as RecordFailure
from dynamodb_streams_cdc.control import (
    ReplayResult,
    is_healthy,
    not_understood,
    parse_replay_response,
)
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.halves import in_halves
from dynamodb_streams_cdc.names import ARCHIVE, Operation
from dynamodb_streams_cdc.operations.dead_letter_store import (
    DeadLetterStore,
    Identity,
    Names,
    ReadableDeadLetter,
    Record,
    UnreadableDeadLetter,
    dead_letter_of_one_record,
    parse_dead_letter,
)

MOST_RECORDS = 100
"""Of one replay: as many as the mappings deliver at once, which a function does within a minute."""

MOST_BYTES = 6 * 1024 * 1024 - 1024
"""Of one replay: a synchronous invocation takes 6 MB
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). A record that is larger
goes alone, and Lambda decides."""

PATIENCE = 3
"""After this many consecutive dead letters of one processor fail with a retryable error, skip the
rest: the sink is down."""


class RedriveStatus(StrEnum):
    """What became of a dead letter."""

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
    """What became of one dead letter.

        archived    every record is done
        split       some are; the others have dead letters of their own, `dead_letters`
        kept        its one record failed again
        waiting     the sink or the function is not well; some records may be applied
        gone        somebody else has archived it
        unreadable  it cannot be redriven as it is

    Attributes:
        records: of the dead letter; 0 if it was not opened.
        applied, stale, unapplied: records that the sink took, that it had no use for, and that were
            replayed and not taken. One that is not taken is done all the same once its item is
            right.
        untried: records that were not replayed, or of which the function said nothing. The four
            add up to `records`.
        repaired: items whose copy was not what the table says.
        failures: records that are not done.
        dead letters: keys of dead letters that hold what is left.
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
    """Dead letters of a box, and the functions that they go through.

    Attributes:
        names: of what is deployed.
    """

    box: DeadLetterStore
    functions: Functions
    names: Names
    clock: Clock = field(default_factory=SystemClock)

    def run(self, keys: Iterable[str]) -> Iterator[Result]:
        """Redrive dead letters one by one; what is in one of them ends no run.

        Raises:
            Exception: what the box raises, and what the functions raise beside `InvocationFailed`.
                The results so far stand, and the dead letter at hand is not lost.
        """
        waiting: Counter[str] = Counter()
        for key in keys:
            dead_letter = self.open(key)
            if not isinstance(dead_letter, ReadableDeadLetter):
                yield _shut(key, dead_letter)
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
                result = _odd(dead_letter, error)
            waiting[processor] = (
                waiting[processor] + 1 if result.status is RedriveStatus.WAITING else 0
            )
            yield result

    def open(self, key: str) -> ReadableDeadLetter | UnreadableDeadLetter | None:
        """Return a dead letter; None if it is gone."""
        body = self.box.read(key)
        return None if body is None else parse_dead_letter(key, body, self.names)

    def one(self, dead_letter: ReadableDeadLetter) -> Result:
        """Redrive one dead letter, and say what became of it."""
        answer = self._replay(dead_letter)
        result = Result(
            dead_letter.key,
            RedriveStatus.WAITING,
            processor=dead_letter.processor,
            records=len(dead_letter.records),
            applied=answer.applied,
            stale=answer.stale,
            unapplied=answer.replayed - answer.applied - answer.stale,
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

    def inspect(self, dead_letter: ReadableDeadLetter) -> list[Mapping[str, Any]]:
        """Return what the sink holds of the items of a dead letter's records; it changes nothing.

        One for each record: `position`, `item`, `offered` and `version` (the record's and the
        sink's), and `state`, which is JSON that depends on the sink.

        Raises:
            InvocationFailed: the function did not answer, or not to the question.
        """

        def ask(positions: Sequence[int]) -> list[Mapping[str, Any]]:
            return self._inspect(dead_letter, positions)

        def failed(_: Sequence[int], error: Exception) -> None:
            if not isinstance(error, InvocationFailed) or error.reason != RESPONSE_TOO_LARGE:
                raise error

        return [
            each
            for chunk in _chunks(dead_letter.records)
            for part in in_halves(ask, chunk, failed, InvocationFailed)
            for each in part
        ]

    def _inspect(
        self, dead_letter: ReadableDeadLetter, positions: Sequence[int]
    ) -> list[Mapping[str, Any]]:
        processor = dead_letter.processor
        records = [dead_letter.records[position] for position in positions]
        answer = self.functions.invoke(
            processor, {"operation": Operation.INSPECT, "Records": records}
        )
        held = answer.get("held") if isinstance(answer, Mapping) else None
        if (
            not isinstance(held, list)
            or len(held) != len(records)
            or not all(isinstance(each, Mapping) for each in held)
        ):
            raise not_understood(processor, Operation.INSPECT, answer)
        return [
            {**each, "position": position} for position, each in zip(positions, held, strict=True)
        ]

    def _archived(self, result: Result, status: RedriveStatus) -> Result:
        """Archive a dead letter whose records are all done or have dead letters of their own."""
        if self.box.archive(result.key) or status is RedriveStatus.SPLIT:
            return replace(result, status=status)
        return replace(result, status=RedriveStatus.GONE)

    def _keep(self, dead_letter: ReadableDeadLetter, failure: RecordFailure) -> str | None:
        """Give a record a dead letter of its own; return its key, or None if it is done after all.

        Somebody else may have redriven and archived that dead letter since this replay failed. A
        dead letter is copied before it is deleted: so whoever could write it anew finds the copy.
        """
        identity = None
        if failure.item is not None:
            version = failure.version or _version(dead_letter.identities[failure.position])
            identity = Identity(failure.item, version) if version else None
        key, document = dead_letter_of_one_record(
            dead_letter, failure.position, identity, failure.reason, failure.error, self.clock.now()
        )
        if self.box.keep(key, document) and self.box.holds(ARCHIVE + key):
            self.box.archive(key)
            return None
        return key

    def _replay(self, dead_letter: ReadableDeadLetter) -> ReplayResult:
        total = ReplayResult()
        for positions in _chunks(dead_letter.records):
            try:
                total += replace(
                    self._until_nothing_moves(dead_letter, positions), replayed=len(positions)
                )
            except InvocationFailed as error:
                return replace(total, problem=f"{dead_letter.key} waits: {error}")
            waiting = [failure for failure in total.failures if failure.retryable]
            if waiting:
                first = waiting[0]
                problem = f"{dead_letter.key} waits: {first.reason}: {first.error}"
                return replace(total, problem=problem)
        return total

    def _until_nothing_moves(
        self, dead_letter: ReadableDeadLetter, positions: Sequence[int]
    ) -> ReplayResult:
        """Replay records, and those again for which there was no time, while they become fewer."""
        total, pending = ReplayResult(), positions
        while True:
            found = self._in_halves(dead_letter, pending)
            again = [failure.position for failure in found.failures if failure.retryable]
            if not again or len(again) == len(pending):
                return total + found
            final = tuple(failure for failure in found.failures if not failure.retryable)
            total, pending = total + replace(found, failures=final), again

    def _in_halves(self, dead_letter: ReadableDeadLetter, positions: Sequence[int]) -> ReplayResult:
        """Replay records; where they are too much for the function, one half after the other.

        A record that is too much for it alone has failed.
        """

        def ask(positions: Sequence[int]) -> ReplayResult:
            records = [dead_letter.records[position] for position in positions]
            event = {"operation": Operation.REPLAY, "Records": records}
            answer = self.functions.invoke(dead_letter.processor, event)
            return parse_replay_response(dead_letter.processor, answer, positions)

        def failed(positions: Sequence[int], error: Exception) -> ReplayResult | None:
            assert isinstance(error, InvocationFailed)
            if error.outage or not is_healthy(self.functions, dead_letter.processor):
                raise error
            if len(positions) > 1:
                return None
            return ReplayResult(failures=(_too_much(dead_letter, positions[0], error),))

        return sum(in_halves(ask, positions, failed, InvocationFailed), ReplayResult())


OF_CONTENT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What odd data can raise; neither the box nor the functions raise any of it."""


def _chunks(records: Sequence[Record]) -> Iterator[Sequence[int]]:
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


def _too_much(
    dead_letter: ReadableDeadLetter, position: int, error: InvocationFailed
) -> RecordFailure:
    identity = dead_letter.identities[position]
    item = identity.item if identity else None
    return RecordFailure(position, item, None, error.reason, str(error), retryable=False)


def _version(identity: Identity | None) -> str | None:
    return identity.version if identity else None


def _shut(key: str, dead_letter: UnreadableDeadLetter | None) -> Result:
    if dead_letter is None:
        return Result(key, RedriveStatus.GONE)
    return Result(
        key,
        RedriveStatus.UNREADABLE,
        dead_letter.processor or None,
        dead_letters=(key,),
        problem=dead_letter.problem,
    )


def _odd(dead_letter: ReadableDeadLetter, error: Exception) -> Result:
    problem = (
        f"{dead_letter.key} holds what this command cannot deal with ({type(error).__name__}: "
        f"{str(error)[:80]}): some of its records may be applied, and it stays as it is."
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
