"""Sample stories: the states of items, first to last, which the demo and the rehearsals write.

    def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        for number in range(1000):
            room = {"hotel": "H1", "room": number, "beds": 2}
            yield Story([room, {**room, "beds": 3}, None])

A state is an item as boto3 takes it: text, numbers as `int` or `Decimal`, `bytes`, lists, dicts,
sets. All states of a story have the same keys, and no item has two stories.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

State: TypeAlias = Mapping[str, Any]
"""An item: its attributes by name."""


class StoriesError(Exception):
    """A story cannot be read or played; the message is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A state that the table takes and a sink cannot apply.

    Attributes:
        defect: what is wrong with it, such as `a total that is text`.
        state: the item with the defect: `contributions`, `document` or both raise an error for it.
        correction: the item without it.
    """

    defect: str
    state: State
    correction: State


@dataclass(frozen=True, slots=True)
class Story:
    """The life of one item.

    Attributes:
        states: the item after each write, first to last. None deletes the item. A state that equals
            the one before it is a write without effect.
        poison: is written in place of the states in a demo with poison.
    """

    states: Sequence[State | None]
    poison: Poison | None = None


class Stories(Protocol):
    """The function `stories` of lambdas/domain/stories.py."""

    def __call__(self, table: str, seed: int, data: Path | None) -> Iterator[Story]:
        """Yield the stories of a table's items; the same arguments give the same stories.

        Args:
            table: logical name of the table.
            seed: decides every random choice.
            data: file that the person named with `DATA=`; None if there is none.

        Raises:
            StoriesError: the file cannot be read.
        """
