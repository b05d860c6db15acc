"""Rebuild the sums of the aggregation next to those that readers read, a part at a time.

    {"operation": "rebuild-sums", "step": "state"}  return the generations
    {"operation": "rebuild-sums", "step": "begin"}  begin a generation, or go on with it
    {"operation": "rebuild-sums", "step": "move", "of": "table" | "copies", "generation": 2, ...}
                                                  move ledger rows into it, by the table's items or
                                                  by the ledger's rows
    {"operation": "rebuild-sums", "step": "check", "of": "copies" | "sums", "generation": 2, ...}
                                                  add up the ledger's rows, or return the sums
    {"operation": "rebuild-sums", "step": "switch", "generation": 2}
                                                  let readers read it, or the one before it again
    {"operation": "rebuild-sums", "step": "finish", "generation": 2}
                                                  keep it alone
    {"operation": "rebuild-sums", "step": "drop", "generation": 0, ...}
                                                  remove the measures of the other one
    {"operation": "rebuild-sums", "step": "clean"}     note that they are gone

A row is moved in one transaction: the row gets the generation, and its whole contribution is added
to the new sums. The contribution is computed again from the item, which is read consistently
*after* the row; the difference is added to the old sums as well. Rows are moved only once every
invocation knows of the generation (`WAIT_SECONDS`), because one that does not makes new rows that
count in the old sums alone. The walk over the ledger finds what the walk over the table cannot:
rows of items that were deleted, and rows that keep what expired.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Source
from dynamodb_streams_cdc.control.parts import Page, Part, PartResponse, as_text, size_of, take
from dynamodb_streams_cdc.control.row_mover import RowMover
from dynamodb_streams_cdc.errors import (
    DeadlineExceeded,
    MalformedRecord,
    RetryableError,
    form_of,
)
from dynamodb_streams_cdc.identity import floor_of, stream_label
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import WholeTable
from dynamodb_streams_cdc.sinks.comparison import Place
from dynamodb_streams_cdc.sinks.contributions import Contribution, add
from dynamodb_streams_cdc.sinks.generations import (
    Generations,
    WrongGeneration,
    as_document,
)
from dynamodb_streams_cdc.sinks.ledger import (
    LedgerStore,
)

PAGE_ROWS = 200
"""Rows of one page."""

WALKS = ("move", "check", "drop")
STEPS = ("state", "begin", "switch", "finish", "clean", *WALKS)


class RebuildResponse(PartResponse):
    """The response to a step of a rebuild.

    Attributes:
        rebuildable: false, and nothing was done, for a sink without sums, or without a table.
        refusal: why the step does not fit the generations that there are; empty if it does.
        generations: base, built, live, last, dropped; see `Generations`.
        wait: seconds until every invocation knows of them.
        moved: number of ledger rows moved into the generation.
        corrected: number of ledger rows whose contribution was not that of the item.
        unchecked: number of ledger rows moved as they are: their identity names no key.
        refused: number of items that the domain's function fails on.
        behind: number of ledger rows that are not in the generation.
        dropped: number of rows of sums from which measures were removed.
        sums: what the ledger's rows add up to, or the sums; amounts as text.
        revisions: number of writes of the sums read.
    """

    rebuildable: bool
    refusal: str
    generations: Mapping[str, int | float | None]
    wait: float
    moved: int
    corrected: int
    unchecked: int
    refused: int
    behind: int
    dropped: int
    sums: Mapping[str, Mapping[str, str]]
    revisions: Mapping[str, int]


@dataclass
class SumsRebuild:
    """One step of a rebuild.

    Attributes:
        applier: knows the sinks, the table and the deadline.
        source: names the table in identities.
    """

    applier: SinkApplier
    source: Source
    generations: Generations = field(default_factory=Generations, init=False)

    def __post_init__(self) -> None:
        self.sinks = [sink for sink in self.applier.sinks if isinstance(sink, Aggregation)]
        self.deadline = self.applier.deadline

    @property
    def ledger(self) -> LedgerStore:
        """The ledger, which all sinks share."""
        return self.sinks[0].ledger

    def run(self, event: Mapping[str, Any]) -> RebuildResponse:
        """Do the step that an event asks for.

        Raises:
            MalformedRecord: a field has another form.
        """
        step = event.get("step")
        if step not in STEPS:
            message = f"step: expected one of {', '.join(STEPS)}, got {form_of(step)}"
            raise MalformedRecord(message)
        response = _nothing(event.get("place"))
        response["rebuildable"] = bool(self.sinks) and isinstance(
            self.applier.source_table, WholeTable
        )
        if not response["rebuildable"]:
            return response
        if any(sink.ledger != self.ledger for sink in self.sinks):
            # Its items would be counted in the first one as well.
            response["refusal"] = "its sinks have several ledgers: give each a function of its own"
            return response
        response["done"] = step not in WALKS
        try:
            self.generations = self.ledger.generations(self.deadline)
            self._do(str(step), event, response)
        except WrongGeneration as error:
            response["refusal"] = str(error)
        except (RetryableError, DeadlineExceeded) as error:
            response["problem"] = f"{type(error).__name__}: {error}"
        response["generations"] = as_document(self.generations)
        response["wait"] = self.generations.wait(self.deadline.now())
        return response

    def _do(self, step: str, event: Mapping[str, Any], response: RebuildResponse) -> None:
        now, held = self.deadline.now(), self.generations
        match step:
            case "begin":
                self._set(held.begun(now))
            case "switch":
                self._set(held.switched(_generation(event)))
            case "finish":
                if held.live != _generation(event):
                    message = f"readers read generation {held.live}: another operator switched them"
                    raise WrongGeneration(message)
                self._set(held.finished(now))
            case "clean":
                self._set(held.cleaned())
            case "move":
                self._expect(event, held.built)
                part = _part(event)
                take(self._moves(part, _label(event), response), part, response, self.deadline)
            case "check":
                self._expect(event, held.built)
                part = _part(event)
                take(
                    self._checks(part, _generation(event), response), part, response, self.deadline
                )
            case "drop":
                self._expect(event, held.dropped)
                part = Part.from_event({**event, "Records": []}, "sums")
                take(self._drops(part, _generation(event), response), part, response, self.deadline)

    def _set(self, after: Generations) -> None:
        """Write the generations.

        Raises:
            RetryableError: another operator wrote them meanwhile.
        """
        if after == self.generations:
            return
        if not self.ledger.set_generations(self.generations, after, self.deadline):
            message = "another operator changed the generations meanwhile"
            raise RetryableError(message)
        self.generations = replace(after, revision=self.generations.revision + 1)

    def _expect(self, event: Mapping[str, Any], number: int | None) -> None:
        """Check that a step is about the generation at work, and that every invocation knows it.

        Raises:
            WrongGeneration: it is about another one.
            RetryableError: some invocation may not know it.
        """
        asked = _generation(event)
        if asked != number:
            message = f"generation {asked} is not at work any more: another operator has ended it"
            raise WrongGeneration(message)
        if wait := self.generations.wait(self.deadline.now()):
            message = f"for {wait:.0f} seconds some invocations may not know of generation {asked}"
            raise RetryableError(message)

    def _moves(self, part: Part, label: str, response: RebuildResponse) -> Iterator[Page]:
        floor = floor_of(self.source.epoch, label)
        mover = RowMover(self.applier, self.source, self.sinks, self.generations, floor)
        table, place, most = self.applier.source_table, part.place, min(PAGE_ROWS, part.limit)
        assert isinstance(table, WholeTable)
        while True:
            if part.of == "table":
                # An item whose row was lost is found here alone.
                items = table.scan(part.segment, place, most, self.deadline, consistent=True)
                mover.move_items(items.items, part.keys)
                read, units, place = len(items.items), items.units, items.following
            else:
                page = self.ledger.walk(part.segment, place, most, self.deadline)
                mover.move_rows(page.rows, part.keys)
                read, units, place = len(page.rows), page.units, page.following
            response["moved"], response["corrected"] = mover.moved, mover.corrected
            response["unchecked"], response["refused"] = mover.unchecked, mover.refused
            yield Page(read, units, place)

    def _checks(self, part: Part, generation: int, response: RebuildResponse) -> Iterator[Page]:
        place, most = part.place, min(PAGE_ROWS, part.limit)
        total: Contribution = {}
        revisions: dict[str, int] = {}
        while True:
            if part.of == "sums":
                sums = self.sinks[0].sums(place, most, self.deadline, generation)
                for name, number in sums.revisions.items():
                    revisions[name] = revisions.get(name, 0) + number
                found = sums.sums
                read, units, place = len(sums.revisions), sums.units, sums.following
            else:
                page = self.ledger.walk(part.segment, place, most, self.deadline)
                response["behind"] += sum(row.generation != generation for row in page.rows)
                found = add(row.contribution for row in page.rows)
                read, units, place = len(page.rows), page.units, page.following
            total = add((total, found))
            response["sums"], response["revisions"] = as_text(total), revisions
            yield Page(read, units, place, size_of(as_text(found)))

    def _drops(self, part: Part, generation: int, response: RebuildResponse) -> Iterator[Page]:
        place, most = part.place, min(PAGE_ROWS, part.limit)
        while True:
            page = self.ledger.drop(generation, place, most, self.deadline)
            response["dropped"] += page.dropped
            place = page.following
            yield Page(page.read, page.units, place)


def _nothing(place: Place | None) -> RebuildResponse:
    return RebuildResponse(
        batchItemFailures=[],
        rebuildable=False,
        refusal="",
        generations={},
        wait=0.0,
        read=0,
        moved=0,
        corrected=0,
        unchecked=0,
        refused=0,
        behind=0,
        dropped=0,
        units=0.0,
        place=place,
        done=True,
        sums={},
        revisions={},
        problem="",
    )


def _part(event: Mapping[str, Any]) -> Part:
    return Part.from_event({**event, "Records": []})


def _label(event: Mapping[str, Any]) -> str:
    return stream_label(str(event.get("streamArn")))


def _generation(event: Mapping[str, Any]) -> int:
    number = event.get("generation")
    if type(number) is not int or number < 0:
        message = f"generation: expected a number, got {form_of(number)}"
        raise MalformedRecord(message)
    return number
