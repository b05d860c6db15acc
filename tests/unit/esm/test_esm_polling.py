"""Reading a stream: polls, batches, parents and children, checkpoints, and what goes wrong."""

import json
import re
import textwrap
from typing import Any

import pytest

import dynamodb_streams_cdc.esm as esm
from dynamodb_streams_cdc import MalformedRecord
from dynamodb_streams_cdc.esm import (
    SHARD_END,
    DescribeStream,
    Engine,
    Invoke,
    Policies,
    ReadShard,
    SaveCheckpoint,
)
from tests.unit.esm.driver import (
    SHARD,
    START,
    Driver,
    description,
    drive,
    failing,
    ignore,
    in_turn,
    invoked,
    numbers,
    opened,
    reading,
    record,
    records,
    report,
    reporting,
    sequence,
)


def test_rule_18_an_idle_shard_is_read_four_times_per_second() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: []})
    driver.run(1.75, until_done=False)
    times = [time - START for time, _ in driver.reads]

    assert times == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_rule_18_the_next_batch_waits_for_the_answer() -> None:
    engine = reading(records(4), BatchSize=2)
    first = invoked(engine)

    assert not [c for c in engine.commands(START + 899) if isinstance(c, Invoke)]
    engine.answered(first.token, None, START + 900)
    assert numbers(invoked(engine, START + 900).event) == [3, 4]


def test_rule_19_a_batch_closes_at_its_size() -> None:
    run = drive(description(BatchSize=3), ignore, records(7))

    assert run.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_rule_19_without_a_window_each_read_is_sent() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: [record(1)]}).run()
    driver.shards[SHARD].append(record(2))
    driver.run()

    assert driver.batches == [[1], [2]]


def test_rule_19_a_batch_closes_when_its_window_is_over() -> None:
    engine = Engine(description(MaximumBatchingWindowInSeconds=10, BatchSize=100))
    driver = Driver(engine, ignore, {SHARD: [record(1)]}).run(4)
    driver.shards[SHARD].append(record(2))
    driver.run()

    assert driver.batches == [[1, 2]]
    assert [time - START for time, _ in driver.invocations] == [10.0]


def test_rule_19_the_next_window_begins_after_the_invocation() -> None:
    engine = reading([record(1)], MaximumBatchingWindowInSeconds=10)
    first = invoked(engine, START + 10)
    engine.answered(first.token, None, START + 13)
    engine.commands(START + 13)
    engine.records(SHARD, [record(2)], "next", START + 20)

    assert not [c for c in engine.commands(START + 22.9) if isinstance(c, Invoke)]
    assert numbers(invoked(engine, START + 23).event) == [2]


def test_rule_19_a_full_batch_does_not_wait_for_its_window() -> None:
    run = drive(description(MaximumBatchingWindowInSeconds=300, BatchSize=2), ignore, records(4))

    assert run.batches == [[1, 2], [3, 4]]
    assert run.now == START


def test_rule_19_a_batch_closes_at_6_mb() -> None:
    large = {"text": {"S": "x" * 2_000_000}}
    source = [record(number, image=large) for number in range(1, 8)]

    run = drive(description(MaximumBatchingWindowInSeconds=300), ignore, source, seconds=1)

    assert run.batches == [[1, 2, 3], [4, 5, 6]]
    assert run.invocations[0][0] == START


def test_rule_19_the_6_mb_are_bytes_of_the_event() -> None:
    def pair(bytes_of_text: int) -> list[dict[str, Any]]:
        """Return two records; the text is of two-byte dead letters."""
        return [record(1), record(2, image={"t": {"S": "ä" * (bytes_of_text // 2)}})]

    def size(source: list[dict[str, Any]]) -> int:
        event = {"Records": source}
        return len(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode())

    room = 6 * 1024 * 1024 - size(pair(0))
    assert size(pair(room - 4)) <= 6 * 1024 * 1024 < size(pair(room + 4))
    assert drive(description(), ignore, pair(room - 4)).batches == [[1, 2]]
    assert drive(description(), ignore, pair(room + 4)).batches == [[1], [2]]


def test_rule_20_a_batch_never_mixes_shards() -> None:
    shards = {"a": [record(1), record(3)], "b": [record(2), record(4)]}
    driver = Driver(Engine(description()), ignore, shards).run()

    assert sorted(driver.batches) == [[1, 3], [2, 4]]


def test_rule_20_a_batch_over_1000_records_takes_several_reads() -> None:
    run = drive(
        description(BatchSize=2_000, MaximumBatchingWindowInSeconds=60), ignore, records(2_500)
    )

    assert [len(batch) for batch in run.batches] == [2_000, 500]
    assert {read.limit for _, read in run.reads} == {1_000}
    assert run.invocations[0][0] == START + 0.25


def test_rule_21_a_child_is_read_when_its_parent_is_done() -> None:
    second_time_lucky = in_turn(RuntimeError, None, None)
    driver = Driver(
        Engine(description()),
        second_time_lucky,
        {"child": [record(2)], "parent": [record(1)]},
        closed={"parent"},
        parents={"child": "parent"},
    ).run()

    assert driver.batches == [[1], [1], [2]]
    done = driver.commands.index(SaveCheckpoint("parent", SHARD_END))
    reads = [c for c in driver.commands[:done] if isinstance(c, ReadShard)]
    assert {read.shard_id for read in reads} == {"parent"}


def test_rule_21_a_child_whose_parent_is_gone_is_read_at_once() -> None:
    driver = Driver(Engine(description()), ignore, {"child": [record(2)]})
    driver.parents["child"] = "forgotten"
    driver.run()

    assert driver.batches == [[2]]


def test_rule_21_the_end_of_a_shard_starts_discovery() -> None:
    engine = reading(records(1), cursor=None)
    engine.answered(invoked(engine).token, None, START)

    assert engine.commands(START) == [SaveCheckpoint(SHARD, SHARD_END)]
    assert engine.wake_at(START) == START
    assert engine.commands(START) == [DescribeStream()]


def test_rule_21_new_shards_are_looked_for_every_ten_seconds() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: []})
    driver.run(60, until_done=False)

    assert driver.commands.count(DescribeStream()) == 7


def test_rule_21_an_unlisted_finished_shard_is_forgotten() -> None:
    driver = Driver(Engine(description()), ignore, {"a": [record(1)], "b": []}, closed={"a"}).run()
    assert driver.engine.checkpoints["a"] == SHARD_END
    del driver.shards["a"]
    driver.run(30, until_done=False)

    assert "a" not in driver.engine.checkpoints


def test_reading_pauses_while_too_much_is_unfinished() -> None:
    engine = reading(records(3), policies=Policies(read_ahead=3), BatchSize=1)
    first = invoked(engine)
    assert engine.commands(START + 1) == []

    engine.answered(first.token, None, START + 1)
    assert any(isinstance(c, Invoke) for c in engine.commands(START + 1))
    assert [c for c in engine.commands(START + 1) if isinstance(c, ReadShard)]


def test_reading_pauses_while_6_mb_are_unfinished() -> None:
    large = {"text": {"S": "x" * 3_200_000}}
    engine = reading([record(1, image=large), record(2, image=large)], BatchSize=1)
    first = invoked(engine)
    assert engine.commands(START + 1) == []

    engine.answered(first.token, None, START + 1)
    engine.commands(START + 1)
    assert [c for c in engine.commands(START + 1) if isinstance(c, ReadShard)]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        record(1) | {"dynamodb": {}},
        record(1) | {"dynamodb": {"SequenceNumber": "a", "ApproximateCreationDateTime": 1.0}},
        record(1) | {"dynamodb": {"SequenceNumber": "1", "ApproximateCreationDateTime": 1.0}},
        record(1, image={"b": {"B": b"raw"}}),
    ],
)
def test_a_record_of_another_form_is_refused(broken: dict[str, Any]) -> None:
    engine = Engine(description())
    opened(engine)

    with pytest.raises(MalformedRecord, match="the form in which Lambda delivers them"):
        engine.records(SHARD, [broken], "next", START)


def test_the_cycle_in_the_module_docstring_runs() -> None:
    assert esm.__doc__ is not None
    blocks = re.findall(r"(?:^    .*\n|^\n)+", esm.__doc__, re.MULTILINE)
    code = max(blocks, key=len)
    seen: list[list[int]] = []
    names: dict[str, Any] = {name: getattr(esm, name) for name in esm.__all__}
    names |= {
        "records": records(25, time=1_700_000_000.0),
        "last_sequence_number": sequence(25),
        "handler": lambda event: seen.append(numbers(event)),
        "dead_letters": [],
    }
    exec(textwrap.dedent(code), names)

    assert [len(batch) for batch in seen] == [10, 10, 5]


def test_failing_records_are_found_by_their_own_numbers() -> None:
    assert failing(2)({"Records": records(3)}) == report(2)
    assert drive(reporting(), failing(), records(1)).batches == [[1]]
