"""Each mistake has a story among the 200 schedules, short enough to follow."""

import pytest

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake
from tools import mistakes


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_story_is_short_enough_to_follow(mistake: Mistake) -> None:
    told = mistakes.story(mistake)
    assert len(told) <= 40
    assert max(map(len, told)) <= 132
    assert told[-1].startswith("WRONG: ")


def test_each_mistake_has_its_story() -> None:
    assert list(mistakes.SEEDS) == [mistake.name for mistake in MISTAKES]
    assert max(mistakes.SEEDS.values()) < mistakes.SCHEDULES
