"""Simulations fail on purpose, thousands of times: no one reads the log of that."""

import logging

import pytest


@pytest.fixture(autouse=True)
def silence() -> None:
    logging.disable(logging.CRITICAL)
