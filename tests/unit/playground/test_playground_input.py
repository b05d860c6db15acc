"""Any input of the page gets an answer, or one sentence about its line."""

import sys
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import ConfigurationError, MappingConfiguration
from dynamodb_streams_cdc.esm.configuration import NUMBERS
from dynamodb_streams_cdc.testing.simulation.schedule import EFFECTS
from tests.unit.playground.asked import ask, refused, run

HANDLER = "def handler(event, context):\n    pass\n"
WRITE = "0 put 0 group 1 amount 5\n"


def tried(handler: str, **rest: Any) -> dict[str, Any]:
    return {"handler": handler, "script": WRITE, **rest}


@pytest.mark.parametrize(
    ("code", "line", "told"),
    [
        ("def handler(event, context:\n    pass", 1, "SyntaxError"),
        ("x = 1\n", None, "no function named handler"),
        ("async def handler(event, context):\n    pass", 1, "without async"),
        ("def handler(event):\n    pass", 1, "two arguments"),
        ("\nhandler = 3\n", 2, "make it a function"),
        ("import numpy_of_no_one\n" + HANDLER, 1, "use the standard library"),
        ("\n1 / 0\n" + HANDLER, 2, "ZeroDivisionError"),
        ("store = 3\n" + HANDLER, 1, "a dictionary or an object with methods"),
        ("x" * 60_000, None, "at most 50,000"),
        ("\0", None, "null"),
    ],
)
def test_code_without_a_function_is_refused(code: str, line: int | None, told: str) -> None:
    error = refused(tried(code))
    assert told in error["message"]
    assert (error["part"], error["line"]) == ("handler", line)


def test_boto3_gets_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    error = refused(tried("import boto3\n" + HANDLER))
    assert "boto3 is not in the browser: use `store`" in error["message"]
    assert error["line"] == 1


def test_boto3_within_the_handler_gets_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    found = run(tried("def handler(event, context):\n    import boto3\n"))
    assert "boto3 is not in the browser" in found["advice"]
    assert found["error_lines"] == [2]


def test_a_returned_string_fails_the_batch() -> None:
    handler = "def handler(event, context):\n    return 'done'\n"
    settings = {
        "ReportBatchItemFailures": True,
        "MaximumRetryAttempts": 1,
        "OnFailure": "S3 bucket",
    }
    found = run(tried(handler, settings=settings))
    assert [call["outcome"] for call in found["calls"]][:2] == ["failed", "failed"]
    assert len(found["outcome"]["function"]["dead_letters"]) == 1


def test_a_megabyte_of_prints_is_cut() -> None:
    found = run(tried("def handler(event, context):\n    print('x' * 1_000_000)\n"))
    assert len(found["printed"]) < 21_000
    assert "980,001 characters more" in found["printed"]


def test_an_exit_ends_the_process_of_the_function_alone() -> None:
    found = run(
        tried(
            "import sys\ndef handler(event, context):\n    sys.exit(3)\n",
            settings={"MaximumRetryAttempts": 0},
        )
    )
    assert found["calls"][0]["outcome"] == "killed"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"BatchSize": 0}, "documented: 1 to 10000"),
        ({"BatchSize": "ten"}, "an integer from 1 to 10000"),
        ({"MaximumRecordAgeInSeconds": 5}, "-1, or 60 to 604800"),
        ({"Timeout": 901}, "whole seconds from 1 to 900"),
        ({"OnFailure": "a pigeon"}, "choose from none, S3 bucket, SQS queue"),
        ({"ReportBatchItemFailures": "yes"}, "true or false"),
        ({"BisectBatchOnFunctionError": 1}, "true or false"),
        ({"Colour": "red"}, "there is no setting Colour"),
        ({"TumblingWindowInSeconds": 5, "ParallelizationFactor": 2}, "only 1 is supported"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], told: str) -> None:
    error = refused(tried(HANDLER, settings=settings))
    assert told in error["message"]
    assert error["part"] == "settings"


@pytest.mark.parametrize(
    "code",
    ["raise SystemExit(3)", "def handler(event, context):\n    raise KeyboardInterrupt"],
)
def test_code_that_ends_the_process_is_answered(code: str) -> None:
    """The page waits for an answer, and would tell of a loop that never ends."""
    assert "the run failed" in refused(tried(code))["message"]


def test_a_state_that_is_not_in_json_is_answered() -> None:
    """Browsers read no NaN, and the page would wait for ever."""
    code = "def handler(event, context):\n    return {'state': float('nan')}\n"
    error = refused(tried(code, settings={"TumblingWindowInSeconds": 5}))
    assert "not JSON compliant" in error["message"]


def test_a_function_that_fills_nothing_lacks_what_was_there() -> None:
    found = run({"handler": HANDLER, "script": "existing 1\n"})
    assert found["lines"][-1]["text"].endswith("the function knows no backfill")
    assert ["item-0" in problem for problem in found["problems"]] == [True]


def test_a_reader_that_fails_is_named() -> None:
    error = refused(tried(HANDLER + "def read(store):\n    return store['no']\n"))
    assert (error["line"], "KeyError" in error["message"]) == (4, True)


def test_an_experiment_of_another_shape_is_refused() -> None:
    assert "there is no setting" in refused(tried(HANDLER, settings={"": 1}))["message"]
    assert refused({"handler": None, "script": None})["part"] == "schedule"


def test_a_search_of_too_many_schedules_is_refused() -> None:
    assert "from 1 to 2000" in refused(tried(HANDLER, schedules=5000), "search")["message"]


def test_a_copy_that_cannot_fail_is_refused() -> None:
    code = HANDLER + "def wanted(items):\n    return {}\n"
    assert "the check shows nothing" in refused(tried(code, schedules=5), "search")["message"]


def test_each_run_of_a_search_begins_with_a_new_module() -> None:
    code = """
seen = set()
store = {}

def handler(event, context):
    for record in event["Records"]:
        if record["eventID"] not in seen:
            store[record["dynamodb"]["Keys"]["id"]["S"]] = True
            seen.add(record["eventID"])

def wanted(items):
    return dict.fromkeys(items.history, True)
"""
    found = ask("search", tried(code, schedules=5))["ok"]
    assert not found["found"]


def test_a_delete_makes_no_item_of_amount_0() -> None:
    item = "def item(number, group, amount):\n    return {'id': str(1 // amount)}\n"
    script = "0 put 0 group 1 amount 1\n1 delete 0\n"
    assert run({"handler": HANDLER + item, "script": script})["problems"] == []


def test_a_search_keeps_windows_in_one_lane() -> None:
    code = HANDLER.replace("pass", "return {'state': {}}")
    settings = {"TumblingWindowInSeconds": 60}
    found = ask("search", tried(code, settings=settings, schedules=5))["ok"]
    assert found["settings"]["ParallelizationFactor"] == 1
    assert run({**tried(code), "settings": found["settings"], "script": found["script"]})


def test_the_test_of_the_three_sinks_is_refused() -> None:
    assert "choose a handler" in ask("test", {"consumer": "pipeline"})["error"]["message"]


def test_a_filter_keeps_records_from_the_function() -> None:
    found = run(tried(HANDLER, settings={"FilterCriteria": '{"eventName": ["REMOVE"]}'}))
    assert found["calls"] == []
    error = refused(tried(HANDLER, settings={"FilterCriteria": '{"eventName": "REMOVE"}'}))
    assert (error["part"], "FilterCriteria" in error["message"]) == ("settings", True)


def test_the_ranges_are_those_of_the_engine() -> None:
    controls = {each["name"]: each for each in ask("about", {})["ok"]["controls"]}
    for name, (_, low, high) in NUMBERS.items():
        assert (controls[name]["low"], controls[name]["high"]) == (low, high)
        with pytest.raises(ConfigurationError):
            MappingConfiguration.from_description(
                {"StartingPosition": "LATEST", name: controls[name]["high"] + 1}
            )
    assert controls["BatchSize"]["default"] == 100


def test_each_setting_fault_and_write_has_a_sentence() -> None:
    about = ask("about", {})["ok"]
    assert all(each["meaning"].endswith(".") for each in about["controls"])
    assert {each["kind"]: each["effect"] for each in about["faults"]} == EFFECTS
    assert all(each["effect"] for each in about["writes"])
