"""Compares the indexes of the search with the table's items."""

from __future__ import annotations

import base64
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import SEARCH
from dynamodb_streams_cdc.errors import CdcError
from local.items import result_of
from local.verify.items import Tally
from local.verify.values import Mark, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamodb_streams_cdc.entities import Entity, Index
    from local.items import Image
    from local.verify.comparison import SinkComparison
    from local.verify.deployed_copies import DeployedCopies
    from local.verify.items import Items

COUNT = "_count"


class SearchCheck:
    """Compares each item with the document that a search for all finds, and counts them."""

    def __init__(self, copies: DeployedCopies) -> None:
        self._copies = copies

    def compare(self, items: Items) -> list[SinkComparison]:
        tally = Tally(items, SEARCH, "documents", "fields")
        for index in items.table.indexes:
            self._compare_index(index, items, tally)
        return tally.results()

    def _compare_index(self, index: Index, items: Items, tally: Tally) -> None:
        entities = [each for each in items.table.using(SEARCH) if each.index == index]
        wanted = {
            item: document
            for entity in entities
            for item, image in items.of(entity).items()
            if (document := document_of(entity, image)) is not None
        }
        due, seen = len(wanted), set()
        for item, source in self._copies.documents(index.name):
            document = wanted.get(item)
            if document is None or item in seen:
                tally.add("extra", item, None, source)
                continue
            seen.add(item)
            tally.compared(item, len(source))
            _compare_document(item, document, source, tally)
        for item in sorted(wanted.keys() - seen):
            tally.add("missing", item, wanted[item], None)
        for item, source in self._copies.hidden(index.name):
            entity = items.entity_of(item)
            known = entity in entities if entity else items.may_hold(SEARCH, item)
            if not known or (source.get("cdc") or {}).get("deleted") is not True:
                tally.add("extra", item, None, source)
        counted = self._copies.document_count(index.name)
        if counted != due:
            tally.add(
                "different",
                f"{index.name}/{COUNT}",
                due,
                counted,
                field="documents",
                of=entities[0].name,
            )

    def count(self) -> int:
        return sum(self._copies.document_count(each.name) for each in self._copies.table.indexes)

    def due(self, entity: Entity, states: Sequence[Image | None]) -> int:
        last = states[-1]
        return int(last is not None and document_of(entity, last) is not None)

    def tells_last(self, entity: Entity, states: Sequence[Image | None]) -> bool:
        *earlier, last = [None if each is None else document_of(entity, each) for each in states]
        return last is not None and last not in earlier

    def shown(self, last: Mapping[str, tuple[Entity, Sequence[Image | None]]]) -> set[str]:
        shown = set()
        for index in self._copies.table.indexes:
            wanted = {
                item: document
                for item, (entity, states) in last.items()
                if entity.index == index
                and states[-1] is not None
                and (document := document_of(entity, states[-1])) is not None
            }
            if not wanted:
                continue
            found = self._copies.find(index.name, list(wanted))
            shown |= {i for i in found.keys() & wanted.keys() if _shows(wanted[i], found[i])}
        return shown


def document_of(entity: Entity, image: Image) -> dict[str, Any] | None:
    """Return an item's document; an empty one, which no document equals, if it has a defect."""
    assert entity.document is not None
    try:
        document = result_of(entity.document, SEARCH, image)
    except CdcError:
        return {}
    return None if document is None else dict(document)


def _shows(document: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    names = {*document, *source} - {"cdc"}
    return all(same(value_of(document, name), value_of(source, name)) for name in names)


def _compare_document(
    item: str, expected: Mapping[str, Any], source: dict[str, Any], tally: Tally
) -> None:
    about = source.get("cdc") or {}
    fields: dict[str, tuple[Any, Any]] = {
        name: (value_of(expected, name), value_of(source, name))
        for name in sorted((expected.keys() | source.keys()) - {"cdc"})
    }
    fields["cdc.item"] = (item, about.get("item"))
    fields["cdc.deleted"] = (False, about.get("deleted"))
    for name, (wanted, held) in fields.items():
        if not same(wanted, held):
            tally.add("different", item, wanted, held, field=name)


def same(expected: Any, found: Any) -> bool:
    """Compare a value of a document with that in the index.

    Numbers are compared by value, and one that is not an integer must be stored as text. Binary is
    base64 text there, and a set is a sorted list.
    """
    match expected:
        case None | bool() | str() | Mark():
            return type(expected) is type(found) and bool(expected == found)
        case int() | Decimal():
            if isinstance(found, bool) or not isinstance(found, int | str):
                return False
            try:
                return Decimal(found) == expected
            except InvalidOperation:
                return False
        case bytes():
            return bool(base64.b64encode(expected).decode() == found)
        case set() | frozenset():
            return same(sorted(expected), found)
        case list() | tuple():
            return (
                isinstance(found, list)
                and len(expected) == len(found)
                and all(map(same, expected, found))
            )
        case dict():
            return (
                isinstance(found, dict)
                and expected.keys() == found.keys()
                and all(same(value, found[name]) for name, value in expected.items())
            )
    return False
