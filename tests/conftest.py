"""What all tests share."""

import logging
import signal
from collections.abc import Iterator

import pytest

# Contracts are not test modules: have their assertions explained all the same.
pytest.register_assert_rewrite("tests.contracts")

# A run that was started in the background ignores SIGINT, and so would every process that it
# starts: tests that press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_comes_back() -> Iterator[None]:
    """Undo `logging.disable`, which commands call that tests call: it is the whole process's."""
    yield
    logging.disable(logging.NOTSET)
