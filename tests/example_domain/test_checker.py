"""The checker finds every kind of difference, and calls nothing equal that it did not compare."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, read_purchases
from local.verify import Difference
from tests.example_domain.checker import Inserts, compare
from tests.example_domain.expected import aggregates_of, item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIPPED = "orders/S=00001/S=00001-0001"
REFUNDED = "orders/S=00002/S=00002-0001"
CANCELLED = "orders/S=00002/S=00002-0002"
JANUARY = "month#1997-01"
WRITES = {SHIPPED: 3, REFUNDED: 1, CANCELLED: 2}


def order(customer: str, number: int, status: str, total: str, actor: str) -> dict[str, Any]:
    return {
        "customer_id": customer,
        "order_id": f"{customer}-{number:04d}",
        "status": status,
        "placed_at": f"1997-0{number}-05T00:00:00Z",
        "total": Decimal(total),
        "currency": "USD",
        "lines": [
            {"title": "Salt", "quantity": Decimal(1), "amount": Decimal("1.5")},
            {"title": "Io", "quantity": Decimal(2), "amount": Decimal(total) - Decimal("1.5")},
        ],
        "updated_by": actor,
        "updated_at": f"1997-0{number}-06T00:00:00Z",
    }


def entry(
    number: int, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> dict[str, Any]:
    image = after or before or {}
    keys = {name: image[name] for name in ("customer_id", "order_id")}
    kind = "INSERT" if before is None else "MODIFY" if after is not None else "REMOVE"
    made: dict[str, Any] = {
        "item": f"orders/S={keys['customer_id']}/S={keys['order_id']}",
        "version": f"0001/2026-01-01T00:00:00.000/{number:040d}",
        "table": "orders",
        "kind": kind,
        "keys": keys,
        "changed_at": "2026-01-01T00:00:00Z",
        "event_id": f"event-{number}",
        "expired": False,
    }
    if before is not None:
        made["before"] = copy.deepcopy(before)
    if after is not None:
        made["after"] = copy.deepcopy(after)
        made["actor"] = after["updated_by"]
    if before is not None and after is not None:
        made["changed"] = [name for name in after if after[name] != before[name]]
    return made


def document(item: str, source: dict[str, Any], total: str) -> tuple[str, dict[str, Any]]:
    copied = ("customer_id", "order_id", "status", "placed_at", "currency", "updated_by")
    about = {"item": item, "deleted": False, "version": "v", "changed_at": "c", "written_at": "w"}
    fields = {name: source[name] for name in copied}
    return item, {**fields, "total": total, "units": 3, "titles": ["Io", "Salt"], "cdc": about}


def contribution(status: str, **money: str) -> dict[str, dict[str, Decimal]]:
    amounts = {name: Decimal(amount) for name, amount in money.items()}
    month = {"orders": Decimal(1), "units": Decimal(3), **amounts}
    return {JANUARY: month, f"status#{status}": {"orders": Decimal(1)}}


@dataclass
class Sinks:
    """The table and its copies as plain lists; equal until a test damages them."""

    table: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    index: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    count: int = 0
    counted: dict[str, dict[str, dict[str, Decimal]]] = field(default_factory=dict)

    def orders(self) -> Iterator[dict[str, Any]]:
        return iter(self.table)

    def aggregates(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def ledger(self) -> Iterator[tuple[str, dict[str, dict[str, Decimal]]]]:
        return iter(self.counted.items())

    def entries(self) -> Iterator[dict[str, Any]]:
        return iter(self.log)

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return iter(self.index)

    def document_count(self) -> int:
        return self.count


@pytest.fixture
def sinks() -> Sinks:
    placed = order("00001", 1, "placed", "11.10", "checkout")
    amended = {**placed, "total": Decimal("12.10")}
    shipped = {**amended, "status": "shipped", "updated_by": "warehouse"}
    refunded = order("00002", 1, "refunded", "20", "support")
    gone = order("00002", 2, "placed", "5.00", "checkout")

    def row(aggregate: str, shard: int, **measures: str) -> dict[str, Any]:
        amounts = {name: Decimal(amount) for name, amount in measures.items()}
        return {"aggregate": aggregate, "shard": Decimal(shard), "revision": Decimal(7), **amounts}

    return Sinks(
        table=[shipped, refunded],
        rows=[
            row("month#1997-01", 0, orders="3", units="4", revenue="12.10"),
            row("month#1997-01", 1, orders="-1", units="2", revenue="0", refunds="20"),
            row("month#1997-02", 0, orders="0", units="0", revenue="0.00", refunds="0"),
            row("status#shipped", 1, orders="1"),
            row("status#refunded", 0, orders="1"),
            row("status#placed", 0, orders="1"),
            row("status#placed", 1, orders="-1"),
        ],
        log=[
            entry(1, None, placed),
            entry(3, placed, amended),
            entry(2, None, refunded),
            entry(5, None, gone),
            entry(6, gone, None),
            entry(4, amended, shipped),
        ],
        index=[document(SHIPPED, shipped, "12.1"), document(REFUNDED, refunded, "20.00")],
        count=2,
        counted={
            SHIPPED: contribution("shipped", revenue="12.1", refunds="0"),
            REFUNDED: contribution("refunded", refunds="20"),
        },
    )


def in_scan_order(sinks: Sinks) -> Sinks:
    sinks.log.sort(key=lambda each: str(each["item"]))
    return sinks


@pytest.fixture
def equal(sinks: Sinks) -> Sinks:
    return in_scan_order(sinks)


def differences(sinks: Sinks) -> list[tuple[str, str, str, str]]:
    found = compare(sinks, WRITES).differences
    return [(each.sink, each.kind, each.item, each.field) for each in found]


def test_equal_sinks_are_equal(equal: Sinks) -> None:
    report = compare(equal, WRITES)

    assert report.differences == ()
    assert report.equal
    assert [(each.sink, each.compared) for each in report.sinks] == [
        ("aggregation", 3),
        ("search", 2),
        ("audit", 3),
    ]
    assert report.inserts == Inserts(3, Decimal("36.10"))


def test_without_counts_of_writes_histories_still_compare(equal: Sinks) -> None:
    assert compare(equal).equal


def test_nothing_compared_is_not_equal() -> None:
    report = compare(Sinks(), {})

    assert report.differences == ()
    assert not report.equal
    assert not any(each.equal for each in report.sinks)


def test_one_empty_sink_is_enough_to_differ(equal: Sinks) -> None:
    equal.index, equal.count = [], 0

    report = compare(equal, WRITES)

    assert [each.equal for each in report.sinks] == [True, False, True]
    assert not report.equal
    assert report.sinks[1].count("missing") == 2


def change(equal: Sinks, damage: Callable[[Sinks], object]) -> list[tuple[str, str, str, str]]:
    damage(equal)
    return differences(equal)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda s: s.rows[0].update(revenue=Decimal("12.11")), ("different", JANUARY, "revenue")),
        (lambda s: s.rows[0].update(surprise=Decimal(1)), ("different", JANUARY, "surprise")),
        (lambda s: s.rows[0].pop("revenue"), ("different", JANUARY, "revenue")),
        (lambda s: s.rows[2].update(orders=Decimal(1)), ("extra", "month#1997-02", "")),
        (lambda s: s.rows.pop(6), ("extra", "status#placed", "")),
        (lambda s: s.rows.pop(3), ("missing", "status#shipped", "")),
    ],
)  # fmt: skip
def test_a_damaged_aggregate(
    equal: Sinks, damage: Callable[[Sinks], object], expected: tuple[str, str, str]
) -> None:
    assert change(equal, damage) == [("aggregation", *expected)]


def test_aggregates_are_summed_without_rounding(equal: Sinks) -> None:
    """Thirty-eight digits in one shard and a cent in another."""
    nines = "9" * 36
    equal.rows[0]["revenue"] = Decimal(f"{nines}.11")
    equal.rows[1]["revenue"] = Decimal(f"-{nines[:-2]}87.00")

    [difference] = compare(equal, WRITES).differences

    assert (difference.expected, difference.found) == (Decimal("12.10"), Decimal("12.11"))


def about(sinks: Sinks) -> dict[str, Any]:
    found: dict[str, Any] = sinks.index[0][1]["cdc"]
    return found


def drop_document(sinks: Sinks) -> None:
    sinks.index.pop()
    sinks.count -= 1


def add_document(sinks: Sinks) -> None:
    sinks.index.append(("orders/S=9/S=9", {"status": "placed"}))
    sinks.count += 1


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda s: s.index[0][1].update(status="placed"), ("different", SHIPPED, "status")),
        (lambda s: s.index[0][1].update(total="12.11"), ("different", SHIPPED, "total")),
        (lambda s: s.index[0][1].update(total=Decimal("12.1")), ("different", SHIPPED, "total")),
        (lambda s: s.index[0][1].update(total="twelve"), ("different", SHIPPED, "total")),
        (lambda s: s.index[0][1].update(titles=["Salt", "Io"]), ("different", SHIPPED, "titles")),
        (lambda s: s.index[0][1].update(units=True), ("different", SHIPPED, "units")),
        (lambda s: s.index[0][1].pop("currency"), ("different", SHIPPED, "currency")),
        (lambda s: s.index[0][1].update(note="?"), ("different", SHIPPED, "note")),
        (lambda s: about(s).update(item="x"), ("different", SHIPPED, "cdc.item")),
        (lambda s: about(s).update(deleted=True), ("different", SHIPPED, "cdc.deleted")),
        (lambda s: about(s).update(deleted=0), ("different", SHIPPED, "cdc.deleted")),
        (lambda s: s.index.append(s.index[0]), ("extra", SHIPPED, "")),
        (drop_document, ("missing", REFUNDED, "")),
        (add_document, ("extra", "orders/S=9/S=9", "")),
        (lambda s: setattr(s, "count", 3), ("different", "_count", "documents")),
    ],
)  # fmt: skip
def test_a_damaged_document(
    equal: Sinks, damage: Callable[[Sinks], object], expected: tuple[str, str, str]
) -> None:
    found = change(equal, damage)

    assert ("search", *expected) in found
    assert {each[2] for each in found} <= {expected[1], "_count"}


def test_a_document_of_a_deleted_order_is_extra(equal: Sinks) -> None:
    tombstone = document(CANCELLED, order("00002", 2, "placed", "5.00", "checkout"), "5")
    equal.index.append(tombstone)
    equal.count += 1

    assert ("search", "extra", CANCELLED, "") in differences(equal)


SECOND = "entry 2 of 3 (MODIFY)"


@pytest.mark.parametrize(
    ("damage", "fields"),
    [
        (lambda log: log.pop(1), ["number of entries", "entry 2 of 2 (MODIFY) before.total"]),
        (lambda log: log.pop(0), ["number of entries", "entry 1 (MODIFY) before"]),
        (lambda log: log.pop(2), ["number of entries", "replayed state.status"]),
        (lambda log: log[1]["after"].update(total=1), ["entry 3 of 3 (MODIFY) before.total"]),
        (lambda log: log[2]["after"].update(total=1), ["replayed state.total"]),
        (lambda log: log[1].update(actor="a stranger"), [f"{SECOND} actor"]),
        (lambda log: log[1].update(changed=["status"]), [f"{SECOND} changed"]),
        (lambda log: log[1].update(changed=["total", "lines[0].amount"]), [f"{SECOND} changed"]),
        (lambda log: log[1].update(kind="INSERT"), ["entry 2 of 3 (INSERT) kind"]),
        (lambda log: log[1].update(table="other"), [f"{SECOND} table"]),
        (lambda log: log[1].update(expired=True), [f"{SECOND} expired"]),
        (lambda log: log[1]["keys"].update(order_id="x"), [f"{SECOND} item of its keys"]),
        (lambda log: log[2].update(version="0001/x/17"), ["entry 3 of 3 (MODIFY) version"]),
    ],
)
def test_a_damaged_history(
    equal: Sinks, damage: Callable[[list[dict[str, Any]]], object], fields: list[str]
) -> None:
    damage(equal.log)

    found = [each for each in compare(equal, WRITES).differences if each.sink == "audit"]

    assert {each.item for each in found} == {SHIPPED}
    assert {each.field for each in found} >= set(fields)


def test_entries_that_swapped_their_versions_break_the_chain(equal: Sinks) -> None:
    first, second = equal.log[1], equal.log[2]
    first["version"], second["version"] = second["version"], first["version"]

    assert ("audit", "different", SHIPPED, "replayed state.total") not in differences(equal)
    assert ("audit", "different", SHIPPED, "entry 2 of 3 (MODIFY) before.total") in differences(
        equal
    )


def test_a_missing_and_an_extra_history(equal: Sinks) -> None:
    removed = [each for each in equal.log if each["item"] != CANCELLED]
    stranger = order("00003", 1, "placed", "1.50", "checkout")
    equal.log = [*removed, entry(9, None, stranger)]

    assert differences(equal) == [
        ("audit", "extra", "orders/S=00003/S=00003-0001", ""),
        ("audit", "missing", CANCELLED, ""),
    ]


def test_a_lost_deletion_is_found_without_counts_too(equal: Sinks) -> None:
    equal.log = [each for each in equal.log if each["kind"] != "REMOVE"]

    [difference] = compare(equal).differences

    assert (difference.item, difference.field) == (CANCELLED, "replayed state")
    assert difference.expected is None


def test_an_order_in_no_sink_is_missing_in_all(equal: Sinks) -> None:
    equal.table.append(order("00007", 3, "placed", "7.00", "checkout"))

    found = {(each.sink, each.kind, each.item) for each in compare(equal).differences}

    item = "orders/S=00007/S=00007-0003"
    assert found == {
        ("aggregation", "missing", item),
        ("search", "missing", item),
        ("search", "different", "_count"),
        ("audit", "missing", item),
    }


def test_an_order_that_is_in_the_ledger_has_to_be_in_the_sums(equal: Sinks) -> None:
    equal.table.append(order("00007", 3, "placed", "7.00", "checkout"))
    equal.counted["orders/S=00007/S=00007-0003"] = {
        "month#1997-03": {"orders": Decimal(1), "units": Decimal(3), "revenue": Decimal(7)},
        "status#placed": {"orders": Decimal(1)},
    }

    found = [each.item for each in compare(equal).differences if each.sink == "aggregation"]

    assert found == ["month#1997-03", "status#placed"]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda s: s.counted.update({CANCELLED: {}}), ("extra", CANCELLED, "")),
        (lambda s: s.counted[SHIPPED].pop(JANUARY), ("different", SHIPPED, "contribution")),
        (lambda s: s.counted[SHIPPED].update(x={"y": 1}), ("different", SHIPPED, "contribution")),
    ],
)
def test_a_damaged_ledger(
    equal: Sinks, damage: Callable[[Sinks], object], expected: tuple[str, str, str]
) -> None:
    assert change(equal, damage) == [("aggregation", *expected)]


def test_an_order_without_ledger_row_is_missing(equal: Sinks) -> None:
    """Its total is text: it cannot be counted, and the comparison says so instead of failing."""
    strange = {**order("00007", 3, "on hold", "7.00", "checkout"), "total": "7.00 USD"}
    equal.table.append(strange)

    found = compare(equal)

    [named] = [each for each in found.differences if each.sink == "aggregation"]
    assert str(named) == "orders/S=00007/S=00007-0003 is missing; should be counted"
    assert found.sinks[0].compared == 3


def test_an_order_that_cannot_be_counted_and_was_is_different(equal: Sinks) -> None:
    equal.table[0]["total"] = "12.10 USD"

    found = [(each.kind, each.item) for each in compare(equal).differences]

    assert ("different", SHIPPED) in found
    assert ("different", JANUARY) in found


def test_a_total_that_is_text_is_read_from_the_correction(equal: Sinks) -> None:
    first = next(each for each in equal.log if each["item"] == REFUNDED)
    wrong = {**first["after"], "total": "20 USD"}
    corrected = entry(7, wrong, first["after"])
    equal.log[equal.log.index(first)] = {**first, "after": wrong}
    assert compare(equal).inserts == Inserts(3, Decimal("16.10"))

    equal.log.append(corrected)

    assert compare(in_scan_order(equal), {**WRITES, REFUNDED: 2}).differences == ()
    assert compare(equal).inserts == Inserts(3, Decimal("36.10"))


def test_large_entries_state_no_changed_attributes(equal: Sinks) -> None:
    amended = equal.log[1]
    del amended["changed"]
    assert [each[3] for each in differences(equal)] == [f"{SECOND} changed"]

    amended["overflow"] = "digest/version.json"

    assert differences(equal) == []


def test_a_log_that_scatters_a_history_is_refused(sinks: Sinks) -> None:
    with pytest.raises(ValueError, match=r"00001-0001 are in two places"):
        compare(sinks, WRITES)


def test_a_difference_reads_as_a_sentence() -> None:
    changed = Difference(
        "aggregation", "different", "month#1997-01", "revenue", Decimal("1E+2"), None
    )
    extra = Difference("search", "extra", "orders/x", "", None, {"titles": ["a"]})

    assert str(changed) == "month#1997-01: revenue should be 100, is absent"
    assert str(extra) == "orders/x should not be there; holds {titles: [a]}"


@pytest.mark.parametrize(
    ("keys", "item"),
    [
        (("a/b", "c"), "orders/S=a%2Fb/S=c"),
        (("a", "b/c"), "orders/S=a/S=b%2Fc"),
        (("a%2Fb", "c"), "orders/S=a%252Fb/S=c"),
    ],
)
def test_identities_do_not_collide(keys: tuple[str, str], item: str) -> None:
    assert item_of(*keys) == item


def test_a_long_identity_is_hashed() -> None:
    at_limit = item_of("é" * 249, "xy")

    assert at_limit.startswith("orders/")
    assert len(at_limit.encode()) == 512
    assert len(item_of("é" * 249, "xyz")) == 65


def test_the_sample_adds_up_per_month() -> None:
    """Independent of the sinks: revenue and refunds of all months are the orders that exist."""
    ends = [life_cycle(each, 1)[-1] for each in read_purchases(SAMPLE)]
    orders = [each for each in ends if each is not None]

    found = aggregates_of(orders)

    months = [measures for key, measures in found.items() if key.startswith("month#")]
    assert len(months) == 18
    money = sum(each["revenue"] + each.get("refunds", 0) for each in months)
    assert money == sum(each["total"] for each in orders)


def test_the_checker_shares_no_code_with_the_sinks() -> None:
    folder = Path(__file__).parent
    imported = set()
    for module in ("checker", "expected", "history"):
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(node.module or "")

    own = {
        name
        for name in imported
        if name.startswith(("local", "lambdas", "dynamodb_streams", "tests"))
    }
    assert own
    assert own == {
        "local.verify.comparison",  # how a difference reads
        "tests.example_domain.expected",
        "tests.example_domain.history",
    }
