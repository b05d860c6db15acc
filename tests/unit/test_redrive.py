"""Redrive: the status of each dead letter, wherever it stops and with other operators."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import pytest

from dynamodb_streams_cdc.control.functions import RESPONSE_TOO_LARGE, InvocationFailed
from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.operations import redrive as redrive_module
from dynamodb_streams_cdc.operations.dead_letter_store import ReadableDeadLetter
from dynamodb_streams_cdc.operations.redrive import (
    MOST_BYTES,
    MOST_RECORDS,
    PATIENCE,
    Redrive,
    RedriveStatus,
    Result,
)
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from tests.factories import TTL_IDENTITY, order, record
from tests.fake_pipeline import (
    NAMES,
    POISON,
    FakePipeline,
    Ports,
    change_of,
    given_up,
    item,
    lambdas_key,
    number,
    placed,
)

BATCH = lambdas_key("batch")
ARCHIVED, SPLIT, KEPT, WAITING, GONE, UNREADABLE = RedriveStatus


@pytest.fixture
def pipeline() -> FakePipeline:
    return FakePipeline()


def work(pipeline: FakePipeline) -> Redrive:
    return Redrive(pipeline.store, pipeline, NAMES, pipeline.clock)


def run(pipeline: FakePipeline) -> list[Result]:
    results = list(work(pipeline).run(pipeline.waiting))
    for result in results:
        assert_adds_up(result)
    return results


def assert_adds_up(result: Result) -> None:
    """Each record has one of four outcomes."""
    counts = [result.applied, result.stale, result.unapplied, result.untried]
    assert min(counts) >= 0
    assert sum(counts) == result.records


def one(pipeline: FakePipeline) -> Result:
    [result] = run(pipeline)
    return result


def own_key(body: Mapping[str, Any]) -> str:
    change = change_of(body)
    pipeline = FakePipeline()
    pipeline.deliver(placed(int(body["eventID"], 16), int(change.keys["customer_id"]), POISON))
    [key] = pipeline.waiting
    return key


def replays(pipeline: FakePipeline) -> list[list[str]]:
    """The sequence numbers' beginnings of each replay."""
    return [
        [each["dynamodb"]["SequenceNumber"][:-20] for each in event["Records"]]
        for _, event in pipeline.invocations
    ]


class TestDeadLetterOfOneRecord:
    def test_fails_again_and_stays_as_it_is(self, pipeline: FakePipeline) -> None:
        pipeline.write(1, POISON)
        pipeline.deliver(placed(1, 1, POISON))
        before = dict(pipeline.store.objects)
        result = one(pipeline)
        assert result.status is KEPT
        assert pipeline.store.objects == before
        [failure] = result.failures
        assert (failure.item, failure.reason) == (item(1), "ValueError")
        assert failure.error == "poison cannot be indexed"
        assert result.dead_letters == tuple(pipeline.waiting)

    def test_is_archived_after_its_item_is_fixed(self, pipeline: FakePipeline) -> None:
        """Its payload can never be applied; the repair is what counts."""
        pipeline.deliver(placed(1, 1, POISON))
        [key] = pipeline.waiting
        pipeline.write(1, "shipped")
        result = one(pipeline)
        assert (result.status, result.repaired, result.applied) == (ARCHIVED, 1, 0)
        assert (result.dead_letters, result.failures) == ((), ())
        assert pipeline.waiting == []
        assert pipeline.store.archived == [key]
        assert pipeline.indexed() == {item(1): "shipped"}

    def test_is_stale_if_the_sink_is_newer(self, pipeline: FakePipeline) -> None:
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        pipeline.write(1, "refunded")
        pipeline.deliver(record(2, order(number(1)), order(number(1), status="refunded")))
        result = one(pipeline)
        counts = (result.stale, result.applied, result.repaired)
        assert (result.status, counts) == (ARCHIVED, (1, 0, 0))
        assert pipeline.indexed() == {item(1): "refunded"}

    def test_from_lambda_stays_too(self, pipeline: FakePipeline) -> None:
        pipeline.write(1, POISON)
        pipeline.store.deliver(BATCH, given_up([placed(1, 1, POISON)]))
        assert one(pipeline).status is KEPT
        assert pipeline.waiting == [BATCH]

    def test_stays_if_unreadable(self, pipeline: FakePipeline) -> None:
        pipeline.deliver({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "7"}})
        result = one(pipeline)
        assert result.status is KEPT
        assert [failure.reason for failure in result.failures] == ["MalformedSource"]
        assert result.failures[0].item is None

    def test_of_an_expiry_must_be_applied(self, pipeline: FakePipeline) -> None:
        expiry = record(2, order(number(1)), None, userIdentity=TTL_IDENTITY)
        pipeline.store.deliver(BATCH, given_up([expiry]))
        assert one(pipeline).status is ARCHIVED
        assert pipeline.index.documents[item(1)]["cdc"]["deleted"] is True


class TestABatch:
    def test_is_applied_and_archived(self, pipeline: FakePipeline) -> None:
        pipeline.write(1, "placed")
        pipeline.write(2, "placed")
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        result = one(pipeline)
        assert (result.status, result.records, result.applied) == (ARCHIVED, 2, 2)
        assert pipeline.store.archived == [BATCH]
        assert pipeline.indexed() == {item(1): "placed", item(2): "placed"}

    def test_failed_records_get_their_own_dead_letters(self, pipeline: FakePipeline) -> None:
        records = [placed(1, 1), placed(2, 2, POISON), placed(3, 3, POISON), placed(4, 4)]
        for customer, status in enumerate(("placed", POISON, POISON, "placed"), 1):
            pipeline.write(customer, status)
        pipeline.store.deliver(BATCH, given_up(records))
        result = one(pipeline)
        assert (result.status, result.applied) == (SPLIT, 2)
        assert pipeline.store.archived == [BATCH]
        assert sorted(result.dead_letters) == pipeline.waiting
        assert pipeline.waiting == sorted(own_key(each) for each in records[1:3])
        for key in pipeline.waiting:
            dead_letter = json.loads(pipeline.store.objects[key])
            assert dead_letter["dead_letter"]["reason"] == "ValueError"
            assert dead_letter["timestamp"] == "2024-05-01T12:16:40.000Z"
        assert {each.status for each in run(pipeline)} == {KEPT}

    def test_an_existing_dead_letter_of_a_record_stays(self, pipeline: FakePipeline) -> None:
        pipeline.write(2, POISON)
        pipeline.deliver(placed(2, 2, POISON))
        [key] = pipeline.waiting
        before = pipeline.store.objects[key]
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        first, _ = run(pipeline)
        assert (first.key, first.status, first.dead_letters) == (BATCH, SPLIT, (key,))
        assert pipeline.store.objects[key] == before

    def test_an_unreadable_record_gets_its_own_dead_letter(self, pipeline: FakePipeline) -> None:
        broken = {"eventID": "x"}
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), broken, broken]))
        result = one(pipeline)
        [key] = pipeline.waiting
        assert (result.status, result.dead_letters) == (SPLIT, (key,))
        assert key.startswith("dead-letters/search/unreadable/")
        payload = json.loads(json.loads(pipeline.store.objects[key])["payload"])
        assert payload == {"Records": [broken]}

    def test_failures_without_a_version_get_distinct_keys(self, pipeline: FakePipeline) -> None:
        pipeline.answers["search"] = answer([failed(1, item=item(2))])
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(pipeline).status is SPLIT
        [key] = pipeline.waiting
        assert key.endswith(f"/2024-05-01T12:00:00.000_{'200000000003126276362':0>40}.json")

    def test_is_kept_if_a_record_has_its_own_key(self, pipeline: FakePipeline) -> None:
        """A dead letter made by hand may have any name."""
        pipeline.write(2, POISON)
        key = own_key(placed(2, 2, POISON))
        pipeline.store.deliver(key, given_up([placed(1, 1), placed(2, 2, POISON)]))
        assert one(pipeline).status is KEPT
        assert pipeline.waiting == [key]


def answer(failures: Sequence[Mapping[str, Any]] = (), **others: Any) -> dict[str, Any]:
    return {
        "batchItemFailures": [{"itemIdentifier": "1"} for _ in failures],
        "applied": 0,
        "stale": 0,
        "repaired": 0,
        "failures": list(failures),
        **others,
    }


def failed(position: int, **others: Any) -> dict[str, Any]:
    failure = {"position": position, "item": None, "reason": "x", "error": "y", "retryable": False}
    return failure | others


class TestWaiting:
    """Where the sink or the function is not well, nothing is judged."""

    def test_an_outage_leaves_the_dead_letter_untouched(self, pipeline: FakePipeline) -> None:
        pipeline.write(2, POISON)
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        before = dict(pipeline.store.objects)
        pipeline.index.out = True
        result = one(pipeline)
        assert result.status is WAITING
        assert BATCH in result.problem
        assert "RetryableError: the index is out" in result.problem
        assert pipeline.store.objects == before
        pipeline.index.out = False
        assert one(pipeline).status is SPLIT

    @pytest.mark.parametrize(
        "said",
        [
            None,
            "task timed out",
            [],
            {"batchItemFailures": []},
            {"batchItemFailures": [{"itemIdentifier": "1"}]},
            answer(applied="1"),
            answer(applied=-1),
            answer(applied=1, stale=1),
            {**answer(), "failures": None},
            {**answer(), "failures": ""},
            {**answer(), "failures": {}},
            {**answer(), "batchItemFailures": {}},
            answer(batchItemFailures=[{"itemIdentifier": "1"}]),
            answer([{"position": 0, "item": None, "reason": "x", "error": "y"}]),
            answer([failed(5)]),
            answer([failed(-1)]),
            answer([failed(0, retryable=0)]),
            answer([failed(0)], batchItemFailures=[]),
        ],
    )
    def test_a_malformed_response_archives_nothing(self, pipeline: FakePipeline, said: Any) -> None:
        """Such as that of an older version, which takes a replay for a delivery."""
        pipeline.answers["search"] = said
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        result = one(pipeline)
        assert result.status is WAITING
        assert "does not know the operation replay" in result.problem
        assert pipeline.waiting == [BATCH]

    def test_a_function_that_fails(self, pipeline: FakePipeline) -> None:
        pipeline.answers["search"] = InvocationFailed("function x failed: KeyError: 'SINK'")
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        result = one(pipeline)
        assert result.status is WAITING
        assert result.problem == f"{BATCH} waits: function x failed: KeyError: 'SINK'"
        assert pipeline.waiting == [BATCH]

    def test_a_record_that_is_repeated_counts_once(self, pipeline: FakePipeline) -> None:
        """It was applied and not repaired; the next replay finds it applied already."""
        first = answer([failed(0, retryable=True)], applied=2)
        answers = iter((first, answer(stale=1)))
        pipeline.answers["search"] = lambda event: next(answers)
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        result = one(pipeline)
        assert (result.status, result.applied, result.stale) == (ARCHIVED, 2, 0)

    def test_after_several_in_a_row_the_rest_is_skipped(self, pipeline: FakePipeline) -> None:
        pipeline.index.out = True
        for name in "abcdef":
            pipeline.store.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        pipeline.store.deliver(lambdas_key("z"), given_up([placed(1, 1)], "audit"))
        results = run(pipeline)
        assert [result.status for result in results] == [WAITING] * 6 + [ARCHIVED]
        assert [name for name, _ in pipeline.invocations] == ["search"] * PATIENCE + ["audit"]
        assert all("was not tried" in result.problem for result in results[PATIENCE:6])
        assert len(pipeline.waiting) == 6

    def test_without_a_run_of_failures_all_are_tried(self, pipeline: FakePipeline) -> None:
        for name in "abcdefgh":
            pipeline.store.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        calls = itertools.count()

        def every_third_succeeds(event: Any) -> Any:
            if next(calls) % 3 == 2:
                return answer()
            return InvocationFailed("throttled", outage=True)

        pipeline.answers["search"] = every_third_succeeds
        assert [result.status for result in run(pipeline)].count(ARCHIVED) == 2
        assert len(pipeline.invocations) == 8


def but_for(pipeline: FakePipeline, *deadly: int) -> Callable[[Mapping[str, Any]], Any]:
    """Let a function run out of memory on the records of some customers, and answer otherwise."""
    numbers = {number(customer) for customer in deadly}

    def answer_or_die(event: Mapping[str, Any]) -> Any:
        for each in event["Records"]:
            if each["dynamodb"]["Keys"]["order_id"]["S"] in numbers:
                return InvocationFailed("the function ran out of memory", "Runtime.ExitError")
        processor = pipeline.processor("search")
        return processor(json.loads(json.dumps(event)), pipeline.context("search"))

    return answer_or_die


class TestRecordsThatKillTheFunction:
    @pytest.mark.parametrize("deadly", [[1], [3], [5], [2, 3], [1, 2, 3, 4, 5]])
    def test_are_found_and_the_others_are_applied(
        self, pipeline: FakePipeline, deadly: list[int]
    ) -> None:
        records = [placed(n, n) for n in range(1, 6)]
        pipeline.store.deliver(BATCH, given_up(records))
        pipeline.answers["search"] = but_for(pipeline, *deadly)
        for customer in range(1, 6):
            pipeline.write(customer, "placed")
        result = one(pipeline)
        assert (result.status, result.applied) == (SPLIT, 5 - len(deadly))
        assert [failure.position + 1 for failure in result.failures] == deadly
        for failure in result.failures:
            assert failure.item == item(failure.position + 1)
            assert (failure.reason, failure.retryable) == ("Runtime.ExitError", False)
        assert pipeline.sequences_waiting == {
            records[n - 1]["dynamodb"]["SequenceNumber"] for n in deadly
        }
        assert {each.status for each in run(pipeline)} == {KEPT}

    def test_do_not_block_later_dead_letters(self, pipeline: FakePipeline) -> None:
        for n in range(1, 11):
            pipeline.store.deliver(lambdas_key(f"{n:02}"), given_up([placed(n, n)]))
        pipeline.answers["search"] = but_for(pipeline, *range(1, PATIENCE + 2))
        statuses = [result.status for result in run(pipeline)]
        assert statuses == [KEPT] * (PATIENCE + 1) + [ARCHIVED] * (9 - PATIENCE)

    def test_are_not_blamed_if_the_function_is_unhealthy(self, pipeline: FakePipeline) -> None:
        """It lacks a variable, say: no dead letters are made of what it never looked at."""
        pipeline.answers["search"] = InvocationFailed("'SINK'", "KeyError")
        for n in range(PATIENCE + 1):
            pipeline.store.deliver(lambdas_key(f"{n}"), given_up([placed(1, 1), placed(2, 2)]))
        waiting = pipeline.waiting
        assert {result.status for result in run(pipeline)} == {WAITING}
        assert pipeline.waiting == waiting
        assert [len(replay) for replay in replays(pipeline)] == [2, 0] * PATIENCE

    def test_are_not_blamed_if_the_function_is_unreachable(self, pipeline: FakePipeline) -> None:
        pipeline.answers["search"] = InvocationFailed("throttled", outage=True)
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(pipeline).status is WAITING
        assert [len(replay) for replay in replays(pipeline)] == [2]


class TestChunks:
    """A dead letter holds a whole batch, which may be larger than one replay."""

    def test_as_many_records_as_one_invocation_takes(self, pipeline: FakePipeline) -> None:
        records = [placed(n, n) for n in range(1, 2 * MOST_RECORDS + 2)]
        pipeline.store.deliver(BATCH, given_up(records))
        result = one(pipeline)
        assert (result.status, result.applied) == (ARCHIVED, len(records))
        assert [len(replay) for replay in replays(pipeline)] == [MOST_RECORDS, MOST_RECORDS, 1]

    def test_as_many_bytes_as_one_invocation_takes(
        self, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = len(json.dumps(placed(1, 1)))
        monkeypatch.setattr(redrive_module, "MOST_BYTES", 4 * size)
        records = [placed(n, n) for n in range(1, 5)]
        records.insert(1, placed(9, 9, note="é" * (size * 6 // 5)))
        pipeline.store.deliver(BATCH, given_up(records))
        assert one(pipeline).status is ARCHIVED
        assert replays(pipeline) == [["1"], ["9"], ["2", "3", "4"]]
        assert MOST_BYTES < 6 * 1024 * 1024

    def test_surrogates_have_a_size(self, pipeline: FakePipeline) -> None:
        pipeline.store.deliver(BATCH, given_up([{"eventID": "\ud800"}, placed(1, 1)]))
        pipeline.answers["search"] = answer()
        assert one(pipeline).status is ARCHIVED

    def test_positions_are_those_of_the_dead_letter(
        self, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 2)
        for customer in (3, 4):
            pipeline.write(customer, POISON)
        records = [placed(n, n, POISON if n in (3, 4) else "placed") for n in range(1, 6)]
        pipeline.store.deliver(BATCH, given_up(records))
        result = one(pipeline)
        assert [failure.position for failure in result.failures] == [2, 3]
        assert pipeline.sequences_waiting == {
            each["dynamodb"]["SequenceNumber"] for each in records[2:4]
        }

    def test_records_past_the_deadline_are_sent_again(self, pipeline: FakePipeline) -> None:
        statuses = [POISON, "placed", "placed", "placed", POISON]
        for customer, status in enumerate(statuses, 1):
            pipeline.write(customer, status)
        records = [placed(n, n, status) for n, status in enumerate(statuses, 1)]
        pipeline.store.deliver(BATCH, given_up(records))

        def two_at_a_time(event: Mapping[str, Any]) -> Any:
            first, later = event["Records"][:2], event["Records"][2:]
            del pipeline.answers["search"]
            found = pipeline.invoke("search", {"operation": "replay", "Records": first})
            pipeline.answers["search"] = two_at_a_time
            for position in range(2, 2 + len(later)):
                late = failed(position, reason=DeadlineExceeded.__name__, retryable=True)
                found["failures"].append(late)
                found["batchItemFailures"].append({"itemIdentifier": "1"})
            return found

        pipeline.answers["search"] = two_at_a_time
        result = one(pipeline)
        assert (result.status, result.applied) == (SPLIT, 3)
        assert [failure.position for failure in result.failures] == [0, 4]
        assert pipeline.indexed() == dict.fromkeys(map(item, (2, 3, 4)), "placed")

    @pytest.mark.parametrize(
        ("most", "status", "sizes"),
        [
            (2, ARCHIVED, [5, 3, 2, 1, 2]),
            (1, ARCHIVED, [5, 3, 2, 1, 1, 1, 2, 1, 1]),
            (0, WAITING, [5, 3, 2, 1]),
        ],
    )
    def test_records_of_which_none_has_time_are_halved(
        self, pipeline: FakePipeline, most: int, status: RedriveStatus, sizes: list[int]
    ) -> None:
        records = [placed(n, n) for n in range(1, 6)]
        for customer in range(1, 6):
            pipeline.write(customer, "placed")
        pipeline.store.deliver(BATCH, given_up(records))

        def few_at_a_time(event: Mapping[str, Any]) -> Any:
            if len(event["Records"]) > most:
                late = [
                    failed(position, reason=DeadlineExceeded.__name__, retryable=True)
                    for position in range(len(event["Records"]))
                ]
                return answer(late)
            processor = pipeline.processor("search")
            return processor(json.loads(json.dumps(event)), pipeline.context("search"))

        pipeline.answers["search"] = few_at_a_time
        result = one(pipeline)
        assert (result.status, result.applied) == (status, 5 if most else 0)
        assert [len(replay) for replay in replays(pipeline)] == sizes

    def test_a_waiting_chunk_ends_the_dead_letter(
        self, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 1)
        pipeline.index.out = True
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(pipeline).status is WAITING
        assert replays(pipeline) == [["1"]]


class TestUnreadable:
    def test_stays_and_the_others_are_redriven(self, pipeline: FakePipeline) -> None:
        gone = "arn:aws:lambda:us-east-1:000000000000:function:cdc-old"
        pipeline.store.deliver(lambdas_key("a"), given_up([placed(1, 1)], gone))
        pipeline.store.deliver(lambdas_key("b"), given_up([placed(1, 1)]))
        pipeline.store.objects[lambdas_key("b")] = pipeline.store.objects[lambdas_key("b")][:-90]
        pipeline.store.deliver(lambdas_key("c"), given_up([], payload=None))
        pipeline.store.deliver(lambdas_key("d"), given_up([], payload={"Records": [1]}))
        pipeline.store.deliver(lambdas_key("e"), given_up([placed(1, 1)]))
        results = run(pipeline)
        assert [result.status for result in results] == [UNREADABLE] * 4 + [ARCHIVED]
        assert [result.key for result in results[:4]] == pipeline.waiting
        for result in results[:4]:
            assert result.problem.startswith(result.key)
            assert result.dead_letters == (result.key,)
            assert result.status.leaves_dead_letters

    @pytest.mark.parametrize("time", [1e300, -1e13, float("nan"), float("inf"), 10**400])
    def test_an_impossible_time_is_left_out(self, pipeline: FakePipeline, time: Any) -> None:
        broken = {"dynamodb": {"ApproximateCreationDateTime": time}}
        pipeline.store.deliver(BATCH, given_up([broken, placed(2, 2)]))
        assert one(pipeline).status is SPLIT
        [key] = pipeline.waiting
        info = json.loads(pipeline.store.objects[key])["DDBStreamBatchInfo"]
        assert info["approximateArrivalOfFirstRecord"] is None

    def test_unexpected_content_does_not_end_the_run(self, pipeline: FakePipeline) -> None:
        class Odd(MemoryDeadLetterStore):
            def keep(self, key: str, document: Mapping[str, Any]) -> bool:
                return "\ud800".encode() == b""

        pipeline.store = Odd()
        pipeline.store.deliver(lambdas_key("a"), given_up([{"eventID": "x"}, placed(2, 2)]))
        pipeline.store.deliver(lambdas_key("b"), given_up([placed(3, 3)]))
        odd, sound = run(pipeline)
        assert (odd.status, sound.status) == (UNREADABLE, ARCHIVED)
        assert odd.problem.startswith(f"{odd.key} has content that this command cannot process")
        assert "UnicodeEncodeError" in odd.problem
        assert odd.key == lambdas_key("a")
        assert (odd.dead_letters, pipeline.waiting) == ((odd.key,), [odd.key])

    def test_an_archived_dead_letter_is_not_an_error(self, pipeline: FakePipeline) -> None:
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        runner = work(pipeline).run([BATCH, lambdas_key("never")])
        pipeline.store.archive(BATCH)
        assert [result.status for result in runner] == [GONE, GONE]
        assert not GONE.leaves_dead_letters
        assert pipeline.invocations == []

    def test_archiving_meanwhile_is_not_an_error(self, pipeline: FakePipeline) -> None:
        def archived_meanwhile(event: Any) -> Any:
            pipeline.store.archive(BATCH)
            return answer()

        pipeline.answers["search"] = archived_meanwhile
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        assert one(pipeline).status is GONE

    def test_the_rest_of_a_batch_is_reported_anyway(self, pipeline: FakePipeline) -> None:
        pipeline.write(2, POISON)
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        pipeline.answers["search"] = lambda event: pipeline.store.archive(BATCH) and later(event)

        def later(event: Any) -> Any:
            del pipeline.answers["search"]
            return pipeline.invoke("search", event)

        result = one(pipeline)
        assert result.status is SPLIT
        assert list(result.dead_letters) == pipeline.waiting

    def test_an_error_of_the_store_ends_the_run(self, pipeline: FakePipeline) -> None:
        class Refusing(MemoryDeadLetterStore):
            def archive(self, key: str) -> bool:
                if key.endswith("b"):
                    raise PermissionError(key)
                return super().archive(key)

        pipeline.store = Refusing()
        for name in "abc":
            pipeline.store.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        results = work(pipeline).run(pipeline.waiting)
        assert next(results).status is ARCHIVED
        with pytest.raises(PermissionError):
            next(results)
        assert pipeline.waiting == [lambdas_key("b"), lambdas_key("c")]


class TestInspection:
    def test_returns_the_state_and_changes_nothing(self, pipeline: FakePipeline) -> None:
        pipeline.write(1, "shipped")
        pipeline.deliver(placed(1, 1))
        pipeline.store.deliver(BATCH, given_up([placed(1, 1), placed(2, 2), {"eventID": "x"}]))
        documents = dict(pipeline.index.documents)
        held = inspect(pipeline)
        assert [each["position"] for each in held] == [0, 1, 2]
        assert held[0]["version"] == held[0]["offered"]
        assert held[0]["state"]["status"] == "placed"
        assert held[1]["item"] == item(2)
        assert held[1]["version"] is None
        assert held[2]["item"] is None
        assert pipeline.index.documents == documents
        assert pipeline.waiting == [BATCH]

    def test_a_response_that_is_too_large_is_halved(self, pipeline: FakePipeline) -> None:
        def small(event: Mapping[str, Any]) -> Any:
            if len(event["Records"]) > 1:
                return InvocationFailed("too large", RESPONSE_TOO_LARGE)
            number_ = event["Records"][0]["eventID"]
            return {"batchItemFailures": [], "held": [{"position": 0, "item": number_}]}

        pipeline.answers["search"] = small
        pipeline.store.deliver(BATCH, given_up([placed(n, n) for n in range(1, 6)]))
        held = inspect(pipeline)
        found = [(each["position"], int(each["item"], 16)) for each in held]
        assert found == [(n, n + 1) for n in range(5)]

    def test_asks_in_the_chunks_of_a_replay(
        self, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 2)
        pipeline.store.deliver(BATCH, given_up([placed(n, n) for n in range(1, 6)]))
        held = inspect(pipeline)
        found = [(each["position"], each["item"]) for each in held]
        assert found == [(n, item(n + 1)) for n in range(5)]
        assert replays(pipeline) == [["1", "2"], ["3", "4"], ["5"]]

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            (InvocationFailed("no"), "no"),
            (InvocationFailed("too large", RESPONSE_TOO_LARGE), "too large"),
            ({"batchItemFailures": []}, "does not know the operation inspect"),
            ({"held": []}, "does not know the operation inspect"),
            ({"held": [1]}, "does not know the operation inspect"),
            ({"held": [None]}, "does not know the operation inspect"),
        ],
    )
    def test_a_function_without_inspect(self, pipeline: FakePipeline, said: Any, why: str) -> None:
        pipeline.answers["search"] = said
        pipeline.store.deliver(BATCH, given_up([placed(1, 1)]))
        with pytest.raises(InvocationFailed, match=why):
            inspect(pipeline)


def inspect(pipeline: FakePipeline) -> Sequence[Mapping[str, Any]]:
    dead_letter = work(pipeline).open(BATCH)
    assert isinstance(dead_letter, ReadableDeadLetter)
    return work(pipeline).inspect(dead_letter)


class ProcessKilled(BaseException):
    """The process is gone."""


def redrive(pipeline: FakePipeline, at: Callable[[str], None]) -> list[Result]:
    """Redrive what waits, with something done before and after each call of a port."""
    ports = Ports(pipeline, at)
    return list(Redrive(ports, ports, NAMES, pipeline.clock).run(pipeline.waiting))


def at_call(point: int, happens: Callable[[], object]) -> Callable[[str], None]:
    """Let something happen before or after a call, by its number."""
    calls = itertools.count()

    def at(call: str) -> None:
        if next(calls) == point:
            happens()

    return at


def kill() -> NoReturn:
    raise ProcessKilled


def troubled() -> FakePipeline:
    """Dead letters of every kind: batches with and without poison, singles, fixed and not."""
    pipeline = FakePipeline()
    statuses = {1: "placed", 2: POISON, 3: "shipped", 4: POISON, 5: "placed", 6: "refunded"}
    for customer, status in statuses.items():
        pipeline.write(customer, status)
    pipeline.deliver(placed(1, 3, POISON))
    pipeline.deliver(placed(2, 4, POISON))
    records = [placed(3, 1), placed(4, 2, POISON), placed(2, 4, POISON), placed(5, 5)]
    pipeline.store.deliver(lambdas_key("mixed"), given_up(records))
    pipeline.store.deliver(lambdas_key("good"), given_up([placed(6, 5), placed(7, 6, "refunded")]))
    pipeline.store.deliver(lambdas_key("broken"), given_up([], payload=None))
    return pipeline


def outcome(pipeline: FakePipeline) -> tuple[Any, ...]:
    versions = {found: doc["cdc"]["version"] for found, doc in pipeline.index.documents.items()}
    return pipeline.waiting, pipeline.store.archived, pipeline.indexed(), versions


def undisturbed() -> tuple[FakePipeline, int]:
    pipeline = troubled()
    calls: list[str] = []
    redrive(pipeline, calls.append)
    return pipeline, len(calls)


EXPECTED, CALLS = undisturbed()


def poison_is_kept(pipeline: FakePipeline) -> bool:
    """Whether the records that cannot be applied are in dead letters."""
    poison = {each["dynamodb"]["SequenceNumber"] for each in (placed(4, 2), placed(2, 4))}
    return poison <= pipeline.sequences_waiting


def test_an_undisturbed_run() -> None:
    statuses = [result.status for result in redrive(troubled(), lambda call: None)]
    assert Counter(statuses) == Counter([UNREADABLE, SPLIT, ARCHIVED, ARCHIVED, KEPT])
    indexed = {1: "placed", 3: "shipped", 5: "placed", 6: "refunded"}
    assert EXPECTED.indexed() == {item(customer): status for customer, status in indexed.items()}
    assert poison_is_kept(EXPECTED)
    assert CALLS > 20


@pytest.mark.parametrize("point", range(CALLS))
def test_killed_at_any_call_and_run_again(point: int) -> None:
    pipeline = troubled()
    with pytest.raises(ProcessKilled):
        redrive(pipeline, at_call(point, kill))
    assert poison_is_kept(pipeline)
    run(pipeline)
    assert outcome(pipeline) == outcome(EXPECTED)


@pytest.mark.parametrize("point", range(CALLS))
def test_killed_at_any_call_again_and_again(point: int) -> None:
    """A redrive that dies after so many calls each time gets at least one dead letter further."""
    pipeline = troubled()
    for _ in range(40):
        try:
            redrive(pipeline, at_call(point + 8, kill))
        except ProcessKilled:
            assert poison_is_kept(pipeline)
    run(pipeline)
    assert outcome(pipeline) == outcome(EXPECTED)


@pytest.mark.parametrize("first", range(CALLS))
def test_two_redrives(first: int) -> None:
    """One stops at any call while another does all of its work; then the first goes on."""
    pipeline = troubled()
    others: list[Result] = []

    def other() -> None:
        others.extend(run(pipeline))
        assert poison_is_kept(pipeline)

    own = redrive(pipeline, at_call(first, other))
    assert outcome(pipeline) == outcome(EXPECTED)
    assert not any(result.status is WAITING for result in own + others)


@pytest.mark.parametrize("first", range(0, CALLS, 3))
def test_two_redrives_one_of_them_killed(first: int) -> None:
    """The other one dies after any number of calls, in the middle of the first one's work."""
    for second in range(CALLS):
        pipeline = troubled()

        def other(pipeline: FakePipeline = pipeline, second: int = second) -> None:
            try:
                redrive(pipeline, at_call(second, kill))
            except ProcessKilled:
                assert poison_is_kept(pipeline)

        redrive(pipeline, at_call(first, other))
        run(pipeline)
        assert outcome(pipeline) == outcome(EXPECTED)


def test_dead_letters_in_any_order_lead_to_one_state() -> None:
    for keys in itertools.permutations(troubled().waiting):
        pipeline = troubled()
        list(work(pipeline).run(keys))
        run(pipeline)
        assert outcome(pipeline) == outcome(EXPECTED)
