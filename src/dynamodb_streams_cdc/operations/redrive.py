"""Redrive: letters go back through the deployed functions, which apply them and repair their items.

    for result in Redrive(box, functions, names).run(stored.key for stored in box.letters()):
        ...

A letter is archived once every record of it is done. Records of a batch that fail again get letters
of their own first; a letter of one record that fails again stays as it is. Where the sink or the
function is not well, nothing is judged: the letter waits. A function that raises or runs out of
time, and is well without the records, is asked again with one half of them and then with the other,
down to the record that is at fault.

It can be stopped at any moment and run again, by several people at once: a replay can only help
(versions), a letter of its own is written once (its key), and a letter is deleted only after its
copy is in the archive.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dynamodb_streams_cdc.control import RESPONSE_TOO_LARGE as RESPONSE_TOO_LARGE
from dynamodb_streams_cdc.control import Answer, answer_to_replay, is_well, not_understood
from dynamodb_streams_cdc.control import Functions as Functions
from dynamodb_streams_cdc.control import InvocationFailed as InvocationFailed
from dynamodb_streams_cdc.control import RecordFailure as RecordFailure
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.operations.dead_letter_store import (
    ARCHIVE,
    Identity,
    LetterBox,
    Names,
    Opened,
    Record,
    Unopened,
    letter_again,
    open_letter,
)

MOST_RECORDS = 100
"""Of one replay: as many as the mappings deliver at once, which a function does within a minute."""

MOST_BYTES = 6 * 1024 * 1024 - 1024
"""Of one replay: a synchronous invocation takes 6 MB
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). A record that is larger
goes alone, and Lambda decides."""

PATIENCE = 3
"""As many letters of a processor that have to wait, one after the other, are the sink's fault: the
others are not tried."""


class Fate(StrEnum):
    """What became of a letter."""

    ARCHIVED = "archived"
    SPLIT = "split"
    KEPT = "kept"
    WAITING = "waiting"
    GONE = "gone"
    UNREADABLE = "unreadable"

    @property
    def leaves_letters(self) -> bool:
        """Whether something of it is still to be redriven."""
        return self not in (Fate.ARCHIVED, Fate.GONE)


@dataclass(frozen=True)
class Result:
    """What became of one letter.

        archived    every record is done
        split       some are; the others have letters of their own, `letters`
        kept        its one record failed again
        waiting     the sink or the function is not well; some records may be applied
        gone        somebody else has archived it
        unreadable  it cannot be redriven as it is

    Attributes:
        records: of the letter; 0 if it was not opened.
        applied, stale, unapplied: records that the sink took, that it had no use for, and that were
            replayed and not taken. One that is not taken is done all the same once its item is
            right.
        untried: records that were not replayed, or of which the function said nothing. The four
            add up to `records`.
        repaired: items whose copy was not what the table says.
        failures: records that are not done.
        letters: keys of letters that hold what is left.
        problem: a sentence on why it waits or cannot be read; empty otherwise.
    """

    key: str
    fate: Fate
    processor: str | None = None
    records: int = 0
    applied: int = 0
    stale: int = 0
    unapplied: int = 0
    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    letters: tuple[str, ...] = ()
    problem: str = ""

    @property
    def untried(self) -> int:
        """Records that were not replayed."""
        return self.records - self.applied - self.stale - self.unapplied


@dataclass(frozen=True)
class Redrive:
    """Letters of a box, and the functions that they go through.

    Attributes:
        names: of what is deployed.
    """

    box: LetterBox
    functions: Functions
    names: Names
    clock: Clock = field(default_factory=SystemClock)

    def run(self, keys: Iterable[str]) -> Iterator[Result]:
        """Redrive letters one by one; what is in one of them ends no run.

        Raises:
            Exception: what the box raises, and what the functions raise beside `InvocationFailed`.
                The results so far stand, and the letter at hand is not lost.
        """
        waiting: Counter[str] = Counter()
        for key in keys:
            letter = self.open(key)
            if not isinstance(letter, Opened):
                yield _shut(key, letter)
                continue
            processor = letter.processor
            if waiting[processor] >= PATIENCE:
                problem = f"{key} was not tried: {PATIENCE} letters of {processor} had to wait."
                yield _untouched(letter, problem)
                continue
            try:
                result = self.one(letter)
            except OF_CONTENT as error:
                result = _odd(letter, error)
            waiting[processor] = waiting[processor] + 1 if result.fate is Fate.WAITING else 0
            yield result

    def open(self, key: str) -> Opened | Unopened | None:
        """Return a letter; None if it is gone."""
        body = self.box.read(key)
        return None if body is None else open_letter(key, body, self.names)

    def one(self, letter: Opened) -> Result:
        """Redrive one letter, and say what became of it."""
        answer = self._replay(letter)
        result = Result(
            letter.key,
            Fate.WAITING,
            processor=letter.processor,
            records=len(letter.records),
            applied=answer.applied,
            stale=answer.stale,
            unapplied=answer.replayed - answer.applied - answer.stale,
            repaired=answer.repaired,
            failures=answer.failures,
            letters=(letter.key,),
        )
        if answer.problem:
            return replace(result, problem=answer.problem)
        if not answer.failures:
            return self._archived(replace(result, letters=()), Fate.ARCHIVED)
        if len(letter.records) == 1:
            return replace(result, fate=Fate.KEPT)
        keys = [self._keep(letter, failure) for failure in answer.failures]
        if letter.key in keys:
            return replace(result, fate=Fate.KEPT)
        left = tuple(f for f, key in zip(answer.failures, keys, strict=True) if key is not None)
        kept = tuple(dict.fromkeys(key for key in keys if key is not None))
        result = replace(result, failures=left, letters=kept)
        return self._archived(result, Fate.SPLIT if kept else Fate.ARCHIVED)

    def look(self, letter: Opened) -> list[Mapping[str, Any]]:
        """Return what the sink holds of the items of a letter's records; it changes nothing.

        One for each record: `position`, `item`, `offered` and `version` (the record's and the
        sink's), and `state`, which is JSON that depends on the sink.

        Raises:
            InvocationFailed: the function did not answer, or not to the question.
        """
        return [
            each
            for chunk in _chunks(letter.records)
            for each in self._look(
                letter.processor, [letter.records[position] for position in chunk], chunk[0]
            )
        ]

    def _look(
        self, processor: str, records: Sequence[Record], start: int
    ) -> list[Mapping[str, Any]]:
        try:
            answer = self.functions.invoke(processor, {"operation": "look", "Records": records})
        except InvocationFailed as error:
            if len(records) == 1 or error.reason != RESPONSE_TOO_LARGE:
                raise
            middle = len(records) // 2
            first = self._look(processor, records[:middle], start)
            return first + self._look(processor, records[middle:], start + middle)
        held = answer.get("held") if isinstance(answer, Mapping) else None
        if (
            not isinstance(held, list)
            or len(held) != len(records)
            or not all(isinstance(each, Mapping) for each in held)
        ):
            raise not_understood(processor, "look", answer)
        return [{**each, "position": start + place} for place, each in enumerate(held)]

    def _archived(self, result: Result, fate: Fate) -> Result:
        """Archive a letter of which nothing is left, or nothing that has no letter of its own."""
        if self.box.archive(result.key) or fate is Fate.SPLIT:
            return replace(result, fate=fate)
        return replace(result, fate=Fate.GONE)

    def _keep(self, letter: Opened, failure: RecordFailure) -> str | None:
        """Give a record a letter of its own; return its key, or None if it is done after all.

        Somebody else may have redriven and archived that letter since this replay failed. A letter
        is copied before it is deleted: so whoever could write it anew finds the copy.
        """
        identity = None
        if failure.item is not None:
            version = failure.version or _version(letter.identities[failure.position])
            identity = Identity(failure.item, version) if version else None
        key, document = letter_again(
            letter, failure.position, identity, failure.reason, failure.error, self.clock.now()
        )
        if self.box.keep(key, document) and self.box.holds(ARCHIVE + key):
            self.box.archive(key)
            return None
        return key

    def _replay(self, letter: Opened) -> Answer:
        total = Answer()
        for positions in _chunks(letter.records):
            try:
                total += replace(
                    self._until_nothing_moves(letter, positions), replayed=len(positions)
                )
            except InvocationFailed as error:
                return replace(total, problem=f"{letter.key} waits: {error}")
            waiting = [failure for failure in total.failures if failure.retryable]
            if waiting:
                first = waiting[0]
                problem = f"{letter.key} waits: {first.reason}: {first.error}"
                return replace(total, problem=problem)
        return total

    def _until_nothing_moves(self, letter: Opened, positions: Sequence[int]) -> Answer:
        """Replay records, and those again for which there was no time, while they become fewer."""
        total, pending = Answer(), positions
        while True:
            found = self._in_halves(letter, pending)
            again = [failure.position for failure in found.failures if failure.retryable]
            if not again or len(again) == len(pending):
                return total + found
            final = tuple(failure for failure in found.failures if not failure.retryable)
            total, pending = total + replace(found, failures=final), again

    def _in_halves(self, letter: Opened, positions: Sequence[int]) -> Answer:
        """Replay records; where they are too much for the function, one half after the other.

        A record that is too much for it alone has failed.
        """
        records = [letter.records[position] for position in positions]
        event = {"operation": "replay", "Records": records}
        try:
            answer = self.functions.invoke(letter.processor, event)
        except InvocationFailed as error:
            if error.outage or not is_well(self.functions, letter.processor):
                raise
            if len(positions) == 1:
                return Answer(failures=(_too_much(letter, positions[0], error),))
            middle = len(positions) // 2
            first = self._in_halves(letter, positions[:middle])
            return first + self._in_halves(letter, positions[middle:])
        return answer_to_replay(letter.processor, answer, positions)


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


def _too_much(letter: Opened, position: int, error: InvocationFailed) -> RecordFailure:
    identity = letter.identities[position]
    item = identity.item if identity else None
    return RecordFailure(position, item, None, error.reason, str(error), retryable=False)


def _version(identity: Identity | None) -> str | None:
    return identity.version if identity else None


def _shut(key: str, letter: Unopened | None) -> Result:
    if letter is None:
        return Result(key, Fate.GONE)
    return Result(
        key, Fate.UNREADABLE, letter.processor or None, letters=(key,), problem=letter.problem
    )


def _odd(letter: Opened, error: Exception) -> Result:
    problem = (
        f"{letter.key} holds what this command cannot deal with ({type(error).__name__}: "
        f"{str(error)[:80]}): some of its records may be applied, and it stays as it is."
    )
    return _untouched(letter, problem, Fate.UNREADABLE)


def _untouched(letter: Opened, problem: str, fate: Fate = Fate.WAITING) -> Result:
    return Result(
        letter.key,
        fate,
        processor=letter.processor,
        records=len(letter.records),
        letters=(letter.key,),
        problem=problem,
    )
