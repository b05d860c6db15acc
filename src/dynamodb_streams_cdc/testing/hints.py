"""The likely mistake behind a schedule that fails, as far as its run shows one.

A hint follows from deliveries, calls and answers of the run, and from runs of the same schedule
with one thing changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dynamodb_streams_cdc.change import ViewType
from dynamodb_streams_cdc.esm import Result
from dynamodb_streams_cdc.esm.responses import NO_STATE
from dynamodb_streams_cdc.testing.simulation.delivery import Record
from dynamodb_streams_cdc.testing.simulation.events import (
    Answered,
    AnswerIgnored,
    Called,
    Event,
    Failed,
    Invoked,
    InvokedLate,
    Repeated,
    Unanswered,
    change_of,
    changes_of,
    key_text,
)
from dynamodb_streams_cdc.testing.simulation.scene import Scene
from dynamodb_streams_cdc.testing.simulation.schedule import (
    FaultKind,
    Schedule,
    Write,
)
from dynamodb_streams_cdc.testing.simulation.shrink import batch_again, first_change_again
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER
from dynamodb_streams_cdc.testing.simulation.timeline import Timeline

MANY = 3
"""Attempts after which an error counts as one that every attempt has."""

REPORTS = "ReportBatchItemFailures"

MISSING = {
    ViewType.NEW_IMAGE: "OldImage, the item before the change",
    ViewType.OLD_IMAGE: "NewImage, the item after the change",
    ViewType.KEYS_ONLY: "both images",
}
"""What records of a view type lack."""


@dataclass
class Invocation:
    """One call of the function, from a mapping or a redrive."""

    at: float
    records: Sequence[Record]
    answer: Any = None
    error: BaseException | None = None


class Run(Protocol):
    """Runs another schedule of the same function, in another scene if one is given."""

    def __call__(self, schedule: Schedule, scene: Scene | None = None, /) -> "Story":
        """Return the run."""


@dataclass(frozen=True)
class Story:
    """A run: its schedule, its events, and its problems in the end.

    Attributes:
        lost: how many records are neither done nor in a dead letter.
        pointed_to: how many records went to a queue or a topic, which gets a pointer to them.
        run: runs another schedule of the same function.
    """

    schedule: Schedule
    scene: Scene
    problems: tuple[str, ...]
    timeline: Timeline
    invocations: list[Invocation]
    lost: int
    pointed_to: int
    wanted: Any
    copy: Any
    run: "Run" = field(repr=False)

    def fails(self, schedule: Schedule) -> bool:
        """Whether another schedule fails too."""
        return bool(self.run(schedule).problems)

    @property
    def mapping(self) -> str:
        """The settings of the mapping that matter for the order, in words."""
        schedule = self.schedule
        settings = {
            "BatchSize": schedule.batch_size,
            "ParallelizationFactor": schedule.lanes,
            **self.scene.settings,
        }
        shards = "1 shard" if schedule.partitions == 1 else f"{schedule.partitions} shards"
        told = ", ".join(
            f"{name} {settings[name]}"
            for name in ("BatchSize", "ParallelizationFactor")
            if settings[name] != 1 or name == "BatchSize"
        )
        return f"{shards}, {told}"

    @property
    def kinds(self) -> set[FaultKind]:
        """The kinds of the faults."""
        return {fault.kind for fault in self.schedule.faults}

    @property
    def extra(self) -> list[Any]:
        """The keys that the copy has and should not have."""
        if isinstance(self.copy, Mapping) and isinstance(self.wanted, Mapping):
            return [key for key in self.copy if key not in self.wanted]
        return []

    def turns(self) -> Iterator[list[Event]]:
        """Yield the events of each invocation by the mapping, from its call to its end."""
        turn: list[Event] = []
        for entry in self.timeline.entries:
            if isinstance(entry.event, Invoked | InvokedLate):
                turn = []
            turn.append(entry.event)
            if isinstance(entry.event, Answered | AnswerIgnored | Failed | Repeated):
                yield turn


def hint(story: Story) -> str:
    """Return the likely mistake, in one or two sentences; empty if the run shows none."""
    if story.kinds:
        fair = story.run(replace(story.schedule, faults=()))
        story = fair if fair.problems else story  # no fault is needed: it explains nothing
    for rule in RULES:
        if found := rule(story):
            return found
    return ""


def _unreported(story: Story) -> str:
    if REPORTS in story.scene.settings.get("FunctionResponseTypes", ()):
        return ""
    if not any(_failures(each.answer) for each in story.invocations):
        return ""
    return (
        "the function returned batchItemFailures, and the mapping takes every answer as a "
        f'success. Check it with FunctionResponseTypes=["{REPORTS}"], if yours has that'
    )


def _failures(answer: Any) -> list[Any]:
    found = answer.get("batchItemFailures") if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def _rejected(story: Story) -> str:
    for invocation in story.invocations:
        numbers = {record["dynamodb"]["SequenceNumber"] for record in invocation.records}
        ids = {record["eventID"] for record in invocation.records}
        for failure in _failures(invocation.answer):
            name = failure.get("itemIdentifier") if isinstance(failure, Mapping) else failure
            if name in numbers:
                continue
            what = "the eventID" if name in ids else f"{name!r}" if name else "empty"
            return (
                f"itemIdentifier is {what}, which names no record to Lambda: the whole batch is "
                "repeated, with everything that was done. Report dynamodb.SequenceNumber"
            )
    return ""


def _stateless(story: Story) -> str:
    last = (turn[-1] for turn in story.turns())
    if not any(isinstance(event, Answered) and event.reason == NO_STATE for event in last):
        return ""
    return (
        "TumblingWindowInSeconds is set, and the function returned no state: Lambda takes such an "
        'answer as a failure and repeats the batch. Return {"state": {...}}, or set no window'
    )


def _images(story: Story) -> str:
    view_type, both = story.scene.view_type, ViewType.NEW_AND_OLD_IMAGES
    if (
        view_type == both
        or story.run(story.schedule, replace(story.scene, view_type=both)).problems
    ):
        return ""
    return (
        f"it fails with StreamViewType {view_type}, and not with {both}: the records lack "
        f"{MISSING[ViewType(view_type)]}. Choose {both}, or use only what the records have"
    )


def _always_raises(story: Story) -> str:
    if story.kinds:
        return ""
    errors = [
        *((_error_of(each), each.records) for each in story.invocations if each.error),
        *_unusable(story),
    ]
    if errors and all(each.error for each in story.invocations if each.records):
        errors = [each for each in errors if each[1] == errors[0][1]]
    if len(errors) < MANY or len({what for what, _ in errors}) != 1:
        return ""
    what, records = errors[0]
    told = f"{what} in every attempt at {changes_of(records)}"
    if len(records) == 1 or story.schedule.bisect:
        return told
    return (
        f"{told}, and Lambda repeats and gives up the batch as a whole. Report the record that "
        f"failed in batchItemFailures, with {REPORTS}, or set BisectBatchOnFunctionError, which "
        "halves the batch until that record is alone"
    )


def _error_of(invocation: Invocation) -> str:
    if isinstance(invocation.error, Exception):
        return f"the function raised {invocation.error!r}"
    return f"the process ended with {invocation.error!r}"


def _unusable(story: Story) -> Iterator[tuple[str, Sequence[Record]]]:
    """Yield each answer that Lambda cannot send on, such as one with a set, as an error."""
    for first, *_, last in story.turns():
        if (
            isinstance(first, Invoked)
            and isinstance(last, Answered)
            and last.result is Result.ERROR
        ):
            yield f"the answer failed with {last.reason}", first.records


def _lost(story: Story) -> str:
    if story.lost:
        return (
            f"{story.lost} of the records are neither done nor in a dead letter: the mapping gave "
            "them up without a destination that keeps them, or the stream forgot them after 24 "
            "hours"
        )
    if story.pointed_to:
        return (
            f"the mapping gave up {story.pointed_to} of the records. Its destination gets no "
            "records but a pointer into the stream, which forgets them after 24 hours: use a "
            "bucket, or allow more attempts"
        )
    return ""


def _swallowed(story: Story) -> str:
    for turn in story.turns():
        method = _failed_call(turn)
        last = turn[-1]
        if method and isinstance(last, Answered) and last.result is Result.SUCCESS:
            return (
                f"{method} failed, and the function answered with success all the same: Lambda "
                "does not send these records again. Let the error out, or report the record in "
                "batchItemFailures"
            )
    return ""


def _failed_call(turn: Sequence[Event]) -> str:
    """Return the method of a call that failed and did not succeed later in the turn."""
    failed = ""
    for event in turn:
        match event:
            case Unanswered(method=method):
                failed = method
            case Called(method=method, error=error) if error:
                failed = method
            case Called(method=method) if method == failed:
                failed = ""
    return failed


def _idle(story: Story) -> str:
    events = [entry.event for entry in story.timeline.entries]
    tried = any(isinstance(event, Called | Unanswered) for event in events)
    raised = any(each.error for each in story.invocations)
    if tried or raised or not story.invocations or story.copy or not story.wanted:
        return ""
    return (
        f"the function was invoked {len(story.invocations)} times and wrote nothing: it made no "
        "request, and the copy is still empty"
    )


def _went_on(story: Story) -> str:
    for turn in story.turns():
        last = turn[-1]
        if not (isinstance(last, Answered) and last.result is Result.PARTIAL):
            continue
        failures = [isinstance(event, Unanswered) or _raised(event) for event in turn]
        if True in failures and any(
            isinstance(event, Called) and not event.error for event in turn[failures.index(True) :]
        ):
            return (
                "after a call failed, the function went on with later records and then reported "
                "the one that failed: Lambda repeats that record and all after it, so what was "
                "done for those is done again. Stop at the first failure"
            )
    return ""


def _raised(event: Event) -> bool:
    return isinstance(event, Called) and bool(event.error)


def _across_items(story: Story) -> str:
    lanes = {"ParallelizationFactor": story.schedule.lanes, **story.scene.settings}
    number = lanes["ParallelizationFactor"]
    if number == 1:
        return ""
    if story.run(story.schedule, _with(story.scene, ParallelizationFactor=1)).problems:
        return ""
    return (
        f"it fails with ParallelizationFactor {number}, and not with 1: lanes keep the order of "
        "one item's changes, and records of other items overtake them. Do not depend on the order "
        "between items"
    )


def _marker_first(story: Story) -> str:
    if not story.kinds:
        return ""
    fair = story.run(replace(story.schedule, faults=()))
    answers = [turn[-1] for turn in story.turns() if isinstance(turn[-1], Answered)]
    missing = sorted({method for method, _ in _calls(fair) - _calls(story)})
    if fair.problems or not missing or not answers or answers[-1].result is not Result.SUCCESS:
        return ""
    items = {name for _, name in _calls(fair) - _calls(story)}
    if items.isdisjoint(name for _, name in _calls(story, failed=True)):
        return ""
    return (
        f"an invocation failed before it called {' and '.join(missing)}, and the retry did not "
        "call it either: what the function wrote before says that the work is done. Write such a "
        "marker with the effect in one transaction, or after it"
    )


def _calls(story: Story, *, failed: bool = False) -> set[tuple[str, str]]:
    """Return the methods that succeeded, each with every item that it may have been called for.

    Of invocations that failed alone, if asked for.
    """
    return {
        (event.method, key_text(record["dynamodb"]["Keys"]))
        for turn in story.turns()
        if not (failed and isinstance(turn[-1], Answered) and turn[-1].result is Result.SUCCESS)
        for record in (turn[0].records if isinstance(turn[0], Invoked | InvokedLate) else ())
        for event in turn
        if isinstance(event, Called) and not event.error
    }


def _digits(story: Story) -> str:
    plain = FIRST_SEQUENCE_NUMBER
    if story.schedule.first_sequence_number == plain or FaultKind.NEW_STREAM in story.kinds:
        return ""
    if not _passes(story, first_sequence_number=plain):
        return ""
    return (
        "it fails where sequence numbers get one digit more (21 to 40 are possible): compare them "
        "as integers or padded with zeros to 40 digits, not as they are"
    )


def _passes(story: Story, **changes: Any) -> bool:
    return not story.fails(replace(story.schedule, **changes))


def _one_second(story: Story) -> str:
    if story.kinds or story.fails(_paced(story.schedule, 2.0)):
        return ""
    if not story.fails(_paced(story.schedule, 0.1)):
        return ""
    return (
        "it fails where two changes of an item are in one second: ApproximateCreationDateTime is "
        "rounded down to the second. Compare sequence numbers"
    )


def _paced(schedule: Schedule, seconds: float) -> Schedule:
    """Return the writes with so much time between them, each in an invocation of its own."""
    writes = [replace(each, at=seconds * n) for n, each in enumerate(schedule.operations)]
    return replace(schedule, operations=tuple(writes), window=0)


def _not_idempotent(story: Story) -> str:
    if not story.kinds or not story.fails(batch_again(story.schedule)):
        return ""
    return (
        "it fails where Lambda delivers a batch again, as after a crash or a timeout: the effect "
        "is done twice. Write what follows from the item's state alone, or remember in the same "
        "transaction that it was done"
    )


def _by_batch(story: Story) -> str:
    batches: dict[str, set[str]] = {}
    for invocation in story.invocations:
        numbers = {record["dynamodb"]["SequenceNumber"] for record in invocation.records}
        for number in numbers:
            batches.setdefault(number, set()).add(" ".join(sorted(numbers)))
    again = any(len(each) > 1 for each in batches.values())
    if (
        not (story.kinds and again)
        or story.run(story.schedule, _with(story.scene, BatchSize=1)).problems
    ):
        return ""
    return (
        "it fails where a record comes again in a batch with other records, and not with "
        "BatchSize 1: remember each record, not the batch"
    )


def _with(scene: Scene, **settings: Any) -> Scene:
    return replace(scene, settings={**scene.settings, **settings})


def _out_of_order(story: Story) -> str:
    late = next(_late(story.invocations), None)
    if late is None or not story.fails(first_change_again(story.schedule)):
        return ""
    if story.extra:
        return (
            f"an old {change_of(late)} came after the item was deleted, and brought it back: keep "
            "a tombstone with the version of the delete"
        )
    return (
        f"an old {change_of(late)} came after a newer change, and the function took it: write only "
        "what is newer than the version that the copy holds"
    )


def _late(invocations: Sequence[Invocation]) -> Iterator[Record]:
    """Yield the records that came after a newer one of the same item, and raised no error."""
    newest: dict[str, tuple[str, int]] = {}
    for invocation in invocations:
        for record in invocation.records:
            name, place = key_text(record["dynamodb"]["Keys"]), _place(record)
            if place < newest.get(name, place) and not invocation.error:
                yield record
            newest[name] = max(place, newest.get(name, place))


def _place(record: Record) -> tuple[str, int]:
    label = record["eventSourceARN"].rpartition("/")[2]
    return label, int(record["dynamodb"]["SequenceNumber"])


def _new_stream(story: Story) -> str:
    if FaultKind.NEW_STREAM not in story.kinds:
        return ""
    return (
        "it fails where the table gets a new stream: its sequence numbers say nothing about those "
        "of the old one. Compare the stream's label, the end of eventSourceARN, first"
    )


def _deletes(story: Story) -> str:
    removals = {Write.DELETE, Write.EXPIRE}
    writes = {each.write for each in story.schedule.operations}
    if story.kinds or not writes & removals:
        return ""
    if Write.EXPIRE in writes:
        plain = tuple(
            replace(each, write=Write.DELETE) if each.write is Write.EXPIRE else each
            for each in story.schedule.operations
        )
        if _passes(story, operations=plain):
            return "it fails where Time to Live removes an item, and not where a user deletes it"
    return "the function leaves in its copy what a REMOVE removes" if story.extra else ""


def _batches(story: Story) -> str:
    several = any(len(each.records) > 1 for each in story.invocations)
    if story.kinds or not several:
        return ""
    if story.run(story.schedule, _with(story.scene, BatchSize=1)).problems:
        return ""
    return (
        "it fails where a batch has several records, and not with BatchSize 1: the function does "
        "not handle the records of a batch one after the other"
    )


def _plain(story: Story) -> str:
    if story.kinds or story.schedule.later:
        return ""
    return "it fails without any fault: the function gets each record in order"


RULES = (
    _unreported,
    _rejected,
    _stateless,
    _images,
    _always_raises,
    _lost,
    _swallowed,
    _went_on,
    _across_items,
    _marker_first,
    _digits,
    _one_second,
    _not_idempotent,
    _out_of_order,
    _by_batch,
    _new_stream,
    _batches,
    _deletes,
    _idle,
    _plain,
)
"""The first that applies gives the hint."""
