"""The check finds each of the eight classic mistakes in a function that knows no library."""

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import Diverged, Items, Trial, check_convergence
from tests.schedules import schedules
from tests.unit.testing import plain_handlers as app

AT_MOST = 200
PASSED = schedules(400)
SHORT = 4
TOO_OFTEN = 20
"""Each fault may repeat an effect once; an effect that came more often repeats by itself."""

Read = Callable[[app.Store], Any]
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def making(handler: Any, read: Read) -> Callable[[Trial], Any]:
    def make(trial: Trial) -> Any:
        store = app.Store()
        app.STORE = trial.faulty(store)
        return handler, lambda: read(store)

    return make


def rows(store: app.Store) -> Any:
    return {name: value for name, (_, value) in store.rows.items() if value is not None}


def values(items: Items) -> Any:
    return {item["id"]: {n: item[n] for n in ("group", "amount")} for item in items}


def totals(items: Items) -> Any:
    found: Counter[str] = Counter()
    for item in items:
        found[f"group {item['group']}"] += int(item["amount"])
    return found


def ordered_too_often(orders: Any, items: Items) -> Iterable[str]:
    return [f"{order} came {times} times" for order, times in orders.items() if times > TOO_OFTEN]


COPY: dict[str, Any] = {"read": rows, "wanted": values}
SUMS: dict[str, Any] = {"read": lambda store: store.sums, "wanted": totals}
MAILS: dict[str, Any] = {
    "read": lambda store: {name: len(ids) for name, ids in store.mails.items()},
    "wanted": lambda items: {name: len(states) for name, states in items.history.items()},
}
ORDERS: dict[str, Any] = {
    "read": lambda store: store.orders,
    "compare": ordered_too_often,
    "MaximumRetryAttempts": 25,
    **REPORTING,
}

MISTAKES = [
    (app.swallowed_exception, COPY, "answered with success all the same"),
    (app.timestamp_as_version, COPY, "ApproximateCreationDateTime is rounded"),
    (app.unpadded_sequence_numbers, COPY, "sequence numbers get one digit more"),
    (app.delete_without_tombstone, COPY, "keep a tombstone with the version"),
    (app.new_minus_old, SUMS, "the effect is done twice"),
    (app.marker_before_effect, MAILS, "failed before it called mail"),
    (app.event_id_as_identifier, ORDERS, "itemIdentifier is the eventID"),
    (app.continuing_past_a_failure, ORDERS, "went on with later records"),
]


@pytest.mark.parametrize(("handler", "setup", "hint"), MISTAKES)
def test_each_mistake_is_found_in_200_schedules(
    handler: Any, setup: dict[str, Any], hint: str
) -> None:
    options = dict(setup)
    make = making(handler, options.pop("read"))
    with pytest.raises(Diverged) as caught:
        check_convergence(make, schedules=AT_MOST, **options)
    found = caught.value
    assert found.number <= AT_MOST
    assert hint in found.hint
    assert len(found.replay["writes"]) + len(found.replay.get("faults", ())) <= SHORT
    with pytest.raises(Diverged) as again:
        check_convergence(make, replay=found.replay, **options)
    assert (again.value.problems, again.value.timeline) == (found.problems, found.timeline)


def test_the_right_function_passes(record_property: Callable[[str, object], None]) -> None:
    record_property("schedules", PASSED)
    report = check_convergence(making(app.right, rows), wanted=values, schedules=PASSED)
    assert report.schedules == PASSED
    assert report.deliveries > report.writes > PASSED


def test_stopping_at_a_failure_repeats_little() -> None:
    options = dict(ORDERS)
    make = making(app.stopping_at_a_failure, options.pop("read"))
    check_convergence(make, schedules=schedules(AT_MOST), **options)


def test_the_functions_know_no_library() -> None:
    tree = ast.parse(Path(app.__file__).read_text())
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
