"""What all tests share."""

import signal

import pytest

# Contracts are not test modules: have their assertions explained all the same.
pytest.register_assert_rewrite("tests.contracts")

# A run that was started in the background ignores SIGINT, and so would every process that it
# starts: tests that press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
