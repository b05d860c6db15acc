"""Contracts are not test modules: have their assertions explained all the same."""

import pytest

pytest.register_assert_rewrite("tests.contracts")
