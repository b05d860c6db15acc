"""The kit as a pytest fixture.

Name this module in a conftest.py or a test module:

    pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

It is not an entry point, so that no other test run of the same environment has to import it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dynamodb_streams_cdc.testing.lab import Lab


@pytest.fixture
def stream_lab() -> Iterator[Callable[..., Lab]]:
    """Return a function that makes a `Lab`; a test that fails prints its timeline."""
    labs: list[Lab] = []

    def make(*args: Any, **options: Any) -> Lab:
        labs.append(Lab(*args, **options))
        return labs[-1]

    yield make
    for lab in labs:
        print(lab.timeline, end="\n\n")  # pytest shows it if the test has failed
