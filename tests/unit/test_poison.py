"""Poison is spread over the stories; a correction removes it and leaves other items as they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from dynamodb_streams_cdc import deserialize_item, serialize_item
from dynamodb_streams_cdc.testing.stories import StoriesError
from lambdas.example_domain import TABLES
from local.demo import Options, _words
from local.workload import poison as module
from local.workload.poison import Poison, correct, main
from local.workload.traffic import steps_of
from tests.example_domain.told import told, told_orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.workload.poison import Correction
    from local.workload.stories import ItemPoison, ItemStory

[ORDERS] = TABLES


def poisoned(count: int) -> list[ItemPoison]:
    return [story.poison for story in told_orders(count) if story.poison is not None]


@pytest.mark.parametrize(("count", "poisonous"), [(10, 5), (96, 13), (3, 1), (4, 0), (5, 5)])
def test_poison_is_spread_over_a_round(count: int, poisonous: int) -> None:
    poison, stories = Poison(seed=1), told_orders()

    taken = list(poison.hidden(stories, count, poisonous))

    assert [story.item for story in taken] == [story.item for story in told_orders(count)]
    assert len(poison.items) == poisonous
    places = [place for place, story in enumerate(taken) if story.item in poison.items]
    for number, place in enumerate(places):
        assert count * number // poisonous <= place < count * (number + 1) // poisonous
    assert next(stories).item not in {story.item for story in taken}


def test_only_stories_with_poison_are_poisoned() -> None:
    poison = Poison(seed=1)
    able = sum(story.poison is not None for story in told(50))

    list(poison.hidden(told(), 50, able))

    assert all(story.poison for story in poison.items.values())
    with pytest.raises(StoriesError, match=f"{able + 1} stories must be poison, and {able} of 50"):
        list(poison.hidden(told(), 50, able + 1))


def test_kinds_take_turns_over_all_rounds() -> None:
    poison, stories = Poison(seed=1), told_orders()

    for poisonous in (4, 2):
        list(poison.hidden(stories, 60, poisonous))

    names = Counter(story.poison.defect for story in poison.items.values() if story.poison)
    assert len(names) == 6


def test_a_poisoned_item_is_put_and_never_changed() -> None:
    poison = Poison(seed=1)
    [story] = poison.hidden(told_orders(), 1, 1)

    [step] = steps_of(story, 1)

    assert story.poison is not None
    assert story.poisoned
    assert (step.operation, step.before, step.after) == ("put", None, story.poison.state)


def test_the_sinks_that_refuse_poison_are_known() -> None:
    poison = Poison(seed=1)
    [story] = poison.hidden(told_orders(), 1, 1)

    assert poison.refusing == ["aggregation", "search"]
    assert poison.refused_by("search") == {story.item}
    assert poison.refused_by("audit") == set()


def test_a_healthy_story_stays_as_it_is() -> None:
    assert list(Poison(seed=1).hidden(told(), 20, 0)) == list(told(20))


class Table:
    """Orders as a client sees them; those in `moving` are changed just before they are written."""

    class exceptions:
        ConditionalCheckFailedException = type("Conditional", (ClientError,), {})

    def __init__(self, *orders: dict[str, Any]) -> None:
        self.orders = {order["order_id"]: dict(order) for order in orders}
        self.moving: set[str] = set()
        self.writes = 0

    def get_paginator(self, operation: str) -> Table:
        assert operation == "scan"
        return self

    def paginate(self, *, TableName: str, ConsistentRead: bool) -> Iterator[dict[str, Any]]:
        assert (TableName, ConsistentRead) == ("orders", True)
        for order in list(self.orders.values()):
            yield {"Items": [serialize_item(order)]}

    def update_item(self, **request: Any) -> None:
        decode = TypeDeserializer().deserialize
        names = request["ExpressionAttributeNames"]
        values = {
            name: decode(value) for name, value in request["ExpressionAttributeValues"].items()
        }
        order = self.orders[request["Key"]["order_id"]["S"]]
        if order["order_id"] in self.moving:
            order["status"] = "shipped"
        for part in request["ConditionExpression"].split(" AND "):
            name, value = part.split(" = ")
            if order[names[name]] != values[value]:
                raise self.exceptions.ConditionalCheckFailedException({}, "UpdateItem")
        self.writes += 1
        for part in request["UpdateExpression"].removeprefix("SET ").split(", "):
            name, value = part.split(" = ")
            order[names[name]] = values[value]


def corrected(table: Table, stories: Iterator[ItemStory] | None = None) -> Correction:
    return correct(cast("DynamoDBClient", table), "orders", ORDERS, stories or told_orders(60))


def test_a_correction_fixes_the_table_and_counts_defects() -> None:
    six, healthy = poisoned(6), next(islice(told_orders(), 20, None)).states[0]
    assert healthy is not None
    table = Table(*(each.state for each in six), healthy)

    done = corrected(table)

    assert (done.read, done.changed_meanwhile) == (7, 0)
    assert done.corrected == {each.defect: 1 for each in six}
    assert len(done.corrected) == 6
    assert list(table.orders.values()) == [*(each.correction for each in six), healthy]


def test_a_second_correction_writes_nothing() -> None:
    table = Table(poisoned(1)[0].state)

    corrected(table)

    assert corrected(table).corrected == {}
    assert table.writes == 1


def test_an_item_that_changes_meanwhile_is_left_as_it_is() -> None:
    wrong = next(each for each in poisoned(6) if each.defect == "an unknown status")
    table = Table(wrong.state)
    table.moving.add(wrong.state["order_id"])

    done = corrected(table)

    assert (done.changed_meanwhile, done.corrected) == (1, {})
    [order] = table.orders.values()
    assert order == {**wrong.state, "status": "shipped"}


def test_an_attribute_of_the_correction_must_still_be_missing() -> None:
    [story] = told_orders(1)
    assert story.poison is not None
    lacking = {n: v for n, v in story.poison.state.items() if n != "currency"}
    story = replace(story, poison=replace(story.poison, state=lacking))
    asked: list[dict[str, Any]] = []

    class Recording(Table):
        def update_item(self, **request: Any) -> None:
            asked.append(request)

    assert corrected(Recording(lacking), iter([story])).corrected.total() == 1
    [request] = asked
    names = request["ExpressionAttributeNames"]
    [missing] = [part for part in request["ConditionExpression"].split(" AND ") if "not" in part]
    assert names[missing.removeprefix("attribute_not_exists(").removesuffix(")")] == "currency"
    assert deserialize_item(request["Key"]) == story.keys


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://a:secret@b"])
def test_a_malformed_endpoint_is_refused_with_a_sentence(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from lambdas.domain import TABLES as declared

    name = declared[0].name
    with pytest.raises(SystemExit) as ended:
        main(["correct", "--source-table", name, "--table", "orders", "--endpoint-url", url])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--endpoint-url: " in said
    assert "secret" not in said


def test_a_correction_reads_no_more_stories_than_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stories of a fork may have no end."""
    from lambdas.domain import TABLES as declared

    def told(*_: Any) -> Iterator[str]:
        yield from ("first", "second")
        pytest.fail("a third story was read")

    def read_all(*arguments: Any) -> Correction:
        assert list(arguments[-1]) == ["first", "second"]
        return module.Correction()

    monkeypatch.setattr(module, "read_stories", told)
    monkeypatch.setattr(module, "correct", read_all)
    where = ["--table", "t", "--endpoint-url", "http://127.0.0.1:1"]
    words = ["correct", "--source-table", declared[0].name, *where]
    assert main([*words, *_words(Options(limit=2))]) == 0
