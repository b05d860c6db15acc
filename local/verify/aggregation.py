"""Compares the ledger and the sums of the aggregation with the table's items."""

from __future__ import annotations

from collections import defaultdict
from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import AGGREGATION
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from local.items import result_of
from local.verify.comparison import SinkComparison
from local.verify.items import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dynamodb_streams_cdc.entities import Entity
    from local.items import Image
    from local.verify.deployed_copies import DeployedCopies
    from local.verify.items import Items

    Amounts = Mapping[str, Any]

Sums = dict[str, dict[str, Decimal]]

SUMS = "all sums"
_NOT_MEASURES = ("aggregate", "shard", "revision")
# Wide enough that no sum is ever rounded: DynamoDB numbers have 38 digits.
_EXACT = Context(prec=100)


class AggregationCheck:
    """Compares each item with its ledger row, and the sums with the items that have a row."""

    def __init__(self, copies: DeployedCopies) -> None:
        self._copies = copies

    def compare(self, items: Items) -> list[SinkComparison]:
        rows = dict(self._copies.ledger())
        tally = Tally(items, AGGREGATION, "ledger rows", "amounts")
        counted: list[tuple[str, Amounts]] = []
        for entity in items.table.using(AGGREGATION):
            for item, image in items.of(entity).items():
                row = rows.pop(item, None)
                wanted = sums_of(entity, image)
                if row is None or row.get("deleted"):
                    tally.add("missing", item, "counted", None)
                    continue
                held = sum_of(row["contribution"].items())
                tally.compared(item, sum(map(len, held.values())))
                counted += wanted.items()
                if held != wanted:
                    tally.add("different", item, wanted, held, field="contribution")
        for item, row in rows.items():
            found = items.entity_of(item)
            if row.get("retained") and found and found.expiry is Expiry.KEEP:
                counted += row["contribution"].items()
            elif not (row.get("deleted") and items.may_hold(AGGREGATION, item)):
                tally.add("extra", item, None, row.get("contribution"))
        return [*tally.results(), self._compare_sums(items, counted)]

    def _compare_sums(self, items: Items, counted: Iterable[tuple[str, Amounts]]) -> SinkComparison:
        rows = list(self._copies.aggregates())
        expected = sum_of(counted)
        found = sum_of(
            (str(row["aggregate"]), {n: row[n] for n in row if n not in _NOT_MEASURES})
            for row in rows
        )
        tally = Tally(items, AGGREGATION, "aggregates", "rows")
        for name in sorted(expected.keys() | found.keys()):
            wanted, held = expected.get(name), found.get(name)
            if held is None:
                tally.add("missing", name, wanted, None, of=SUMS)
            elif wanted is None:
                tally.add("extra", name, None, held, of=SUMS)
            else:
                for measure in sorted(wanted.keys() | held.keys()):
                    due, is_ = wanted.get(measure), held.get(measure)
                    if due != is_:
                        tally.add("different", name, due, is_, field=measure, of=SUMS)
        differences = tuple(each for part in tally.results() for each in part.differences)
        return SinkComparison(
            AGGREGATION,
            len(expected.keys() & found.keys()),
            f"{len(rows):,} rows",
            differences,
            items.table.name,
            SUMS,
            "aggregates",
        )

    def count(self) -> int:
        return self._copies.ledger_count()

    def due(self, entity: Entity, states: Sequence[Image | None]) -> int:
        return int(states[-1] is not None)

    def tells_last(self, entity: Entity, states: Sequence[Image | None]) -> bool:
        *earlier, last = [None if each is None else sums_of(entity, each) for each in states]
        return last is not None and last not in earlier

    def shown(self, last: Mapping[str, tuple[Entity, Sequence[Image | None]]]) -> set[str]:
        """The ledger row of an item is written in one transaction with its aggregates."""
        rows = self._copies.ledger_rows(list(last))
        return {
            item
            for item, (entity, states) in last.items()
            if (row := rows.get(item)) is not None
            and states[-1] is not None
            and sum_of(row["contribution"].items()) == sums_of(entity, states[-1])
        }


def sums_of(entity: Entity, image: Image) -> Sums:
    """Return an item's contribution; nothing if it cannot be counted."""
    assert entity.contributions is not None
    try:
        return sum_of(result_of(entity.contributions, AGGREGATION, image).items())
    except CdcError:
        return {}


def sum_of(rows: Iterable[tuple[str, Amounts]]) -> Sums:
    """Add measures up by aggregate, exactly; zero is the same as absent."""
    sums: Sums = defaultdict(lambda: defaultdict(Decimal))
    with localcontext(_EXACT):
        for aggregate, measures in rows:
            for measure, amount in measures.items():
                sums[aggregate][measure] += amount
    without_zeros = (
        (aggregate, {measure: amount for measure, amount in measures.items() if amount})
        for aggregate, measures in sums.items()
    )
    return {aggregate: measures for aggregate, measures in without_zeros if measures}
