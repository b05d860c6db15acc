"""The runner of a mapping after errors of the stream, the function or its process."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dynamodb_streams_cdc.esm import Invoke, Policies
from dynamodb_streams_cdc.esm.poller import runner as poller
from dynamodb_streams_cdc.esm.poller.runner import (
    CheckpointFile,
    ConnectionLost,
    FunctionFailed,
    FunctionReturned,
    MappingRunner,
    NotInvoked,
    running,
)
from tests.unit.runner_fakes import (
    AT_ONCE,
    BUCKET,
    SHARD,
    Function,
    Streams,
    eventually,
    in_turn,
    number,
    numbers,
    refusal,
    runner,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dynamodb_streams_cdc.esm import Deliver
    from dynamodb_streams_cdc.esm.poller.runner import InvocationOutcome

TO_BUCKET: dict[str, Any] = {"DestinationConfig": {"OnFailure": {"Destination": BUCKET}}}


def saved(folder: Path) -> dict[str, str]:
    return CheckpointFile(folder / "checkpoints.json").load()


def run_to(position: int, made: MappingRunner, folder: Path) -> None:
    """Run a mapping until its checkpoint is the record at this position."""
    with running([made]):
        eventually(lambda: saved(folder) == {SHARD: number(position)})


def test_everything_is_delivered_and_the_last_place_is_saved(tmp_path: Path) -> None:
    streams, function = Streams(250), Function()
    run_to(250, runner(streams, function, tmp_path), tmp_path)
    assert sorted(function.delivered) == list(range(1, 251))
    assert [len(batch) for batch in function.batches] == [100, 100, 50]


def test_a_stop_ends_every_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with running([runner(Streams(5), Function(), tmp_path)]):
        eventually(lambda: saved(tmp_path))
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_stop_waits_for_the_invocation_and_keeps_its_place(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(command: Invoke) -> InvocationOutcome:
        begun.set()
        go_on.wait(5)
        return FunctionReturned(None)

    made = runner(Streams(3), Function(slow), tmp_path)
    made.start()
    begun.wait(5)
    made.ask_to_stop()
    assert saved(tmp_path) == {SHARD: "TRIM_HORIZON"} or saved(tmp_path) == {}
    go_on.set()
    made.stop()
    assert saved(tmp_path) == {SHARD: number(3)}


def test_a_restart_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    streams, first, second = Streams(10), Function(), Function()
    run_to(10, runner(streams, first, tmp_path), tmp_path)
    streams.records += [streams.record(11), streams.record(12)]
    run_to(12, runner(streams, second, tmp_path), tmp_path)
    assert second.delivered == [11, 12]
    assert streams.iterators[-1]["SequenceNumber"] == number(10)


def test_what_was_not_answered_is_delivered_again_after_a_crash(tmp_path: Path) -> None:
    """A process that is killed leaves its checkpoint file as it is: here it is set aside."""
    streams = Streams(4)
    crashed = Function(lambda command: ConnectionLost())
    patient = Policies(poll_seconds=0.002, backoff=lambda failures: 60.0)
    with running([runner(streams, crashed, tmp_path, policies=patient)]):
        eventually(lambda: len(crashed.batches) > 1)
        before = saved(tmp_path)
    assert before == {}
    again = Function()
    run_to(4, runner(streams, again, tmp_path), tmp_path)
    assert again.delivered == [1, 2, 3, 4]


def test_a_lost_answer_delivers_the_batch_again(tmp_path: Path) -> None:
    function = Function(in_turn(ConnectionLost(), ConnectionLost()))
    run_to(2, runner(Streams(2), function, tmp_path), tmp_path)
    assert function.batches == [[1, 2]] * 3


def test_a_rewind_repeats_records_after_the_checkpoint(tmp_path: Path) -> None:
    streams, function = Streams(2), Function()
    with running([runner(streams, function, tmp_path)]) as [made]:
        eventually(lambda: saved(tmp_path) == {SHARD: number(2)})
        streams.records.append(streams.record(3))
        eventually(lambda: saved(tmp_path) == {SHARD: number(3)})
        made.rewind()
        eventually(lambda: function.delivered == [1, 2, 3, 3])


def test_a_throttle_is_not_an_attempt(tmp_path: Path) -> None:
    function = Function(in_turn(*[NotInvoked("TooManyRequestsException")] * 3))
    made = runner(Streams(2), function, tmp_path, MaximumRetryAttempts=0)
    run_to(2, made, tmp_path)
    assert len(function.batches) == 4
    assert made.metrics.dropped == 0


def test_an_item_that_is_reported_is_retried_with_what_follows(tmp_path: Path) -> None:
    failures = [{"itemIdentifier": number(3)}]
    function = Function(in_turn(FunctionReturned({"batchItemFailures": failures})))
    run_to(4, runner(Streams(4), function, tmp_path), tmp_path)
    assert function.batches == [[1, 2, 3, 4], [3, 4]]


def test_lanes_are_invoked_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def both(command: Invoke) -> InvocationOutcome:
        together.wait(5)
        return FunctionReturned(None)

    streams = Streams()
    streams.records = [streams.record(n, item=item) for n, item in ((1, "a"), (2, "b"))]
    policies = Policies(poll_seconds=0.002, lane_of=lambda keys, count: keys["id"]["S"] == "b")
    made = runner(streams, Function(both), tmp_path, policies=policies, ParallelizationFactor=2)
    run_to(2, made, tmp_path)


def test_what_is_given_up_goes_to_the_destination(tmp_path: Path) -> None:
    documents: list[Deliver] = []

    def keep(command: Deliver) -> bool:
        documents.append(command)
        return True

    made = runner(
        Streams(2),
        Function(lambda command: FunctionFailed("KeyError: total", request_id="r-1")),
        tmp_path,
        deliver=keep,
        MaximumRetryAttempts=1,
        **TO_BUCKET,
    )
    run_to(2, made, tmp_path)
    [command] = documents
    assert command.document["requestContext"]["requestId"] == "r-1"
    assert command.document["requestContext"]["approximateInvokeCount"] == 2
    assert command.document["responseContext"]["functionError"] == "Unhandled"
    assert made.metrics.on_failure_delivered == 2


def test_a_destination_that_is_gone_does_not_hold_the_shard(tmp_path: Path) -> None:
    streams = Streams(1)

    def poison(command: Invoke) -> InvocationOutcome:
        return FunctionFailed("no") if numbers(command) == [1] else FunctionReturned(None)

    made = runner(
        streams,
        Function(poison),
        tmp_path,
        deliver=lambda command: False,
        MaximumRetryAttempts=0,
        **TO_BUCKET,
    )
    with running([made]):
        eventually(lambda: saved(tmp_path) == {SHARD: number(1)})
        streams.records.append(streams.record(2))
        eventually(lambda: saved(tmp_path) == {SHARD: number(2)})
    assert (made.metrics.dropped, made.metrics.delivery_failures) == (1, 1)


def test_an_expired_iterator_resumes_after_the_last_record(tmp_path: Path) -> None:
    streams, function = Streams(2), Function()
    with running([runner(streams, function, tmp_path)]):
        eventually(lambda: function.delivered == [1, 2])
        streams.refuse("ExpiredIteratorException")
        eventually(lambda: len(streams.iterators) == 2)
        streams.records.append(streams.record(3))
        eventually(lambda: function.delivered == [1, 2, 3])
    assert streams.iterators[1]["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"
    assert streams.iterators[1]["SequenceNumber"] == number(2)


def test_a_trimmed_stream_goes_on_with_the_oldest_that_is_left(tmp_path: Path) -> None:
    streams, function = Streams(9), Function()
    streams.trimmed = 6
    CheckpointFile(tmp_path / "checkpoints.json").save({SHARD: number(2)})
    run_to(9, runner(streams, function, tmp_path), tmp_path)
    assert function.delivered == [7, 8, 9]


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
@pytest.mark.parametrize("code", ["LimitExceededException", "InternalServerError"])
def test_a_stream_that_is_busy_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, code: str
) -> None:
    monkeypatch.setattr(poller, "FIRST_PAUSE_SECONDS", 0.01)
    streams, function = Streams(2), Function()
    streams.refuse(code, operation)
    with running([runner(streams, function, tmp_path)]):
        eventually(lambda: function.delivered == [1, 2])


def test_a_shard_that_is_gone_lets_its_children_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    streams, function = Streams(1), Function()
    streams.shards = [{"ShardId": "parent"}, {"ShardId": SHARD, "ParentShardId": "parent"}]
    ask = streams.get_shard_iterator

    def only_the_child(**arguments: Any) -> Any:
        if arguments["ShardId"] == "parent":
            streams.shards = streams.shards[-1:]
            error = refusal("ResourceNotFoundException", operation="GetShardIterator")
            raise error
        return ask(**arguments)

    streams.get_shard_iterator = only_the_child  # type: ignore[method-assign]
    with running([runner(streams, function, tmp_path)]):
        eventually(lambda: function.delivered == [1])
    assert "shard parent is gone" in caplog.text


def test_a_closed_shard_is_finished_once_it_is_read(tmp_path: Path) -> None:
    streams = Streams(3)
    streams.closed = True
    with running([runner(streams, Function(), tmp_path)]):
        eventually(lambda: saved(tmp_path) == {SHARD: "SHARD_END"})


def test_a_deleted_stream_is_polled_with_backoff(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    streams = Streams(1)
    for _ in range(100):
        streams.refuse("ResourceNotFoundException", "DescribeStream")
    with caplog.at_level(logging.WARNING), running([runner(streams, Function(), tmp_path)]):
        eventually(lambda: caplog.text.count("cannot be listed") == 2)
    first, second = (line.created for line in caplog.records if "listed" in line.getMessage())
    assert second - first > 0.4


def test_what_ends_a_mapping_is_raised_where_it_is_stopped(tmp_path: Path) -> None:
    streams = Streams(1)
    del streams.records[0]["dynamodb"]["SequenceNumber"]
    made = runner(streams, Function(), tmp_path, policies=AT_ONCE)
    with pytest.raises(ValueError, match="SequenceNumber"), running([made]):
        eventually(lambda: not made.alive)
