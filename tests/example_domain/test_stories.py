"""Purchases are read, and become stories of orders and customers that can be played."""

from __future__ import annotations

import gzip
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, PurchasesError, read_purchases
from lambdas.example_domain.stories.purchases import survey as totals
from local.workload.stories import survey
from tests.example_domain.told import told
from tests.schedules import long

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.example_domain.stories.purchases import Purchase

FIVE_COLUMNS = " 00004 0001 19970101  2   29.33\r\n 00004 0001 19970118  2   29.73\r\n"
FOUR_COLUMNS = " customer_id  date number_of_cds  dollar_value\r\n 00001 19970101  1   11.77\r\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "purchases.txt"


def read(file: Path, text: str) -> list[Purchase]:
    file.write_text(text)
    return list(read_purchases(file))


def test_the_sample_is_the_published_one() -> None:
    found = totals(SAMPLE)

    assert (found.purchases, found.customers, found.total) == (6919, 2357, Decimal("244091.94"))


def test_reads_both_layouts_plain_or_packed(file: Path) -> None:
    five = read(file, FIVE_COLUMNS)
    four = read(file, FOUR_COLUMNS)
    file.write_bytes(gzip.compress(FOUR_COLUMNS.encode()))

    assert [(each.customer, each.number) for each in five] == [("00004", 1), ("00004", 2)]
    assert [(each.customer, each.units, each.value) for each in four] == [
        ("00001", 1, Decimal("11.77"))
    ]
    assert list(read_purchases(file)) == four


def test_a_limit_stops_before_later_purchases(file: Path) -> None:
    file.write_text(FIVE_COLUMNS + "rubbish\n")

    assert len(list(read_purchases(file, 2))) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("00004 0001 19970101 2", "expected master customer id, sample customer id, date"),
        ("00004 0001 19970101 2 3.00 x", "expected master customer id"),
        ("four 0001 19970101 2 3.00", 'expected the customer id in digits; found "four"'),
        ("00004 0001 19970231 2 3.00", 'expected the date as YYYYMMDD; found "19970231"'),
        ("00004 0001 1997011 2 3.00", "expected the date as YYYYMMDD"),
        ("00004 0001 19970101 0 3.00", "expected the number of CDs, 1 to 9999"),
        ("00004 0001 19970101 99999999 3.00", "expected the number of CDs, 1 to 9999"),
        ("00004 0001 19970101 2 -3.00", "expected the value in dollars with at most 2 decimals"),
        ("00004 0001 19970101 2 3.001", "expected the value in dollars"),
        ("00004 0001 19970101 2 1e3", "expected the value in dollars"),
        ("00004 0001 19970101 2 NaN", "expected the value in dollars"),
        ("00004 0001 19970101 2 ۳.00", "expected the value in dollars"),
    ],
)
def test_a_malformed_line_is_named(file: Path, line: str, sentence: str) -> None:
    with pytest.raises(PurchasesError) as raised:
        read(file, FIVE_COLUMNS + line + "\n")

    assert str(raised.value).startswith(f"{file}, line 3: {sentence}")


def test_a_file_without_purchases_is_refused(file: Path) -> None:
    with pytest.raises(PurchasesError, match=r"Cannot read .*: No such file"):
        totals(file)
    file.write_text("\n")
    with pytest.raises(PurchasesError, match="holds no purchases"):
        totals(file)
    file.write_bytes(gzip.compress(FIVE_COLUMNS.encode())[:-12])
    with pytest.raises(PurchasesError, match="is damaged"):
        totals(file)
    file.write_text("one two three\n")
    with pytest.raises(PurchasesError, match="line 1: expected customer id"):
        totals(file)


def test_a_purchase_and_a_seed_tell_one_story() -> None:
    purchases = list(read_purchases(SAMPLE, 200))

    stories = [life_cycle(each, 1) for each in purchases]

    assert stories == [life_cycle(each, 1) for each in purchases]
    assert stories != [life_cycle(each, 2) for each in purchases]


def test_every_story_is_unbroken_and_keeps_the_purchase() -> None:
    for purchase in read_purchases(SAMPLE):
        states = life_cycle(purchase, 1)
        placed = states[0]
        assert placed is not None
        assert placed["total"] == purchase.value == sum(each["amount"] for each in placed["lines"])
        assert sum(each["quantity"] for each in placed["lines"]) == purchase.units
        assert all(each["quantity"] > 0 for each in placed["lines"])
        # A second INSERT would count the purchase twice in the log.
        changes = [(a, b) for a, b in pairwise((None, *states)) if a != b]
        assert [before for before, _ in changes].count(None) == 1


def test_the_sample_has_every_kind_of_story() -> None:
    lives = [life_cycle(each, 1) for each in read_purchases(SAMPLE, 1000)]

    ends = Counter((states[-1] or {"status": "cancelled"})["status"] for states in lives)
    assert all(ends[status] > 10 for status in ("placed", "shipped", "refunded", "cancelled"))
    assert ends["shipped"] > 700
    repeated = [b for states in lives for a, b in pairwise(states) if a == b]
    assert {"cancelled" if s is None else s["status"] for s in repeated} == {
        "placed",
        "shipped",
        "cancelled",
    }
    assert any(len(states) >= 8 for states in lives)


@long
def test_each_customer_has_one_profile_before_its_orders() -> None:
    known: set[str] = set()
    ends: Counter[str] = Counter()
    for story in told():
        assert story.entity is not None
        customer = story.keys["customer_id"]
        if story.entity.name == "customer":
            assert customer not in known
            known.add(customer)
            ends[(story.last or {"segment": "left"})["segment"]] += 1
        assert customer in known
    assert len(known) == 2357
    assert ends["new"] > ends["regular"] > ends["gold"] > ends["left"] > 20


@long
def test_every_story_of_the_sample_can_be_played() -> None:
    found = survey(told())

    assert found.stories == 6919 + 2357
    assert found.entities == {("orders", "customer"): 2357, ("orders", "order"): 6919}
    assert sum(found.poison) == 6919


def test_stories_are_the_same_for_one_seed() -> None:
    assert list(told(300)) == list(told(300))
    assert list(told(300)) != list(told(300, seed=2))
