"""Compares every item with every sink, both ways."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from local.verify.expected import (
    Aggregates,
    Contribution,
    Order,
    aggregates_of,
    document_of,
    item_of,
    sum_of,
)
from local.verify.history import Entry, check_history, totals_of
from local.verify.report import Difference, Inserts, Report, SinkReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NO_MEASURES = ("aggregate", "shard", "revision")


class Copies(Protocol):
    """The table and its three copies, as plain Python values with numbers as Decimal."""

    def orders(self) -> Iterable[Order]: ...

    def aggregates(self) -> Iterable[dict[str, Any]]:
        """The rows of the aggregates table, shard by shard."""

    def ledger(self) -> Iterable[tuple[str, Contribution]]:
        """What each item adds to the sums by the ledger; without the items that are deleted."""

    def entries(self) -> Iterable[Entry]:
        """The change log; entries of one item follow each other, as in a scan of a table."""

    def documents(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Id and source of what a search for everything finds through the read alias."""

    def document_count(self) -> int:
        """What `_count` says through the same alias."""


def compare(copies: Copies, writes: Mapping[tuple[str, str], int] | None = None) -> Report:
    """Reads everything once and compares; `writes` counts the effective writes by item's key."""
    orders = {item_of(each["customer_id"], each["order_id"]): each for each in copies.orders()}
    histories = None if writes is None else {item_of(*key): n for key, n in writes.items()}
    audit, inserts = _audit(copies, orders, histories)
    return Report(
        len(orders), (_aggregates(copies, orders), _search(copies, orders), audit), inserts
    )


def _aggregates(copies: Copies, orders: dict[str, Order]) -> SinkReport:
    """Each order with its ledger row, and the sums with all the orders that have one."""
    ledger = dict(copies.ledger())
    counted = orders.keys() & ledger.keys()
    differences = [
        Difference("aggregates", "missing", each, "", "counted", None)
        for each in sorted(orders.keys() - counted)
    ] + [
        Difference("aggregates", "extra", each, "", None, ledger[each])
        for each in sorted(ledger.keys() - counted)
    ]
    for item in sorted(counted):
        wanted, held = aggregates_of([orders[item]]), sum_of(ledger[item].items())
        if wanted != held:
            differences.append(
                Difference("aggregates", "different", item, "contribution", wanted, held)
            )
    rows = list(copies.aggregates())
    expected = aggregates_of(orders[each] for each in counted)
    sums = _sums(rows, expected)
    parts = f"{len(counted):,} orders, {len(rows):,} rows"
    compared = len(expected) - sum(each.kind == "missing" for each in sums)
    return SinkReport("aggregates", compared, parts, tuple(differences + sums))


def _sums(rows: list[dict[str, Any]], expected: Aggregates) -> list[Difference]:
    measures = ({name: row[name] for name in row if name not in _NO_MEASURES} for row in rows)
    found = sum_of(zip((str(row["aggregate"]) for row in rows), measures, strict=True))
    both = expected.keys() & found.keys()
    differences = [
        Difference("aggregates", "missing", each, "", expected[each], None)
        for each in sorted(expected.keys() - both)
    ] + [
        Difference("aggregates", "extra", each, "", None, found[each])
        for each in sorted(found.keys() - both)
    ]
    for aggregate in sorted(both):
        wanted, held = expected[aggregate], found[aggregate]
        differences += [
            Difference("aggregates", "different", aggregate, name, wanted.get(name), held.get(name))
            for name in sorted(wanted.keys() | held.keys())
            if wanted.get(name) != held.get(name)
        ]
    return differences


def _search(copies: Copies, orders: dict[str, Order]) -> SinkReport:
    differences, seen, fields = [], set(), 0
    for item, source in copies.documents():
        order = orders.get(item)
        if order is None or item in seen:
            differences.append(Difference("search index", "extra", item, "", None, source))
            continue
        seen.add(item)
        fields += len(source)
        differences += _compare_document(item, document_of(order), source)
    differences += [
        Difference("search index", "missing", item, "", document_of(orders[item]), None)
        for item in sorted(orders.keys() - seen)
    ]
    counted = copies.document_count()
    if counted != len(orders):
        differences.append(
            Difference("search index", "different", "_count", "documents", len(orders), counted)
        )
    return SinkReport("search index", len(seen), f"{fields:,} fields", tuple(differences))


def _compare_document(
    item: str, expected: dict[str, Any], source: dict[str, Any]
) -> Iterable[Difference]:
    about = source.get("cdc") or {}
    fields: dict[str, tuple[Any, Any]] = {
        name: (expected.get(name), source.get(name))
        for name in sorted((expected.keys() | source.keys()) - {"cdc"})
    }
    fields["cdc.item"] = (item, about.get("item"))
    fields["cdc.deleted"] = (False, about.get("deleted"))
    for name, (wanted, held) in fields.items():
        if not _same(wanted, held):
            yield Difference("search index", "different", item, name, wanted, held)


def _same(expected: Any, found: Any) -> bool:
    """Numbers compare by value; one that is not an integer must have travelled as a string."""
    if not isinstance(expected, Decimal):
        return bool(expected == found) and type(expected) is type(found)
    if isinstance(found, bool) or not isinstance(found, int | str):
        return False
    try:
        return Decimal(found) == expected
    except InvalidOperation:
        return False


def _audit(
    copies: Copies, orders: dict[str, Order], writes: dict[str, int] | None
) -> tuple[SinkReport, Inserts]:
    differences, seen, entries = [], set(), 0
    inserted, total = 0, Decimal(0)
    for item, group in groupby(copies.entries(), key=lambda entry: str(entry["item"])):
        history = list(group)
        entries += len(history)
        if item in seen:
            msg = f"The change log gave the entries of {item} in two places."
            raise ValueError(msg)
        seen.add(item)
        for amount in totals_of(history):
            inserted += 1
            total += amount
        if writes is not None and item not in writes:
            differences.append(
                Difference("audit log", "extra", item, "", None, f"{len(history)} entries")
            )
            continue
        count = None if writes is None else writes[item]
        differences += check_history(item, history, orders.get(item), count)
    expected = orders.keys() | (writes or {}).keys()
    differences += [
        Difference("audit log", "missing", item, "", _entries_of(item, writes), None)
        for item in sorted(expected - seen)
    ]
    report = SinkReport(
        "audit log", len(seen & expected), f"{entries:,} entries", tuple(differences)
    )
    return report, Inserts(inserted, total)


def _entries_of(item: str, writes: dict[str, int] | None) -> str:
    count = (writes or {}).get(item)
    return "a history" if count is None else f"a history of {count} entries"
