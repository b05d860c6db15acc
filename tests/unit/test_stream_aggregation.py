"""Sums equal the items, for any number and order of deliveries."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Contribution,
    Deadline,
    Expiry,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.errors import ConflictError
from dynamodb_streams_cdc.sinks.aggregation import CONFLICTS_UNTIL_HALVED
from dynamodb_streams_cdc.sinks.contributions import MAX_ACTIONS, MAX_MEASURES, add, checked
from dynamodb_streams_cdc.sinks.generations import Generations
from dynamodb_streams_cdc.sinks.ledger import LedgerRow, RowUpdate
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from lambdas.example_domain.order import contributions
from tests.factories import TTL_IDENTITY, change, deadline, order


def revenue(amount: str) -> dict[str, Any]:
    return order(total=amount)


def history(*states: dict[str, Any] | None, start: int = 1) -> list[Change]:
    """Return the changes that lead an item through its states, from nothing."""
    pairs = zip((None, *states), states, strict=False)
    return [change(start + n, before, after) for n, (before, after) in enumerate(pairs)]


LIFE = history(order(), order(status="shipped"), order(status="refunded"), None, order(total="5"))
OTHER = history(order("00005-1", total="10.00"), start=101)


@given(st.data())
def test_every_schedule_ends_in_the_same_sums(data: st.DataObject) -> None:
    changes = LIFE + OTHER
    deliveries = data.draw(st.permutations(changes * 2))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(deliveries)), max_size=6)))
    sink = Aggregation(ledger := MemoryLedger(), contributions)
    for start, end in zip([0, *cuts], [*cuts, len(deliveries)], strict=True):
        assert sink.apply(deliveries[start:end], deadline()).failures == {}
    assert ledger.total("month#1997-01") == {"orders": 2, "units": 4, "revenue": 15}
    assert ledger.total("status#placed") == {"orders": 2}
    assert ledger.total("status#refunded") == {}


class WatchedLedger(MemoryLedger):
    """Lets another program `meddle` between the reads of a batch and each transaction.

    Attributes:
        reads: how many there were.
        commits: rows and sums of each transaction, also of one that fails.
    """

    def __init__(self, meddle: Callable[[MemoryLedger], object] = lambda ledger: None) -> None:
        super().__init__()
        self.meddle = meddle
        self.reads = 0
        self.commits: list[tuple[int, int]] = []

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        self.reads += 1
        return super().read(item_ids, deadline)

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        self.commits.append((len(updates), len(deltas)))
        self.meddle(self)
        super().commit(updates, deltas)


def test_a_batch_costs_one_read_and_one_transaction() -> None:
    ledger = WatchedLedger()
    changes = [change(n, None, order(f"{n:05}-1")) for n in range(1, 98)]
    outcome = Aggregation(ledger, contributions).apply(changes, deadline())
    assert outcome.applied == 97
    assert (ledger.reads, ledger.commits) == (1, [(97, 2)])


def test_transactions_stay_within_their_limit() -> None:
    def own_aggregates(image: dict[str, Any]) -> Contribution:
        return {f"{image['order_id']}#{n}": {"orders": 1} for n in range(40)}

    ledger = WatchedLedger()
    changes = [change(n, None, order(f"{n:05}-1")) for n in range(1, 8)]
    assert Aggregation(ledger, own_aggregates).apply(changes, deadline()).applied == 7
    assert ledger.commits == [(2, 80), (2, 80), (2, 80), (1, 40)]
    assert max(map(sum, ledger.commits)) <= MAX_ACTIONS


def test_too_many_aggregates_are_permanent() -> None:
    def too_many(image: dict[str, Any]) -> Contribution:
        return {f"day#{n}": {"orders": 1} for n in range(100)}

    placed = change(1, None, order())
    outcome = Aggregation(MemoryLedger(), too_many).apply([placed], deadline())
    assert isinstance(outcome.failures[placed], PermanentError)


def test_an_aggregate_key_beyond_2048_bytes_is_permanent() -> None:
    """Refused before a transaction of a hundred items has to be halved for it."""
    placed, other = change(1, None, order()), change(2, None, order("00005-1"))
    ledger = MemoryLedger()

    def long(image: dict[str, Any]) -> Contribution:
        return {"customer#" + "é" * 1019 + "x" * (1 + (image["order_id"] == "00005-1")): {"n": 1}}

    outcome = Aggregation(ledger, long).apply([placed, other], deadline())
    assert (outcome.applied, list(outcome.failures)) == (1, [other])
    error = outcome.failures[other]
    assert isinstance(error, PermanentError)
    assert error.reason == "KeyTooLong"
    said = "customer#ééééééééééé...: an aggregate's key has at most 2,048 bytes, got 2,049"
    assert str(error) == said


def measured(prefix: str, number: int) -> Contribution:
    return {"day": {f"{prefix}{n}": 1 for n in range(number)}}


def test_too_many_measures_of_one_aggregate_are_permanent() -> None:
    placed, other = change(1, None, order()), change(2, None, order("00005-1"))
    ledger = MemoryLedger()

    def many(image: dict[str, Any]) -> Contribution:
        return measured("m", MAX_MEASURES + (image["order_id"] == "00005-1"))

    outcome = Aggregation(ledger, many).apply([placed, other], deadline())
    assert (outcome.applied, list(outcome.failures)) == (1, [other])
    error = outcome.failures[other]
    assert isinstance(error, PermanentError)
    assert error.reason == "TooManyMeasures"
    assert f"day: the item contributes to {MAX_MEASURES + 1} measures" in str(error)


@pytest.mark.parametrize(
    ("generations", "items"),
    [(Generations(), [7, 7, 7, 7, 2]), (Generations().begun(0.0), [3] * 10)],
)
def test_measures_of_one_update_stay_within_its_limit(
    generations: Generations, items: list[int]
) -> None:
    """Items that each have measures of their own, also while the sums are made again."""
    ledger = WatchedLedger()
    ledger.state = generations
    sink = Aggregation(ledger, lambda image: measured(image["order_id"], 40))
    changes = [change(n, None, order(f"{n:05}-1")) for n in range(1, 31)]
    assert sink.apply(changes, deadline()).applied == 30
    assert [rows for rows, _ in ledger.commits] == items
    assert len(ledger.total("day")) == 30 * 40


def zeros(image: dict[str, Any]) -> Contribution:
    return {f"day#{n}": {"orders": int(n == 7)} for n in range(200)}


def test_amounts_of_zero_take_no_place() -> None:
    ledger = MemoryLedger()
    assert Aggregation(ledger, zeros).apply([change(1, None, order())], deadline()).applied == 1
    assert ledger.total("day#7") == {"orders": Decimal(1)}


@pytest.mark.parametrize(
    ("generations", "of_status"),
    [
        (Generations(), lambda status: {f"{status}#{n}": {"orders": 1} for n in range(60)}),
        (Generations().begun(0.0), lambda status: measured(status, MAX_MEASURES)),
    ],
)
def test_a_change_of_more_than_fits_takes_two_writes(
    generations: Generations, of_status: Callable[[str], Contribution]
) -> None:
    ledger = WatchedLedger()
    ledger.state = generations
    sink = Aggregation(ledger, lambda image: of_status(image["status"]))
    placed, shipped, refunded = history(order(), order(status="shipped"), order(status="refunded"))
    sink.apply([placed], deadline())
    outcome = sink.apply([shipped, refunded], deadline())
    assert (outcome.applied, outcome.stale, outcome.failures) == (1, 1, {})
    assert len(ledger.commits) == 3
    [row] = ledger.rows.values()
    assert (row.version, row.contribution) == (refunded.version, add([of_status("refunded")]))
    live = {name: sums for name, sums in ledger.live().items() if sums}
    assert live == add([of_status("refunded")])
    assert ledger.live() == ledger.sums_of(generations.new)


def amounts(image: dict[str, Any]) -> Contribution:
    return {"month#1997-01": {"revenue": image["total"]}}


def test_a_failed_change_has_one_outcome_after_a_conflict() -> None:
    """The newest change cannot be counted, and the older one meets a newer row."""

    def contributions(image: dict[str, Any]) -> Contribution:
        return amounts(image) if image["total"] < 11 else {"month": {"revenue": Decimal("NaN")}}

    first, second = history(revenue("5"), revenue("11"))
    newer = LedgerRow(first.item_id, f"{second.version}9", 1, {}, second.timestamp, 0.0)
    ledger = WatchedLedger(lambda ledger: ledger.rows.setdefault(newer.item_id, newer))
    outcome = Aggregation(ledger, contributions).apply([first, second], deadline())
    assert (outcome.applied, outcome.stale, list(outcome.failures)) == (0, 1, [second])


def test_a_damaged_row_stops_its_item_alone() -> None:
    """What the sums count of it is not known: a difference to nothing would count it twice."""
    ledger = MemoryLedger()
    sink = Aggregation(ledger, amounts)
    first, second = history(revenue("5"), revenue("11"))
    other = OTHER[0]
    sink.apply([first], deadline())
    row = ledger.rows[first.item_id]
    ledger.rows[first.item_id] = replace(row, contribution={}, lacks=("contribution",))
    outcome = sink.apply([second, other], deadline())
    assert (outcome.applied, list(outcome.failures)) == (1, [second])
    assert isinstance(outcome.failures[second], PermanentError)
    with pytest.raises(PermanentError, match="lacks contribution"):
        sink.repair(first.item_id, lambda: revenue("11"), deadline())
    assert ledger.total("month#1997-01") == {"revenue": 15}


def test_a_repair_in_between_is_not_counted_twice() -> None:
    """The other program repairs the row under its old version."""
    ledger = WatchedLedger()
    sink = Aggregation(ledger, amounts)
    first, second = history(revenue("5"), revenue("11"))
    sink.apply([first], deadline())

    def repair(ledger: MemoryLedger) -> None:
        [row] = ledger.rows.values()
        if row.revision == 1:
            after = replace(row, revision=2, contribution=amounts(revenue("8")))
            update, difference = RowUpdate(row, after), amounts(revenue("3"))
            MemoryLedger.commit(ledger, [update], difference)

    ledger.meddle = repair
    assert sink.apply([second], deadline()).applied == 1
    assert ledger.total("month#1997-01") == {"revenue": 11}


def contended(conflicts: int) -> WatchedLedger:
    """Return a ledger whose first transactions meet another one."""
    left = iter(range(conflicts))

    def conflict(ledger: MemoryLedger) -> None:
        if next(left, None) is not None:
            message = "TransactionConflict"
            raise ConflictError(message)

    return WatchedLedger(conflict)


def test_a_conflict_is_retried_then_halved() -> None:
    ledger = contended(CONFLICTS_UNTIL_HALVED + 1)
    changes = [change(n, None, order(f"{n:05}-1")) for n in range(1, 9)]
    assert Aggregation(ledger, contributions).apply(changes, deadline()).applied == 8
    assert [rows for rows, _ in ledger.commits] == [8] * CONFLICTS_UNTIL_HALVED + [4, 4, 4]


def test_contention_without_end_is_a_failure_of_the_outage_kind() -> None:
    placed = change(1, None, order())
    outcome = Aggregation(contended(10**6), contributions).apply([placed], deadline())
    assert isinstance(outcome.failures[placed], RetryableError)


def test_without_time_nothing_is_written() -> None:
    placed = change(1, None, order())
    ledger = WatchedLedger()
    outcome = Aggregation(ledger, contributions).apply([placed], deadline(0))
    assert list(outcome.failures) == [placed]
    assert ledger.commits == []


@pytest.mark.parametrize(("expiry", "kept"), [(Expiry.KEEP, {"revenue": 7}), (Expiry.DROP, {})])
def test_an_expired_item_keeps_its_contribution_only_by_policy(
    expiry: Expiry, kept: dict[str, int]
) -> None:
    ledger = MemoryLedger()
    sink = Aggregation(ledger, amounts, expiry)
    first, second = history(revenue("5"), revenue("7"))
    expired = change(3, revenue("7"), None, userIdentity=TTL_IDENTITY)
    sink.apply([first], deadline())
    sink.apply([second, expired], deadline())
    assert ledger.total("month#1997-01") == kept
    assert ledger.rows[expired.item_id].retained is (expiry is Expiry.KEEP)
    assert ledger.rows[expired.item_id].deleted


def test_a_delete_is_not_an_expiry() -> None:
    ledger = MemoryLedger()
    placed, removed = history(revenue("5"), None)
    Aggregation(ledger, amounts, Expiry.KEEP).apply([placed, removed], deadline())
    assert ledger.total("month#1997-01") == {}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"": {"a": 1}}, "an aggregate's key must be non-empty text"),
        ({"day": {"revision": 1}}, "a measure's name must be text other than aggregate"),
        ({"day": {"g2_orders": 1}}, "and not begin like g1_, got 'g2_orders'"),
        ({"day": {"a": 1.5}}, r"day\.a: an amount must be an int or a finite Decimal, got 1\.5"),
        ({"day": {"a": True}}, "an amount must be an int"),
        ({"day": {"a": Decimal("NaN")}}, "a finite Decimal"),
        (None, r"`contributions` must return \{aggregate: .*, \{\} for none; got NoneType"),
        ({"day"}, "`contributions` must return .* got set"),
        ({"day": {"a"}}, r"day: expected \{measure: amount\}, got set"),
    ],
)
def test_a_contribution_of_another_form_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checked(bad)


@given(st.lists(st.decimals(-(10**30), 10**30, places=2), max_size=20))
def test_sums_are_exact_beyond_the_28_digits_of_pythons_default(amounts: list[Decimal]) -> None:
    total = add([{"a": {"m": amount}} for amount in amounts]).get("a", {}).get("m", Decimal(0))
    assert Fraction(total) == sum(map(Fraction, amounts))


def test_a_younger_change_with_a_smaller_version_is_counted() -> None:
    sink = Aggregation(MemoryLedger(), contributions)
    sink.apply([change(5, order(), order(status="shipped"), timestamp=100)], deadline())
    outcome = sink.apply([change(4, None, order(), timestamp=102)], deadline())
    assert (outcome.applied, outcome.stale, outcome.version_order_violations) == (0, 1, 1)


def test_conflicting_writers_leave_exact_sums() -> None:
    """Rows are written again under a raised revision, at random, just before a commit."""
    rng = random.Random(7)

    def meddle(ledger: MemoryLedger) -> None:
        if rng.random() < 0.3:
            for row in list(ledger.rows.values())[:2]:
                after = replace(row, revision=row.revision + 1)
                MemoryLedger.commit(ledger, [RowUpdate(row, after)], {})

    ledger = WatchedLedger(meddle)
    sinks = [Aggregation(ledger, amounts) for _ in range(3)]
    lives = [[_priced(rng, number) for _ in range(4)] for number in range(20)]
    changes = [c for n, life in enumerate(lives) for c in history(*life, start=n * 100 + 1)]
    for _ in range(60):
        rng.choice(sinks).apply(rng.sample(changes, 25), deadline())
    for sink in sinks:
        sink.apply(changes, deadline())
    expected = sum(life[-1]["total"] for life in lives)
    assert ledger.total("month#1997-01") == {"revenue": expected}


def _priced(rng: random.Random, number: int) -> dict[str, Any]:
    return order(f"{number:05}-1", total=f"{rng.randint(1, 99)}.00")
