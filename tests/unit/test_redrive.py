"""Redrive: the status of each dead letter, wherever it stops and with other operators."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import pytest

from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.operations import redrive as redrive_module
from dynamodb_streams_cdc.operations.dead_letter_store import ReadableDeadLetter, StoredDeadLetter
from dynamodb_streams_cdc.operations.redrive import (
    MOST_BYTES,
    MOST_RECORDS,
    PATIENCE,
    RESPONSE_TOO_LARGE,
    InvocationFailed,
    Redrive,
    RedriveStatus,
    Result,
)
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from tests.factories import TTL_IDENTITY, order, record
from tests.post_office import (
    ARNS,
    NAMES,
    POISON,
    PostOffice,
    change_of,
    given_up,
    item,
    lambdas_key,
    number,
    placed,
)

BATCH = lambdas_key("batch")


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


def work(office: PostOffice) -> Redrive:
    return Redrive(office.box, office, NAMES, office.clock)


def run(office: PostOffice) -> list[Result]:
    results = list(work(office).run(office.waiting))
    for result in results:
        assert_adds_up(result)
    return results


def assert_adds_up(result: Result) -> None:
    """Each record is one of four things, whatever became of its item."""
    counts = [result.applied, result.stale, result.unapplied, result.untried]
    assert min(counts) >= 0
    assert sum(counts) == result.records


def one(office: PostOffice) -> Result:
    [result] = run(office)
    return result


def own_key(body: Mapping[str, Any]) -> str:
    change = change_of(body)
    office = PostOffice()
    office.deliver(placed(int(body["eventID"], 16), int(change.keys["customer_id"]), POISON))
    [key] = office.waiting
    return key


def replays(office: PostOffice) -> list[list[str]]:
    """The sequence numbers' beginnings of each replay."""
    return [
        [each["dynamodb"]["SequenceNumber"][:-20] for each in event["Records"]]
        for _, event in office.invocations
    ]


class TestALetterOfOneRecord:
    def test_fails_again_and_stays_as_it_is(self, office: PostOffice) -> None:
        office.write(1, POISON)
        office.deliver(placed(1, 1, POISON))
        before = dict(office.box.objects)
        result = one(office)
        assert result.status is RedriveStatus.KEPT
        assert office.box.objects == before
        [failure] = result.failures
        assert (failure.item, failure.reason) == (item(1), "ValueError")
        assert failure.error == "nobody can index poison"
        assert result.dead_letters == tuple(office.waiting)

    def test_is_archived_once_its_item_has_been_mended(self, office: PostOffice) -> None:
        """Its payload can never be applied; the repair is what counts."""
        office.deliver(placed(1, 1, POISON))
        [key] = office.waiting
        office.write(1, "shipped")
        result = one(office)
        assert (result.status, result.repaired, result.applied) == (RedriveStatus.ARCHIVED, 1, 0)
        assert (result.dead_letters, result.failures) == ((), ())
        assert office.waiting == []
        assert office.box.archived == [key]
        assert office.indexed() == {item(1): "shipped"}

    def test_is_a_no_op_where_the_sink_is_newer(self, office: PostOffice) -> None:
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        office.write(1, "refunded")
        office.deliver(record(2, order(number(1)), order(number(1), status="refunded")))
        result = one(office)
        assert (result.status, result.stale, result.applied, result.repaired) == (
            RedriveStatus.ARCHIVED,
            1,
            0,
            0,
        )
        assert office.indexed() == {item(1): "refunded"}

    def test_from_lambda_stays_too(self, office: PostOffice) -> None:
        office.write(1, POISON)
        office.box.deliver(BATCH, given_up([placed(1, 1, POISON)]))
        assert one(office).status is RedriveStatus.KEPT
        assert office.waiting == [BATCH]

    def test_that_cannot_be_read_stays(self, office: PostOffice) -> None:
        office.deliver({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "7"}})
        result = one(office)
        assert result.status is RedriveStatus.KEPT
        assert [failure.reason for failure in result.failures] == ["MalformedSource"]
        assert result.failures[0].item is None

    def test_of_an_expiry_has_to_be_applied(self, office: PostOffice) -> None:
        expiry = record(2, order(number(1)), None, userIdentity=TTL_IDENTITY)
        office.box.deliver(BATCH, given_up([expiry]))
        assert one(office).status is RedriveStatus.ARCHIVED
        assert office.index.documents[item(1)]["cdc"]["deleted"] is True


class TestABatch:
    def test_is_applied_and_archived(self, office: PostOffice) -> None:
        office.write(1, "placed")
        office.write(2, "placed")
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        result = one(office)
        assert (result.status, result.records, result.applied) == (RedriveStatus.ARCHIVED, 2, 2)
        assert office.box.archived == [BATCH]
        assert office.indexed() == {item(1): "placed", item(2): "placed"}

    def test_what_fails_again_gets_dead_letters_of_its_own(self, office: PostOffice) -> None:
        records = [placed(1, 1), placed(2, 2, POISON), placed(3, 3, POISON), placed(4, 4)]
        for customer, status in enumerate(("placed", POISON, POISON, "placed"), 1):
            office.write(customer, status)
        office.box.deliver(BATCH, given_up(records))
        result = one(office)
        assert (result.status, result.applied) == (RedriveStatus.SPLIT, 2)
        assert office.box.archived == [BATCH]
        assert sorted(result.dead_letters) == office.waiting
        assert office.waiting == sorted(own_key(each) for each in records[1:3])
        for key in office.waiting:
            dead_letter = json.loads(office.box.objects[key])
            assert dead_letter["dead_letter"]["reason"] == "ValueError"
            assert dead_letter["timestamp"] == "2024-05-01T12:16:40.000Z"
        assert {each.status for each in run(office)} == {RedriveStatus.KEPT}

    def test_the_processors_own_dead_letter_of_the_record_is_left_as_it_is(
        self, office: PostOffice
    ) -> None:
        office.write(2, POISON)
        office.deliver(placed(2, 2, POISON))
        [key] = office.waiting
        before = office.box.objects[key]
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        first, _ = run(office)
        assert (first.key, first.status, first.dead_letters) == (BATCH, RedriveStatus.SPLIT, (key,))
        assert office.box.objects[key] == before

    def test_an_unreadable_record_gets_a_dead_letter_of_its_own(self, office: PostOffice) -> None:
        broken = {"eventID": "x"}
        office.box.deliver(BATCH, given_up([placed(1, 1), broken, broken]))
        result = one(office)
        [key] = office.waiting
        assert (result.status, result.dead_letters) == (RedriveStatus.SPLIT, (key,))
        assert key.startswith("dead-letters/search/unreadable/")
        assert json.loads(json.loads(office.box.objects[key])["payload"]) == {"Records": [broken]}

    def test_a_function_that_tells_no_version_still_gives_each_a_name(
        self, office: PostOffice
    ) -> None:
        failures = [
            {"position": 1, "item": item(2), "reason": "x", "error": "y", "retryable": False}
        ]
        office.answers["search"] = answer(failures)
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(office).status is RedriveStatus.SPLIT
        [key] = office.waiting
        assert key.endswith(f"/2024-05-01T12:00:00.000_{'200000000003126276362':0>40}.json")

    def test_is_not_archived_where_its_own_key_is_that_of_what_is_left(
        self, office: PostOffice
    ) -> None:
        """Whoever makes dead letters by hand may give them any name."""
        office.write(2, POISON)
        key = own_key(placed(2, 2, POISON))
        office.box.deliver(key, given_up([placed(1, 1), placed(2, 2, POISON)]))
        assert one(office).status is RedriveStatus.KEPT
        assert office.waiting == [key]


def answer(failures: Sequence[Mapping[str, Any]] = (), **others: Any) -> dict[str, Any]:
    return {
        "batchItemFailures": [{"itemIdentifier": "1"} for _ in failures],
        "applied": 0,
        "stale": 0,
        "repaired": 0,
        "failures": list(failures),
        **others,
    }


class TestWaiting:
    """Where the sink or the function is not well, nothing is judged."""

    def test_an_outage_leaves_the_dead_letter_untouched(self, office: PostOffice) -> None:
        office.write(2, POISON)
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        before = dict(office.box.objects)
        office.index.out = True
        result = one(office)
        assert result.status is RedriveStatus.WAITING
        assert BATCH in result.problem
        assert "RetryableError: the index is out" in result.problem
        assert office.box.objects == before
        office.index.out = False
        assert one(office).status is RedriveStatus.SPLIT

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
            answer(
                [{"position": 5, "item": None, "reason": "x", "error": "y", "retryable": False}]
            ),
            answer(
                [{"position": -1, "item": None, "reason": "x", "error": "y", "retryable": False}]
            ),
            answer([{"position": 0, "item": None, "reason": "x", "error": "y", "retryable": 0}]),
            answer(
                [{"position": 0, "item": None, "reason": "x", "error": "y", "retryable": False}],
                batchItemFailures=[],
            ),
        ],
    )
    def test_an_answer_that_is_no_clear_statement(self, office: PostOffice, said: Any) -> None:
        """Such as that of an older version, which takes a replay for a delivery."""
        office.answers["search"] = said
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        result = one(office)
        assert result.status is RedriveStatus.WAITING
        assert "does not know the operation replay" in result.problem
        assert office.waiting == [BATCH]

    def test_a_function_that_fails(self, office: PostOffice) -> None:
        office.answers["search"] = InvocationFailed("function x failed: KeyError: 'SINK'")
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        result = one(office)
        assert result.status is RedriveStatus.WAITING
        assert result.problem == f"{BATCH} waits: function x failed: KeyError: 'SINK'"
        assert office.waiting == [BATCH]

    def test_several_in_a_row_and_the_rest_is_not_tried(self, office: PostOffice) -> None:
        office.index.out = True
        for name in "abcdef":
            office.box.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        office.box.deliver(lambdas_key("z"), given_up([placed(1, 1)], "audit"))
        results = run(office)
        assert [result.status for result in results] == [RedriveStatus.WAITING] * 6 + [
            RedriveStatus.ARCHIVED
        ]
        assert [name for name, _ in office.invocations] == ["search"] * PATIENCE + ["audit"]
        assert all("was not tried" in result.problem for result in results[PATIENCE:6])
        assert len(office.waiting) == 6

    def test_not_in_a_row_and_all_are_tried(self, office: PostOffice) -> None:
        for name in "abcdefgh":
            office.box.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        calls = itertools.count()

        def every_third_succeeds(event: Any) -> Any:
            if next(calls) % 3 == 2:
                return answer()
            return InvocationFailed("throttled", outage=True)

        office.answers["search"] = every_third_succeeds
        assert [result.status for result in run(office)].count(RedriveStatus.ARCHIVED) == 2
        assert len(office.invocations) == 8


def but_for(office: PostOffice, *deadly: int) -> Callable[[Mapping[str, Any]], Any]:
    """Let a function run out of memory on the records of some customers, and answer otherwise."""
    numbers = {number(customer) for customer in deadly}

    def answer_or_die(event: Mapping[str, Any]) -> Any:
        for each in event["Records"]:
            if each["dynamodb"]["Keys"]["order_id"]["S"] in numbers:
                return InvocationFailed("the function ran out of memory", "Runtime.ExitError")
        processor = office.processor("search")
        return processor(json.loads(json.dumps(event)), office.context("search"))

    return answer_or_die


class TestRecordsThatKillTheFunction:
    @pytest.mark.parametrize("deadly", [[1], [3], [5], [2, 3], [1, 2, 3, 4, 5]])
    def test_are_found_and_the_others_are_applied(
        self, office: PostOffice, deadly: list[int]
    ) -> None:
        records = [placed(n, n) for n in range(1, 6)]
        office.box.deliver(BATCH, given_up(records))
        office.answers["search"] = but_for(office, *deadly)
        for customer in range(1, 6):
            office.write(customer, "placed")
        result = one(office)
        assert (result.status, result.applied) == (RedriveStatus.SPLIT, 5 - len(deadly))
        assert [failure.position + 1 for failure in result.failures] == deadly
        for failure in result.failures:
            assert failure.item == item(failure.position + 1)
            assert (failure.reason, failure.retryable) == ("Runtime.ExitError", False)
        assert office.sequences_waiting == {
            records[n - 1]["dynamodb"]["SequenceNumber"] for n in deadly
        }
        assert {each.status for each in run(office)} == {RedriveStatus.KEPT}

    def test_keep_nobody_from_the_dead_letters_behind_them(self, office: PostOffice) -> None:
        for n in range(1, 11):
            office.box.deliver(lambdas_key(f"{n:02}"), given_up([placed(n, n)]))
        office.answers["search"] = but_for(office, *range(1, PATIENCE + 2))
        statuses = [result.status for result in run(office)]
        assert statuses == [RedriveStatus.KEPT] * (PATIENCE + 1) + [RedriveStatus.ARCHIVED] * (
            9 - PATIENCE
        )

    def test_are_none_where_the_function_fails_without_records_too(
        self, office: PostOffice
    ) -> None:
        """It lacks a variable, say: no dead letters are made of what it never looked at."""
        office.answers["search"] = InvocationFailed("'SINK'", "KeyError")
        for n in range(PATIENCE + 1):
            office.box.deliver(lambdas_key(f"{n}"), given_up([placed(1, 1), placed(2, 2)]))
        waiting = office.waiting
        assert {result.status for result in run(office)} == {RedriveStatus.WAITING}
        assert office.waiting == waiting
        assert [len(replay) for replay in replays(office)] == [2, 0] * PATIENCE

    def test_are_none_where_it_is_not_reached(self, office: PostOffice) -> None:
        office.answers["search"] = InvocationFailed("throttled", outage=True)
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(office).status is RedriveStatus.WAITING
        assert [len(replay) for replay in replays(office)] == [2]


class TestPieces:
    """A dead letter holds a whole batch, which may be larger than one replay."""

    def test_as_many_records_as_one_invocation_takes(self, office: PostOffice) -> None:
        records = [placed(n, n) for n in range(1, 2 * MOST_RECORDS + 2)]
        office.box.deliver(BATCH, given_up(records))
        result = one(office)
        assert (result.status, result.applied) == (RedriveStatus.ARCHIVED, len(records))
        assert [len(replay) for replay in replays(office)] == [MOST_RECORDS, MOST_RECORDS, 1]

    def test_as_many_bytes_as_one_invocation_takes(
        self, office: PostOffice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = len(json.dumps(placed(1, 1)))
        monkeypatch.setattr(redrive_module, "MOST_BYTES", 4 * size)
        records = [placed(n, n) for n in range(1, 5)]
        records.insert(1, placed(9, 9, note="é" * (size * 6 // 5)))
        office.box.deliver(BATCH, given_up(records))
        assert one(office).status is RedriveStatus.ARCHIVED
        assert replays(office) == [["1"], ["9"], ["2", "3", "4"]]
        assert MOST_BYTES < 6 * 1024 * 1024

    def test_text_that_is_no_unicode_has_a_size_too(self, office: PostOffice) -> None:
        office.box.deliver(BATCH, given_up([{"eventID": "\ud800"}, placed(1, 1)]))
        office.answers["search"] = answer()
        assert one(office).status is RedriveStatus.ARCHIVED

    def test_positions_are_those_of_the_dead_letter(
        self, office: PostOffice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 2)
        for customer in (3, 4):
            office.write(customer, POISON)
        records = [placed(n, n, POISON if n in (3, 4) else "placed") for n in range(1, 6)]
        office.box.deliver(BATCH, given_up(records))
        result = one(office)
        assert [failure.position for failure in result.failures] == [2, 3]
        assert office.sequences_waiting == {
            each["dynamodb"]["SequenceNumber"] for each in records[2:4]
        }

    def test_what_there_was_no_time_for_is_sent_again(self, office: PostOffice) -> None:
        statuses = [POISON, "placed", "placed", "placed", POISON]
        for customer, status in enumerate(statuses, 1):
            office.write(customer, status)
        records = [placed(n, n, status) for n, status in enumerate(statuses, 1)]
        office.box.deliver(BATCH, given_up(records))

        def two_at_a_time(event: Mapping[str, Any]) -> Any:
            first, later = event["Records"][:2], event["Records"][2:]
            del office.answers["search"]
            found = office.invoke("search", {"operation": "replay", "Records": first})
            office.answers["search"] = two_at_a_time
            for position in range(2, 2 + len(later)):
                failure: dict[str, Any] = {
                    "position": position,
                    "item": None,
                    "version": None,
                    "error": "",
                }
                failure |= {"reason": DeadlineExceeded.__name__, "retryable": True}
                found["failures"].append(failure)
                found["batchItemFailures"].append({"itemIdentifier": "1"})
            return found

        office.answers["search"] = two_at_a_time
        result = one(office)
        assert (result.status, result.applied) == (RedriveStatus.SPLIT, 3)
        assert [failure.position for failure in result.failures] == [0, 4]
        assert office.indexed() == dict.fromkeys(map(item, (2, 3, 4)), "placed")

    def test_after_a_piece_that_waits_the_others_are_not_sent(
        self, office: PostOffice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 1)
        office.index.out = True
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2)]))
        assert one(office).status is RedriveStatus.WAITING
        assert replays(office) == [["1"]]


class TestWhatCannotBeRedriven:
    def test_stays_and_the_others_are_redriven(self, office: PostOffice) -> None:
        gone = "arn:aws:lambda:us-east-1:000000000000:function:cdc-old"
        office.box.deliver(lambdas_key("a"), given_up([placed(1, 1)], gone))
        office.box.deliver(lambdas_key("b"), given_up([placed(1, 1)]))
        office.box.objects[lambdas_key("b")] = office.box.objects[lambdas_key("b")][:-90]
        office.box.deliver(lambdas_key("c"), given_up([], payload=None))
        office.box.deliver(lambdas_key("d"), given_up([], payload={"Records": [1]}))
        office.box.deliver(lambdas_key("e"), given_up([placed(1, 1)]))
        results = run(office)
        assert [result.status for result in results] == [RedriveStatus.UNREADABLE] * 4 + [
            RedriveStatus.ARCHIVED
        ]
        assert [result.key for result in results[:4]] == office.waiting
        for result in results[:4]:
            assert result.problem.startswith(result.key)
            assert result.dead_letters == (result.key,)
            assert result.status.leaves_dead_letters

    @pytest.mark.parametrize("time", [1e300, -1e13, float("nan"), float("inf"), 10**400])
    def test_a_time_that_is_in_no_calendar_is_left_out(self, office: PostOffice, time: Any) -> None:
        broken = {"dynamodb": {"ApproximateCreationDateTime": time}}
        office.box.deliver(BATCH, given_up([broken, placed(2, 2)]))
        assert one(office).status is RedriveStatus.SPLIT
        [key] = office.waiting
        info = json.loads(office.box.objects[key])["DDBStreamBatchInfo"]
        assert info["approximateArrivalOfFirstRecord"] is None

    def test_what_nobody_thought_of_ends_no_run(self, office: PostOffice) -> None:
        class Odd(MemoryDeadLetterStore):
            def keep(self, key: str, document: Mapping[str, Any]) -> bool:
                return "\ud800".encode() == b""

        office.box = Odd()
        office.box.deliver(lambdas_key("a"), given_up([{"eventID": "x"}, placed(2, 2)]))
        office.box.deliver(lambdas_key("b"), given_up([placed(3, 3)]))
        odd, sound = run(office)
        assert (odd.status, sound.status) == (RedriveStatus.UNREADABLE, RedriveStatus.ARCHIVED)
        assert odd.problem.startswith(
            f"{lambdas_key('a')} has content that this command cannot process"
        )
        assert "UnicodeEncodeError" in odd.problem
        assert (odd.dead_letters, office.waiting) == ((odd.key,), [odd.key])

    def test_what_somebody_else_has_archived_is_no_error(self, office: PostOffice) -> None:
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        runner = work(office).run([BATCH, lambdas_key("never")])
        office.box.archive(BATCH)
        assert [result.status for result in runner] == [RedriveStatus.GONE, RedriveStatus.GONE]
        assert not RedriveStatus.GONE.leaves_dead_letters
        assert office.invocations == []

    def test_what_somebody_archives_meanwhile_is_no_error(self, office: PostOffice) -> None:
        def archived_meanwhile(event: Any) -> Any:
            office.box.archive(BATCH)
            return answer()

        office.answers["search"] = archived_meanwhile
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        assert one(office).status is RedriveStatus.GONE

    def test_what_is_left_of_it_is_told_all_the_same(self, office: PostOffice) -> None:
        office.write(2, POISON)
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2, POISON)]))
        office.answers["search"] = lambda event: office.box.archive(BATCH) and later(event)

        def later(event: Any) -> Any:
            del office.answers["search"]
            return office.invoke("search", event)

        result = one(office)
        assert result.status is RedriveStatus.SPLIT
        assert list(result.dead_letters) == office.waiting

    def test_an_error_of_the_box_ends_the_run_after_what_is_done(self, office: PostOffice) -> None:
        class Refusing(MemoryDeadLetterStore):
            def archive(self, key: str) -> bool:
                if key.endswith("b"):
                    raise PermissionError(key)
                return super().archive(key)

        office.box = Refusing()
        for name in "abc":
            office.box.deliver(lambdas_key(name), given_up([placed(1, 1)]))
        results = work(office).run(office.waiting)
        assert next(results).status is RedriveStatus.ARCHIVED
        with pytest.raises(PermissionError):
            next(results)
        assert office.waiting == [lambdas_key("b"), lambdas_key("c")]


class TestLooking:
    def test_says_what_the_sink_holds_and_changes_nothing(self, office: PostOffice) -> None:
        office.write(1, "shipped")
        office.deliver(placed(1, 1))
        office.box.deliver(BATCH, given_up([placed(1, 1), placed(2, 2), {"eventID": "x"}]))
        documents = dict(office.index.documents)
        held = inspect(office)
        assert [each["position"] for each in held] == [0, 1, 2]
        assert held[0]["version"] == held[0]["offered"]
        assert held[0]["state"]["status"] == "placed"
        assert held[1]["item"] == item(2)
        assert held[1]["version"] is None
        assert held[2]["item"] is None
        assert office.index.documents == documents
        assert office.waiting == [BATCH]

    def test_an_answer_that_is_too_large_is_asked_for_in_halves(self, office: PostOffice) -> None:
        def small(event: Mapping[str, Any]) -> Any:
            if len(event["Records"]) > 1:
                return InvocationFailed("too large", RESPONSE_TOO_LARGE)
            number_ = event["Records"][0]["eventID"]
            return {"batchItemFailures": [], "held": [{"position": 0, "item": number_}]}

        office.answers["search"] = small
        office.box.deliver(BATCH, given_up([placed(n, n) for n in range(1, 6)]))
        held = inspect(office)
        assert [(each["position"], int(each["item"], 16)) for each in held] == [
            (n, n + 1) for n in range(5)
        ]

    def test_as_much_is_asked_at_once_as_is_replayed(
        self, office: PostOffice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redrive_module, "MOST_RECORDS", 2)
        office.box.deliver(BATCH, given_up([placed(n, n) for n in range(1, 6)]))
        held = inspect(office)
        assert [(each["position"], each["item"]) for each in held] == [
            (n, item(n + 1)) for n in range(5)
        ]
        assert replays(office) == [["1", "2"], ["3", "4"], ["5"]]

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
    def test_a_function_that_cannot_say(self, office: PostOffice, said: Any, why: str) -> None:
        office.answers["search"] = said
        office.box.deliver(BATCH, given_up([placed(1, 1)]))
        with pytest.raises(InvocationFailed, match=why):
            inspect(office)


def inspect(office: PostOffice) -> Sequence[Mapping[str, Any]]:
    dead_letter = work(office).open(BATCH)
    assert isinstance(dead_letter, ReadableDeadLetter)
    return work(office).inspect(dead_letter)


P = ParamSpec("P")
T = TypeVar("T")


class ProcessKilled(BaseException):
    """The process is gone."""


class Ports:
    """Box and functions of an office, with something done before and after each call."""

    def __init__(self, office: PostOffice, at: Callable[[str], None]) -> None:
        self.office = office
        self.at = at

    def _call(self, name: str, method: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        self.at(f"before {name}")
        result = method(*arguments, **_)
        self.at(f"after {name}")
        return result

    def dead_letters(self) -> Iterator[StoredDeadLetter]:
        return iter(self.office.box.dead_letters())

    def read(self, key: str) -> bytes | None:
        return self._call("read", self.office.box.read, key)

    def holds(self, key: str) -> bool:
        return self._call("holds", self.office.box.holds, key)

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        return self._call("keep", self.office.box.keep, key, document)

    def archive(self, key: str) -> bool:
        return self._call("archive", self.office.box.archive, key)

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        return self._call("invoke", self.office.invoke, processor, event)

    def redrive(self) -> list[Result]:
        return list(Redrive(self, self, NAMES, self.office.clock).run(self.office.waiting))


def troubled() -> PostOffice:
    """Dead letters of every kind: batches with and without poison, singles, mended and not."""
    office = PostOffice()
    statuses = {1: "placed", 2: POISON, 3: "shipped", 4: POISON, 5: "placed", 6: "refunded"}
    for customer, status in statuses.items():
        office.write(customer, status)
    office.deliver(placed(1, 3, POISON))
    office.deliver(placed(2, 4, POISON))
    records = [placed(3, 1), placed(4, 2, POISON), placed(2, 4, POISON), placed(5, 5)]
    office.box.deliver(lambdas_key("mixed"), given_up(records))
    office.box.deliver(lambdas_key("good"), given_up([placed(6, 5), placed(7, 6, "refunded")]))
    office.box.deliver(lambdas_key("broken"), given_up([], payload=None))
    return office


def outcome(office: PostOffice) -> tuple[Any, ...]:
    versions = {found: doc["cdc"]["version"] for found, doc in office.index.documents.items()}
    return office.waiting, office.box.archived, office.indexed(), versions


def undisturbed() -> tuple[PostOffice, int]:
    """Return what a run leads to, and how often it calls a port, twice each."""
    office = troubled()
    calls: list[str] = []
    Ports(office, calls.append).redrive()
    return office, len(calls)


EXPECTED, CALLS = undisturbed()


def poison_is_kept(office: PostOffice) -> bool:
    """Whether the records that nobody can apply are in dead letters."""
    poison = {
        placed(4, 2)["dynamodb"]["SequenceNumber"],
        placed(2, 4)["dynamodb"]["SequenceNumber"],
    }
    return poison <= office.sequences_waiting


def test_an_undisturbed_run_leads_to_what_it_should() -> None:
    statuses = {
        result.key: result.status for result in Ports(troubled(), lambda call: None).redrive()
    }
    assert sorted(statuses.values()) == sorted(
        [
            RedriveStatus.UNREADABLE,
            RedriveStatus.SPLIT,
            RedriveStatus.ARCHIVED,
            RedriveStatus.ARCHIVED,
            RedriveStatus.KEPT,
        ]
    )
    assert EXPECTED.indexed() == {
        item(1): "placed",
        item(3): "shipped",
        item(5): "placed",
        item(6): "refunded",
    }
    assert poison_is_kept(EXPECTED)
    assert CALLS > 20


@pytest.mark.parametrize("point", range(CALLS))
def test_killed_at_any_moment_and_run_again(point: int) -> None:
    office = troubled()
    calls = itertools.count()

    def kill(call: str) -> None:
        if next(calls) == point:
            raise ProcessKilled(call)

    with pytest.raises(ProcessKilled):
        Ports(office, kill).redrive()
    assert poison_is_kept(office)
    run(office)
    assert outcome(office) == outcome(EXPECTED)


@pytest.mark.parametrize("point", range(CALLS))
def test_killed_at_any_moment_again_and_again(point: int) -> None:
    """Whoever dies after so many calls each time, gets one dead letter further at least."""
    office = troubled()
    for _ in range(40):
        calls = itertools.count()

        def kill(call: str, calls: Iterator[int] = calls) -> None:
            if next(calls) == point + 8:
                raise ProcessKilled(call)

        try:
            Ports(office, kill).redrive()
        except ProcessKilled:
            assert poison_is_kept(office)
    run(office)
    assert outcome(office) == outcome(EXPECTED)


@pytest.mark.parametrize("first", range(CALLS))
def test_two_at_once(first: int) -> None:
    """One stops at any call while another does all of its work; then the first goes on."""
    office = troubled()
    calls = itertools.count()
    others: list[Result] = []

    def meanwhile(call: str) -> None:
        if next(calls) == first:
            others.extend(run(office))
            assert poison_is_kept(office)

    own = Ports(office, meanwhile).redrive()
    assert outcome(office) == outcome(EXPECTED)
    assert not any(result.status is RedriveStatus.WAITING for result in own + others)


@pytest.mark.parametrize("first", range(0, CALLS, 3))
def test_two_at_once_of_whom_one_is_killed(first: int) -> None:
    """The other one dies after any number of calls, in the middle of the first one's work."""
    for second in range(CALLS):
        office = troubled()
        calls = itertools.count()

        def kill(call: str, calls: Iterator[int], point: int) -> None:
            if next(calls) == point:
                raise ProcessKilled(call)

        def meanwhile(call: str, calls: Iterator[int] = calls, second: int = second) -> None:
            if next(calls) == first:
                inner = itertools.count()
                other = Ports(office, lambda call: kill(call, inner, second))  # noqa: B023
                try:
                    other.redrive()
                except ProcessKilled:
                    assert poison_is_kept(office)  # noqa: B023

        Ports(office, meanwhile).redrive()
        run(office)
        assert outcome(office) == outcome(EXPECTED)


def test_dead_letters_in_any_order_lead_to_one_state() -> None:
    for keys in itertools.permutations(troubled().waiting):
        office = troubled()
        list(work(office).run(keys))
        run(office)
        assert outcome(office) == outcome(EXPECTED)


def test_functions_are_invoked_by_processor(office: PostOffice) -> None:
    office.box.deliver(BATCH, given_up([placed(1, 1)], "audit"))
    assert one(office).processor == "audit"
    assert [name for name, _ in office.invocations] == ["audit"]
    assert len(office.log.entries) == 1
    assert set(ARNS) == {"audit", "search"}
