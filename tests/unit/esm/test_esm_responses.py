"""What a function's answer means, shape by shape."""

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import Policies, Result, Verdict, classify
from dynamodb_streams_cdc.esm.responses import NOT_READ
from tests.unit.esm.driver import (
    DEAD_LETTERS,
    description,
    drive,
    failing,
    in_turn,
    raising,
    record,
    records,
    report,
    reporting,
    sequence,
)

BATCH = [sequence(number) for number in (1, 2, 3)]


def judge(response: object, policies: Policies | None = None) -> Verdict:
    return classify(response, BATCH, report_batch_item_failures=True, policies=policies)


def failures(*identifiers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}


@pytest.mark.parametrize("response", [failures(BATCH[0]), "done", [1], {"state": 1}, 7, None])
def test_rule_30_without_the_type_the_response_is_ignored(response: object) -> None:
    run = drive(description(), lambda event: response, records(3))

    assert run.batches == [[1, 2, 3]]
    assert run.saved[-1][1] == BATCH[2]


@pytest.mark.parametrize(
    "response", [[], None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, ""]
)
def test_rule_31_an_empty_answer_is_a_success(response: object) -> None:
    run = drive(reporting(MaximumRetryAttempts=3), lambda event: response, records(3))

    assert len(run.batches) == 1
    assert judge(response).result is Result.SUCCESS


def test_rule_31_a_wrong_key_is_a_silent_success() -> None:
    assert judge({"failures": [{"itemIdentifier": BATCH[0]}]}).result is Result.SUCCESS


@pytest.mark.parametrize(
    "response",
    [
        failures(""),
        failures(None),
        {"batchItemFailures": [{"foo": 123}]},
        {"batchItemFailures": [{"foo": None}]},
        failures(123),
        failures(sequence(9)),
        {"batchItemFailures": [BATCH[0]]},
        failures(BATCH[1], ""),
        failures(BATCH[1], sequence(9)),
    ],
)
def test_rule_32_an_unusable_identifier_fails_the_whole_batch(response: object) -> None:
    run = drive(
        reporting(MaximumRetryAttempts=3, **DEAD_LETTERS), lambda event: response, records(3)
    )

    assert judge(response).result is Result.REJECTED
    assert run.batches == [[1, 2, 3]] * 4
    assert run.documents[0]["requestContext"]["approximateInvokeCount"] == 4
    assert run.documents[0]["responseContext"]["functionError"] is None


def test_rule_32_an_earlier_identifier_fails_the_whole_batch() -> None:
    run = drive(reporting(BatchSize=2), in_turn(None, report(1), None), records(4))

    assert run.batches == [[1, 2], [3, 4], [3, 4]]


@pytest.mark.parametrize(
    "response",
    ["done", [BATCH[0]], 7, True, {"batchItemFailures": "none"}, {"batchItemFailures": {}}],
)
def test_rule_32_what_cannot_be_read_fails_the_whole_batch(response: object) -> None:
    assert judge(response).result is Result.REJECTED


def test_rule_33_the_lowest_reported_record_is_the_checkpoint() -> None:
    run = drive(reporting(), in_turn(report(3, 2), None), records(4))

    assert run.batches == [[1, 2, 3, 4], [2, 3, 4]]
    assert [place for _, place in run.saved] == [sequence(1), sequence(4)]


def test_rule_33_the_order_of_the_report_does_not_matter() -> None:
    assert judge(failures(BATCH[1], BATCH[2])).first_failed == 1
    assert judge(failures(BATCH[2], BATCH[1])).first_failed == 1


def test_rule_33_records_before_the_failure_are_not_repeated() -> None:
    run = drive(reporting(BatchSize=6, MaximumRetryAttempts=3), failing(6), records(6))

    assert [run.deliveries(number) for number in range(1, 6)] == [1, 1, 1, 1, 1]


def test_rule_33_sequence_numbers_compare_as_numbers() -> None:
    source = [record(number) for number in (8, 9, 10, 11)]
    run = drive(reporting(), in_turn(report(10, 9), None), source)

    assert run.batches == [[8, 9, 10, 11], [9, 10, 11]]


def test_rule_34_a_function_error_fails_the_whole_batch() -> None:
    run = drive(reporting(MaximumRetryAttempts=0, **DEAD_LETTERS), raising(), records(3))

    assert run.batches == [[1, 2, 3]]
    assert run.documents[0]["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }


@pytest.mark.parametrize("report", [True, False])
def test_rule_34_a_response_over_6_mb_is_a_function_error(report: bool) -> None:
    verdict = classify("x" * 7_000_000, BATCH, report_batch_item_failures=report)

    assert verdict.result is Result.ERROR
    assert verdict.function_error == "Unhandled"
    assert "7000002 bytes, at most 6291456" in verdict.reason


def test_rule_34_a_response_without_json_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert judge({"batchItemFailures": {1, 2}}).result is Result.ERROR
    assert judge(loop).result is Result.ERROR
    assert judge({"taken": Decimal("1.5"), "lost": Decimal("NaN")}).result is Result.SUCCESS


def test_rule_35_a_window_response_without_state_fails() -> None:
    def windowed(response: object) -> Verdict:
        return classify(response, BATCH, report_batch_item_failures=True, tumbling_window=True)

    without: list[object] = [None, {}, {"state": None}, failures(BATCH[1]), "", []]
    assert {windowed(response).result for response in without} == {Result.REJECTED}
    assert windowed({"state": {"sum": 3}}).state == {"sum": 3}
    assert windowed({"state": 1} | failures(BATCH[1])).first_failed == 1
    unreported = classify(
        {"state": 1} | failures(""), BATCH, report_batch_item_failures=False, tumbling_window=True
    )
    assert unreported.result is Result.SUCCESS


@pytest.mark.parametrize(
    ("response", "reason"), [(failures(BATCH[1]), NOT_READ), (failures(), ""), ({"done": 1}, "")]
)
def test_failures_that_a_mapping_does_not_read_are_told(response: object, reason: str) -> None:
    verdict = classify(response, BATCH, report_batch_item_failures=False)
    assert (verdict.result, verdict.reason) == (Result.SUCCESS, reason)


def test_policy_unknown_identifiers_may_count_for_nothing() -> None:
    lenient = Policies(unknown_identifier="ignore")

    assert judge(failures(sequence(9)), policies=lenient).result is Result.SUCCESS
    assert judge(failures(sequence(9), BATCH[2]), policies=lenient).first_failed == 2
    assert judge(failures(""), policies=lenient).result is Result.REJECTED


def test_policy_a_bad_entry_among_good_ones_may_be_passed_over() -> None:
    lenient = Policies(bad_entry="ignore")

    assert judge(failures("", BATCH[2]), policies=lenient).first_failed == 2
    assert judge(failures(""), policies=lenient).result is Result.REJECTED


def test_policy_an_unreadable_response_may_be_a_success() -> None:
    lenient = Policies(unreadable_response="success")

    assert judge("done", policies=lenient).result is Result.SUCCESS
    assert judge({"batchItemFailures": "none"}, policies=lenient).result is Result.SUCCESS


def test_a_verdict_says_why() -> None:
    assert judge(failures(BATCH[1])).reason == f"from {BATCH[1]} on"
    assert judge(failures("")).reason == '{"itemIdentifier": ""} names no record of this batch'
