"""Compares the change log of the audit with the table's items: complete, unbroken histories."""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import AUDIT
from local.items import NO_ENTITY, item_of
from local.verify.items import Tally
from local.verify.values import same_value, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynamodb_streams_cdc.entities import Entity, Table
    from local.items import Image
    from local.verify.comparison import SinkComparison
    from local.verify.deployed_copies import DeployedCopies
    from local.verify.items import Items

Entry = dict[str, Any]
_VERSION = re.compile(r"[^/]+/[^/]+/[0-9]{40}")
_LONGEST_ACTOR = 1024
_PATH_HEAD = re.compile(r"[^.\[]+")


class AuditCheck:
    """Compares each item with its history, and the number of entries with that of the writes."""

    def __init__(self, copies: DeployedCopies) -> None:
        self._copies = copies

    def compare(self, items: Items) -> list[SinkComparison]:
        tally = Tally(items, AUDIT, "histories", "entries")
        writes, seen = items.writes, set()
        for item, group in groupby(self._copies.entries(), key=lambda entry: str(entry["item"])):
            history = list(group)
            if item in seen:
                msg = f"The entries of {item} are in two places of the change log."
                raise ValueError(msg)
            seen.add(item)
            entity = _entity_of(item, history, items)
            if entity is None or not entity.audited or (writes is not None and item not in writes):
                name = entity.name if entity else NO_ENTITY
                tally.add("extra", item, None, f"{len(history)} entries", of=name)
                continue
            tally.compared(item, len(history))
            count = None if writes is None else writes[item]
            _History(item, history, items.table, tally, entity).check(items.images.get(item), count)
        expected = items.images.keys() | (writes or {}).keys()
        for item in sorted(expected - seen):
            entity = items.entity_of(item)
            if entity is not None and entity.audited:
                tally.add("missing", item, _entries_of(item, writes), None)
        return tally.results()

    def count(self) -> int:
        return self._copies.entry_count()

    def due(self, entity: Entity, states: Sequence[Image | None]) -> int:
        return changes_of(states)

    def tells_last(self, entity: Entity, states: Sequence[Image | None]) -> bool:
        return True  # the number of entries tells the last change from those before

    def shown(self, last: Mapping[str, tuple[Entity, Sequence[Image | None]]]) -> set[str]:
        return {
            item
            for item, (_, states) in last.items()
            if self._copies.history_length(item) >= changes_of(states)
        }


def changes_of(states: Sequence[Image | None]) -> int:
    """Return the number of writes of these states that change the item."""
    pairs = pairwise((None, *states))
    return sum(not same_value(before, after) for before, after in pairs)


def _entity_of(item: str, history: Sequence[Entry], items: Items) -> Entity | None:
    """Return the entity by the identity, or by the keys where the identity is a digest."""
    keys = history[0].get("keys") if item.startswith("#") else None
    return items.table.entity_of(keys) if keys else items.entity_of(item)


def _entries_of(item: str, writes: Mapping[str, int] | None) -> str:
    count = (writes or {}).get(item)
    return "a history" if count is None else f"a history of {count} entries"


class _History:
    """The history of one item."""

    def __init__(
        self, item: str, entries: list[Entry], table: Table, tally: Tally, entity: Entity
    ) -> None:
        self._item = item
        self._entries = sorted(entries, key=lambda entry: str(entry["version"]))
        self._table = table
        self._tally = tally
        self._of = entity.name

    def check(self, current: Image | None, writes: int | None) -> None:
        """Compare with the item in the table, None if it is not there, and the effective writes."""
        entries = self._entries
        if writes is not None and len(entries) != writes:
            self._differs("number of entries", writes, len(entries))
        for position, entry in enumerate(entries, start=1):
            self._check_entry(f"entry {position} of {len(entries)} ({entry.get('kind')})", entry)
        first = entries[0]
        self._images(f"entry 1 ({first.get('kind')}) before", None, first.get("before"))
        for position, (previous, entry) in enumerate(pairwise(entries), start=2):
            where = f"entry {position} of {len(entries)} ({entry.get('kind')}) before"
            self._images(where, previous.get("after"), entry.get("before"))
        self._images("replayed state", current, entries[-1].get("after"))

    def _check_entry(self, where: str, entry: Entry) -> None:
        """Check one entry: kind, images, changed attributes and actor fit together."""
        before, after = entry.get("before"), entry.get("after")
        kind = {(False, True): "INSERT", (True, True): "MODIFY", (True, False): "REMOVE"}.get(
            (before is not None, after is not None), "an entry with an image"
        )
        expires = self._table.expires_by is not None and kind == "REMOVE"
        expected = {
            "kind": kind,
            "table": self._table.name,
            "keys": self._keys(after or before or {}),
            "expired": expires and bool(entry.get("expired")),
            "changed": _changed(before, after),
            "actor": self._actor(after),
        }
        found = {name: entry.get(name) for name in expected}
        found["changed"] = sorted({_head(path) for path in entry.get("changed", ())}) or None
        if after is None:
            # A deletion carries no name of its author, so the entry's actor is not checked.
            del expected["actor"]
        if "overflow" in entry:
            # Its images and the names of the changed attributes are in the image store.
            del expected["changed"]
        for name, value in expected.items():
            if not same_value(found[name], value):
                self._differs(f"{where} {name}", value, found[name])
        identity = self._identity(entry.get("keys") or {})
        if identity != self._item:
            self._differs(f"{where} item of its keys", self._item, identity)
        if not _VERSION.fullmatch(str(entry["version"])):
            shape = "<epoch>/<stream label>/<40 digits>"
            self._differs(f"{where} version", shape, entry["version"])

    def _actor(self, after: Image | None) -> Any:
        name = self._table.actor_attribute
        actor = (after or {}).get(name) if name else None
        return actor if isinstance(actor, str) and len(actor) <= _LONGEST_ACTOR else None

    def _identity(self, keys: Image) -> str | None:
        if keys.keys() != self._table.keys.keys():
            return None
        return item_of(self._table, keys)

    def _keys(self, image: Image) -> Image:
        return {name: image.get(name) for name in self._table.keys}

    def _images(self, where: str, expected: Image | None, found: Image | None) -> None:
        if expected is None or found is None:
            if expected is not found:
                self._differs(where, expected, found)
            return
        for name in sorted(expected.keys() | found.keys()):
            wanted, held = value_of(expected, name), value_of(found, name)
            if not same_value(wanted, held):
                self._differs(f"{where}.{name}", wanted, held)

    def _differs(self, field: str, expected: Any, found: Any) -> None:
        self._tally.add("different", self._item, expected, found, field=field, of=self._of)


def _changed(before: Image | None, after: Image | None) -> list[str] | None:
    if before is None or after is None:
        return None
    names = before.keys() | after.keys()
    changed = (n for n in names if not same_value(value_of(before, n), value_of(after, n)))
    return sorted(changed) or None


def _head(path: str) -> str:
    found = _PATH_HEAD.match(path)
    return found.group() if found else path
