"""Damage of every kind to copies and sums."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from tests.factories import change
from tests.unit.operated import Operated

if TYPE_CHECKING:
    from dynamodb_streams_cdc.sinks.contributions import Contribution

ITEMS = 60

Damage = Callable[[Operated, int], str | None]
"""Damages the copy of an item; returns the name of what differs if it is not the item."""


def lose_the_document(o: Operated, n: int) -> None:
    del o.copies.index.documents[o.id(n)]


def bury_the_document(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {CDC: {**held[CDC], "deleted": True}}


def alter_the_document(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {**o.copies.index.documents[o.id(n)], "amount": -1}


def empty_the_document(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {CDC: o.copies.index.documents[o.id(n)][CDC]}


def add_a_field(o: Operated, n: int) -> None:
    o.copies.index.documents[o.id(n)] = {**o.copies.index.documents[o.id(n)], "note": "mine"}


def take_the_version(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {k: v for k, v in held.items() if k != CDC}


def write_a_version(o: Operated, n: int) -> None:
    """Above all that changes have: each of them would be refused."""
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, CDC: {**held[CDC], "version": "v2"}}


def write_a_number_as_version(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, CDC: {**held[CDC], "version": 2}}


def take_the_mark(o: Operated, n: int) -> None:
    """Readers find what is marked as not deleted."""
    held = o.copies.index.documents[o.id(n)]
    about = {name: value for name, value in held[CDC].items() if name != "deleted"}
    o.copies.index.documents[o.id(n)] = {**held, CDC: about}


def empty_the_mark(o: Operated, n: int) -> None:
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, CDC: {**held[CDC], "deleted": None}}


def swap_with_another(o: Operated, n: int) -> None:
    """Only this document: the other one is damaged by itself."""
    other = o.copies.index.documents[o.id((n + 1) % ITEMS)]
    mine = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**other, CDC: mine[CDC], "group": 99}


def index_what_never_was(o: Operated, n: int) -> str:
    name = f"items/S=never-{n}"
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[name] = {**held, CDC: {**held[CDC], "item": name}}
    return name


def index_under_another_name(o: Operated, n: int) -> str:
    o.copies.index.documents[f"copy-{n}"] = o.copies.index.documents[o.id(n)]
    return f"copy-{n}"


def index_of_another_table(o: Operated, n: int) -> str:
    name = f"others/S={n}"
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[name] = {**held, CDC: {**held[CDC], "item": name}}
    return name


def bring_in_a_stranger(o: Operated, n: int) -> str:
    o.copies.index.documents[f"stranger-{n}"] = {"hello": n}
    return f"stranger-{n}"


def bring_back_a_deleted_item(o: Operated, n: int) -> None:
    o.table.items.pop(o.table.key_of(o.item(n)))
    held = o.copies.index.documents[o.id(n)]
    o.copies.index.documents[o.id(n)] = {**held, "amount": 3}
    row = o.copies.ledger.rows[o.id(n)]
    delta = {name: {m: -a for m, a in of.items()} for name, of in row.contribution.items()}
    for name, of in delta.items():
        held_sums = o.copies.ledger.totals[name]
        o.copies.ledger.totals[name] = {m: held_sums[m] + Decimal(a) for m, a in of.items()}
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={}, deleted=True, revision=9)
    removed = replace_item(o, n)
    o.copies.log.insert([removed], deadline_of(o))


def deadline_of(o: Operated) -> Any:
    return Deadline(o.clock)


def replace_item(o: Operated, n: int) -> Any:
    """Return the log's entry of a REMOVE of the item, above its backfill."""
    gone = {"id": f"item-{n}", "group": Decimal(n % 7), "amount": Decimal(n % 50 + 1)}
    entry = entry_of(change(n + 1, gone, None, keys=("id",)))
    version = next(v for name, v in o.copies.log.entries if name == o.id(n))
    return {**entry, "item": {"S": o.id(n)}, "version": {"S": f"{version[:-6]}999999"}}


def stale_row(o: Operated, n: int) -> None:
    """The row and the sums lack a change, as if it had been lost."""
    row = o.copies.ledger.rows[o.id(n)]
    (name,) = row.contribution
    total = o.copies.ledger.totals[name]
    o.copies.ledger.totals[name] = {**total, "amount": total["amount"] + 5}
    amount = Decimal(row.contribution[name]["amount"]) + 5
    contribution: Contribution = {name: {"count": 1, "amount": amount}}
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution=contribution)


def uncounted_item(o: Operated, n: int) -> None:
    """Neither row nor sum know the item, as if its INSERT had been lost."""
    row = o.copies.ledger.rows.pop(o.id(n))
    (name,) = row.contribution
    total = o.copies.ledger.totals[name]
    amount = Decimal(row.contribution[name]["amount"])
    o.copies.ledger.totals[name] = {"count": total["count"] - 1, "amount": total["amount"] - amount}


def forgotten_history(o: Operated, n: int) -> None:
    for key in [key for key in o.copies.log.entries if key[0] == o.id(n)]:
        del o.copies.log.entries[key]


def alter_the_entry(o: Operated, n: int) -> None:
    """Its newest entry has no kind any more."""
    key = max(key for key in o.copies.log.entries if key[0] == o.id(n))
    o.copies.log.entries[key] = {
        name: value for name, value in o.copies.log.entries[key].items() if name != "kind"
    }


HEALED: dict[str, tuple[Damage, str, str]] = {
    each.__name__: (each, sink, kind)
    for each, sink, kind in [
        (lose_the_document, "search", "missing"),
        (bury_the_document, "search", "missing"),
        (alter_the_document, "search", "wrong"),
        (empty_the_document, "search", "wrong"),
        (add_a_field, "search", "wrong"),
        (take_the_version, "search", "foreign"),
        (write_a_version, "search", "foreign"),
        (write_a_number_as_version, "search", "foreign"),
        (take_the_mark, "search", "wrong"),
        (empty_the_mark, "search", "wrong"),
        (swap_with_another, "search", "wrong"),
        (index_what_never_was, "search", "extra"),
        (index_under_another_name, "search", "foreign"),
        (index_of_another_table, "search", "foreign"),
        (bring_in_a_stranger, "search", "foreign"),
        (bring_back_a_deleted_item, "search", "extra"),
        (stale_row, "aggregation", "wrong"),
        (uncounted_item, "aggregation", "missing"),
        (forgotten_history, "audit", "missing"),
    ]
}
"""Damage that a repair heals: its sink, and the kind of the difference."""


# What only a rebuild heals


def lose_the_row(o: Operated, n: int) -> None:
    """The sum counts the item still."""
    del o.copies.ledger.rows[o.id(n)]


def alter_the_row(o: Operated, n: int) -> None:
    row = o.copies.ledger.rows[o.id(n)]
    (name,) = row.contribution
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={name: {"count": 2}})


def damage_the_row(o: Operated, n: int) -> None:
    row = o.copies.ledger.rows[o.id(n)]
    o.copies.ledger.rows[o.id(n)] = replace(row, contribution={}, lacks=("contribution",))


def alter_a_sum(o: Operated, n: int) -> str:
    name = f"group#{n % 7}"
    total = o.copies.ledger.totals[name]
    o.copies.ledger.totals[name] = {**total, "amount": total["amount"] + Decimal("0.01")}
    return name


def add_a_sum(o: Operated, n: int) -> str:
    o.copies.ledger.totals["group#none"] = {"count": Decimal(1)}
    return "group#none"


def lose_a_sum(o: Operated, n: int) -> str:
    del o.copies.ledger.totals[f"group#{n % 7}"]
    return f"group#{n % 7}"
