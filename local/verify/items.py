"""The items of a table as a comparison sees them, and the results by entity."""

from __future__ import annotations

import base64
import binascii
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.items import NO_ENTITY
from local.verify.comparison import Difference, SinkComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamodb_streams_cdc.entities import Entity, Table
    from local.items import Image
    from local.verify.comparison import Kind


@dataclass(frozen=True)
class Items:
    """The items of a table.

    Attributes:
        table: its declaration.
        images: the items in the table by identity, without the canary.
        writes: number of effective writes of each item, deleted ones included; None if unknown.
    """

    table: Table
    images: Mapping[str, Image]
    writes: Mapping[str, int] | None = None

    def of(self, entity: Entity) -> dict[str, Image]:
        """Return the items of an entity."""
        return self._by_entity.get(entity.name, {})

    @cached_property
    def _by_entity(self) -> Mapping[str, dict[str, Image]]:
        found: dict[str, dict[str, Image]] = defaultdict(dict)
        for item, image in self.images.items():
            if (entity := self.table.entity_of(image)) is not None:
                found[entity.name][item] = image
        return found

    def entity_of(self, item: str) -> Entity | None:
        """Return the entity of an item, also of one that is deleted; None if it is of none."""
        keys = self.images.get(item) or keys_in(self.table, item)
        return None if keys is None else self.table.entity_of(keys)

    def may_hold(self, sink: str, item: str) -> bool:
        """Return whether a sink may hold something of an item, such as a tombstone.

        The identity of a deleted item that is longer than 512 bytes does not tell its keys: yes.
        """
        if item.startswith("#") and item not in self.images:
            return True
        entity = self.entity_of(item)
        return entity is not None and entity.uses(sink)


def keys_in(table: Table, item: str) -> Image | None:
    """Return the keys in an identity; None if it is not one of the table, or a digest."""
    name, *parts = item.split("/")
    if name != table.name or len(parts) != len(table.keys):
        return None
    keys: Image = {}
    for attribute, part in zip(sorted(table.keys), parts, strict=True):
        kind, _, text = part.partition("=")
        try:
            keys[attribute] = _value(kind, text)
        except (InvalidOperation, binascii.Error):
            return None
        if kind != table.keys[attribute]:
            return None
    return keys


def _value(kind: str, text: str) -> Any:
    if kind == "N":
        return Decimal(text)
    return base64.urlsafe_b64decode(text) if kind == "B" else unquote(text)


class Tally:
    """Collects the comparison of a sink by entity."""

    def __init__(self, items: Items, sink: str, unit: str, parts: str) -> None:
        self._items = items
        self._sink = sink
        self._unit = unit
        self._part = parts
        self._compared: Counter[str] = Counter()
        self._parts: Counter[str] = Counter()
        self._differences: dict[str, list[Difference]] = defaultdict(list)

    def compared(self, item: str, parts: int) -> None:
        """Count an item that is on both sides, and the parts that it is made of."""
        self._compared[self._of(item)] += 1
        self._parts[self._of(item)] += parts

    def add(
        self, kind: Kind, item: str, expected: Any, found: Any, *, field: str = "", of: str = ""
    ) -> None:
        """Add a difference, of the item's entity unless `of` is given."""
        difference = Difference(self._sink, kind, item, field, expected, found)
        self._differences[of or self._of(item)].append(difference)

    def _of(self, item: str) -> str:
        entity = self._items.entity_of(item)
        return entity.name if entity else NO_ENTITY

    def results(self) -> list[SinkComparison]:
        """Return a comparison for each entity that uses the sink, and for others that differ."""
        table = self._items.table
        names = dict.fromkeys(entity.name for entity in table.using(self._sink))
        return [
            SinkComparison(
                self._sink,
                self._compared[name],
                f"{self._parts[name]:,} {self._part}",
                tuple(self._differences[name]),
                table.name,
                name,
                self._unit,
            )
            for name in [*names, *(each for each in self._differences if each not in names)]
        ]
