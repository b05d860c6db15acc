"""`LogFollower` where shards end, iterators expire, and readers are throttled."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dynamodb_streams_cdc.operations.aws.access import AccessDenied
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.tail import (
    CATCH_UP_SECONDS,
    LIST_AGAIN_SECONDS,
    LIST_SECONDS,
    POLL_SECONDS,
    THROTTLED_SECONDS,
    LogFollower,
    Start,
)
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from tests.factories import ManualClock, change, order


@dataclass
class Stream:
    """A stream of shards; `errors` are raised by the next calls of an operation.

    Attributes:
        shards: by ID, in the order of their making.
        calls: the operations, with their shard.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, shard_id: str, parent: str | None = None) -> None:
        self.shards[shard_id] = {"parent": parent, "records": [], "closed": False}

    def write(self, shard_id: str, *numbers: int, at: float | None = None) -> None:
        for number in numbers:
            made = change(number, None, order(f"{number:05}-0001"))
            recorded = datetime.fromtimestamp(self.clock.now() if at is None else at, UTC)
            body = {
                "SequenceNumber": f"{number}",
                "NewImage": entry_of(made),
                "ApproximateCreationDateTime": recorded,
            }
            self.shards[shard_id]["records"].append({"eventName": "INSERT", "dynamodb": body})

    def close(self, shard_id: str) -> None:
        self.shards[shard_id]["closed"] = True

    def describe_stream(self, **arguments: Any) -> Any:
        self._call("describe_stream", "")
        listed = list(self.shards)
        after = arguments.get("ExclusiveStartShardId")
        start = listed.index(after) + 1 if after else 0
        page = [self._described(shard_id) for shard_id in listed[start : start + 2]]
        more = {"LastEvaluatedShardId": page[-1]["ShardId"]} if listed[start + 2 :] else {}
        return {"StreamDescription": {"Shards": page, **more}}

    def _described(self, shard_id: str) -> dict[str, Any]:
        shard = self.shards[shard_id]
        parent = {"ParentShardId": shard["parent"]} if shard["parent"] else {}
        ends = {"EndingSequenceNumber": "9"} if shard["closed"] else {}
        return {"ShardId": shard_id, "SequenceNumberRange": ends, **parent}

    def get_shard_iterator(self, **arguments: Any) -> Any:
        shard_id, kind = arguments["ShardId"], arguments["ShardIteratorType"]
        self._call("get_shard_iterator", f"{shard_id} {kind}")
        records = self.shards[shard_id]["records"]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        at = {"TRIM_HORIZON": 0, "LATEST": len(records)}.get(kind)
        if at is None:
            at = numbers.index(arguments["SequenceNumber"]) + 1
        return {"ShardIterator": f"{shard_id} {at}"}

    def get_records(self, ShardIterator: str) -> Any:
        shard_id, at = ShardIterator.split()
        self._call("get_records", shard_id)
        shard = self.shards[shard_id]
        page = shard["records"][int(at) : int(at) + 2]
        end = int(at) + len(page)
        done = shard["closed"] and end == len(shard["records"])
        return {"Records": page, **({} if done else {"NextShardIterator": f"{shard_id} {end}"})}

    def _call(self, operation: str, what: str) -> None:
        self.calls.append((operation, what))
        if self.errors.get(operation):
            code = self.errors[operation].pop(0)
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    def reads(self, operation: str = "get_records") -> list[str]:
        """Return what the calls of an operation were about, and forget all calls."""
        found = [what for called, what in self.calls if called == operation]
        self.calls.clear()
        return found


@dataclass
class Following:
    stream: Stream
    follower: LogFollower
    notices: list[str]

    def read(self) -> list[int]:
        """Read once, wait, and return the numbers of the changes."""
        found = [int(each.keys["order_id"].split("-")[0]) for each in self.follower.read()]
        self.stream.clock.sleep(self.follower.seconds)
        return found


def following(start: Start, stream: Stream) -> Following:
    notices: list[str] = []
    client: Any = stream
    follower = LogFollower(client, "arn:stream", start, notices.append, clock=stream.clock)
    return Following(stream, follower, notices)


@pytest.fixture
def stream() -> Stream:
    made = Stream()
    made.add("a")
    made.write("a", 1, 2)
    return made


def test_the_children_of_a_shard_come_after_it(stream: Stream) -> None:
    found = following(Start.TRIM_HORIZON, stream)
    stream.write("a", 3)
    stream.close("a")
    stream.add("b", "a")
    stream.add("c", "a")
    stream.write("b", 5)
    stream.write("c", 4)
    assert [found.read() for _ in range(3)] == [[1, 2], [3], [4, 5]]
    assert stream.reads() == ["a", "a", "b", "c"]
    assert found.notices == []


def test_from_now_a_new_shard_is_read_from_its_beginning(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    assert found.read() == []
    stream.write("a", 3)
    stream.close("a")
    assert found.read() == [3]
    stream.add("b", "a")
    stream.write("b", 4)
    assert [found.read() for _ in range(2)] == [[4], []]
    assert stream.reads("get_shard_iterator") == ["a LATEST", "b TRIM_HORIZON"]


def test_from_now_closed_shards_are_not_read(stream: Stream) -> None:
    stream.close("a")
    stream.add("b", "a")
    found = following(Start.NOW, stream)
    found.read()
    stream.write("b", 3)
    assert found.read() == [3]
    assert stream.reads() == ["b", "b"]


def test_a_successor_that_is_listed_late_is_found(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    found.read()
    stream.close("a")
    found.read()
    stream.reads()
    until = stream.clock.now() + LIST_AGAIN_SECONDS
    while stream.clock.now() <= until:
        found.read()
    assert stream.reads("describe_stream") == ["", ""]
    stream.add("b", "a")
    stream.write("b", 3)
    shown: list[int] = []
    while not shown:
        shown = found.read()
        assert stream.clock.now() < until + 3 * LIST_AGAIN_SECONDS
    assert shown == [3]


def test_shards_are_listed_once_a_minute(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    while stream.clock.now() < ManualClock().now() + LIST_SECONDS + 0.5:
        found.read()
    assert len(stream.reads("describe_stream")) == 2


def test_a_follower_reads_a_shard_once_a_second(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    for _ in range(10):
        found.read()
    assert stream.clock.slept == [POLL_SECONDS] * 10
    assert len(stream.reads()) == 10


def test_a_follower_that_is_behind_reads_faster(stream: Stream) -> None:
    found = following(Start.TRIM_HORIZON, stream)
    stream.shards["a"]["records"].clear()
    stream.write("a", 1, 2, at=stream.clock.now() - 60)
    stream.write("a", 3)
    for _ in range(3):
        found.read()
    assert stream.clock.slept == [CATCH_UP_SECONDS, POLL_SECONDS, POLL_SECONDS]


@pytest.mark.parametrize("start", list(Start))
def test_an_expired_iterator_goes_on_behind_the_last_record(stream: Stream, start: Start) -> None:
    found = following(start, stream)
    found.read()
    stream.write("a", 3)
    found.read()
    stream.write("a", 4)
    stream.errors["get_records"] = ["ExpiredIteratorException"]
    assert [found.read(), found.read()] == [[], [4]]
    assert stream.reads("get_shard_iterator")[-1] == "a AFTER_SEQUENCE_NUMBER"
    assert found.notices == []


def test_an_iterator_that_expired_before_any_record_is_told(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    stream.errors["get_records"] = ["ExpiredIteratorException"]
    found.read()
    assert found.notices == ["Entries may be missing here: a shard was not read for 15 minutes."]


def test_trimmed_records_are_told_and_skipped(stream: Stream) -> None:
    found = following(Start.NOW, stream)
    stream.errors["get_records"] = ["TrimmedDataAccessException"]
    assert [found.read(), found.read()] == [[], [1, 2]]
    assert found.notices == ["Entries may be missing here: the stream keeps them for 24 hours."]


def test_a_shard_that_is_gone_ends(stream: Stream) -> None:
    found = following(Start.TRIM_HORIZON, stream)
    stream.add("b", "a")
    stream.write("b", 3)
    stream.errors["get_shard_iterator"] = ["ResourceNotFoundException"]
    assert [found.read(), found.read()] == [[], [3]]
    assert found.notices == ["Entries may be missing here: the stream keeps them for 24 hours."]


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
def test_a_throttled_follower_rests(stream: Stream, code: str) -> None:
    found = following(Start.TRIM_HORIZON, stream)
    stream.errors["get_records"] = [code]
    assert found.read() == []
    [notice] = found.notices
    assert notice.startswith("The stream throttles its readers: a shard serves two.")
    stream.reads()
    until = stream.clock.now() - POLL_SECONDS + THROTTLED_SECONDS
    while stream.clock.now() < until:
        assert found.read() == []
    assert stream.reads() == []
    assert found.read() == [1, 2]


@pytest.mark.parametrize(
    ("operation", "code", "error"),
    [
        ("describe_stream", "ResourceNotFoundException", OperationError),
        ("describe_stream", "AccessDeniedException", AccessDenied),
        ("get_shard_iterator", "AccessDeniedException", AccessDenied),
        ("get_records", "AccessDeniedException", AccessDenied),
        ("describe_stream", "InternalServerError", ClientError),
        ("get_records", "InternalServerError", ClientError),
    ],
)
def test_other_errors_end_it(
    stream: Stream, operation: str, code: str, error: type[Exception]
) -> None:
    found = following(Start.NOW, stream)
    stream.errors[operation] = [code]
    with pytest.raises(error):
        found.read()


def test_removed_entries_are_no_news(stream: Stream) -> None:
    """An erasure removes entries; the stream of the log then has records without an image."""
    found = following(Start.TRIM_HORIZON, stream)
    removed = stream.shards["a"]["records"][0]
    stream.shards["a"]["records"][0] = {**removed, "eventName": "REMOVE"}
    assert found.read() == [2]
    assert found.notices == []
