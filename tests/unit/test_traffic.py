"""Reading purchases, telling their stories, and writing them in order."""

from __future__ import annotations

import gzip
import threading
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from local.workload.life_cycle import life_cycle
from local.workload.purchases import SAMPLE, PurchasesError, read_purchases, survey

from local.workload.traffic import Finished, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.workload.purchases import Purchase
    from mypy_boto3_dynamodb import DynamoDBClient

FIVE_COLUMNS = " 00004 0001 19970101  2   29.33\r\n 00004 0001 19970118  2   29.73\r\n"
FOUR_COLUMNS = " customer_id  date number_of_cds  dollar_value\r\n 00001 19970101  1   11.77\r\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "purchases.txt"


def read(file: Path, text: str) -> list[Purchase]:
    file.write_text(text)
    return list(read_purchases(file))


class FakeTable:
    """An orders table in memory, which takes the three kinds of writes."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: Counter[tuple[str, str]] = Counter()
        self.writers: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.fail_after: int | None = None
        self._lock = threading.Lock()

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
        self._keep(Item, Item)

    def delete_item(self, *, TableName: str, Key: dict[str, Any]) -> None:
        self._keep(Key, None)

    def update_item(
        self,
        *,
        TableName: str,
        Key: dict[str, Any],
        UpdateExpression: str,
        ExpressionAttributeNames: dict[str, str],
        ExpressionAttributeValues: dict[str, Any],
    ) -> None:
        assert UpdateExpression.startswith("SET ")
        fields = dict(part.split(" = ") for part in UpdateExpression[4:].split(", "))
        named = {
            ExpressionAttributeNames[name]: ExpressionAttributeValues[value]
            for name, value in fields.items()
        }
        key = (Key["customer_id"]["S"], Key["order_id"]["S"])
        self._keep(Key, {**self.items[key], **named})

    def _keep(self, key: dict[str, Any], item: dict[str, Any] | None) -> None:
        name = (key["customer_id"]["S"], key["order_id"]["S"])
        with self._lock:
            if self.fail_after is not None and sum(self.changes.values()) >= self.fail_after:
                msg = "the table is gone"
                raise ConnectionError(msg)
            self.writers[name].add(threading.get_ident())
            self.changes[name] += self.items.get(name) != item
            if item is None:
                self.items.pop(name, None)
            else:
                self.items[name] = item


def write(table: FakeTable, purchases: Iterator[Purchase], **options: Any) -> Any:
    return Writer(cast("DynamoDBClient", table), "orders", seed=1, **options).run(purchases)


def test_the_sample_is_the_published_one() -> None:
    found = survey(SAMPLE)

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
        survey(file)
    file.write_text("\n")
    with pytest.raises(PurchasesError, match="holds no purchases"):
        survey(file)
    file.write_bytes(gzip.compress(FIVE_COLUMNS.encode())[:-12])
    with pytest.raises(PurchasesError, match="is damaged"):
        survey(file)
    file.write_text("one two three\n")
    with pytest.raises(PurchasesError, match="line 1: expected customer id"):
        survey(file)


def test_a_purchase_and_a_seed_tell_one_story() -> None:
    purchases = list(read_purchases(SAMPLE, 200))

    stories = [life_cycle(each, 1) for each in purchases]

    assert stories == [life_cycle(each, 1) for each in purchases]
    assert stories != [life_cycle(each, 2) for each in purchases]


def test_every_story_is_unbroken_and_keeps_the_purchase() -> None:
    for purchase in read_purchases(SAMPLE):
        steps = life_cycle(purchase, 1)
        placed = steps[0].after
        assert placed is not None
        assert placed["total"] == purchase.value == sum(each["amount"] for each in placed["lines"])
        assert sum(each["quantity"] for each in placed["lines"]) == purchase.units
        assert all(each["quantity"] > 0 for each in placed["lines"])
        assert steps[0].before is None
        assert all(before.after == after.before for before, after in pairwise(steps))
        # A second INSERT would count the purchase twice in the log.
        assert [each.before for each in steps if each.effective].count(None) == 1


def test_the_sample_has_every_kind_of_story() -> None:
    stories = [life_cycle(each, 1) for each in read_purchases(SAMPLE, 1000)]

    ends = Counter((steps[-1].after or {"status": "cancelled"})["status"] for steps in stories)
    assert all(ends[status] > 10 for status in ("placed", "shipped", "refunded", "cancelled"))
    assert ends["shipped"] > 700
    idle = Counter(each.operation for steps in stories for each in steps if not each.effective)
    assert idle.keys() == {"put", "update", "delete"}
    assert any(sum(each.quickly for each in steps) >= 6 for steps in stories)


def test_writes_are_counted_by_item() -> None:
    table, finished = FakeTable(), list[Finished]()

    written = write(table, read_purchases(SAMPLE, 300), on_finished=finished.append)

    assert written.effective == table.changes
    assert written.changes == sum(table.changes.values())
    assert written.purchases == 300 == len(table.items) + written.deletes
    assert written.without_effect > 0
    assert len({each.key for each in finished}) == 300
    assert all(len(threads) == 1 for threads in table.writers.values())


def test_different_orders_are_written_at_the_same_time() -> None:
    class Rendezvous(FakeTable):
        together = threading.Barrier(2, timeout=10)

        def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
            if not self.items:
                self.together.wait()
            super().put_item(TableName=TableName, Item=Item)

    # Alone, the first write would wait for a second one in vain.
    written = write(Rendezvous(), read_purchases(SAMPLE, 20), workers=2)

    assert written.purchases == 20


def test_an_idle_write_to_the_table_changes_nothing() -> None:
    """The fake counts changes by comparing items, the writer by its plan."""
    table = FakeTable()
    purchases = [
        each
        for each in read_purchases(SAMPLE, 300)
        if not all(step.effective for step in life_cycle(each, 1))
    ]

    written = write(table, iter(purchases))

    assert written.writes > written.changes == sum(table.changes.values())


def test_no_write_comes_between_quick_changes() -> None:
    written: list[str] = []

    class Log(FakeTable):
        def _keep(self, key: dict[str, Any], item: dict[str, Any] | None) -> None:
            super()._keep(key, item)
            written.append(key["order_id"]["S"])

    write(Log(), read_purchases(SAMPLE, 300), workers=1)

    hurried = 0
    for purchase in read_purchases(SAMPLE, 300):
        steps = life_cycle(purchase, 1)
        order = f"{purchase.customer}-{purchase.number:04d}"
        positions = [position for position, each in enumerate(written) if each == order]
        assert len(positions) == len(steps)
        for step, (before, after) in zip(steps[1:], pairwise(positions), strict=True):
            hurried += step.quickly
            assert after == before + 1 or not step.quickly
    assert hurried > 10
    assert sum(before != after for before, after in pairwise(written)) > 500


def test_one_failing_write_stops_the_others() -> None:
    class Once(FakeTable):
        failed = False

        def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
            if len(self.items) >= 50 and not self.failed:
                self.failed = True
                msg = "this one only"
                raise ConnectionError(msg)
            super().put_item(TableName=TableName, Item=Item)

    table = Once()

    with pytest.raises(ConnectionError, match="this one only"):
        write(table, read_purchases(SAMPLE))

    assert len(table.items) < 1000


def test_a_failing_write_ends_the_traffic_with_its_error() -> None:
    table = FakeTable()
    table.fail_after = 50

    with pytest.raises(ConnectionError, match="the table is gone"):
        write(table, read_purchases(SAMPLE))

    assert 50 <= sum(table.changes.values()) < 60


def test_a_malformed_line_ends_the_traffic(file: Path) -> None:
    file.write_text(FIVE_COLUMNS + "rubbish\n")

    with pytest.raises(PurchasesError, match="line 3"):
        write(FakeTable(), read_purchases(file))


def test_stopping_ends_the_traffic_early() -> None:
    stop, table = threading.Event(), FakeTable()

    written = write(table, read_purchases(SAMPLE), stop=stop, on_finished=lambda _: stop.set())

    assert 0 < written.purchases < 200
    assert written.effective == table.changes
