"""Concurrent redrives, in every order of their steps: no record is lost, none is doubled.

A step is what S3 and Lambda do at once: a read, a write, a copy, a deletion, an invocation.
Archiving is two of them, as S3 can only copy and delete. Each order is a run of its own from the
same start, and what must hold is checked after each of its steps.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc.names import ARCHIVE
from dynamodb_streams_cdc.operations.dead_letter_store import parse_dead_letter
from dynamodb_streams_cdc.operations.redrive import Redrive, RedriveStatus, Result
from tests.fake_pipeline import (
    NAMES,
    POISON,
    FakePipeline,
    Ports,
    given_up,
    item,
    lambdas_key,
    placed,
)
from tests.schedules import long
from tests.unit.simulation.exhaustive import Gate

BATCH = lambdas_key("batch")

Step = Callable[[], None]
Actor = Callable[[Step], None]


class Redriver(Ports):
    """A redrive that stops before each step until it is its turn.

    With more than two actors, reading is not a step (`reads`): a dead letter never changes.
    """

    def __init__(self, pipeline: FakePipeline, step: Step, reads: bool = True) -> None:
        self.step = step
        self.results: list[Result] = []
        steps = ["before holds", "before keep", "before invoke", *["before read"] * reads]
        super().__init__(pipeline, lambda call: step() if call in steps else None)

    def redrive(self, keys: Sequence[str]) -> None:
        self.results += Redrive(self, self, NAMES, self.pipeline.clock).run(keys)

    def archive(self, key: str) -> bool:
        objects = self.pipeline.store.objects
        self.step()
        if key not in objects:
            return False
        objects[ARCHIVE + key] = objects[key]
        self.step()
        objects.pop(key, None)
        return True


def every_order(begin: Callable[[], tuple[Sequence[Actor], Step]]) -> Iterator[list[int]]:
    """Run actors in every order of their steps, each time from the beginning; yield the order.

    `begin` returns them, and what to check after each step.
    """
    planned: list[int] = []
    while True:
        actors, check = begin()
        gates = [Gate() for _ in actors]
        taken: list[int] = []
        others: list[list[int]] = []
        try:
            for gate, actor in zip(gates, actors, strict=True):
                gate.begin(partial(stepping, actor))
            while choices := [number for number, gate in enumerate(gates) if not gate.done]:
                chosen = planned[len(taken)] if len(taken) < len(planned) else choices[0]
                taken.append(chosen)
                others.append([choice for choice in choices if choice > chosen])
                gates[chosen].go_on()
                check()
        finally:
            for gate in gates:
                gate.end()
        yield taken
        while others and not others[-1]:
            others.pop()
        if not others:
            return
        planned = [*taken[: len(others) - 1], others[-1][0]]


def stepping(actor: Actor, gate: Gate) -> None:
    actor(gate.pass_)


@dataclass
class Story:
    """One run: the pipeline and its redrives.

    Attributes:
        records: sequence numbers and customers of the records that dead letters held at first.
    """

    pipeline: FakePipeline
    records: Mapping[str, int]
    people: list[Redriver] = field(default_factory=list)

    def redrives(self, *keys: str, reads: bool = True) -> Actor:
        def act(step: Step) -> None:
            person = Redriver(self.pipeline, step, reads)
            self.people.append(person)
            person.redrive(keys)

        return act

    def fixes(self, customer: int) -> Actor:
        def act(step: Step) -> None:
            step()
            self.pipeline.write(customer, "fixed")

        return act

    def delivers(self, record: Mapping[str, Any]) -> Actor:
        """Let Lambda deliver a record once more, as it may."""

        def act(step: Step) -> None:
            step()
            self.pipeline.deliver(record)

        return act

    def check(self) -> None:
        """Nothing is lost: a record waits in a dead letter, or the index has what the table has."""
        waiting, indexed = self.pipeline.sequences_waiting, self.pipeline.indexed()
        for sequence, customer in self.records.items():
            state = self.pipeline.table.items[item(customer)]
            assert state is not None
            assert sequence in waiting or indexed.get(item(customer)) == state["status"]

    def check_end(self) -> None:
        """Nothing is doubled, and once all is fixed a further redrive ends it."""
        store = self.pipeline.store
        counts = Counter(self._waiting())
        assert set(counts.values()) <= {1}, "a record waits twice"
        assert len(store.archived) == len(set(store.archived))
        assert not {*store.archived} & {*self.pipeline.waiting}, "what is archived waits"
        self.pipeline.write(2, "fixed")
        list(Redrive(store, self.pipeline, NAMES, self.pipeline.clock).run(self.pipeline.waiting))
        assert self.pipeline.waiting == []
        assert self.pipeline.indexed() == {item(1): "placed", item(2): "fixed"}

    def _waiting(self) -> Iterator[str]:
        for key in self.pipeline.waiting:
            dead_letter = parse_dead_letter(key, self.pipeline.store.objects[key], NAMES)
            for record in getattr(dead_letter, "records", ()):
                yield record["dynamodb"]["SequenceNumber"]


GOOD, BAD = placed(1, 1), placed(2, 2, POISON)


def story() -> Story:
    """A batch of a record that can be applied and of one that cannot."""
    pipeline = FakePipeline()
    pipeline.write(1, "placed")
    pipeline.write(2, POISON)
    pipeline.store.deliver(BATCH, given_up([GOOD, BAD]))
    records = {each["dynamodb"]["SequenceNumber"]: n for n, each in ((1, GOOD), (2, BAD))}
    return Story(pipeline, records)


def own_key() -> str:
    """The key under which the processor writes the record that cannot be applied."""
    pipeline = FakePipeline()
    pipeline.write(2, POISON)
    pipeline.deliver(BAD)
    [key] = pipeline.waiting
    return key


OWN = own_key()


def with_own() -> Story:
    """The processor has written the same record itself, before its batch was given up."""
    found = story()
    found.pipeline.deliver(BAD)
    return found


CROSSWISE = ((BATCH, OWN), (OWN, BATCH))


def two(story: Story) -> list[Actor]:
    return [story.redrives(BATCH, reads=False), story.redrives(BATCH, reads=False)]


TWO = 70
"""Orders of two people with four steps each: replay, keep, copy, delete; 8! / (4! 4!)."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Keep what is logged of poison, some ten thousand times, to ourselves."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("begin", "who", "least"),
    [
        (story, lambda s: [s.redrives(BATCH), s.redrives(BATCH)], TWO),
        pytest.param(story, lambda s: [*two(s), s.fixes(2)], TWO, marks=long),
        pytest.param(story, lambda s: [*two(s), s.delivers(BAD)], TWO, marks=long),
        (with_own, lambda s: [s.redrives(BATCH), s.redrives(OWN), s.fixes(2)], TWO),
        (with_own, lambda s: [s.redrives(*keys, reads=False) for keys in CROSSWISE], TWO),
    ],
    ids=["two split", "and it is fixed", "and it is delivered", "batch and own", "crosswise"],
)
def test_no_record_is_lost_or_doubled(
    begin: Callable[[], Story], who: Callable[[Story], Sequence[Actor]], least: int
) -> None:
    stories: list[Story] = []

    def start() -> tuple[Sequence[Actor], Step]:
        stories[:] = [begin()]
        return who(stories[0]), stories[0].check

    count = 0
    for order in every_order(start):
        count += 1
        [ended] = stories
        try:
            ended.check_end()
        except AssertionError as error:
            error.add_note(f"in the order {order}")
            raise
    assert count >= least


def test_every_interleaving_is_tried() -> None:
    def start() -> tuple[Sequence[Actor], Step]:
        def act(step: Step) -> None:
            step()
            step()

        return [act, act], lambda: None

    found = list(every_order(start))
    assert sorted(map(tuple, found)) == sorted(set(itertools.permutations([0, 0, 1, 1])))


def test_both_outcomes_of_a_race_occur() -> None:
    """A later operator finds the dead letter gone; one in between copies it a second time."""
    stories: list[Story] = []

    def start() -> tuple[Sequence[Actor], Step]:
        stories[:] = [story()]
        stories[0].pipeline.write(2, "fixed")
        return [stories[0].redrives(BATCH), stories[0].redrives(BATCH)], stories[0].check

    seen = set()
    for _ in every_order(start):
        seen.add(tuple(sorted(r.status for person in stories[0].people for r in person.results)))
    assert seen == {
        (RedriveStatus.ARCHIVED, RedriveStatus.ARCHIVED),
        (RedriveStatus.ARCHIVED, RedriveStatus.GONE),
    }
