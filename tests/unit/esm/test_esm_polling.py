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
    numbers,
    raising,
    record,
    records,
    reporting,
    sequence,
)


def ignore(event: dict[str, Any]) -> None:
    """Do nothing, successfully."""


def opened(engine: Engine, now: float = START) -> ReadShard:
    """Return the first read of an engine that was told of one shard."""
    assert engine.commands(now) == [DescribeStream()]
    engine.shards([{"ShardId": SHARD}], now)
    commands = [c for c in engine.commands(now) if not isinstance(c, SaveCheckpoint)]
    (read,) = commands
    assert isinstance(read, ReadShard)
    return read


def invoked(engine: Engine, now: float = START) -> Invoke:
    (invoke,) = (c for c in engine.commands(now) if isinstance(c, Invoke))
    return invoke


def test_rule_17_disabling_waits_for_what_is_under_way_and_enabling_resumes_after_it() -> None:
    engine = Engine(description(BatchSize=2))
    opened(engine)
    engine.records(SHARD, records(4), "next", START)
    invoke = invoked(engine)
    engine.disable()

    assert engine.commands(START) == []
    assert engine.state == "Disabling"
    engine.answered(invoke.token, None, START + 5)
    assert engine.commands(START + 5) == [SaveCheckpoint(SHARD, sequence(2))]
    assert engine.state == "Disabled"
    assert engine.commands(START + 60) == []
    assert engine.wake_at(START + 60) is None

    engine.enable()
    commands = engine.commands(START + 60)
    assert engine.state == "Enabled"
    assert ReadShard(SHARD, sequence(2), None, 1000) in commands


def test_rule_17_what_failed_while_disabling_is_delivered_again_with_a_fresh_budget() -> None:
    engine = Engine(description(MaximumRetryAttempts=1))
    opened(engine)
    engine.records(SHARD, records(2), "next", START)
    first = invoked(engine)
    engine.disable()
    engine.failed(first.token, START)
    engine.commands(START)
    engine.enable()
    engine.commands(START + 1)
    engine.records(SHARD, records(2), "next", START + 1)

    again = invoked(engine, START + 1)
    assert (numbers(again.event), again.attempt) == ([1, 2], 1)


def test_rule_17_disabling_without_anything_under_way_is_done_at_once() -> None:
    engine = Engine(description())
    opened(engine)
    engine.disable()

    assert engine.wake_at(START + 1) == START + 1
    assert engine.commands(START + 1) == []
    assert engine.state == "Disabled"


def test_rule_17_a_read_that_comes_back_after_disabling_counts_for_nothing() -> None:
    engine = Engine(description())
    opened(engine)
    engine.disable()
    engine.commands(START)
    engine.records(SHARD, records(2), "late", START)
    engine.enable()

    assert engine.commands(START + 1) == [ReadShard(SHARD, "TRIM_HORIZON", None, 1000)]


def test_rule_17_disabling_before_the_first_record_keeps_the_latest_position() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    opened(engine)
    engine.records(SHARD, [], "here", START)
    engine.disable()
    engine.commands(START)
    engine.enable()

    assert engine.commands(START + 1) == [ReadShard(SHARD, "LATEST", "here", 1000)]


def test_rule_17_with_latest_what_came_before_the_first_read_is_missed() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    driver = Driver(engine, ignore, {SHARD: records(3)}).run(1)
    driver.shards[SHARD].extend([record(4), record(5)])
    driver.run()

    assert driver.batches == [[4, 5]]
    assert driver.reads[0][1].iterator == {"ShardIteratorType": "LATEST"}


def test_rule_17_with_latest_a_shard_that_appears_later_is_read_from_its_beginning() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    driver = Driver(engine, ignore, {"old": records(2), SHARD: []}, closed={"old"}).run(1)
    driver.shards["child"] = [record(7)]
    driver.parents["child"] = "old"
    driver.run(30)

    assert driver.batches == [[7]]
    assert ("old", SHARD_END) in driver.saved
    assert "old" not in {read.shard_id for _, read in driver.reads}


def test_rule_17_with_latest_a_restart_loses_nothing_that_was_read() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    opened(engine)
    engine.records(SHARD, [record(4)], "next", START)
    invoked(engine)

    restarted = Engine(description(StartingPosition="LATEST"), checkpoints=engine.checkpoints)
    place = opened(restarted).iterator
    restarted.records(SHARD, [record(4)], "next", START)
    assert numbers(invoked(restarted).event) == [4]
    assert place == {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence(4)}


def test_rule_18_an_idle_shard_is_read_four_times_per_second() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: []})
    driver.run(1.75, until_done=False)
    times = [time - START for time, _ in driver.reads]

    assert times == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_rule_18_the_next_batch_waits_for_the_answer() -> None:
    engine = Engine(description(BatchSize=2))
    opened(engine)
    engine.records(SHARD, records(4), "next", START)
    first = invoked(engine)

    assert not [c for c in engine.commands(START + 899) if isinstance(c, Invoke)]
    engine.answered(first.token, None, START + 900)
    assert numbers(invoked(engine, START + 900).event) == [3, 4]


def test_rule_19_a_batch_closes_at_its_size() -> None:
    run = drive(description(BatchSize=3), ignore, records(7))

    assert run.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_rule_19_without_a_window_whatever_a_read_brought_is_sent() -> None:
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


def test_rule_19_the_next_window_begins_when_the_invocation_is_over() -> None:
    engine = Engine(description(MaximumBatchingWindowInSeconds=10))
    opened(engine)
    engine.records(SHARD, [record(1)], "next", START)
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
        """Return two records; the text is of two-byte letters."""
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
    answers = iter([RuntimeError, None, None])

    def second_time_lucky(event: dict[str, Any]) -> None:
        if (answer := next(answers)) is not None:
            raise answer

    driver = Driver(
        Engine(description()),
        second_time_lucky,
        {"child": [record(2)], "parent": [record(1)]},
        closed={"parent"},
        parents={"child": "parent"},
    ).run()

    assert driver.batches == [[1], [1], [2]]
    done = next(
        i for i, c in enumerate(driver.commands) if c == SaveCheckpoint("parent", SHARD_END)
    )
    first_read = next(
        i
        for i, c in enumerate(driver.commands)
        if isinstance(c, ReadShard) and c.shard_id == "child"
    )
    assert done < first_read


def test_rule_21_a_child_whose_parent_is_gone_is_read_at_once() -> None:
    driver = Driver(Engine(description()), ignore, {"child": [record(2)]})
    driver.parents["child"] = "forgotten"
    driver.run()

    assert driver.batches == [[2]]


def test_rule_21_a_shard_that_ends_makes_the_engine_look_for_its_children() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(1), None, START)
    engine.answered(invoked(engine).token, None, START)

    assert engine.commands(START) == [SaveCheckpoint(SHARD, SHARD_END)]
    assert engine.wake_at(START) == START
    assert engine.commands(START) == [DescribeStream()]


def test_rule_21_new_shards_are_looked_for_every_ten_seconds() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: []})
    driver.run(60, until_done=False)

    assert driver.commands.count(DescribeStream()) == 7


def test_rule_21_a_finished_shard_that_is_no_longer_listed_is_forgotten() -> None:
    driver = Driver(Engine(description()), ignore, {"a": [record(1)], "b": []}, closed={"a"}).run()
    assert driver.engine.checkpoints["a"] == SHARD_END
    del driver.shards["a"]
    driver.run(30, until_done=False)

    assert "a" not in driver.engine.checkpoints


def test_rule_22_a_batch_whose_answer_was_lost_is_delivered_again() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(2), "next", START)
    first = invoked(engine)
    engine.redeliver(first.token)
    second = invoked(engine)

    assert second.event == first.event
    assert second.token != first.token
    engine.answered(second.token, None, START)
    assert SaveCheckpoint(SHARD, sequence(2)) in engine.commands(START)


def test_rule_22_a_lost_checkpoint_delivers_batches_again_that_were_done() -> None:
    driver = Driver(Engine(description(BatchSize=2)), ignore, {SHARD: records(6)}).run()
    assert driver.batches == [[1, 2], [3, 4], [5, 6]]

    driver.engine.rewind(SHARD)
    driver.run()
    assert driver.batches[3:] == [[5, 6]]
    driver.engine.rewind(SHARD, sequence(1))
    driver.run()
    assert driver.batches[4:] == [[2, 3], [4, 5], [6]]


def test_rule_22_the_answers_of_a_poller_that_was_replaced_no_longer_matter() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(2), "next", START)
    zombie = invoked(engine)
    pending = [c for c in engine.commands(START + 0.25) if isinstance(c, ReadShard)]
    assert pending
    engine.rewind(SHARD)
    engine.records(SHARD, [record(3)], "late", START + 0.25)

    assert engine.answered(zombie.token, None, START + 1) is None
    with pytest.raises(ValueError, match="no command with token"):
        engine.answered(zombie.token, None, START + 1)
    assert engine.commands(START + 1) == [ReadShard(SHARD, "TRIM_HORIZON", None, 1000)]


def test_rule_22_a_finished_shard_that_was_rewound_is_not_forgotten() -> None:
    driver = Driver(Engine(description()), ignore, {"a": records(1), "b": []}, closed={"a"}).run()
    driver.engine.rewind("a", "TRIM_HORIZON")
    driver.engine.shards([{"ShardId": "b"}], driver.now)
    commands = driver.engine.commands(driver.now + 1)

    assert ReadShard("a", "TRIM_HORIZON", None, 1000) in commands


def test_rule_22_a_restart_from_the_checkpoint_delivers_again_what_was_not_done() -> None:
    first = drive(description(BatchSize=2), raising(3), records(4), seconds=0)
    assert first.batches == [[1, 2], [3, 4]]

    second = drive(description(), ignore, records(4), checkpoints=first.engine.checkpoints)
    assert second.batches == [[3, 4]]
    assert second.reads[0][1].iterator == {
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "SequenceNumber": sequence(2),
    }


def test_a_restart_reads_shards_without_a_checkpoint_from_their_beginning() -> None:
    engine = Engine(description(StartingPosition="LATEST"), checkpoints={"other": sequence(1)})

    assert opened(engine).place == "TRIM_HORIZON"


def test_an_expired_iterator_is_replaced_after_the_last_record_that_was_read() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(2), "next", START)
    engine.answered(invoked(engine).token, None, START)
    assert ReadShard(SHARD, sequence(2), "next", 1000) in engine.commands(START + 0.25)
    engine.iterator_expired(SHARD)

    assert engine.commands(START + 0.5) == [ReadShard(SHARD, sequence(2), None, 1000)]


def test_a_failed_read_comes_again_with_the_same_cursor() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, [], "next", START)
    engine.commands(START + 0.25)
    engine.read_failed(SHARD)

    assert engine.commands(START + 0.25) == []
    assert engine.commands(START + 0.5) == [ReadShard(SHARD, "TRIM_HORIZON", "next", 1000)]


def test_a_trimmed_stream_goes_on_with_the_oldest_record_left() -> None:
    engine = Engine(description(), checkpoints={SHARD: sequence(2)})
    opened(engine)
    engine.records(SHARD, [], "next", START)
    engine.commands(START + 0.25)
    engine.trimmed(SHARD)
    (read,) = (c for c in engine.commands(START + 0.5) if isinstance(c, ReadShard))
    assert read.iterator == {"ShardIteratorType": "TRIM_HORIZON"}
    assert read.cursor is None
    engine.records(SHARD, [record(2), record(8)], "next", START + 0.5)

    assert numbers(invoked(engine, START + 0.5).event) == [8]


def test_shards_that_could_not_be_listed_are_asked_for_again() -> None:
    engine = Engine(description())
    assert engine.commands(START) == [DescribeStream()]
    engine.describe_failed(START)

    assert engine.wake_at(START) == START + 0.25
    assert engine.commands(START + 0.25) == [DescribeStream()]


def test_reading_pauses_while_too_much_is_unfinished() -> None:
    engine = Engine(description(BatchSize=1), policies=Policies(read_ahead=3))
    opened(engine)
    engine.records(SHARD, records(3), "next", START)
    first = invoked(engine)
    assert engine.commands(START + 1) == []

    engine.answered(first.token, None, START + 1)
    assert any(isinstance(c, Invoke) for c in engine.commands(START + 1))
    assert [c for c in engine.commands(START + 1) if isinstance(c, ReadShard)]


def test_reading_pauses_while_6_mb_are_unfinished() -> None:
    large = {"text": {"S": "x" * 3_200_000}}
    engine = Engine(description(BatchSize=1))
    opened(engine)
    engine.records(SHARD, [record(1, image=large), record(2, image=large)], "next", START)
    first = invoked(engine)
    assert engine.commands(START + 1) == []

    engine.answered(first.token, None, START + 1)
    engine.commands(START + 1)
    assert [c for c in engine.commands(START + 1) if isinstance(c, ReadShard)]


def test_the_engine_wakes_its_runner_for_a_checkpoint() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(1), "next", START)
    engine.answered(invoked(engine).token, None, START)

    assert engine.wake_at(START) == START
    assert engine.commands(START) == [SaveCheckpoint(SHARD, sequence(1))]
    assert engine.wake_at(START) == START + 0.25


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


def test_an_answer_that_nobody_waits_for_is_an_error_of_the_runner() -> None:
    engine = Engine(description())
    opened(engine)
    engine.records(SHARD, records(1), "next", START)
    invoke = invoked(engine)
    engine.answered(invoke.token, None, START)

    with pytest.raises(ValueError, match="no command with token"):
        engine.answered(invoke.token, None, START)
    with pytest.raises(ValueError, match="no read of shard"):
        engine.records(SHARD, [], "next", START)


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
        "letters": [],
    }
    exec(textwrap.dedent(code), names)

    assert [len(batch) for batch in seen] == [10, 10, 5]


def test_failing_records_are_found_by_their_own_numbers() -> None:
    assert failing(2)({"Records": records(3)}) == {
        "batchItemFailures": [{"itemIdentifier": sequence(2)}]
    }
    assert drive(reporting(), failing(), records(1)).batches == [[1]]
