"""Concurrent redrives, in every order of their steps: no record is lost, none is doubled.

A step is what S3 and Lambda do at once: a read, a write, a copy, a deletion, an invocation.
Archiving is two of them, as S3 can only copy and delete. What must hold is checked after each.
"""

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
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from tests.factories import ManualClock
from tests.fake_pipeline import (
    NAMES,
    POISON,
    FakePipeline,
    given_up,
    item,
    lambdas_key,
    placed,
)
from tests.unit.simulation.exhaustive import Actor, Exploration, Gate

BATCH = lambdas_key("batch")


class Store(MemoryDeadLetterStore):
    """A store whose archiving is two steps."""

    def copy(self, key: str) -> bool:
        if key not in self.objects:
            return False
        self.objects[ARCHIVE + key] = self.objects[key]
        return True

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


def redriving(gate: Gate, keys: Sequence[str]) -> list[Result]:
    store, functions = gate.port("store", Store), gate.port("pipeline", FakePipeline)

    def archive(key: str) -> bool:
        if not store.copy(key):
            return False
        store.delete(key)
        return True

    store.archive = archive
    return list(Redrive(store, functions, NAMES, ManualClock()).run(keys))


def redrives(*keys: str) -> Actor:
    return Actor("redrive", partial(redriving, keys=keys))


def fixes(customer: int) -> Actor:
    return Actor("fix", lambda gate: gate.ask("pipeline", "write", customer, "fixed"))


def delivers(record: Mapping[str, Any]) -> Actor:
    """Let Lambda deliver a record once more, as it may."""
    return Actor("delivery", lambda gate: gate.ask("pipeline", "deliver", record))


@dataclass
class Story:
    """The pipeline.

    Attributes:
        records: sequence numbers and customers of the records that dead letters held at first.
    """

    pipeline: FakePipeline = field(default_factory=lambda: FakePipeline(store=Store()))
    records: Mapping[str, int] = field(default_factory=dict)

    @property
    def store(self) -> MemoryDeadLetterStore:
        return self.pipeline.store

    def state(self) -> str:
        held = self.pipeline
        return repr((held.store, held.index, held.table.items, held.clock.time))

    def check(self) -> None:
        """Nothing is lost: a record waits in a dead letter, or the index has what the table has."""
        waiting, indexed = self.pipeline.sequences_waiting, self.pipeline.indexed()
        for sequence, customer in self.records.items():
            state = self.pipeline.table.items[item(customer)]
            assert state is not None
            assert sequence in waiting or indexed.get(item(customer)) == state["status"]

    def check_end(self, _: Sequence[Any]) -> None:
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
    records = {each["dynamodb"]["SequenceNumber"]: n for n, each in ((1, GOOD), (2, BAD))}
    found = Story(records=records)
    found.pipeline.write(1, "placed")
    found.pipeline.write(2, POISON)
    found.store.deliver(BATCH, given_up([GOOD, BAD]))
    return found


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


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Keep what is logged of poison, some ten thousand times, to ourselves."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


TWO = [redrives(BATCH), redrives(BATCH)]


@pytest.mark.parametrize(
    ("begin", "actors"),
    [
        (story, TWO),
        (story, [*TWO, fixes(2)]),
        (story, [*TWO, delivers(BAD)]),
        (with_own, [redrives(BATCH), redrives(OWN), fixes(2)]),
        (with_own, [redrives(BATCH, OWN), redrives(OWN, BATCH)]),
    ],
    ids=["two split", "and it is fixed", "and it is delivered", "batch and own", "crosswise"],
)
def test_no_record_is_lost_or_doubled(
    begin: Callable[[], Story],
    actors: Sequence[Actor],
    record_property: Callable[[str, object], None],
) -> None:
    found = Exploration(actors, begin).run()
    assert found.ends > 1
    record_property("states", found.states)


def test_both_outcomes_of_a_race_occur() -> None:
    """A later operator finds the dead letter gone; one in between copies it a second time."""
    seen = set()

    class Fixed(Story):
        def check_end(self, results: Sequence[Any]) -> None:
            super().check_end(results)
            seen.add(tuple(sorted(each.status for [each] in results)))

    def begin() -> Fixed:
        found = Fixed(**vars(story()))
        found.pipeline.write(2, "fixed")
        return found

    Exploration(TWO, begin).run()
    assert seen == {
        (RedriveStatus.ARCHIVED, RedriveStatus.ARCHIVED),
        (RedriveStatus.ARCHIVED, RedriveStatus.GONE),
    }
