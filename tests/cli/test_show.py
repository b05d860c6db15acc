"""`cdc dead-letters show`: one dead letter, and what its sink holds of the same items."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.selection import id_of
from tests.cli.conftest import BATCH, Cloud, refuse
from tests.factories import LABEL, order, record
from tests.fake_pipeline import ARNS, POISON, given_up, item, number, placed


def version(sequence: int) -> str:
    return f"0001/{LABEL}/{f'{sequence}00000000003126276362':0>40}"


@pytest.fixture
def poisoned(cloud: Cloud) -> str:
    """The key of a dead letter whose item the sink has in an older version."""
    cloud.pipeline.deliver(placed(1, 1))
    changed = order(number(1), status=POISON, blob=b"\x00\x01", tags={"b", "a"})
    cloud.pipeline.deliver(record(2, order(number(1)), changed))
    cloud.post()
    [key] = cloud.objects()
    return key


def shown(cloud: Cloud, name: str) -> dict[str, Any]:
    return cloud.json("dead-letters", "show", name)


def test_payload_reason_and_state_of_the_sink(cloud: Cloud, poisoned: str) -> None:
    result = cloud.run("dead-letters", "show", poisoned)
    assert result.exit_code == 0
    text = result.stdout
    for part in (
        poisoned,
        id_of(poisoned),
        "ValueError",
        "poison cannot be indexed",
        ARNS["search"],
        f"record 1 of 1: MODIFY of {item(1)}, version {version(2)}",
        '"status": "poison"',
        '"blob": "AAE="',
        '"total": "29.33"',
        f"The sink holds an older version, {version(1)}:",
        '"status": "placed"',
    ):
        assert part in text
    assert cloud.objects() == [poisoned]


def test_a_long_value_is_cut_on_the_screen_alone(cloud: Cloud) -> None:
    long = "x" * 40_000
    cloud.pipeline.deliver(record(2, None, order(number(1), status=POISON, note=long)))
    cloud.post()
    [key] = cloud.objects()
    text = cloud.run("dead-letters", "show", key).stdout
    assert "xxx ... 39,0" in text
    assert len(text) < 5_000
    assert shown(cloud, key)["records"][0]["dynamodb"]["NewImage"]["note"] == {"S": long}


def test_json_has_all_fields(cloud: Cloud, poisoned: str) -> None:
    document = shown(cloud, poisoned)
    assert document["key"] == poisoned
    assert document["dead_letter"]["dead_letter"]["version"] == version(2)
    assert "payload" not in document["dead_letter"]
    [each] = document["records"]
    assert each["dynamodb"]["NewImage"]["tags"] == {"SS": ["a", "b"]}
    [held] = document["held"]
    assert (held["version"], held["offered"]) == (version(1), version(2))
    assert held["state"]["status"] == "placed"
    assert document["held_unknown"] is None


def test_a_dead_letter_by_its_id(cloud: Cloud, poisoned: str) -> None:
    for length in (4, 10):
        assert shown(cloud, id_of(poisoned)[:length])["key"] == poisoned


def test_an_ambiguous_id_is_refused(cloud: Cloud) -> None:
    ids: dict[str, str] = {}
    for count in range(10_000):
        key = f"dead-letters/search/{count}"
        if other := ids.get(id_of(key)[:4]):
            break
        ids[id_of(key)[:4]] = key
    for each in (key, other):
        cloud.put(each or "", json.dumps(given_up([placed(1, 1)])).encode())
    result = cloud.run("dead-letters", "show", id_of(key)[:4])
    assert result.exit_code == 1
    assert result.stderr.startswith("2 dead letters have an ID ")
    assert shown(cloud, id_of(key))["key"] == key


@pytest.mark.parametrize("name", ["deadbeef", "abc", "dead-letters/search/none", "no such thing"])
def test_an_id_that_does_not_exist(cloud: Cloud, poisoned: str, name: str) -> None:
    result = cloud.run("dead-letters", "show", name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"There is no dead letter {name}: give four digits of its ID or more" in result.stderr


def test_an_archived_dead_letter_by_its_key(cloud: Cloud, poisoned: str) -> None:
    cloud.put(f"archive/{poisoned}", cloud.pipeline.store.objects[poisoned])
    assert shown(cloud, f"archive/{poisoned}")["key"] == f"archive/{poisoned}"


@pytest.mark.parametrize(
    ("customer", "sequence", "said"),
    [
        (1, 1, "The sink holds this very version:"),
        (2, 5, "The sink holds nothing of it."),
    ],
)
def test_the_versions_are_compared(
    cloud: Cloud, poisoned: str, customer: int, sequence: int, said: str
) -> None:
    cloud.give_up(placed(sequence, customer))
    assert said in cloud.run("dead-letters", "show", BATCH).stdout


def test_a_stale_dead_letter_is_reported(cloud: Cloud) -> None:
    cloud.pipeline.deliver(record(7, order(number(1)), order(number(1), status="shipped")))
    cloud.give_up(placed(1, 1))
    said = f"The sink holds a newer version, {version(7)}; replaying the record changes nothing:"
    assert said in cloud.run("dead-letters", "show", BATCH).stdout


def test_an_unreadable_record_is_shown_whole(cloud: Cloud) -> None:
    cloud.pipeline.deliver({"eventName": "INSERT", "dynamodb": {"Keys": {"x": {"Q": 1}}}})
    cloud.post()
    text = cloud.run("dead-letters", "show", cloud.objects()[0]).stdout
    assert "record 1 of 1: INSERT of an unreadable item" in text
    assert '"Q": 1' in text
    assert "The function cannot read the record" in text


class TestTheLog:
    """The function that writes the change log cannot read it: `cdc` reads it itself."""

    @pytest.fixture
    def lost(self, cloud: Cloud) -> Cloud:
        cloud.give_up(placed(1, 1), placed(2, 2), processor="audit")
        entry = {"item": {"S": item(1)}, "version": {"S": version(1)}, "kind": {"S": "INSERT"}}
        cloud.client("dynamodb").put_item(TableName="change-log-3c4d", Item=entry)
        return cloud

    def test_is_read_for_each_record(self, lost: Cloud) -> None:
        first, second = shown(lost, BATCH)["held"]
        assert (first["version"], first["state"]["kind"]) == (version(1), "INSERT")
        assert (second["version"], second["state"]) == (None, None)
        text = lost.run("dead-letters", "show", BATCH).stdout
        assert "The change log holds this very version:" in text
        assert "The change log holds nothing of it." in text

    def test_a_missing_permission_is_named(self, lost: Cloud) -> None:
        lost.fails = refuse("GetItem", "AccessDeniedException")
        result = lost.run("dead-letters", "show", BATCH)
        assert result.exit_code == 1
        assert "may not do dynamodb:GetItem on table change-log-3c4d" in result.stderr

    def test_tells_nothing_of_another_sink(self, lost: Cloud) -> None:
        for each in lost.manifest["processors"]:
            each["sink"] = "board"
        text = lost.run("dead-letters", "show", BATCH).stdout
        assert "The state of the sink is not known: its function cannot read it." in text
        assert "The change log holds" not in text

    def test_is_not_needed(self, lost: Cloud) -> None:
        del lost.manifest["tables"]["change_log"]
        text = lost.run("dead-letters", "show", BATCH).stdout
        assert "The state of the sink is not known: its function cannot read it." in text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (InvocationFailed("KeyError: 'SINK'", "KeyError"), "KeyError: 'SINK'"),
        ({"batchItemFailures": []}, "does not know the operation inspect"),
    ],
)
def test_an_unknown_state_is_explained(cloud: Cloud, poisoned: str, said: Any, why: str) -> None:
    cloud.pipeline.answers["search"] = said
    result = cloud.run("dead-letters", "show", poisoned)
    assert result.exit_code == 0
    assert '"status": "poison"' in result.stdout
    [line] = [line for line in result.stdout.splitlines() if "is not known" in line]
    assert why in line
    assert shown(cloud, poisoned)["held"] == []
    assert why in shown(cloud, poisoned)["held_unknown"]


def test_a_large_batch_is_cut_in_text_only(cloud: Cloud) -> None:
    cloud.give_up(*(placed(n, n) for n in range(1, 24)))
    text = cloud.run("dead-letters", "show", BATCH).stdout
    assert "record 20 of 23" in text
    assert "record 21 of 23" not in text
    assert "3 more records: --json shows them all." in text
    assert len(shown(cloud, BATCH)["records"]) == 23


def test_an_unreadable_object_shows_its_beginning(cloud: Cloud) -> None:
    cloud.put("dead-letters/search/x.json", b"<html>\xff" + b"x" * 1000)
    result = cloud.run("dead-letters", "show", "dead-letters/search/x.json")
    assert result.exit_code == 1
    assert "dead-letters/search/x.json is not a dead letter" in result.stderr
    assert "It has 1,007 bytes and begins: <html>" in result.stderr
    assert len(result.stderr) < 1000


@pytest.mark.parametrize("levels", [200, 400, 480, 485, 490, 5000])
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_deeply_nested_dead_letter(cloud: Cloud, levels: int, option: list[str]) -> None:
    deep = '{"L":[' * levels + '{"S":"leaf"}' + "]}" * levels
    dead_letter = json.dumps({**given_up([placed(1, 1)]), "payload": "PAYLOAD"})
    payload = json.dumps('{"Records":[{"dynamodb":{"NewImage":{"where":' + deep + "}}}]}")
    body = dead_letter.replace('"PAYLOAD"', payload)
    cloud.put(BATCH, body.encode())
    result = cloud.run("dead-letters", "show", BATCH, *option)
    assert not isinstance(result.exception, RecursionError)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "nested deeper than" in result.output or "recursion depth" in result.output
