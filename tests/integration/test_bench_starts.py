"""The functions that the cold starts are measured of answer, on the server with ready responses."""

import json

import pytest

from benchmarks.harness.records import changes
from benchmarks.suites.cold_start import MODULES, _start, answers
from lambdas.example_domain.stories.purchases import SAMPLE
from stacks.packaging import package

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", MODULES)
def test_a_function_starts_and_answers(name: str) -> None:
    event = json.dumps({"Records": changes(SAMPLE, 1)})
    with answers() as url:
        assert _start(event, url, [package("host")], MODULES[name]) > 0
