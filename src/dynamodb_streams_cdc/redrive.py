"""Redrive: letters go back through the deployed functions, which apply them and repair their items.

    for result in Redrive(box, functions, names).run(stored.key for stored in box.letters()):
        ...

A letter is archived once every record of it is done. Records of a batch that fail again get letters
of their own first; a letter of one record that fails again stays as it is. Where the sink or the
function is not well, nothing is judged: the letter waits.

It can be stopped at any moment and run again, by several people at once: a replay can only help
(versions), a letter of its own is written once (its key), and a letter is deleted only after its
copy is in the archive.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from dynamodb_streams_cdc.budget import Clock, SystemClock
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.letter_box import (
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


class InvocationFailed(CdcError):
    """A function did not answer: it was not reached, was throttled, raised, or ran out of time.

    Nothing is known of the records: some may be applied.

    Attributes:
        reason: the name of what happened, such as `TooManyRequestsException`.
    """

    def __init__(self, message: str, reason: str = "InvocationFailed") -> None:
        super().__init__(message)
        self.reason = reason


class Functions(Protocol):
    """The deployed functions."""

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a processor's function and return its answer, as JSON says it.

        Raises:
            InvocationFailed: there was no answer.
        """


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
class Failure:
    """A record that is not done.

    Attributes:
        position: its place in the letter.
        item, version: as the function has read them; None if it could not.
        reason: the name by which failures of one cause are grouped.
        retryable: whether the sink was at fault, and not the record.
    """

    position: int
    item: str | None
    version: str | None
    reason: str
    error: str
    retryable: bool


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
        applied, stale: records that the sink took, and that it had no use for.
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
    repaired: int = 0
    failures: tuple[Failure, ...] = ()
    letters: tuple[str, ...] = ()
    problem: str = ""


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
        """Redrive letters one by one.

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
            result = self.one(letter)
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
        kept = tuple(dict.fromkeys(self._keep(letter, failure) for failure in answer.failures))
        if letter.key in kept:
            return replace(result, fate=Fate.KEPT)
        return self._archived(replace(result, letters=kept), Fate.SPLIT)

    def look(self, letter: Opened) -> list[Mapping[str, Any]]:
        """Return what the sink holds of the items of a letter's records; it changes nothing.

        One for each record: `position`, `item`, `offered` and `version` (the record's and the
        sink's), and `state`, which is JSON that depends on the sink.

        Raises:
            InvocationFailed: the function did not answer, or not to the question.
        """
        return self._look(letter.processor, letter.records, 0)

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
        if not isinstance(held, list) or len(held) != len(records):
            raise _not_understood(processor, "look", answer)
        return [{**each, "position": start + place} for place, each in enumerate(held)]

    def _archived(self, result: Result, fate: Fate) -> Result:
        """Archive a letter of which nothing is left, or nothing that has no letter of its own."""
        if self.box.archive(result.key) or fate is Fate.SPLIT:
            return replace(result, fate=fate)
        return replace(result, fate=Fate.GONE)

    def _keep(self, letter: Opened, failure: Failure) -> str:
        identity = None
        if failure.item is not None:
            version = failure.version or _version(letter.identities[failure.position])
            identity = Identity(failure.item, version) if version else None
        key, document = letter_again(
            letter, failure.position, identity, failure.reason, failure.error, self.clock.now()
        )
        self.box.keep(key, document)
        return key

    def _replay(self, letter: Opened) -> "_Answer":
        total = _Answer()
        for positions in _chunks(letter.records):
            try:
                total += self._until_nothing_moves(letter, positions)
            except InvocationFailed as error:
                return replace(total, problem=f"{letter.key} waits: {error}")
            waiting = [failure for failure in total.failures if failure.retryable]
            if waiting:
                first = waiting[0]
                problem = f"{letter.key} waits: {first.reason}: {first.error}"
                return replace(total, problem=problem)
        return total

    def _until_nothing_moves(self, letter: Opened, positions: Sequence[int]) -> "_Answer":
        """Replay records, and those again for which there was no time, while they become fewer."""
        total, pending = _Answer(), positions
        while True:
            records = [letter.records[position] for position in pending]
            event = {"operation": "replay", "Records": records}
            answer = self.functions.invoke(letter.processor, event)
            found = _read(letter.processor, answer, pending)
            again = [failure.position for failure in found.failures if failure.retryable]
            if not again or len(again) == len(pending):
                return total + found
            final = tuple(failure for failure in found.failures if not failure.retryable)
            total, pending = total + replace(found, failures=final), again


RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
"""The error type of an answer of more than 6 MB."""


@dataclass(frozen=True)
class _Answer:
    applied: int = 0
    stale: int = 0
    repaired: int = 0
    failures: tuple[Failure, ...] = ()
    problem: str = ""

    def __add__(self, other: "_Answer") -> "_Answer":
        return _Answer(
            self.applied + other.applied,
            self.stale + other.stale,
            self.repaired + other.repaired,
            self.failures + other.failures,
        )


def _read(processor: str, answer: Any, positions: Sequence[int]) -> _Answer:
    """Return the answer to a replay of the records at `positions`.

    An answer of any other form counts as none: a letter is archived for nothing less than a clear
    statement that all of it is done.
    """
    try:
        failures = tuple(_failure(failure, positions) for failure in answer["failures"])
        reported = len(answer["batchItemFailures"])
        counts = [answer[name] for name in ("applied", "stale", "repaired")]
    except (LookupError, TypeError, ValueError):
        raise _not_understood(processor, "replay", answer) from None
    if bool(reported) != bool(failures) or not all(isinstance(count, int) for count in counts):
        raise _not_understood(processor, "replay", answer)
    applied, stale, repaired = counts
    return _Answer(applied, stale, repaired, failures)


def _failure(failure: Mapping[str, Any], positions: Sequence[int]) -> Failure:
    place, item, version = failure["position"], failure["item"], failure.get("version")
    if not isinstance(place, int) or place < 0 or not isinstance(failure["retryable"], bool):
        raise TypeError
    return Failure(
        position=positions[place],
        item=None if item is None else str(item),
        version=None if version is None else str(version),
        reason=str(failure["reason"]),
        error=str(failure["error"]),
        retryable=failure["retryable"],
    )


def _not_understood(processor: str, operation: str, answer: Any) -> InvocationFailed:
    message = (
        f"the function of {processor} does not know the operation {operation}: it answered "
        f"{str(answer)[:80]!r}. Deploy the version that this command belongs to."
    )
    return InvocationFailed(message, "NotUnderstood")


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


def _version(identity: Identity | None) -> str | None:
    return identity.version if identity else None


def _shut(key: str, letter: Unopened | None) -> Result:
    if letter is None:
        return Result(key, Fate.GONE)
    return Result(
        key, Fate.UNREADABLE, letter.processor or None, letters=(key,), problem=letter.problem
    )


def _untouched(letter: Opened, problem: str) -> Result:
    return Result(
        letter.key,
        Fate.WAITING,
        processor=letter.processor,
        records=len(letter.records),
        letters=(letter.key,),
        problem=problem,
    )
