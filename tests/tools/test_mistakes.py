"""The stories in docs/mistakes are what the simulation tells today."""

import logging
import re

import pytest

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake
from tools import mistakes


@pytest.fixture(autouse=True)
def silence() -> None:
    logging.disable(logging.CRITICAL)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_story_is_up_to_date(mistake: Mistake) -> None:
    told = (mistakes.DIRECTORY / f"{mistake.name}.txt").read_text()
    found = re.search(r"^Schedule (\d+), cut down", told, re.MULTILINE)
    assert found
    assert mistakes.story(mistake, int(found[1])) == told, (
        "python tools/mistakes.py writes it again"
    )
    assert int(found[1]) < mistakes.SCHEDULES


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_story_is_short_enough_to_follow(mistake: Mistake) -> None:
    told = (mistakes.DIRECTORY / f"{mistake.name}.txt").read_text().splitlines()
    assert len(told) <= 50
    assert max(map(len, told)) <= 132
    assert told[-1].startswith("WRONG: ")


def test_each_mistake_has_its_story_and_nothing_else_is_there() -> None:
    names = {path.stem for path in mistakes.DIRECTORY.iterdir()}
    assert names == {mistake.name for mistake in MISTAKES}
