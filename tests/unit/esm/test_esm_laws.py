"""What holds however invocations end: drawn runs with every fault the engine knows."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import Engine, Invoke, Policies
from tests.unit.esm.driver import (
    DEAD_LETTERS,
    Driver,
    numbers,
    record,
    reporting,
    sequence,
)

ITEMS = 6


class Drawn(Driver):
    """A driver whose invocations end at random, later than they began, and in any order."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        ordered = [record(n, key=f"item-{n % ITEMS}") for n in range(1, 41)]
        self.settings = reporting(
            BatchSize=chance.randint(1, 8),
            ParallelizationFactor=chance.randint(1, 4),
            MaximumRetryAttempts=chance.choice([0, 1, 3]),
            BisectBatchOnFunctionError=chance.random() < 0.5,
            MaximumBatchingWindowInSeconds=chance.choice([0, 0, 5]),
            **DEAD_LETTERS,
        )
        self.policies = Policies(
            consolidation=chance.choice(["separate", "adjacent"]),
            attempts_after_split=chance.choice(["reset", "keep"]),
            top_up=chance.random() < 0.3,
            read_ahead=chance.choice([1, 10, 1000]),
        )
        super().__init__(
            self.make({}),
            lambda event: None,
            {"child": ordered[25:], "parent": ordered[:25]},
            closed={"parent", "child"},
            parents={"child": "parent"},
        )
        self.under_way: list[Invoke] = []
        self.done: set[int] = set()
        self.first_seen: list[int] = []

    def make(self, checkpoints: dict[str, str]) -> Engine:
        return Engine(self.settings, checkpoints=checkpoints, policies=self.policies)

    def invoke(self, command: Invoke) -> None:
        fresh = [n for n in numbers(command.event) if n not in self.first_seen]
        self.first_seen += fresh
        self.under_way.append(command)

    def items_under_way(self) -> Iterator[str]:
        for command in self.under_way:
            yield from {r["dynamodb"]["Keys"]["id"]["S"] for r in command.event["Records"]}

    def end_one(self) -> None:
        command = self.under_way.pop(self.chance.randrange(len(self.under_way)))
        sent = numbers(command.event)
        match self.chance.choice(["done"] * 4 + ["part", "error", "refused", "lost", "nonsense"]):
            case "done":
                self.done.update(sent)
                self.engine.answered(command.token, None, self.now)
            case "part":
                failed = self.chance.choice(sent)
                self.done.update(sent[: sent.index(failed)])
                answer: Any = {"batchItemFailures": [{"itemIdentifier": sequence(failed)}]}
                self.engine.answered(command.token, answer, self.now)
            case "error":
                self.engine.failed(command.token, self.now)
            case "refused":
                self.engine.not_invoked(command.token, self.now)
            case "lost":
                self.done.update(sent)
                self.engine.redeliver(command.token)
            case _:
                self.engine.answered(command.token, "nonsense", self.now)

    def disturb(self) -> None:
        match self.chance.choice(["nothing"] * 20 + ["crash", "rewind", "switch off", "switch on"]):
            case "crash":
                self.engine = self.make(self.engine.checkpoints)
                self.under_way.clear()
            case "rewind" if self.engine.checkpoints.keys() >= {"child"}:
                self.engine.rewind("child")
                self.under_way = [c for c in self.under_way if c.shard_id != "child"]
            case "switch off":
                self.engine.disable()
            case _:
                self.engine.enable()

    def given_up(self) -> set[int]:
        return {
            n
            for dead_letter in self.dead_letters
            for n in numbers({"Records": dead_letter.records})
        }

    def play(self) -> None:
        """Go on to the end; a loss that a crash could fix must not be fixed by one at the end."""
        disturbed = self.chance.choice([0, 30, 100])
        for step in range(2_000):
            commands = self.engine.commands(self.now)
            for command in commands:
                self.act(command)
            busy = list(self.items_under_way())
            assert len(busy) == len(set(busy)), "two batches with one item were under way at once"
            if self.settled() and not self.under_way:
                return
            if step < disturbed:
                self.disturb()
            elif step == disturbed:
                self.engine.enable()
            if self.under_way and self.chance.random() < 0.6:
                self.end_one()
            self.now = self.engine.wake_at(self.now) or self.now + 1.0
        pytest.fail("the run did not end")


@pytest.mark.parametrize("seed", range(150))
def test_records_are_done_or_given_up_in_item_order(seed: int) -> None:
    run = Drawn(random.Random(seed))
    run.play()

    assert run.done | run.given_up() == set(range(1, 41))
    for item in range(ITEMS):
        mine = [n for n in run.first_seen if n % ITEMS == item]
        assert mine == sorted(mine)
