"""Checks of processes, and waiting for events."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(happened: Callable[[], object]) -> None:
    assert wait_until(happened, seconds=60.0, every=0.02), "it did not happen in time"


def alive(pid: int) -> bool:
    """Whether a process that is not a zombie has this id."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")
