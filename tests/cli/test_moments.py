"""`cdc history --at` and `cdc diff`: an item at a moment, and between two."""

from typing import Any

import pytest

from dynamodb_streams_cdc.identity import floor_of
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from tests.cli.conftest import Cloud
from tests.cli.test_history import ITEM, KEYS, forget, logged  # noqa: F401 - a fixture
from tests.factories import LABEL, change, order

FIRST, SECOND, THIRD, LAST = (f"2024-05-01T12:00:0{second}Z" for second in range(1, 5))


def at(cloud: Cloud, moment: str, status: int = 0) -> dict[str, Any]:
    return cloud.json("history", *KEYS, "--at", moment, status=status)


def diff(cloud: Cloud, *options: str, status: int = 0) -> dict[str, Any]:
    return cloud.json("diff", *KEYS, *options, status=status)


@pytest.mark.parametrize(
    ("moment", "status", "changed_at"),
    [
        (FIRST, "placed", FIRST),
        ("2024-05-01T12:00:02.999Z", "shipped", SECOND),
        ("2024-05-01T14:00:03+02:00", "refunded", THIRD),
        (LAST, None, LAST),
        ("2024-05-02 00:00Z", None, LAST),
    ],
)
def test_the_item_at_a_moment(
    logged: Cloud,  # noqa: F811
    moment: str,
    status: str | None,
    changed_at: str,
) -> None:
    found = at(logged, moment)
    assert (found["item"], found["changed_at"], found["missing"]) == (ITEM, changed_at, [])
    assert (found["state"] and found["state"]["status"]) == status
    assert found["at"] == max(changed_at, "2024-05-02T00:00:00Z" if "02 00" in moment else "")


def test_text_shows_the_state_and_its_change(logged: Cloud) -> None:  # noqa: F811
    result = logged.run("history", *KEYS, "--at", THIRD)
    assert result.exit_code == 0
    head, *state = result.stdout.splitlines()
    assert head.startswith(
        f"{ITEM} at 2024-05-01 12:00:03Z: MODIFY of 2024-05-01 12:00:03Z by [red]clerk[/x], version"
    )
    assert '      "status": "refunded",' in state
    gone = logged.run("history", *KEYS, "--at", LAST)
    [line] = gone.stdout.splitlines()
    assert line.startswith(f"{ITEM} did not exist at 2024-05-01 12:00:04Z: REMOVE of 2024-05-01")


@pytest.mark.parametrize("command", [["history", "--at"], ["diff", "--from"]])
def test_a_moment_before_the_first_entry(logged: Cloud, command: list[str]) -> None:  # noqa: F811
    name, option = command
    result = logged.run(name, *KEYS, option, "2024-05-01T12:00:00Z")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"The change log knows {ITEM} from 2024-05-01 12:00:01Z on, and nothing of it at "
        "2024-05-01 12:00:00Z: choose a later time.\n"
    )


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        ("2024-05-01", "2024-05-01 is a day, not a moment: add a time, as in "),
        ("20240501", "20240501 is a day, not a moment"),
        ("2024-W18-3", "2024-W18-3 is a day, not a moment"),
        ("tuesday", "expected a time such as 2026-11-24T15:00:00Z, got 'tuesday'."),
        ("12:00", "expected a time such as"),
        ("2024-05-01T25:00Z", "expected a time such as"),
        ("0001-01-01T00:00+14:00", "expected a time such as"),
        ("9998-01-01T00:00Z", "9998-01-01 00:00:00Z is in the future"),
    ],
)
@pytest.mark.parametrize("command", [["history", "--at"], ["diff", "--from"], ["diff", "--to"]])
def test_a_time_that_is_none(
    logged: Cloud,  # noqa: F811
    command: list[str],
    moment: str,
    says: str,
) -> None:
    name, option = command
    others = ["--from", FIRST] if option == "--to" else []
    result = logged.run(name, *KEYS, *others, option, moment)
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"{option}: ")
    assert says in line
    assert "Query" not in logged.calls, "nothing is asked"


def test_a_time_without_a_zone_is_utc(logged: Cloud) -> None:  # noqa: F811
    result = logged.run("history", *KEYS, "--json", "--at", "2024-05-01T12:00:03")
    assert result.exit_code == 0
    assert '"status": "refunded"' in result.stdout
    assert result.stderr == (
        "--at: 2024-05-01T12:00:03 has no time zone, so it is read as UTC: 2024-05-01T12:00:03Z.\n"
    )
    assert logged.run("history", *KEYS, "--at", THIRD).stderr == ""


def test_differences_by_attribute(logged: Cloud) -> None:  # noqa: F811
    found = diff(logged, "--from", SECOND, "--to", THIRD)
    assert found["differences"] == [
        {"path": "status", "before": "shipped", "after": "refunded"},
        {"path": "updated_by", "before": "shop", "after": "[red]clerk[/x]"},
    ]
    assert (found["from"]["at"], found["to"]["at"], found["changes"]) == (SECOND, THIRD, 1)


def test_an_absent_value_has_no_name(logged: Cloud) -> None:  # noqa: F811
    found = diff(logged, "--from", FIRST, "--to", SECOND)["differences"]
    assert {"path": "blob", "before": "AQ=="} in found
    assert {"path": "tags", "before": ["a", "b"]} in found


def test_until_now_by_default(logged: Cloud) -> None:  # noqa: F811
    found = diff(logged, "--from", FIRST)
    assert found["to"]["state"] is None
    assert found["changes"] == 3
    assert {each["path"] for each in found["differences"]} >= {"status", "customer_id"}
    assert all("after" not in each for each in found["differences"])


def test_the_text_of_a_diff(logged: Cloud) -> None:  # noqa: F811
    lines = logged.run("diff", *KEYS, "--from", SECOND, "--to", THIRD).stdout.splitlines()
    assert lines[0].split() == ["attribute", "2024-05-01", "12:00:02Z", "2024-05-01", "12:00:03Z"]
    assert lines[1].split() == ["status", '"shipped"', '"refunded"']
    assert lines[-1] == f"{ITEM}: 2 differences, 1 change by [red]clerk[/x] (1)"
    gone = logged.run("diff", *KEYS, "--from", THIRD).stdout
    assert f"{ITEM} did not exist at " in gone
    assert "absent" in gone
    none = logged.run("diff", *KEYS, "--from", THIRD, "--to", THIRD)
    assert (none.exit_code, none.stdout) == (0, f"{ITEM}: 0 differences, 0 changes\n")


def test_moments_in_the_wrong_order(logged: Cloud) -> None:  # noqa: F811
    result = logged.run("diff", *KEYS, "--from", THIRD, "--to", SECOND)
    assert result.exit_code == 2
    assert result.stderr.startswith("--from 2024-05-01 12:00:03Z is later than --to 2024-05-01")


def test_a_gap_makes_a_state_uncertain(logged: Cloud) -> None:  # noqa: F811
    """Only the gap around the moment does: the entry before another moment is right."""
    forget(logged, 2)
    assert at(logged, SECOND, status=1)["missing"] == ["blob", "note", "status", "tags"]
    assert at(logged, THIRD)["missing"] == []
    result = logged.run("history", *KEYS, "--at", FIRST)
    assert result.exit_code == 1
    assert '"status": "placed"' in result.stdout
    assert result.stderr == (
        "The state at 2024-05-01 12:00:01Z is not certain: the change log lacks changes of blob, "
        "note, status, tags between 2024-05-01 12:00:01Z and 2024-05-01 12:00:03Z; "
        f"cdc redrive --item {ITEM} fills gaps.\n"
    )
    assert diff(logged, "--from", FIRST, "--to", THIRD, status=1)["changes"] == 1
    assert diff(logged, "--from", THIRD)["from"]["missing"] == []


def test_a_backfill_leaves_a_state_without_a_gap(logged: Cloud) -> None:  # noqa: F811
    """It holds the item as it was read, which no change has to begin with."""
    forget(logged, 1)
    entry = entry_of(change(1, None, order(status="read")))
    entry |= {"kind": {"S": "BACKFILL"}, "version": {"S": floor_of("0001", LABEL)}}
    logged.client("dynamodb").put_item(TableName="change-log-3c4d", Item=entry)
    found = at(logged, FIRST)
    assert (found["state"]["status"], found["missing"]) == ("read", [])
    assert at(logged, SECOND)["state"]["status"] == "shipped"
