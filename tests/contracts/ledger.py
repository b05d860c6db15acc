"""What every ledger must do; run against the one in memory and the one on DynamoDB."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

import pytest

from dynamodb_streams_cdc import PermanentError
from dynamodb_streams_cdc.aws.dynamodb.ledger import FORMS
from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.sinks.base import PurgePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import MAX_ADDITIONS, add
from dynamodb_streams_cdc.sinks.generations import Generations
from dynamodb_streams_cdc.sinks.ledger import LedgerRow, LedgerStore, RowUpdate, WriteConflict
from tests.factories import deadline


class LedgerWithTotals(LedgerStore, Protocol):
    def total(self, aggregate: str) -> dict[str, Decimal]: ...


def row(item_id: str, version: str = "v1", revision: int = 1, amount: str = "1.5") -> LedgerRow:
    return LedgerRow(
        item_id=item_id,
        version=version,
        revision=revision,
        contribution={"month#1997-01": {"revenue": Decimal(amount)}},
        timestamp=1_714_564_801.0,
        written_at=1_714_564_999.25,
    )


def adds(amount: str) -> dict[str, dict[str, Decimal]]:
    return {"month#1997-01": {"revenue": Decimal(amount)}}


def check_damaged_rows(client: Any, ledger: LedgerWithTotals, table: str) -> None:
    """Check that rows that another writer damaged are read, and are replaced unless they move."""
    damages = [
        *((name, f"REMOVE #{name}", None) for name in FORMS if name != "generation"),
        ("version", "SET #version = :value", {"N": "7"}),
        ("revision", "SET #revision = :value", {"S": "x"}),
        ("contribution", "SET #contribution = :value", {"M": {"month": {"M": {"a": {"S": "b"}}}}}),
        ("contribution", "SET #contribution = :value", {"M": {"month": {"N": "1"}}}),
        ("generation", "SET #generation = :value", {"S": "x"}),
    ]
    for number, (name, expression, value) in enumerate(damages):
        before = row(f"orders/S={number}")
        ledger.commit([RowUpdate(None, before)], {})
        values = {} if value is None else {"ExpressionAttributeValues": {":value": value}}
        client.update_item(
            TableName=table,
            Key={"id": {"S": f"ledger/{before.item_id}"}},
            UpdateExpression=expression,
            ExpressionAttributeNames={f"#{name}": name},
            **values,
        )
        held = ledger.read([before.item_id], deadline())[before.item_id]
        assert held.lacks == (name,)
        after = row(before.item_id, "v2", held.revision + 1)
        ledger.commit([RowUpdate(held, after)], {})
        assert ledger.read([before.item_id], deadline()) == {before.item_id: after}
        with pytest.raises(WriteConflict):
            ledger.commit([RowUpdate(held, row(before.item_id, "v3", 9))], {})


class LedgerContract:
    """For a class with a fixture `ledger`, which keeps each sum in one row."""

    def test_a_row_comes_back_as_it_was_written(self, ledger: LedgerWithTotals) -> None:
        whole = replace(row("orders/S=1|#é😀"), deleted=True, retained=True)
        ledger.commit([RowUpdate(None, whole)], adds("1.5"))
        assert ledger.read([whole.item_id, "orders/S=unknown"], deadline()) == {
            whole.item_id: whole
        }

    def test_more_rows_than_one_request_reads(self, ledger: LedgerWithTotals) -> None:
        names = [f"orders/S={number}" for number in range(130)]
        for start in range(0, 130, 65):
            ledger.commit([RowUpdate(None, row(name)) for name in names[start : start + 65]], {})
        assert ledger.read(names, deadline()).keys() == set(names)

    def test_sums_add_up_and_may_go_down(self, ledger: LedgerWithTotals) -> None:
        first, second = row("orders/S=1"), row("orders/S=2")
        ledger.commit([RowUpdate(None, first)], adds("10.10"))
        ledger.commit([RowUpdate(None, second)], adds("-0.20"))
        assert ledger.total("month#1997-01") == {"revenue": Decimal("9.90")}
        assert ledger.total("month#1997-02") == {}

    def test_a_new_row_is_not_written_over_one_that_is_there(
        self, ledger: LedgerWithTotals
    ) -> None:
        held = row("orders/S=1")
        ledger.commit([RowUpdate(None, held)], adds("1"))
        with pytest.raises(WriteConflict) as conflicts:
            ledger.commit([RowUpdate(None, row("orders/S=1", "v2"))], adds("100"))
        assert conflicts.value.item_ids == {"orders/S=1"}
        assert ledger.read(["orders/S=1"], deadline()) == {"orders/S=1": held}
        assert ledger.total("month#1997-01") == {"revenue": Decimal(1)}

    @pytest.mark.parametrize("stale", [row("orders/S=1", "v0"), row("orders/S=1", "v1", 0)])
    def test_a_changed_row_stops_the_transaction(
        self, ledger: LedgerWithTotals, stale: LedgerRow
    ) -> None:
        held = row("orders/S=1", "v1", 1)
        ledger.commit([RowUpdate(None, held)], adds("1"))
        after = row("orders/S=1", "v2", 2)
        with pytest.raises(WriteConflict) as conflicts:
            ledger.commit(
                [RowUpdate(None, row("orders/S=2")), RowUpdate(stale, after)], adds("100")
            )
        assert conflicts.value.item_ids == {"orders/S=1"}
        assert ledger.read(["orders/S=1", "orders/S=2"], deadline()) == {"orders/S=1": held}
        assert ledger.total("month#1997-01") == {"revenue": Decimal(1)}

    def test_a_row_that_did_not_move_is_written(self, ledger: LedgerWithTotals) -> None:
        before, after = row("orders/S=1", "v1", 1), row("orders/S=1", "v1", 2, "2.5")
        ledger.commit([RowUpdate(None, before)], adds("1.5"))
        ledger.commit([RowUpdate(before, after)], adds("1"))
        assert ledger.read(["orders/S=1"], deadline()) == {"orders/S=1": after}
        assert ledger.total("month#1997-01") == {"revenue": Decimal("2.5")}

    def test_as_many_actions_as_a_transaction_holds(self, ledger: LedgerWithTotals) -> None:
        deltas = {f"day#{number}": {"orders": Decimal(1)} for number in range(99)}
        ledger.commit([RowUpdate(None, row("orders/S=1"))], deltas)
        assert ledger.total("day#98") == {"orders": Decimal(1)}

    def test_more_actions_than_a_transaction_holds_are_refused(
        self, ledger: LedgerWithTotals
    ) -> None:
        deltas = {f"day#{number}": {"orders": Decimal(1)} for number in range(100)}
        with pytest.raises(Exception, match="100"):
            ledger.commit([RowUpdate(None, row("orders/S=1"))], deltas)
        assert ledger.read(["orders/S=1"], deadline()) == {}

    def test_a_sum_of_38_digits_is_exact_and_39_are_refused(self, ledger: LedgerWithTotals) -> None:
        largest = "12345678901234567890123456789012345678"
        ledger.commit([RowUpdate(None, row("orders/S=1"))], adds(largest))
        assert ledger.total("month#1997-01") == {"revenue": Decimal(largest)}
        with pytest.raises(PermanentError) as refused:
            ledger.commit([RowUpdate(None, row("orders/S=2"))], adds("0.5"))
        assert refused.value.reason == "NumberOverflow"
        assert ledger.read(["orders/S=2"], deadline()) == {}

    def test_rows_of_deleted_items_that_are_old_enough_are_purged(
        self, ledger: LedgerWithTotals
    ) -> None:
        written = row("-").written_at
        gone = replace(row("orders/S=1"), contribution={}, deleted=True)
        kept = [
            replace(row("orders/S=2"), contribution={}, deleted=True, written_at=written + 10),
            replace(row("orders/S=3"), deleted=True, retained=True),
            row("orders/S=4"),
        ]
        ledger.commit([RowUpdate(None, each) for each in [gone, *kept]], adds("3"))
        counted = purged(ledger, written + 1, dry_run=True)
        assert (counted.tombstones, counted.purged) == (2, 1)
        assert purged(ledger, written + 1) == counted
        names = [f"orders/S={number}" for number in range(1, 5)]
        assert ledger.read(names, deadline()) == {each.item_id: each for each in kept}
        assert ledger.total("month#1997-01") == {"revenue": Decimal(3)}
        assert purged(ledger, written + 1).purged == 0

    def test_every_tombstone_is_purged_once_over_all_segments(
        self, ledger: LedgerWithTotals
    ) -> None:
        gone = [
            replace(row(f"orders/S={number}"), contribution={}, deleted=True)
            for number in range(30)
        ]
        ledger.commit([RowUpdate(None, each) for each in [*gone, row("customers/S=1")]], {})
        pages = [purged(ledger, row("-").written_at + 1, Segment(number, 3)) for number in range(3)]
        assert sum(page.purged for page in pages) == 30
        assert [each.item_id for each in walked(ledger, Segment())] == ["customers/S=1"]

    def test_every_row_is_walked_once_over_all_segments(self, ledger: LedgerWithTotals) -> None:
        rows = [row(f"orders/S={number}") for number in range(30)]
        ledger.commit([RowUpdate(None, each) for each in rows], {})
        assert ledger.set_generations(Generations(), Generations().begun(7.0), deadline())
        found = [each for number in range(3) for each in walked(ledger, Segment(number, 3))]
        assert sorted(found, key=lambda each: each.item_id) == sorted(
            rows, key=lambda each: each.item_id
        )

    def test_sums_are_read_in_pages_with_their_revisions(self, ledger: LedgerWithTotals) -> None:
        names = [f"day#{number}" for number in range(7)]
        for number, name in enumerate(names):
            for writes in range(number + 1):
                written = RowUpdate(None, row(f"orders/S={number}/S={writes}"))
                ledger.commit([written], {name: {"orders": Decimal(2), "g1_orders": Decimal(1)}})
        pages = [ledger.sums(None, 3, deadline())]
        while (place := pages[-1].following) is not None:
            pages.append(ledger.sums(as_json(place), 3, deadline()))
        assert len(pages) > 2
        assert add(page.sums for page in pages) == {
            name: {"orders": 2 * (number + 1), "g1_orders": number + 1}
            for number, name in enumerate(names)
        }
        revisions = {name: count for page in pages for name, count in page.revisions.items()}
        assert revisions == {name: number + 1 for number, name in enumerate(names)}

    def test_a_revision_tells_that_a_sum_moved(self, ledger: LedgerWithTotals) -> None:
        ledger.commit([RowUpdate(None, row("orders/S=1"))], adds("1"))
        before = ledger.sums(None, 10, deadline())
        ledger.commit([RowUpdate(None, row("orders/S=2"))], adds("2"))
        ledger.commit([RowUpdate(None, row("orders/S=3"))], adds("-2"))
        after = ledger.sums(None, 10, deadline())
        assert before.sums == after.sums
        assert before.revisions != after.revisions

    def test_without_time_nothing_is_walked(self, ledger: LedgerWithTotals) -> None:
        with pytest.raises(DeadlineExceeded):
            ledger.walk(Segment(), None, 10, deadline(0))
        with pytest.raises(DeadlineExceeded):
            ledger.sums(None, 10, deadline(0))
        with pytest.raises(DeadlineExceeded):
            ledger.generations(deadline(0))
        with pytest.raises(DeadlineExceeded):
            ledger.drop(0, None, 10, deadline(0))

    def test_at_first_there_is_one_generation(self, ledger: LedgerWithTotals) -> None:
        assert ledger.generations(deadline()) == Generations()

    def test_generations_come_back_as_they_were_written(self, ledger: LedgerWithTotals) -> None:
        begun = Generations().begun(1_714_564_801.25)
        assert ledger.set_generations(Generations(), begun, deadline())
        held = ledger.generations(deadline())
        assert held == replace(begun, revision=1)
        finished = held.switched(1).finished(1_714_564_899.0)
        assert ledger.set_generations(held, finished, deadline())
        assert ledger.generations(deadline()) == replace(finished, revision=2)

    def test_generations_that_moved_are_not_overwritten(self, ledger: LedgerWithTotals) -> None:
        begun = Generations().begun(7.0)
        assert ledger.set_generations(Generations(), begun, deadline())
        assert not ledger.set_generations(Generations(), Generations().begun(8.0), deadline())
        held = ledger.generations(deadline())
        assert ledger.set_generations(held, held.switched(1), deadline())
        assert not ledger.set_generations(held, held.finished(9.0), deadline())
        assert ledger.generations(deadline()) == replace(begun, live=1, revision=2)

    def test_a_row_of_a_generation_comes_back(self, ledger: LedgerWithTotals) -> None:
        built = replace(row("orders/S=1"), generation=3)
        ledger.commit([RowUpdate(None, built)], {})
        assert ledger.read([built.item_id], deadline()) == {built.item_id: built}

    def test_readers_read_the_live_generation(self, ledger: LedgerWithTotals) -> None:
        both = {"month#1997-01": {"revenue": Decimal(7), "g1_revenue": Decimal(5)}}
        ledger.commit([RowUpdate(None, row("orders/S=1"))], both)
        assert ledger.total("month#1997-01") == {"revenue": 7}
        begun = Generations().begun(7.0)
        assert ledger.set_generations(Generations(), begun, deadline())
        assert ledger.total("month#1997-01") == {"revenue": 7}
        held = ledger.generations(deadline())
        assert ledger.set_generations(held, held.switched(1), deadline())
        assert ledger.total("month#1997-01") == {"revenue": 5}

    @pytest.mark.parametrize(("generation", "left"), [(0, "g1_orders"), (1, "orders")])
    def test_measures_of_a_generation_are_removed(
        self, ledger: LedgerWithTotals, generation: int, left: str
    ) -> None:
        names = [f"day#{number}" for number in range(7)]
        amounts = {"orders": Decimal(2), "g1_orders": Decimal(2)}
        ledger.commit([RowUpdate(None, row("orders/S=1"))], dict.fromkeys(names, amounts))
        for expected in (7, 0):
            pages = [ledger.drop(generation, None, 3, deadline())]
            while (place := pages[-1].following) is not None:
                pages.append(ledger.drop(generation, as_json(place), 3, deadline()))
            assert sum(page.dropped for page in pages) == expected
            assert sum(page.read for page in pages) == 7
            page = ledger.sums(None, 10, deadline())
            assert page.sums == {name: {left: 2} for name in names}
            assert page.revisions == dict.fromkeys(names, 1)

    def test_one_update_adds_to_so_many_measures(self, ledger: LedgerWithTotals) -> None:
        amounts = {f"g{i % 2 + 1}_measure{i}": Decimal(i + 1) for i in range(MAX_ADDITIONS)}
        ledger.commit([RowUpdate(None, row("orders/S=1"))], {"month": amounts})
        assert ledger.sums(None, 10, deadline()).sums == {"month": amounts}
        many = {f"measure{i}": Decimal(1) for i in range(400)}
        with pytest.raises(PermanentError) as refused:
            ledger.commit([RowUpdate(None, row("orders/S=2"))], {"month": many})
        assert refused.value.reason == "TooManyMeasures"
        assert ledger.sums(None, 10, deadline()).sums == {"month": amounts}

    def test_more_measures_are_removed_than_one_update_holds(
        self, ledger: LedgerWithTotals
    ) -> None:
        for part in range(3):
            amounts = {f"g1_m{part}_{i}": Decimal(1) for i in range(MAX_ADDITIONS - 1)}
            update = RowUpdate(None, row(f"orders/S={part}"))
            ledger.commit([update], {"month": {**amounts, "orders": Decimal(1)}})
        assert ledger.drop(1, None, 10, deadline()).dropped == 1
        assert ledger.sums(None, 10, deadline()).sums == {"month": {"orders": 3}}


def as_json(place: Place) -> Place:
    """Return a place as the next request brings it."""
    return json.loads(json.dumps(place))


def walked(ledger: LedgerStore, segment: Segment) -> Iterator[LedgerRow]:
    place: Place | None = None
    while True:
        page = ledger.walk(segment, place, 4, deadline())
        yield from page.rows
        if page.following is None:
            return
        place = as_json(page.following)


def purged(
    ledger: LedgerStore, before: float, segment: Segment | None = None, *, dry_run: bool = False
) -> PurgePage:
    """Purge a segment page by page; return what the pages add up to."""
    place: Place | None = None
    tombstones = deleted = 0
    while True:
        page = ledger.purge(before, segment or Segment(), place, 4, deadline(), dry_run=dry_run)
        tombstones, deleted = tombstones + page.tombstones, deleted + page.purged
        if page.following is None:
            return PurgePage(0, tombstones, deleted, None)
        place = as_json(page.following)
