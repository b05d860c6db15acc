"""Where an engine goes on: checkpoints, restarts, lost answers, disabling, and reads that fail."""

import pytest

from dynamodb_streams_cdc.esm import (
    SHARD_END,
    DescribeStream,
    Engine,
    ReadShard,
    SaveCheckpoint,
)
from tests.unit.esm.driver import (
    SHARD,
    START,
    Driver,
    description,
    drive,
    ignore,
    invoked,
    numbers,
    opened,
    raising,
    reading,
    record,
    records,
    sequence,
)


def test_rule_17_disabling_waits_and_enabling_resumes() -> None:
    engine = reading(records(4), BatchSize=2)
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


def test_rule_17_a_failure_while_disabling_gets_new_retries() -> None:
    engine = reading(records(2), MaximumRetryAttempts=1)
    first = invoked(engine)
    engine.disable()
    engine.failed(first.token, START)
    engine.commands(START)
    engine.enable()
    engine.commands(START + 1)
    engine.records(SHARD, records(2), "next", START + 1)

    again = invoked(engine, START + 1)
    assert (numbers(again.event), again.attempt) == ([1, 2], 1)


def test_rule_17_an_idle_mapping_is_disabled_at_once() -> None:
    engine = Engine(description())
    opened(engine)
    engine.disable()

    assert engine.wake_at(START + 1) == START + 1
    assert engine.commands(START + 1) == []
    assert engine.state == "Disabled"


def test_rule_17_a_read_after_disabling_is_ignored() -> None:
    engine = Engine(description())
    opened(engine)
    engine.disable()
    engine.commands(START)
    engine.records(SHARD, records(2), "late", START)
    engine.enable()

    assert engine.commands(START + 1) == [ReadShard(SHARD, "TRIM_HORIZON", None, 1000)]


def test_rule_17_disabling_keeps_the_latest_position() -> None:
    engine = reading([], StartingPosition="LATEST")
    engine.disable()
    engine.commands(START)
    engine.enable()

    assert engine.commands(START + 1) == [ReadShard(SHARD, "LATEST", "next", 1000)]


def test_rule_17_a_lost_checkpoint_stays_at_latest() -> None:
    engine = reading([], StartingPosition="LATEST")
    engine.commands(START)
    assert engine.checkpoints == {SHARD: "LATEST"}
    engine.rewind(SHARD)
    assert ReadShard(SHARD, "LATEST", None, 1000) in engine.commands(START + 1)


def test_rule_17_latest_misses_records_before_the_first_read() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    driver = Driver(engine, ignore, {SHARD: records(3)}).run(1)
    driver.shards[SHARD].extend([record(4), record(5)])
    driver.run()

    assert driver.batches == [[4, 5]]
    assert driver.reads[0][1].iterator == {"ShardIteratorType": "LATEST"}


def test_rule_17_latest_reads_a_new_shard_from_its_beginning() -> None:
    engine = Engine(description(StartingPosition="LATEST"))
    driver = Driver(engine, ignore, {"old": records(2), SHARD: []}, closed={"old"}).run(1)
    driver.shards["child"] = [record(7)]
    driver.parents["child"] = "old"
    driver.run(30)

    assert driver.batches == [[7]]
    assert ("old", SHARD_END) in driver.saved
    assert "old" not in {read.shard_id for _, read in driver.reads}


def test_rule_17_with_latest_a_restart_keeps_read_records() -> None:
    engine = reading([record(4)], StartingPosition="LATEST")
    invoked(engine)

    restarted = Engine(description(StartingPosition="LATEST"), checkpoints=engine.checkpoints)
    place = opened(restarted).iterator
    restarted.records(SHARD, [record(4)], "next", START)
    assert numbers(invoked(restarted).event) == [4]
    assert place == {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence(4)}


def test_rule_22_a_lost_response_repeats_its_batch() -> None:
    engine = reading(records(2))
    first = invoked(engine)
    engine.redeliver(first.token)
    second = invoked(engine)

    assert second.event == first.event
    assert second.token != first.token
    engine.answered(second.token, None, START)
    assert SaveCheckpoint(SHARD, sequence(2)) in engine.commands(START)


def test_rule_22_a_lost_checkpoint_repeats_done_batches() -> None:
    driver = Driver(Engine(description(BatchSize=2)), ignore, {SHARD: records(6)}).run()
    assert driver.batches == [[1, 2], [3, 4], [5, 6]]

    driver.engine.rewind(SHARD)
    driver.run()
    assert driver.batches[3:] == [[5, 6]]
    driver.engine.rewind(SHARD, sequence(1))
    driver.run()
    assert driver.batches[4:] == [[2, 3], [4, 5], [6]]


def test_rule_22_responses_of_a_replaced_poller_are_ignored() -> None:
    engine = reading(records(2))
    zombie = invoked(engine)
    pending = [c for c in engine.commands(START + 0.25) if isinstance(c, ReadShard)]
    assert pending
    engine.rewind(SHARD)
    engine.records(SHARD, [record(3)], "late", START + 0.25)

    assert engine.answered(zombie.token, None, START + 1) is None
    with pytest.raises(ValueError, match="no command with token"):
        engine.answered(zombie.token, None, START + 1)
    assert engine.commands(START + 1) == [ReadShard(SHARD, "TRIM_HORIZON", None, 1000)]


def test_rule_22_a_rewound_finished_shard_is_kept() -> None:
    driver = Driver(Engine(description()), ignore, {"a": records(1), "b": []}, closed={"a"}).run()
    driver.engine.rewind("a", "TRIM_HORIZON")
    driver.engine.shards([{"ShardId": "b"}], driver.now)
    commands = driver.engine.commands(driver.now + 1)

    assert ReadShard("a", "TRIM_HORIZON", None, 1000) in commands


def test_rule_22_a_restart_repeats_records_after_the_checkpoint() -> None:
    first = drive(description(BatchSize=2), raising(3), records(4), seconds=0)
    assert first.batches == [[1, 2], [3, 4]]

    second = drive(description(), ignore, records(4), checkpoints=first.engine.checkpoints)
    assert second.batches == [[3, 4]]
    assert second.reads[0][1].iterator == {
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "SequenceNumber": sequence(2),
    }


def test_a_restart_reads_new_shards_from_their_beginning() -> None:
    engine = Engine(description(StartingPosition="LATEST"), checkpoints={"other": sequence(1)})

    assert opened(engine).place == "TRIM_HORIZON"


def test_an_expired_iterator_resumes_after_the_last_read_record() -> None:
    engine = reading(records(2))
    engine.answered(invoked(engine).token, None, START)
    assert ReadShard(SHARD, sequence(2), "next", 1000) in engine.commands(START + 0.25)
    engine.iterator_expired(SHARD)

    assert engine.commands(START + 0.5) == [ReadShard(SHARD, sequence(2), None, 1000)]


def test_a_failed_read_comes_again_with_the_same_cursor() -> None:
    engine = reading([])
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


def test_the_engine_wakes_its_runner_for_a_checkpoint() -> None:
    engine = reading(records(1))
    engine.answered(invoked(engine).token, None, START)

    assert engine.wake_at(START) == START
    assert engine.commands(START) == [SaveCheckpoint(SHARD, sequence(1))]
    assert engine.wake_at(START) == START + 0.25


def test_an_unexpected_response_is_a_runner_error() -> None:
    engine = reading(records(1))
    invoke = invoked(engine)
    engine.answered(invoke.token, None, START)

    with pytest.raises(ValueError, match="no command with token"):
        engine.answered(invoke.token, None, START)
    with pytest.raises(ValueError, match="no read of shard"):
        engine.records(SHARD, [], "next", START)
