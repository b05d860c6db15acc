"""The world of the erasure's tests."""

import pytest

from tests.unit.erasure.world import World


@pytest.fixture
def world() -> World:
    return World()
