"""A processor on a clock moved by hand, with everything to look at afterwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc import Change, Deadline, Outcome, Processor, Sink
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.processor import YOUNG_SECONDS
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from tests.factories import NOON, SOURCE, FakeContext, ManualClock, order, record

YOUNG = NOON + 60.0
OLD = NOON + YOUNG_SECONDS + 60.0


def placed(number: int, **others: Any) -> dict[str, Any]:
    """Return the record of an order of customer `number`, placed at noon."""
    return record(number, None, order(f"{number:05}-1", **others), timestamp=NOON)


def sequence(number: int) -> str:
    """Return the sequence number of record `number`."""
    return f"{number}00000000003126276362"


@dataclass
class Bench:
    """A processor that is created again for each invocation, as in a cold start.

    Attributes:
        now: the time of the next invocation.
        seconds: what an invocation has.
        options: more arguments of the processor.
        counts: the metrics of each invocation.
    """

    sink: Sink
    now: float = YOUNG
    seconds: float = 60.0
    dead_letters: Any = field(default_factory=MemoryDeadLetters)
    options: dict[str, Any] = field(default_factory=dict)
    name: str = "orders"
    counts: list[Counts] = field(default_factory=list)

    def emit(self, counts: Counts) -> None:
        self.counts.append(counts)

    def invoke(self, event: Mapping[str, Any]) -> Any:
        self.clock = ManualClock(self.now)
        processor = Processor(
            self.name,
            SOURCE,
            self.sink,
            self.dead_letters,
            metrics=self,
            clock=self.clock,
            **self.options,
        )
        return processor(event, FakeContext(self.clock, self.seconds))

    def run(self, *records: Any) -> list[str]:
        """Return the sequence numbers that are reported."""
        response = self.invoke({"Records": list(records)})
        return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]

    def place(self, numbers: Sequence[int], **others: Any) -> list[str]:
        return self.run(*(placed(number, **others) for number in numbers))

    @property
    def dead(self) -> list[DeadLetter]:
        return list(self.dead_letters.dead_letters.values())

    @property
    def reasons(self) -> list[str]:
        return [dead_letter.reason for dead_letter in self.dead]


class Picky:
    """Raises what `verdict` says of a change for the whole batch; otherwise applies it.

    Attributes:
        calls: the number of changes of each call.
        applied: the sequence numbers of the changes that were applied.
    """

    def __init__(self, verdict: Callable[[Change], Exception | None] = lambda change: None) -> None:
        self.verdict = verdict
        self.calls: list[int] = []
        self.applied: list[str] = []

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        self.calls.append(len(changes))
        for change in changes:
            error = self.verdict(change)
            if error is not None:
                raise error
        self.applied += [change.sequence_number for change in changes]
        return Outcome(applied=len(changes))


def raising(error: Exception, *numbers: int) -> Callable[[Change], Exception | None]:
    """Return the verdict that raises this error for the records of these numbers."""
    doomed = {sequence(number) for number in numbers}
    return lambda change: error if change.sequence_number in doomed else None
