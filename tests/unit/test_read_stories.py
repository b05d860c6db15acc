"""Stories that cannot be played are named before a service starts."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from dynamodb_streams_cdc.entities import Entity, Index, Table, exactly
from dynamodb_streams_cdc.testing.stories import Poison, StoriesError, Story
from local.workload.stories import read_stories, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.workload.stories import Survey

ROOM = {"hotel": "H", "number": 7, "beds": 2}
STRANGER = {"hotel": "?", "number": 1}


def beds(image: Any) -> Any:
    return {"beds": {"count": image["beds"]}}


TABLE = Table(
    "rooms",
    keys={"hotel": "S", "number": "N"},
    entities=(
        Entity(
            "room",
            keys={"hotel": exactly("H")},
            contributions=beds,
            document=lambda image: {"twin": image["beds"] * 2, "name": image.get("name")},
            index=Index(name="rooms"),
        ),
    ),
)


def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
    for number in range(300):
        room = {"hotel": "H", "number": number, "beds": 2}
        spoiled = {**room, "beds": "two"}
        yield Story(
            [room, {**room, "beds": 3}, None],
            poison=Poison("beds that are text", spoiled, room),
        )


def test_the_stories_of_the_demo_s_page_can_be_played() -> None:
    found = survey(read_stories([TABLE], stories, 1, None))

    assert found.stories == sum(found.poison) == 300


def surveyed(*stories: Story, table: Table = TABLE, limit: int | None = None) -> Survey:
    def told(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        return iter(stories)

    return survey(read_stories([table], told, 1, None), limit)


def test_stories_are_counted_by_entity() -> None:
    found = surveyed(Story([ROOM]), Story([STRANGER]))

    assert found.stories == 2
    assert found.entities == {("rooms", "room"): 1, ("rooms", "no entity"): 1}
    assert found.poison == [False, False]


def test_numbers_are_decimals_as_functions_get_them() -> None:
    def told(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        yield Story([ROOM, None])

    [story] = read_stories([TABLE], told, 1, None)

    assert story.states == ({"hotel": "H", "number": Decimal(7), "beds": Decimal(2)}, None)
    assert type(story.states[0] and story.states[0]["beds"]) is Decimal
    assert story.item == "rooms/S=H/N=7"
    assert story.keys == {"hotel": "H", "number": Decimal(7)}


def test_a_limit_is_not_read_past() -> None:
    assert surveyed(Story([ROOM]), Story([]), limit=1).stories == 1


def test_poison_names_the_sinks_that_refuse_it() -> None:
    def told(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        yield Story([ROOM], poison=Poison("text", {**ROOM, "beds": "two"}, ROOM))

    [story] = read_stories([TABLE], told, 1, None)

    assert story.poison is not None
    assert story.poison.refused_by == {"aggregation"}  # twice a text is a text


@pytest.mark.parametrize(
    ("stories", "sentence"),
    [
        ([], "There are no stories"),
        ([[ROOM]], "Story 1 of table 'rooms' is of type list: yield a Story"),
        ([Story(ROOM)], "has a state of type str: a Story takes a list of items"),  # type: ignore[arg-type]
        ([Story([])], "Story 1 of table 'rooms' must begin with the item's first state"),
        ([Story([None, ROOM])], "must begin with the item's first state"),
        ([Story([{"hotel": "H"}])], "without the key number or with another type of it"),
        ([Story([{**ROOM, "number": "7"}])], "every state needs hotel (S), number (N)"),
        ([Story([ROOM, {**ROOM, "number": 8}])], "has states with different keys"),
        ([Story([{**ROOM, "price": 1.5}])], "has a state that DynamoDB does not take"),
        ([Story([ROOM]), Story([ROOM])], "Two stories are of the item rooms/S=H/N=7"),
        ([Story([{**ROOM, "beds": "two"}])], "has a state that aggregation cannot apply"),
        ([Story([{**ROOM, "beds": "two"}])], "or the function in lambdas/domain"),
        ([Story([{"hotel": "H", "number": 1}])], "KeyError"),
        ([Story([ROOM], Poison("no defect", ROOM, ROOM))], "Every sink applies the poison of"),
        (
            [Story([STRANGER], Poison("text", {**STRANGER, "beds": "x"}, STRANGER))],
            "The story of rooms/S=?/N=1 has poison and is of no entity",
        ),
        (
            [Story([ROOM], Poison("text", {**ROOM, "beds": "x"}, {**ROOM, "beds": "y"}))],
            "The correction of rooms/S=H/N=7 cannot be applied by aggregation",
        ),
        (
            [Story([ROOM], Poison("text", {**ROOM, "number": 8, "beds": "x"}, ROOM))],
            "has states with different keys",
        ),
    ],
)
def test_a_story_that_cannot_be_played_is_named(stories: list[Any], sentence: str) -> None:
    with pytest.raises(StoriesError) as raised:
        surveyed(*stories)

    assert sentence in str(raised.value)
    assert "lambdas/domain/stories.py" in str(raised.value)


@pytest.mark.parametrize("sink", ["aggregation", "search"])
def test_a_function_that_is_not_pure_is_named(sink: str) -> None:
    calls = count(1)

    def impure(image: Any) -> Any:
        return {"calls": {"count": next(calls)}}

    summed = Entity("room", contributions=impure)
    searched = Entity("room", document=impure, index=Index(name="rooms"))
    entity = summed if sink == "aggregation" else searched

    with pytest.raises(StoriesError, match=rf"{sink} cannot apply \(a second call returns"):
        surveyed(Story([ROOM]), table=Table("rooms", TABLE.keys, (entity,)))


def test_a_function_that_alters_its_image_can_be_played() -> None:
    def altering(image: Any) -> Any:
        return {"beds": {"count": image.pop("beds")}}

    room = Entity("room", contributions=altering, document=altering, index=Index(name="rooms"))
    assert surveyed(Story([ROOM]), table=Table("rooms", TABLE.keys, (room,))).stories == 1


def test_stories_that_yield_nothing_are_named() -> None:
    def told(table: str, seed: int, data: Path | None) -> Any:
        Story([ROOM])  # without `yield`

    with pytest.raises(
        StoriesError, match=r"`stories` returned NoneType: yield a Story in .*stories\.py"
    ):
        survey(read_stories([TABLE], told, 1, None))


def test_an_item_of_no_entity_may_become_a_dead_letter() -> None:
    strict = Table("rooms", TABLE.keys, TABLE.entities, unknown="dead-letter")

    with pytest.raises(StoriesError, match=r"rooms/S=%3F/N=1 is of no entity|is of no entity"):
        surveyed(Story([{"hotel": "?", "number": 1}]), table=strict)
