"""The examples hold what they claim, and tell it within seconds."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from dynamodb_streams_cdc import Change, MissingImage, ViewType
from dynamodb_streams_cdc.examples import example_1, example_2, example_3
from dynamodb_streams_cdc.examples.surroundings import Forgetful
from dynamodb_streams_cdc.operations.redrive import RedriveStatus
from dynamodb_streams_cdc.testing.memory import MemoryIdempotencyStore

ROOT = Path(__file__).parents[1]
BOTH = ViewType.NEW_AND_OLD_IMAGES


# 1: what a stream tells


@pytest.mark.parametrize(
    ("view_type", "holds"),
    [
        (ViewType.KEYS_ONLY, ["keys", "keys", "keys"]),
        (ViewType.NEW_IMAGE, ["keys, new", "keys, new", "keys"]),
        (ViewType.OLD_IMAGE, ["keys", "keys, old", "keys, old"]),
        (BOTH, ["keys, new", "keys, new, old", "keys, old"]),
    ],
)
def test_what_a_record_holds_depends_on_the_view_type(
    view_type: ViewType, holds: list[str]
) -> None:
    records = example_1.life(view_type)
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert list(map(example_1.held, records)) == holds


def test_larger_view_types_make_larger_records() -> None:
    weights = [example_1.weight(view_type) for view_type in ViewType]
    assert weights == [36, 101, 101, 166]


def test_only_both_images_answer_every_question() -> None:
    unanswered = {
        view_type: [q for q in example_1.QUESTIONS if example_1.is_missing(q, view_type)]
        for view_type in ViewType
    }
    assert unanswered == {
        ViewType.KEYS_ONLY: [
            "what is the order now?",
            "what was it before?",
            "what exactly has changed?",
            "what was it that is gone now?",
        ],
        ViewType.NEW_IMAGE: [
            "what was it before?",
            "what exactly has changed?",
            "what was it that is gone now?",
        ],
        ViewType.OLD_IMAGE: ["what is the order now?", "what exactly has changed?"],
        BOTH: [],
    }


def test_a_missing_image_names_the_view_type_that_would_have_it() -> None:
    missing = example_1.answers("what exactly has changed?", ViewType.NEW_IMAGE)
    assert isinstance(missing, MissingImage)
    assert "It takes OLD_IMAGE or NEW_AND_OLD_IMAGES" in str(missing)


def test_changes_of_one_second_differ_in_sequence_number() -> None:
    records = example_1.life(BOTH)
    assert len({record["dynamodb"]["ApproximateCreationDateTime"] for record in records}) == 1
    numbers = list(map(example_1.sequence_number, records))
    assert numbers == sorted(set(numbers))
    versions = [Change.from_record(record, example_1.ORDERS).version for record in records]
    assert versions == sorted(set(versions))


def test_the_function_receives_each_change_and_no_empty_write() -> None:
    assert [line.partition(":")[0] for line in example_1.follow()] == [
        "order 1001 is new",
        "order 1002 is new",
        "order 1001 has changed",
        "order 1001 was deleted",
        "order 1002 has expired",
    ]


def test_order_is_kept_within_an_item_and_not_across_items() -> None:
    written, delivered = example_1.written_and_delivered()
    arrived = [record for records in delivered for record in records]
    assert len(delivered) == 3
    assert list(map(example_1.label, arrived)) != list(map(example_1.label, written))
    for order_id in ("1001", "1002", "1003"):
        life = [label for label in map(example_1.label, arrived) if label.startswith(order_id)]
        assert life == [f"{order_id} {status}" for status in ("placed", "shipped", "refunded")]


# 2: counting


def revenue(way: Callable[..., object], mishap: str) -> Decimal:
    [found] = [each for each in example_2.WAYS if each.build is way]
    return example_2.run(found, mishap).revenue


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (example_2.count_events, [65, 130, 95, 130]),
        (example_2.add_new_minus_old, [30, 95, 60, 95]),
        (example_2.mark_then_add, [30, 30, 0, 30]),
        (example_2.add_then_mark, [30, 30, 60, 30]),
        (example_2.count_with_ledger, [30, 30, 30, 30]),
    ],
)
def test_each_way_to_count_says_what_the_story_says(
    way: Callable[..., object], says: list[int]
) -> None:
    assert [revenue(way, mishap) for mishap in example_2.MISHAPS] == says


@pytest.mark.parametrize("mishap", example_2.MISHAPS)
def test_every_way_to_count_gets_the_same_deliveries(mishap: str) -> None:
    runs = [example_2.run(way, mishap) for way in example_2.WAYS]
    assert [run.delivered for run in runs] == [runs[0].delivered] * len(runs)
    assert {example_2.truth(run.orders) for run in runs} == {30}


def test_the_ledger_counts_each_order_once() -> None:
    ledger, counts = example_2.watch_the_ledger()
    assert [(each.applied, each.stale) for each in counts] == [(3, 0), (0, 3), (2, 0)]
    assert {name: row.deleted for name, row in ledger.rows.items()} == {
        "orders/S=1001": False,
        "orders/S=1002": False,
        "orders/S=1003": True,
    }
    assert ledger.total(example_2.MONTH) == {"orders": 2, "revenue": 30}


# 3: several functions, and failures


def test_one_life_drives_four_functions() -> None:
    shop = example_3.Shop()
    shop.put(example_3.order("1001"))
    shop.put(example_3.order("1001", "shipped"))
    assert shop.mail.sent == ["1001 placed", "1001 shipped"]
    assert shop.ledger.total("status#placed") == {}
    assert shop.ledger.total("status#shipped") == {"orders": 1, "total": Decimal("29.33")}
    assert list(shop.index.search().values()) == [{"status": "shipped", "total": "29.33"}]
    shop.delete("1001")
    assert shop.ledger.total("status#shipped") == {}
    assert shop.index.search() == {}
    kinds = [entry["kind"]["S"] for entry in shop.log.entries.values()]
    assert kinds == ["INSERT", "MODIFY", "REMOVE"]
    assert {entry.get("actor", {}).get("S") for entry in shop.log.entries.values()} == {
        "shop",
        None,
    }


def test_a_sequence_number_lets_lambda_go_on_from_the_failure() -> None:
    invocations = example_3.refused_for_a_while(MemoryIdempotencyStore())
    assert [each.changes for each in invocations] == [
        ["INSERT 1001", "INSERT 1002", "INSERT 1003", "MODIFY 1002"],
        ["INSERT 1002", "INSERT 1003", "MODIFY 1002"],
        ["INSERT 1002", "INSERT 1003", "MODIFY 1002"],
    ]


def test_others_go_on_and_later_changes_of_the_item_wait() -> None:
    invocations = example_3.refused_for_a_while(MemoryIdempotencyStore())
    assert [each.sent for each in invocations] == [
        ["1001 placed", "1003 placed"],
        [],
        ["1002 placed", "1002 shipped"],
    ]


def test_an_event_id_makes_lambda_send_all_of_it_again() -> None:
    invocations = example_3.refused_for_a_while(Forgetful(), "eventID")
    assert [len(each.changes) for each in invocations] == [4, 4, 4]
    sent = [mail for each in invocations for mail in each.sent]
    assert {mail: sent.count(mail) for mail in set(sent)} == {
        "1001 placed": 3,
        "1002 placed": 1,
        "1002 shipped": 1,
        "1003 placed": 3,
    }


def test_a_sequence_number_without_a_guard_repeats_effects() -> None:
    sent = [mail for each in example_3.refused_for_a_while(Forgetful()) for mail in each.sent]
    assert sorted(set(sent), key=sent.count)[-1] == "1003 placed"
    assert sent.count("1003 placed") == 3
    assert sent.count("1001 placed") == 1


def test_an_uncountable_change_becomes_a_dead_letter() -> None:
    counting = example_3.Counting()
    poison = example_3.order("1002", total="29,33")
    counting.put(example_3.order("1001"), poison, example_3.order("1003"))
    assert counting.ledger.total("status#placed")["orders"] == 2
    [body] = counting.dead_letters.objects.values()
    dead_letter = json.loads(body)
    assert dead_letter["dead_letter"]["reason"] == "BadTotal"
    [record] = json.loads(dead_letter["payload"])["Records"]
    assert Change.from_record(record, example_3.ORDERS).new_image == poison


def test_a_dead_letter_is_kept_until_its_order_is_fixed() -> None:
    counting = example_3.Counting()
    counting.put(example_3.order("1002", total="29,33"))
    [result] = counting.redrive()
    assert (result.status, result.applied) == (RedriveStatus.KEPT, 0)
    counting.put(example_3.order("1002", "shipped"))
    [result] = counting.redrive()
    assert (result.status, result.applied, result.stale) == (RedriveStatus.ARCHIVED, 0, 1)
    assert {name: each for name, each in counting.ledger.totals.items() if each} == {
        "status#shipped": {"orders": 1, "total": Decimal("29.33")}
    }
    assert counting.redrive() == []


def test_items_stay_in_their_lanes_and_in_order() -> None:
    lab, sent = example_3.in_lanes()
    lanes: dict[str, set[int]] = {}
    for delivery in lab.deliveries:
        for change in delivery.changes:
            lanes.setdefault(change.split()[1], set()).add(delivery.lane)
    assert {len(each) for each in lanes.values()} == {1}
    assert len(set.union(*lanes.values())) == 4
    for order_id in lanes:
        life = [mail for mail in sent if mail.startswith(order_id)]
        assert life == [f"{order_id} placed", f"{order_id} shipped"]
    assert sent[-2:] == ["1004 placed", "1004 shipped"]


# All of them


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_story_is_told_within_seconds_by_python_alone(number: int) -> None:
    module = f"dynamodb_streams_cdc.examples.example_{number}"
    told = subprocess.run(
        [sys.executable, "-S", "-m", module],  # -S: no installed package can be imported
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert told.stderr == ""
    assert told.returncode == 0
    assert told.stdout.startswith(f"Example {number}: ")
    assert max(map(len, told.stdout.splitlines())) <= 120
    assert not re.search(r"\w-\n", told.stdout), "a name is broken at a hyphen"


@pytest.mark.parametrize(
    "program",
    [
        *(f"dynamodb_streams_cdc.examples.example_{number}" for number in (1, 2, 3)),
        "exercises.checks 1 --solution",
    ],
)
def test_a_reader_may_end_early(program: str) -> None:
    """As `less` does, after q."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", *program.split()],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as told:
        assert told.stdout is not None
        assert told.stderr is not None
        told.stdout.readline()
        told.stdout.close()
        assert (told.wait(timeout=10), told.stderr.read()) == (0, "")
