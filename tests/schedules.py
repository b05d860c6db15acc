"""The number of the simulation's schedules that a run of the tests takes."""

import os

SCHEDULES = os.environ.get("SCHEDULES", "")
"""`all`, as in CI, or nothing."""
SHARE = {"all": 1, "": 10}.get(SCHEDULES)


def schedules(number: int) -> int:
    """Return the number in CI, and a tenth of it on a laptop."""
    if SHARE is None:
        message = f"SCHEDULES={SCHEDULES}: say all, or leave it out"
        raise ValueError(message)
    return number // SHARE
