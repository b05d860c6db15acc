"""The tables of the reference are complete, and their examples work."""

import json
import re
from pathlib import Path

import pytest

from stacks.environments import DEFAULTS, GROUPS, SETTINGS, load
from tools import limits_page, settings_page

ROOT = Path(__file__).parents[2]
REQUIRED = {
    "sandbox": {},
    "production": {"alarm_email": "on-call@example.com"},
    "local": {"search_url": "http://127.0.0.1:9250"},
}


def test_every_setting_of_an_environment_is_described() -> None:
    described = [name for group in GROUPS for name in settings_page.attributes(group)]
    assert described == list(SETTINGS)


# Settings that an example needs in addition.
TOGETHER = {
    "search_domain_arn": {"search_url": "https://search.example.com"},
    "profile": {"environment": "staging"},
    **{
        setting: {
            "vpc_id": "vpc-0123456789abcdef0",
            "subnet_ids": ",".join(f"subnet-0123456789abcde{i:02}" for i in range(3)),
            "security_group_ids": "sg-0123456789abcdef0",
        }
        for setting in ("vpc_id", "security_group_ids", "route_table_ids")
    },
    "subnet_ids": {
        "vpc_id": "vpc-0123456789abcdef0",
        "security_group_ids": "sg-0123456789abcdef0",
        "search_zones": "1",
    },
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_example_of_a_setting_is_accepted(setting: str) -> None:
    [group] = [each for each in GROUPS if setting in each.model_fields]
    example = settings_page.attributes(group)[setting]["Example"].strip("`")
    context = {"environment": "production", **TOGETHER.get(setting, {}), setting: example}
    receivers = {"alarm_email", "alarm_topic_arn", "alarms"}
    if setting not in receivers:
        context["alarms"] = "none"
    value = getattr(load(context), setting)
    if setting == "source_tables":
        assert value["orders"].model_dump(exclude_defaults=True) == json.loads(example)["orders"]
    else:
        found = ",".join(value) if isinstance(value, tuple) else str(value)
        assert found.lower() == example.lower()


@pytest.mark.parametrize("environment", DEFAULTS)
def test_the_defaults_shown_are_those_of_synth(environment: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|(?:[^|]*\|){3}(.+)\|$", _section("environment"), re.M)
    assert {name for name, _ in rows} == set(SETTINGS)
    column = list(DEFAULTS).index(environment)
    loaded = load({"environment": environment, **REQUIRED[environment]})
    for name, values in rows:
        if name not in REQUIRED[environment]:
            value = getattr(loaded, name)
            shown = "none" if value in (None, (), "") else f"`{str(value).lower()}`"
            assert values.split("|")[column].strip().lower() == shown, name


def _section(title: str) -> str:
    page = settings_page.page()
    return next(part for part in page.split("\n## ") if title in part.partition("\n")[0])


def test_every_variable_of_a_function_is_described() -> None:
    for model in settings_page.FUNCTIONS:
        own = [name for name in model.model_fields if name in model.__annotations__]
        assert list(settings_page.attributes(model)) == own, model


def test_the_settings_of_every_function_are_shown() -> None:
    shown = {model.__module__ for model in settings_page.FUNCTIONS}
    there = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "lambdas").rglob("settings.py")
    }
    assert there == shown


def test_every_variable_of_make_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text()
    taken = set(" ".join(re.findall(r"^TAKES_\S+ := (.+)$", makefile, re.M)).split())
    described = set(re.findall(r"^# ([A-Z_]+): .+ Example: `", makefile, re.M))
    assert described == taken | {"PYTHON"}


def test_limits_of_the_library_are_listed() -> None:
    page = limits_page.page()
    for row in (
        "| `RESERVE_SECONDS` | 12 | seconds | ",
        "| `YOUNG_SECONDS` | 900 | seconds | ",
        "| `TOMBSTONE_SECONDS` | 604,800 | seconds | ",
        "| `MAX_ITEM_ID_BYTES` | 512 | bytes | ",
        "| `BATCH_STATEMENTS` | 25 | statements | ",
    ):
        assert row in page
    assert re.search(r"`BATCH_STATEMENTS`.*\(https://docs\.aws\.amazon\.com/\S+\) \|", page)
