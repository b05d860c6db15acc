"""What a run of the tests takes on a laptop, and in CI."""

import os

import pytest

SCHEDULES = os.environ.get("SCHEDULES", "")
"""`all`, as in CI, or nothing."""

long = pytest.mark.skipif(SCHEDULES != "all", reason="long: SCHEDULES=all runs it, as CI does")
"""Marks a test that takes as long as hundreds of others."""


def schedules(number: int) -> int:
    """Return the number in CI, and a fiftieth of it on a laptop."""
    return number if SCHEDULES == "all" else number // 50


def parts_of(number: int, *, most: int = 250) -> list[range]:
    """Return the seeds of so many schedules in ranges: one test of all would take minutes."""
    parts = max(1, number // most)
    return [range(part, number, parts) for part in range(parts)]
