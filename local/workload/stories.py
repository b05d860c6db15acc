"""Reads and checks the sample stories of the declared tables.

A story that cannot be played is found before a service starts, and named with its item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

from dynamodb_streams_cdc import deserialize_item, serialize_item
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.testing.stories import StoriesError, Story
from local.items import NO_ENTITY, item_of, keys_of, refusals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dynamodb_streams_cdc.entities import Entity, Table
    from dynamodb_streams_cdc.testing.stories import Stories
    from local.items import Image

WHERE = "lambdas/domain/stories.py"
_TYPES: Mapping[str, type] = {"S": str, "N": Decimal, "B": bytes}


class TooFewStories(StoriesError):
    """There are none, or too few for the poison that is wanted."""


@dataclass(frozen=True, slots=True)
class ItemPoison:
    """Poison of an item; `refused_by` are the sinks that cannot apply it."""

    defect: str
    state: Image
    correction: Image
    refused_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class ItemStory:
    """A story of an item.

    Attributes:
        table: the item's table.
        entity: the item's entity; None if it is of none.
        item: identity of the item.
        states: first to last; values as functions get them, None where the item does not exist.
        poison: is None unless it can be written in place of the states.
        poisoned: whether the states are the poison alone.
    """

    table: Table
    entity: Entity | None
    item: str
    states: tuple[Image | None, ...]
    poison: ItemPoison | None = None
    poisoned: bool = False

    @property
    def keys(self) -> Image:
        """The key attributes of the item."""
        return keys_of(self.table, next(state for state in self.states if state is not None))

    @property
    def last(self) -> Image | None:
        """The item at the end."""
        return self.states[-1]


def read_stories(
    tables: Sequence[Table], stories: Stories, seed: int, data: Path | None
) -> Iterator[ItemStory]:
    """Yield the stories of all tables, by turns.

    Raises:
        StoriesError: a story cannot be played; the message names it.
    """
    reading = [_of_table(table, stories(table.name, seed, data)) for table in tables]
    while reading:
        for each in list(reading):
            if (story := next(each, None)) is not None:
                yield story
            else:
                reading.remove(each)


def _of_table(table: Table, stories: object) -> Iterator[ItemStory]:
    if not isinstance(stories, Iterable):
        message = f"`stories` returned {type(stories).__name__}: yield a Story in {WHERE}."
        raise StoriesError(message)
    for number, story in enumerate(stories, start=1):
        where = f"Story {number} of table {table.name!r}"
        if not isinstance(story, Story):
            message = f"{where} is of type {type(story).__name__}: yield a Story in {WHERE}."
            raise StoriesError(message)
        states = tuple(None if each is None else _image(each, where) for each in story.states)
        if not states or states[0] is None:
            message = f"{where} must begin with the item's first state: see {WHERE}."
            raise StoriesError(message)
        poison = None
        item = _item(table, states[0], where)
        entity = table.entity_of(states[0])
        others = [state for state in states[1:] if state is not None]
        if story.poison is not None:
            wrong, right = (
                _image(each, f"{where}, poison")
                for each in (story.poison.state, story.poison.correction)
            )
            others += [wrong, right]
            refused = refusals(entity, wrong)
            poison = ItemPoison(story.poison.defect, wrong, right, frozenset(refused))
        for state in others:
            if _item(table, state, where) != item:
                message = (
                    f"{where} has states with different keys: give each item a story of its own "
                    f"in {WHERE}."
                )
                raise StoriesError(message)
        yield ItemStory(table, entity, item, states, poison)


def _image(state: object, where: str) -> Image:
    """Return a state as functions see it: numbers are Decimals."""
    if not isinstance(state, Mapping):
        message = (
            f"{where} has a state of type {type(state).__name__}: a Story takes a list of items "
            f"in {WHERE}."
        )
        raise StoriesError(message)
    try:
        return deserialize_item(serialize_item(dict(state)))
    except (CdcError, TypeError, ValueError) as error:
        message = f"{where} has a state that DynamoDB does not take ({error}): see {WHERE}."
        raise StoriesError(message) from error


def _item(table: Table, image: Image, where: str) -> str:
    wrong = [
        name for name, kind in table.keys.items() if not isinstance(image.get(name), _TYPES[kind])
    ]
    if wrong:
        wanted = ", ".join(f"{name} ({kind})" for name, kind in table.keys.items())
        message = (
            f"{where} has a state without the key {wrong[0]} or with another type of it: every "
            f"state needs {wanted}; see {WHERE}."
        )
        raise StoriesError(message)
    return item_of(table, image)


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts of the stories of a run.

    Attributes:
        stories: number of stories.
        entities: numbers by table and entity; `NO_ENTITY` for items of none.
        poison: whether each story has poison, in order.
    """

    stories: int
    entities: Mapping[tuple[str, str], int]
    poison: Sequence[bool] = field(repr=False)


def survey(stories: Iterator[ItemStory], limit: int | None = None) -> Survey:
    """Read every story once and check it.

    Raises:
        StoriesError: a story cannot be played, or two are of one item.
        TooFewStories: there is none.
    """
    seen: set[str] = set()
    entities: Counter[tuple[str, str]] = Counter()
    poison: list[bool] = []
    for story in islice(stories, limit):
        if story.item in seen:
            message = f"Two stories are of the item {story.item}: make them one in {WHERE}."
            raise StoriesError(message)
        seen.add(story.item)
        _check(story)
        entities[story.table.name, story.entity.name if story.entity else NO_ENTITY] += 1
        poison.append(story.poison is not None)
    if not poison:
        message = f"There are no stories: let `stories` in {WHERE} yield some."
        raise TooFewStories(message)
    return Survey(len(poison), dict(entities), poison)


def _check(story: ItemStory) -> None:
    if story.entity is None and story.table.unknown == "dead-letter":
        message = (
            f"The story of {story.item} is of no entity, and table {story.table.name!r} makes such "
            f"items dead letters: leave it out of {WHERE}."
        )
        raise StoriesError(message)
    for state in story.states:
        for sink, error in refusals(story.entity, state).items() if state is not None else ():
            message = (
                f"The story of {story.item} has a state that {sink} cannot apply "
                f"({error}): correct the state in {WHERE} or the function in lambdas/domain, "
                "or make the state `poison`."
            )
            raise StoriesError(message)
    if story.poison is None:
        return
    if story.entity is None:
        message = (
            f"The story of {story.item} has poison and is of no entity, so no sink gets it: give "
            f"the item the keys of an entity, in {WHERE}."
        )
        raise StoriesError(message)
    if not story.poison.refused_by:
        message = (
            f"Every sink applies the poison of {story.item}: give it a state for which "
            f"`contributions` or `document` raises an error, in {WHERE}."
        )
        raise StoriesError(message)
    for sink, error in refusals(story.entity, story.poison.correction).items():
        message = (
            f"The correction of {story.item} cannot be applied by {sink} ({error}): correct it in "
            f"{WHERE}."
        )
        raise StoriesError(message)
