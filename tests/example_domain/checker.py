"""The example domain's own checker: compares every item with every sink, in both directions.

It shares no code with library and domain: it computes identities, aggregates, documents and
histories again from the agreed formats, so that a mistake of the library cannot hide in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from local.verify.comparison import Comparison, Difference, SinkComparison
from tests.example_domain.expected import (
    Aggregates,
    Contribution,
    Order,
    aggregates_of,
    document_of,
    item_of,
    sum_of,
)
from tests.example_domain.history import Entry, check_history, totals_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOT_MEASURES = ("aggregate", "shard", "revision")


class Copies(Protocol):
    """Reads the table and its three copies: plain Python values, numbers as Decimal."""

    def orders(self) -> Iterable[Order]: ...

    def aggregates(self) -> Iterable[dict[str, Any]]:
        """Yield the rows of the aggregates table, one for each shard."""

    def ledger(self) -> Iterable[tuple[str, Contribution]]:
        """Yield item and contribution of the ledger's rows, without deleted items."""

    def entries(self) -> Iterable[Entry]:
        """Yield the change log; entries of one item follow each other, as in a scan."""

    def documents(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Yield id and source of the documents that a search for all finds by the read alias."""

    def document_count(self) -> int:
        """Return the result of `_count` by the same alias."""


@dataclass(frozen=True, slots=True)
class Inserts:
    """Totals of the orders' INSERT entries in the change log."""

    orders: int = 0
    total: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Checked(Comparison):
    """A comparison, and the purchases that the change log states."""

    inserts: Inserts = field(default_factory=Inserts)


def compare(copies: Copies, writes: Mapping[str, int] | None = None) -> Checked:
    """Read everything once and compare; `writes` counts the effective writes by item."""
    orders = {item_of(each["customer_id"], each["order_id"]): each for each in copies.orders()}
    histories = None if writes is None else dict(writes)
    audit, inserts = _audit(copies, orders, histories)
    return Checked(
        len(orders), (_aggregation(copies, orders), _search(copies, orders), audit), inserts
    )


def _aggregation(copies: Copies, orders: dict[str, Order]) -> SinkComparison:
    """Compare each order with its ledger row, and the aggregates with the orders that have one."""
    ledger = dict(copies.ledger())
    counted = orders.keys() & ledger.keys()
    differences = [
        Difference("aggregation", "missing", each, "", "counted", None)
        for each in sorted(orders.keys() - counted)
    ] + [
        Difference("aggregation", "extra", each, "", None, ledger[each])
        for each in sorted(ledger.keys() - counted)
    ]
    for item in sorted(counted):
        wanted, held = aggregates_of([orders[item]]), sum_of(ledger[item].items())
        if wanted != held:
            differences.append(
                Difference("aggregation", "different", item, "contribution", wanted, held)
            )
    rows = list(copies.aggregates())
    expected = aggregates_of(orders[each] for each in counted)
    sums = _aggregates(rows, expected)
    parts = f"{len(counted):,} orders, {len(rows):,} rows"
    compared = len(expected) - sum(each.kind == "missing" for each in sums)
    return SinkComparison("aggregation", compared, parts, tuple(differences + sums))


def _aggregates(rows: list[dict[str, Any]], expected: Aggregates) -> list[Difference]:
    measures = ({name: row[name] for name in row if name not in _NOT_MEASURES} for row in rows)
    found = sum_of(zip((str(row["aggregate"]) for row in rows), measures, strict=True))
    both = expected.keys() & found.keys()
    differences = [
        Difference("aggregation", "missing", each, "", expected[each], None)
        for each in sorted(expected.keys() - both)
    ] + [
        Difference("aggregation", "extra", each, "", None, found[each])
        for each in sorted(found.keys() - both)
    ]
    for aggregate in sorted(both):
        wanted, held = expected[aggregate], found[aggregate]
        differences += [
            Difference(
                "aggregation", "different", aggregate, name, wanted.get(name), held.get(name)
            )
            for name in sorted(wanted.keys() | held.keys())
            if wanted.get(name) != held.get(name)
        ]
    return differences


def _search(copies: Copies, orders: dict[str, Order]) -> SinkComparison:
    differences, seen, fields = [], set(), 0
    for item, source in copies.documents():
        order = orders.get(item)
        if order is None or item in seen:
            differences.append(Difference("search", "extra", item, "", None, source))
            continue
        seen.add(item)
        fields += len(source)
        differences += _compare_document(item, document_of(order), source)
    differences += [
        Difference("search", "missing", item, "", document_of(orders[item]), None)
        for item in sorted(orders.keys() - seen)
    ]
    counted = copies.document_count()
    if counted != len(orders):
        differences.append(
            Difference("search", "different", "_count", "documents", len(orders), counted)
        )
    return SinkComparison("search", len(seen), f"{fields:,} fields", tuple(differences))


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
            yield Difference("search", "different", item, name, wanted, held)


def _same(expected: Any, found: Any) -> bool:
    """Compare numbers by value; one that is not an integer must be stored as a string."""
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
) -> tuple[SinkComparison, Inserts]:
    differences, seen, entries = [], set(), 0
    inserted, total = 0, Decimal(0)
    for item, group in groupby(copies.entries(), key=lambda entry: str(entry["item"])):
        history = list(group)
        entries += len(history)
        if item in seen:
            msg = f"The entries of {item} are in two places of the change log."
            raise ValueError(msg)
        seen.add(item)
        for amount in totals_of(history):
            inserted += 1
            total += amount
        if writes is not None and item not in writes:
            differences.append(
                Difference("audit", "extra", item, "", None, f"{len(history)} entries")
            )
            continue
        count = None if writes is None else writes[item]
        differences += check_history(item, history, orders.get(item), count)
    expected = orders.keys() | (writes or {}).keys()
    differences += [
        Difference("audit", "missing", item, "", _entries_of(item, writes), None)
        for item in sorted(expected - seen)
    ]
    report = SinkComparison(
        "audit", len(seen & expected), f"{entries:,} entries", tuple(differences)
    )
    return report, Inserts(inserted, total)


def _entries_of(item: str, writes: dict[str, int] | None) -> str:
    count = (writes or {}).get(item)
    return "a history" if count is None else f"a history of {count} entries"
