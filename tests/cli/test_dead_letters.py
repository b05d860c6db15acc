"""`cdc dead-letters list`: what waits, filtered, for people, pipes and programs."""

import io
import json
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.s3.models import s3_backends
from rich.console import Console

from dynamodb_streams_cdc.cli.dead_letters import in_short
from dynamodb_streams_cdc.cli.output import age
from dynamodb_streams_cdc.operations.selection import id_of, seconds_of
from tests.cli.conftest import BATCH, Cloud
from tests.fake_pipeline import POISON, bucket_of, given_up, item, lambdas_key, placed

ODD = "dead-letters/search/odd.json"


@pytest.fixture
def filled(cloud: Cloud) -> Cloud:
    """Two poisonous orders, a batch of Lambda's for each processor, and something broken."""
    cloud.pipeline.deliver(placed(1, 1, POISON), placed(2, 2, POISON))
    cloud.give_up(placed(3, 3), placed(4, 4))
    cloud.give_up(placed(5, 1), processor="audit", key=lambdas_key("log"))
    cloud.put("dead-letters/search/broken.json", b"{")
    return cloud


def listed(cloud: Cloud, *arguments: str) -> list[dict[str, Any]]:
    document = cloud.json("dead-letters", "list", *arguments)
    assert document["stack"] == "cdc-sandbox-pipeline"
    dead_letters: list[dict[str, Any]] = document["dead_letters"]
    return dead_letters


def test_json_has_all_fields(filled: Cloud) -> None:
    found = {dead_letter["key"]: dead_letter for dead_letter in listed(filled)}
    assert sorted(found) == filled.objects()
    batch = found[BATCH]
    assert batch["id"] == id_of(BATCH)
    assert (batch["processor"], batch["reason"]) == ("search", "RecordAgeExceeded")
    assert batch["error"] == "Unhandled"
    assert batch["items"] == [item(3), item(4)]
    assert batch["records"] == 2
    assert batch["age_seconds"] < 60
    assert batch["written_at"].startswith("20")
    assert batch["bytes"] == len(filled.pipeline.store.objects[BATCH])
    first = next(each for each in found.values() if each["items"] == [item(1)])
    assert first["key"].startswith(("dead-letters/search/", "aws/lambda/"))
    broken = found["dead-letters/search/broken.json"]
    assert "it is not JSON" in broken["problem"]
    assert (broken["processor"], broken["reason"]) == ("search", None)


def test_text_has_a_line_per_dead_letter(filled: Cloud) -> None:
    lines = filled.run("dead-letters", "list").stdout.splitlines()
    header, *rest = lines
    assert " ".join(header.split()) == "dead letter processor reason item age records key"
    [batch] = [line for line in rest if id_of(BATCH) in line]
    assert batch.split()[:3] == [id_of(BATCH), "search", "RecordAgeExceeded"]
    assert "2 items" in batch
    [poison] = [line for line in rest if item(2) in line]
    assert "ValueError" in poison
    assert any("dead-letters/search/broken.json is not a dead letter" in line for line in rest)
    assert lines[-1] == "5 dead letters, 5 records; 1 cannot be redriven as they are"


def test_pipes_get_whole_lines(filled: Cloud) -> None:
    output = filled.run("dead-letters", "list", env={"COLUMNS": "60"}).stdout
    for key in filled.objects():
        assert sum(key in line for line in output.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["dead-letters", "list"], ["redrive", "--dry-run"], ["dead-letters", "show", ODD]]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_control_characters_are_escaped(cloud: Cloud, arguments: list[str], as_json: bool) -> None:
    """And half a character is not a character: no stream takes it."""
    odd = "\x1b[2J\x9b2J\r\x00\u202e\u2066\u200f\U000e0041\ud800"
    dead_letter = given_up([placed(1, 1, customer_name=odd)])
    dead_letter["dead_letter"] = {"processor": "search", "item": f"i/S={odd}", "version": "v"}
    dead_letter["dead_letter"] |= {"reason": f"é {odd}", "error": odd}
    cloud.put(ODD, json.dumps(dead_letter).encode())
    cloud.put("dead-letters/search/other.json", f"{{ {odd[:-1]}".encode())
    result = cloud.run(*arguments, *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.output
    assert not {*odd} - {*"[2J"} & {*result.output}
    assert "é \\u001b[2J\\u009b2J" in result.output
    assert "\\u202e\\u2066\\u200f\\udb40\\udc41" in result.output
    if as_json:
        document = json.loads(result.stdout)
        assert f"é {odd}" in [
            each.get("reason") for each in document.get("dead_letters", [document])
        ]


def test_control_characters_in_messages_are_escaped(cloud: Cloud) -> None:
    cloud.put(ODD, b"\x1b[2J")
    result = cloud.run("dead-letters", "show", ODD)
    assert result.exit_code == 1
    assert "and begins: \\u001b[2J" in result.stderr


@pytest.mark.parametrize("markup", ["[bold]x[/nothing]", ":x:", "[red]"])
def test_markup_prints_literally(cloud: Cloud, markup: str) -> None:
    cloud.pipeline.deliver(placed(1, 1, POISON))
    [key] = cloud.pipeline.waiting
    body = cloud.pipeline.store.objects[key].replace(b"ValueError", markup.encode())
    cloud.put(key, body)
    cloud.notify(f"no pointer {markup}")
    for command in (
        ["dead-letters", "list"],
        ["dead-letters", "show", key],
        ["redrive", "--dry-run"],
        ["redrive", "--yes"],
        ["redrive", markup, "--yes"],
        ["history", f"customer_id={markup}", "order_id=7"],
        ["repair", markup],
        ["redrive", "--yes", "--processor", markup],
    ):
        output = cloud.run(*command).output.replace("%2F", "/")
        assert markup in output, command


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--processor", "audit"], 1),
        (["-p", "audit", "-p", "search"], 5),
        (["--reason", "valueerror"], 2),
        (["-r", "RecordAgeExceeded"], 2),
        (["--item", item(1)], 2),
        (["-i", "orders/S=00004"], 1),
        (["-i", "orders/S=0000"], 0),
        (["-i", "orders/"], 4),
        (["-r", "ValueError", "-i", item(1)], 1),
        (["--older-than", "0s"], 5),
        (["--older-than", "1h"], 0),
    ],
)
def test_filters(filled: Cloud, arguments: list[str], count: int) -> None:
    assert len(listed(filled, *arguments)) == count


def test_no_match_is_not_no_dead_letters(filled: Cloud) -> None:
    result = filled.run("dead-letters", "list", "--item", "orders/00001")
    assert (result.exit_code, result.stdout) == (0, "No dead letters that match the options.\n")


def test_the_oldest_come_first(filled: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 7200
    key = filled.objects()[0]
    clock = SimpleNamespace(time=lambda: later)
    monkeypatch.setattr("dynamodb_streams_cdc.operations.selection.time", clock)
    assert all(7190 < dead_letter["age_seconds"] < 7260 for dead_letter in listed(filled))
    assert len(listed(filled, "--older-than", "1h59m")) == 5
    stored = s3_backends[ACCOUNT]["aws"].get_object(bucket_of(key), key)
    assert stored is not None
    stored.last_modified += timedelta(seconds=1)
    assert listed(filled)[-1]["key"] == key


def test_archived_dead_letters_are_not_listed(cloud: Cloud) -> None:
    cloud.put(f"archive/{BATCH}", b"{}")
    result = cloud.run("dead-letters", "list")
    assert (result.exit_code, result.stdout) == (0, "No dead letters.\n")


def test_a_dead_letter_archived_meanwhile_is_skipped(filled: Cloud) -> None:
    def archived_meanwhile(operation: str, arguments: dict[str, Any]) -> None:
        if operation == "GetObject" and arguments["Key"] == BATCH:
            filled.client("s3").delete_object(Bucket=arguments["Bucket"], Key=BATCH)

    filled.fails = archived_meanwhile
    assert BATCH not in {dead_letter["key"] for dead_letter in listed(filled)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259_200), ("1w", 604_800), ("1d12h", 129_600)],
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "2h!", "2x", "٢h", "1.5h"])
def test_malformed_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h"),
        (200_000, "2d"),
        (-5, "0s"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_terminal_shows_ids_instead_of_keys() -> None:
    key = "dead-letters/search/x.json"
    for forced, shown in ((True, id_of(key)), (False, key)):
        console = Console(force_terminal=forced, file=io.StringIO())
        assert in_short(console, key, f"{key} is shut.") == f"{shown} is shut."
