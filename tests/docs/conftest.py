"""What tests of the documents get: no network, and no log lines of failures that are meant."""

import logging
from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Let a test that opens a connection fail."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def silence() -> None:
    """Keep what the functions log of their failures to themselves."""
    logging.disable(logging.CRITICAL)
