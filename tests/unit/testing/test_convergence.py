"""What a check takes, what it refuses, what it finds, and how it tells."""

import json
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, Processor, RetryableError, Search, Source
from dynamodb_streams_cdc.testing import Diverged, FaultKind, Items, Trial, check_convergence
from dynamodb_streams_cdc.testing.check import IN_PORTS
from dynamodb_streams_cdc.testing.convergence import FAULTS
from dynamodb_streams_cdc.testing.memory import MemoryIndex
from dynamodb_streams_cdc.testing.simulation import generate, generate_dead_letters
from dynamodb_streams_cdc.testing.simulation.replay import as_data, from_data
from dynamodb_streams_cdc.testing.simulation.schedule import EFFECTS

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
Rows = dict[Any, Any]


def amounts(items: Items) -> Rows:
    return {key: item["amount"] for key, item in items.by_key().items()}


def key_of(record: Any) -> Any:
    values = tuple(text for value in record["dynamodb"]["Keys"].values() for text in value.values())
    return values if len(values) > 1 else values[0]


def amount_of(record: Any) -> int | None:
    image = record["dynamodb"].get("NewImage")
    return int(image["amount"]["N"]) if image else None


def last_wins(rows: Rows, record: Any) -> None:
    amount = amount_of(record)
    if amount is None:
        rows.pop(key_of(record), None)
    else:
        rows[key_of(record)] = amount


def making(apply: Callable[[Rows, Any], Any], answer: Any = None) -> Callable[[Trial], Any]:
    """Return a consumer that applies each record to a dictionary."""

    def make(trial: Trial) -> Any:
        copy: Rows = {}
        rows = trial.faulty(copy)

        def handler(event: Any, context: Any) -> Any:
            for record in event["Records"]:
                apply(rows, record)
            return answer

        return handler, lambda: copy

    return make


def failure(make: Callable[[Trial], Any], **options: Any) -> Diverged:
    with pytest.raises(Diverged) as caught:
        check_convergence(make, **{"wanted": amounts, **options})
    return caught.value


# What it tells


def test_the_message_tells_a_short_story() -> None:
    message = str(failure(making(last_wins)))
    for part in (
        "schedule 2 of 200 (seed=1)",
        "The shortest schedule that still fails: 2 writes, 1 fault, 1 shard, BatchSize 100",
        "table        put item-0: group 0, amount 2, price 2.1 (..306281)",
        "function     FAULT: old batch delivered again",
        "item-0: the table implies 2, the copy has 1",
        "write only what is newer than the version that the copy holds",
        "To run it again: replay={'writes': [[0.0, 'put', 0, 0, 1], [1.0, 'put', 0, 0, 2]], ",
    ):
        assert part in message


def test_only_the_last_run_prints_and_logs(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def told(rows: Rows, record: Any) -> None:
        print("applied")
        logging.getLogger("app").warning("applied")
        last_wins(rows, record)

    failure(making(told))
    assert capsys.readouterr().out == "applied\n" * 3
    assert [each.message for each in caplog.records] == ["applied"] * 3


def test_a_replay_that_passes_raises_nothing() -> None:
    replay = {"writes": [[0.5, "put", 0, 0, 1]], "faults": [[0.0, "duplicate delivery"]]}
    report = check_convergence(making(last_wins), wanted=amounts, replay=replay)
    assert (report.schedules, report.writes, report.deliveries) == (1, 1, 2)
    assert report.struck == {FaultKind.DUPLICATE: 1}


def test_a_float_in_place_of_a_decimal_is_found() -> None:
    def keep(rows: Rows, record: Any) -> None:
        change = Change.from_record(record, Source("table"))
        image = change.new_image or {}
        floats = {n: float(v) if isinstance(v, Decimal) else v for n, v in image.items()}
        if rows.get(change.item_id, ("",))[0] < change.version:
            rows[change.item_id] = (change.version, floats)

    def make(trial: Trial) -> Any:
        copy: Rows = {}

        def handler(event: Any, context: Any) -> None:
            for record in event["Records"]:
                keep(copy, record)

        return handler, lambda: {item["id"]: item for _, item in copy.values() if item}

    found = failure(make, wanted=Items.by_key, faults=())
    assert found.number == 1
    assert "'price': Decimal('1.1')}, the copy has" in found.problems[0]


def test_a_read_before_the_write_takes_many_schedules() -> None:
    """Another invocation has to come between the two calls: 695 schedules pass before."""

    def put_if_newer(rows: Rows, record: Any) -> None:
        version = Change.from_record(record, Source("table")).version
        held = rows.get(key_of(record))
        if held is None or held[0] < version:
            rows[key_of(record)] = (version, amount_of(record))

    def make(trial: Trial) -> Any:
        handler, read = making(put_if_newer)(trial)
        return handler, lambda: {k: n for k, (_, n) in read().items() if n is not None}

    assert failure(make, seed=690, schedules=10).seed == 695


def test_a_copy_without_keys_is_compared_as_a_whole() -> None:
    make = making(lambda rows, record: None)
    found = failure(
        lambda trial: (make(trial)[0], lambda: 0),
        wanted=lambda items: sum(item["amount"] for item in items),
    )
    assert found.problems == ("the table implies 1, the copy is 0",)


@pytest.mark.parametrize("make", [generate, generate_dead_letters])
def test_a_schedule_survives_as_plain_data(make: Callable[[int], Any]) -> None:
    for seed in range(50):
        schedule = make(seed)
        alone = tuple(replace(fault, processor=0) for fault in schedule.faults)
        data = json.loads(json.dumps(as_data(replace(schedule, faults=alone))))
        assert from_data(data).seed == seed
        assert as_data(from_data(data)) == data


def test_a_replay_makes_no_item_of_amount_0() -> None:
    amounts_made = set()

    def item(number: int, group: int, amount: int) -> Rows:
        amounts_made.add(amount)
        return {"id": f"item-{number}", "amount": Decimal(amount)}

    rows = [[0.0, "put", 0, 0, 5], [1.0, "put the same again", 0], [2.0, "delete", 0]]
    later = [["a write", [0.0, "delete", 1]]]
    replay = {"writes": rows, "later": later}
    assert check_convergence(making(last_wins), wanted=amounts, item=item, replay=replay).writes
    assert min(amounts_made) == 1


# What it takes


def test_keys_may_be_two_of_any_type() -> None:
    def item(number: int, group: int, amount: int) -> Rows:
        return {"owner": f"o{number % 2}", "number": Decimal(number), "amount": amount}

    def wanted(items: Items) -> Rows:
        return {(owner, str(number)): amount for (owner, number), amount in amounts(items).items()}

    report = check_convergence(
        making(last_wins),
        wanted=wanted,
        item=item,
        keys={"owner": "S", "number": "N"},
        faults=["throttle", FaultKind.DUPLICATE],
        schedules=20,
    )
    assert set(report.struck) == {FaultKind.THROTTLE, FaultKind.DUPLICATE}


def test_settings_of_the_mapping_replace_those_drawn() -> None:
    sizes = set()

    def noted(trial: Trial) -> Any:
        handler, read = making(last_wins)(trial)

        def handle(event: Any, context: Any) -> None:
            sizes.add(len(event["Records"]))
            handler(event, context)

        return handle, read

    check_convergence(
        noted, wanted=amounts, faults=(), schedules=20, BatchSize=2, UUID="as it was deployed"
    )
    assert sizes == {1, 2}


def test_tumbling_windows_have_one_lane() -> None:
    make = making(last_wins, {"state": {"n": 1}})
    report = check_convergence(
        make, wanted=amounts, faults=(), schedules=20, TumblingWindowInSeconds=60
    )
    assert report.schedules == 20


def test_a_table_of_moto_is_a_port(copies: Any) -> None:
    handlers = len(emitted(copies))

    def make(trial: Trial) -> Any:
        for row in copies.scan()["Items"]:
            copies.delete_item(Key=row)
        trial.faulty(copies)

        def handler(event: Any, context: Any) -> None:
            for record in event["Records"]:
                copies.put_item(Item={"id": key_of(record)})

        return handler, lambda: {row["id"] for row in copies.scan()["Items"]}

    report = check_convergence(
        make,
        wanted=lambda items: set(items.history),
        faults=(FaultKind.CRASH_AFTER, FaultKind.FAILING, FaultKind.TIMEOUT),
        schedules=4,
    )
    assert sum(report.struck.values()) > 0
    assert len(emitted(copies)) == handlers


def emitted(table: Any) -> list[Any]:
    emitter = table.meta.client.meta.events._emitter
    return list(emitter._handlers.prefix_search("before-call"))


def test_a_function_alters_no_item_that_it_reads() -> None:
    """DynamoDB answers each read with an item of its own."""

    def make(trial: Trial) -> Any:
        copy: Rows = {}

        def handler(event: Any, context: Any) -> None:
            for record in event["Records"]:
                item = trial.source_table.read(record["dynamodb"]["Keys"]) or {"amount": None}
                copy[key_of(record)] = item.pop("amount")

        return handler, lambda: {key: amount for key, amount in copy.items() if amount}

    check_convergence(make, wanted=amounts, schedules=5)


def test_dead_letters_of_the_function_are_redriven() -> None:
    class NoneGood(Exception):
        pass

    def document(image: Any) -> Any:
        if "bad" in image:
            raise NoneGood
        return {"amount": image["amount"]}

    def make(trial: Trial, *, repairs: bool = True) -> Any:
        index = MemoryIndex()
        handler = Processor(
            "search",
            Source("items"),
            Search(trial.faulty(index), document),
            trial.dead_letters,
            permanent=(NoneGood,),
            clock=trial.clock,
            source_table=trial.source_table if repairs else None,
        )
        return handler, lambda: [each["amount"] for each in index.search().values()]

    options: dict[str, Any] = {
        "wanted": None,
        "compare": same_amounts,
        "poison": lambda item: {**item, "bad": True},
        "schedules": 8,
        **REPORTING,
    }
    assert check_convergence(make, **options).writes > 0
    found = failure(lambda trial: make(trial, repairs=False), **options)
    assert any("is still a dead letter" in problem for problem in found.problems)


def same_amounts(copy: list[Any], items: Items) -> list[str]:
    wanted = sorted(item["amount"] for item in items)
    return [] if sorted(copy) == wanted else [f"{copy} instead of {wanted}"]


# What it hints at


def test_a_raising_function_is_told_by_its_error() -> None:
    found = failure(making(lambda rows, record: rows["no such key"]), faults=())
    assert found.hint.startswith("the function raised KeyError('no such key') in every attempt at")


TWO_ITEMS = {
    "writes": [
        [0.0, "put", 0, 1, 5],
        [0.5, "put", 1, 2, 7],
        [1.0, "put", 0, 1, 6],
        [2.0, "delete", 1],
    ]
}


def test_the_first_of_two_errors_is_told_if_nothing_succeeds() -> None:
    def misspelt(rows: Rows, record: Any) -> None:
        rows[key_of(record)] = record["dynamodb"]["NewImage"]["no such attribute"]

    hint = failure(making(misspelt), replay=TWO_ITEMS, MaximumRetryAttempts=3).hint
    assert "raised KeyError('no such attribute') in every attempt at INSERT item-0" in hint


def test_a_process_that_ends_in_every_attempt_is_told() -> None:
    def leave(rows: Rows, record: Any) -> None:
        sys.exit(3)

    hint = failure(making(leave), replay=TWO_ITEMS, MaximumRetryAttempts=3).hint
    assert "the process ended with SystemExit(3) in every attempt at INSERT item-0" in hint


def test_an_error_of_one_record_tells_what_helps_the_batch() -> None:
    def refuse(rows: Rows, record: Any) -> None:
        raise NotImplementedError

    def told(**replay: Any) -> str:
        return failure(making(refuse), replay=replay, MaximumRetryAttempts=3).hint

    both = [[0.0, "put", 0, 1, 5], [0.0, "put", 1, 1, 5]]
    assert "gives up the batch as a whole" in told(writes=both, bisect=False)
    assert "gives up the batch" not in told(writes=both, bisect=True)
    assert "gives up the batch" not in told(writes=both[:1], bisect=False)


def test_an_answer_outside_of_json_is_told() -> None:
    make = making(last_wins, {"keys": {"item-0"}})
    both = [[0.0, "put", 0, 1, 5], [0.0, "put", 0, 1, 6]]
    hint = failure(make, replay={"writes": both, "lanes": 4, "batch_size": 1}).hint
    assert "Runtime.MarshalError: Object of type set" in hint
    assert "in every attempt at INSERT item-0" in hint


def test_a_sink_that_failed_left_no_marker() -> None:
    def report_the_last(trial: Trial) -> Any:
        copy: Rows = {}
        rows = trial.faulty(copy)

        def handler(event: Any, context: Any) -> Any:
            failed: list[Any] = []
            for record in event["Records"]:
                try:
                    last_wins(rows, record)
                except RetryableError:
                    failed = [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]
            return {"batchItemFailures": failed}

        return handler, lambda: copy

    writes = [[0.494, "put", 0, 0, 1], [0.5, "put", 1, 0, 2]]
    replay = {"writes": writes, "faults": [[0.935, "failing sink", 80.0]], "window": 1}
    assert "marker" not in failure(report_the_last, replay=replay, **REPORTING).hint


def nothing(rows: Rows, record: Any) -> None:
    """Do nothing, as a function does that is not written yet."""


WRITE = {"writes": [[0.0, "put", 0, 1, 5]]}


@pytest.mark.parametrize("faults", [[], [[0.0, "duplicate delivery"]]])
def test_a_function_that_writes_nothing_is_told(faults: list[Any]) -> None:
    found = failure(making(nothing), replay={**WRITE, "faults": faults})
    assert "wrote nothing" in found.hint
    assert "twice" not in found.hint


@pytest.mark.parametrize("faults", [[], [[0.0, "duplicate delivery"]]])
def test_an_answer_without_state_is_told(faults: list[Any]) -> None:
    replay = {**WRITE, "faults": faults}
    found = failure(making(last_wins), replay=replay, TumblingWindowInSeconds=30)
    assert "returned no state" in found.hint


def test_a_view_type_without_the_old_image_is_told() -> None:
    def count(rows: Rows, record: Any) -> None:
        for image, number in (("NewImage", 1), ("OldImage", -1)):
            if image in record["dynamodb"]:
                group = int(record["dynamodb"][image]["group"]["N"])
                rows[group] = rows.get(group, 0) + number

    def groups(items: Items) -> Rows:
        return {group: sum(each["group"] == group for each in items) for group in range(3)}

    def make(trial: Trial) -> Any:
        handler, copy = making(count)(trial)
        return handler, lambda: {group: copy().get(group, 0) for group in range(3)}

    found = failure(make, wanted=groups, faults=(), view_type="NEW_IMAGE")
    assert "the records lack OldImage" in found.hint


def test_order_between_items_is_told() -> None:
    def after_the_first(rows: Rows, record: Any) -> None:
        if key_of(record) == "item-0" or "item-0" in rows:
            last_wins(rows, record)

    replay = {
        "writes": [[0.0, "put", 0, 1, 5], [0.1, "put", 1, 1, 6]],
        "faults": [[0.0, "crash before the effect"]],
    }
    for lanes in (
        {"replay": {**replay, "lanes": 3}},
        {"replay": replay, "ParallelizationFactor": 3},
    ):
        found = failure(making(after_the_first), **lanes)
        assert "with ParallelizationFactor 3, and not with 1" in found.hint


def test_a_fault_that_is_not_needed_explains_nothing() -> None:
    def doubled(rows: Rows, record: Any) -> None:
        rows[key_of(record)] = 2 * (amount_of(record) or 0)

    replay = {**WRITE, "faults": [[0.0, "duplicate delivery"]]}
    assert failure(making(doubled), replay=replay).hint.startswith("it fails without any fault")


def test_reports_that_the_mapping_ignores_are_told() -> None:
    def make(trial: Trial) -> Any:
        def handler(event: Any, context: Any) -> Any:
            number = event["Records"][0]["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}

        return handler, dict

    assert "takes every answer as a success" in failure(make, faults=()).hint


def test_records_that_no_destination_keeps_are_told() -> None:
    def flaky(rows: Rows, record: Any) -> None:
        raise TimeoutError(key_of(record))

    found = failure(making(flaky), faults=(), MaximumRetryAttempts=0, DestinationConfig={})
    assert "neither done nor in a dead letter" in found.hint


def test_records_in_a_queue_are_told() -> None:
    queue = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:failed"}}
    found = failure(
        making(last_wins),
        faults=[FaultKind.FAILING],
        MaximumRetryAttempts=1,
        DestinationConfig=queue,
    )
    assert "gets no records but a pointer into the stream" in found.hint


def test_a_version_without_the_stream_is_told() -> None:
    def by_number(rows: Rows, record: Any) -> None:
        number = int(record["dynamodb"]["SequenceNumber"])
        if rows.get(key_of(record), (0, None))[0] < number:
            rows[key_of(record)] = number, amount_of(record)

    def read(trial: Trial) -> Any:
        handler, copy = making(by_number)(trial)
        return handler, lambda: {name: a for name, (_, a) in copy().items() if a is not None}

    assert "Compare the stream's label" in failure(read, faults=["stream created again"]).hint


def test_an_order_within_the_batch_is_told() -> None:
    def make(trial: Trial) -> Any:
        copy: Rows = {}

        def handler(event: Any, context: Any) -> None:
            for record in sorted(event["Records"], key=lambda each: amount_of(each) is None):
                last_wins(copy, record)

        return handler, lambda: copy

    found = failure(make, faults=(), BatchSize=10, MaximumBatchingWindowInSeconds=5)
    assert "not with BatchSize 1" in found.hint


def test_a_marker_of_the_batch_is_told() -> None:
    def make(trial: Trial) -> Any:
        copy: Rows = {}

        def handler(event: Any, context: Any) -> None:
            number = " ".join(r["dynamodb"]["SequenceNumber"] for r in event["Records"])
            copy[number] = len(event["Records"])

        return handler, lambda: sum(copy.values())

    def changes(items: Items) -> int:
        return sum(len(states) for states in items.history.values())

    found = failure(make, wanted=changes, faults=["crash before the checkpoint"])
    assert "remember each record, not the batch" in found.hint


@pytest.mark.parametrize(
    ("ignored", "hint"),
    [
        (lambda record: record["eventName"] == "REMOVE", "leaves in its copy what a REMOVE"),
        (lambda record: "userIdentity" in record, "where Time to Live removes an item"),
    ],
)
def test_an_ignored_delete_is_told(ignored: Callable[[Any], bool], hint: str) -> None:
    def some(rows: Rows, record: Any) -> None:
        if not ignored(record):
            last_wins(rows, record)

    assert hint in failure(making(some), faults=()).hint


# What it refuses


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"BatchSiez": 3}, TypeError, "no setting BatchSiez; there are BatchSize"),
        ({"schedules": 0}, ValueError, "schedules must be 1 or more, got 0"),
        ({"timeout": 1000}, ValueError, "above 0 and up to 900 seconds, got 1000"),
        ({"faults": "throttle"}, TypeError, r"a list of kinds such as \["),
        (
            {"faults": ["bad luck"]},
            ValueError,
            "faults: no bad luck; there are duplicate delivery, ",
        ),
        ({"compare": lambda copy, items: []}, ValueError, "give wanted or compare, not both"),
        ({"keys": ["pk"]}, ValueError, r"item\(0, ...\) has no key pk: name the keys"),
        (
            {"item": lambda number, group, amount: {"id": f"{number} {amount}"}},
            ValueError,
            r"item\(0, ...\) has two keys",
        ),
        (
            {"item": lambda number, group, amount: {"id": "1"}},
            ValueError,
            "items 0 and 1 have the same key",
        ),
        ({"replay": {"writes": [[0, "jump", 1]]}}, ValueError, "replay takes the data that"),
        ({"wanted": lambda items: {}}, ValueError, "is {} after every schedule: the check shows"),
        (
            {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["NONE"]}'}]}},
            Diverged,
            "the copy has nothing",
        ),
    ],
)
def test_arguments_that_show_nothing_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    make = making(lambda rows, record: None) if "wanted" in options else making(last_wins)
    with pytest.raises(error, match=message):
        check_convergence(make, **{"wanted": amounts, "faults": (), "schedules": 20, **options})


@pytest.mark.parametrize("result", ["", "wrong", True, False, None])
def test_compare_returns_a_list_of_problems(result: Any) -> None:
    with pytest.raises(TypeError, match="return a list of problems, each a sentence"):
        check_convergence(making(last_wins), compare=lambda copy, items: result, faults=())


def test_a_function_that_is_never_invoked_is_refused() -> None:
    nothing = {"Filters": [{"Pattern": '{"eventName": ["NONE"]}'}]}
    with pytest.raises(ValueError, match="no schedule invoked the function"):
        check_convergence(
            making(last_wins), compare=lambda copy, items: [], schedules=3, FilterCriteria=nothing
        )


def keep_the_key(rows: Rows, record: Any) -> None:
    rows[key_of(record)] = True


def every_key(items: Items) -> Rows:
    return dict.fromkeys(items.history, True)


def test_a_function_that_never_succeeds_is_refused() -> None:
    def make(trial: Trial) -> Any:
        handler, read = making(keep_the_key)(trial)

        def handle(event: Any, context: Any) -> Any:
            handler(event, context)
            numbers = [each["dynamodb"]["SequenceNumber"] for each in event["Records"]]
            return {"batchItemFailures": [{"itemIdentifier": each} for each in numbers]}

        return handle, read

    options: Any = {"wanted": every_key, "faults": (), "schedules": 5, **REPORTING}
    with pytest.raises(ValueError, match=r"no invocation succeeded, .* function returns$"):
        check_convergence(make, **options)


def test_the_error_of_a_function_that_never_succeeds_is_told() -> None:
    def make(trial: Trial) -> Any:
        return lambda event: None, dict

    with pytest.raises(ValueError, match=r"Correct what the function raises: TypeError\("):
        check_convergence(make, wanted=lambda items: {}, schedules=1)


def test_a_port_that_is_never_called_is_refused() -> None:
    def make(trial: Trial) -> Any:
        copy: Rows = {}
        trial.faulty(copy)

        def handler(event: Any, context: Any) -> None:
            for record in event["Records"]:
                keep_the_key(copy, record)

        return handler, lambda: copy

    with pytest.raises(ValueError, match="give the function that port in place of the object"):
        check_convergence(make, wanted=every_key, schedules=5)
    assert check_convergence(make, wanted=every_key, schedules=5, faults=["throttle"]).schedules


def test_long_copies_may_begin_alike() -> None:
    def text(rows: Rows) -> str:
        return "x" * 300 + repr(sorted(map(int, rows.values())))

    def make(trial: Trial) -> Any:
        handler, read = making(last_wins)(trial)
        return handler, lambda: text(read())

    options: dict[str, Any] = {"wanted": lambda items: text(amounts(items)), "faults": ()}
    assert check_convergence(make, schedules=3, **options).schedules == 3


def test_a_copy_that_is_not_made_afresh_is_refused() -> None:
    rows: Rows = {}

    def handler(event: Any, context: Any) -> None:
        for record in event["Records"]:
            last_wins(rows, record)

    def check() -> None:
        check_convergence(lambda trial: (handler, lambda: rows), wanted=amounts, faults=())

    for _ in range(2):  # the second begins with the rows of the first
        with pytest.raises(ValueError, match=r"wrong before the first write: .* copy has"):
            check()


def test_state_left_from_earlier_runs_is_refused() -> None:
    seen = set()

    def once(rows: Rows, record: Any) -> None:
        if record["eventID"] not in seen:
            last_wins(rows, record)
            seen.add(record["eventID"])

    with pytest.raises(ValueError, match="remembers something between runs"):
        check_convergence(making(once), wanted=amounts, faults=())


def test_a_failure_that_comes_once_is_refused() -> None:
    runs = 0

    def make(trial: Trial) -> Any:
        nonlocal runs
        runs += 1
        handler, read = making(last_wins if runs != 2 else nothing)(trial)
        return handler, read

    with pytest.raises(ValueError, match="fails in one run and passes in another"):
        check_convergence(make, wanted=amounts, faults=())


def test_make_returns_two_functions() -> None:
    with pytest.raises(TypeError, match="make\\(trial\\) returns two functions, handler and read"):
        check_convergence(lambda trial: print)  # type: ignore[arg-type,return-value]


# What the page says of it


def test_the_page_has_the_effect_of_each_fault() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/check-your-consumer.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9 ]+)` \| ([^|]+) \| (yes|no) \|$", page, re.M)
    assert {kind: effect for kind, effect, _ in rows} == {str(n): EFFECTS[n] for n in FAULTS}
    assert {kind for kind, _, needs_port in rows if needs_port == "yes"} == IN_PORTS
    assert set(EFFECTS) == set(FaultKind)
