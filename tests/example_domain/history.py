"""Checks the history of one item in the change log: complete, unbroken, ending as the table."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from local.verify.comparison import Difference
from tests.example_domain.expected import PROFILE, TABLE, Order, item_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = dict[str, Any]
_VERSION = re.compile(r"[^/]+/[^/]+/[0-9]{40}")
_PATH_HEAD = re.compile(r"[^.\[]+")


def check_history(
    item: str, entries: list[Entry], current: Order | None, writes: int | None
) -> Iterator[Difference]:
    """Yield the differences between the history of an item and the expected one.

    Args:
        item: its identity.
        entries: its history, in any order.
        current: the item in the table, None if it is not there.
        writes: number of its effective writes, None if it is unknown.
    """
    ordered = sorted(entries, key=lambda entry: str(entry["version"]))
    if writes is not None and len(ordered) != writes:
        yield _different(item, "number of entries", writes, len(ordered))
    for position, entry in enumerate(ordered, start=1):
        where = f"entry {position} of {len(ordered)} ({entry.get('kind')})"
        yield from _check_entry(item, where, entry)
    yield from _images(
        item, f"entry 1 ({ordered[0].get('kind')}) before", None, ordered[0], "before"
    )
    for position, (previous, entry) in enumerate(pairwise(ordered), start=2):
        where = f"entry {position} of {len(ordered)} ({entry.get('kind')}) before"
        yield from _images(item, where, previous.get("after"), entry, "before")
    yield from _images(item, "replayed state", current, ordered[-1], "after")


def totals_of(entries: list[Entry]) -> Iterator[Decimal]:
    """Yield for each insertion of the item the first total of its history that is a number."""
    if (entries[0].get("keys") or {}).get("order_id") == PROFILE:
        return
    ordered = sorted(entries, key=lambda entry: str(entry["version"]))
    stated = [(entry.get("after") or {}).get("total") for entry in ordered]
    for position, entry in enumerate(ordered):
        if entry.get("kind") == "INSERT":
            numbers = (each for each in stated[position:] if isinstance(each, Decimal))
            yield next(numbers, Decimal(0))


def _check_entry(item: str, where: str, entry: Entry) -> Iterator[Difference]:
    """Check one entry: kind, images, changed attributes and actor fit together."""
    before, after = entry.get("before"), entry.get("after")
    kind = {(False, True): "INSERT", (True, True): "MODIFY", (True, False): "REMOVE"}.get(
        (before is not None, after is not None), "an entry with an image"
    )
    expected = {
        "kind": kind,
        "table": TABLE,
        "keys": _keys(after or before or {}),
        "expired": False,
        "changed": _changed(before, after),
        "actor": (after or {}).get("updated_by"),
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
        if found[name] != value:
            yield _different(item, f"{where} {name}", value, found[name])
    identity = item_of(**_strings(entry.get("keys")))
    if identity != item:
        yield _different(item, f"{where} item of its keys", item, identity)
    if not _VERSION.fullmatch(str(entry["version"])):
        shape = "<epoch>/<stream label>/<40 digits>"
        yield _different(item, f"{where} version", shape, entry["version"])


def _images(
    item: str, where: str, expected: Order | None, entry: Entry, name: str
) -> Iterator[Difference]:
    found = entry.get(name)
    if expected is None or found is None:
        if expected != found:
            yield _different(item, where, expected, found)
        return
    for attribute in sorted(expected.keys() | found.keys()):
        if expected.get(attribute) != found.get(attribute):
            yield _different(
                item, f"{where}.{attribute}", expected.get(attribute), found.get(attribute)
            )


def _changed(before: Order | None, after: Order | None) -> list[str] | None:
    if before is None or after is None:
        return None
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name)) or None


def _head(path: str) -> str:
    found = _PATH_HEAD.match(path)
    return found.group() if found else path


def _keys(image: Order) -> dict[str, Any]:
    return {name: image.get(name) for name in ("customer_id", "order_id")}


def _strings(keys: dict[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in _keys(keys or {}).items()}


def _different(item: str, field: str, expected: Any, found: Any) -> Difference:
    return Difference("audit", "different", item, field, expected, found)
