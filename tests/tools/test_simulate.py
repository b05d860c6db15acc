"""What `make simulate` prints, and how it ends."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing.memory import MemoryIndex
from dynamodb_streams_cdc.testing.simulation import generate
from local.waiting import wait_until
from tests.schedules import long
from tools import simulate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_a_version_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def upsert(index: MemoryIndex, upserts: list[Any], deadline: object) -> list[None]:
        index.documents |= {upsert.item_id: upsert.source for upsert in upserts}
        return [None] * len(upserts)

    monkeypatch.setattr(MemoryIndex, "upsert", upsert)


def test_a_seed_is_shown_with_its_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--seed", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 4"
    assert re.fullmatch(r"00:00:00\.000  table +has the stream 2024-05-01T12:00:00\.000", lines[1])
    assert lines[-1] == "Every copy is right."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--schedules=abc"], "N=abc: expected a whole number of at least 1"),
        (["--schedules=0"], "N=0: expected a whole number of at least 1"),
        (["--seed=1.5"], "SEED=1.5: expected a whole number"),
        (["--seed=5", "--schedules=3"], "choose one: SEED prints one schedule"),
    ],
)
def test_a_wrong_variable_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate.main(arguments) == 2
    first, usage = capsys.readouterr().out.splitlines()
    assert first.startswith(f"make simulate: {said}")
    assert usage.startswith("usage: make simulate [N=n | SEED=n]")


@pytest.mark.usefixtures("without_a_version_check")
def test_a_seed_that_fails_is_shown_and_then_its_shortest_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert simulate.main(["--seed", "11"]) == 1
    whole, _, shortest = capsys.readouterr().out.partition("Without what it takes no part of:")
    assert "\nWRONG: search: items/S=item-" in whole
    assert "\nWRONG: search: items/S=item-" in shortest
    assert len(shortest) < len(whole)


def test_many_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    summary = simulate.run_some(range(40), generate)
    lines = list(summary.lines(1.0))
    assert summary.schedules == 40
    assert lines[0] == "40 schedules in 1 s"
    assert len([line for line in lines if "%" in line]) == len(summary.struck)
    assert lines[-1] == "In every one of them each copy equals the table."


@pytest.mark.usefixtures("without_a_version_check")
def test_the_summary_names_the_seeds_that_failed() -> None:
    summary = simulate.run_some(range(10, 30), generate)
    lines = list(summary.lines(1.0))
    assert summary.failing
    listed = ", ".join(map(str, summary.failing))
    assert lines[-2] == f"WRONG in {len(summary.failing)}: seeds {listed}"
    assert lines[-1] == f"make simulate SEED={summary.failing[0]} shows what happened."


@long
def test_processes_share_the_work(capfd: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--schedules", "150", "--jobs", "2", "--first", "1000"]) == 0
    assert capfd.readouterr().out.startswith("150 schedules in ")


@pytest.fixture
def working() -> "subprocess.Popen[str]":
    """A long run whose workers have begun to work."""
    if not Path("/proc").exists():
        pytest.skip("/proc tells when the work has begun, and who is left")
    process = subprocess.Popen(
        [sys.executable, "tools/simulate.py", "--schedules", "100000", "--jobs", "2"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A run that was started in the background ignores SIGINT, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: _processor_seconds(process.pid) >= 1, seconds=30)
    return process


@long
def test_ctrl_c_stops_it_cleanly(working: "subprocess.Popen[str]") -> None:
    os.killpg(working.pid, signal.SIGINT)
    out, errors = working.communicate(timeout=30)
    assert (working.returncode, out, errors) == (130, "", "\nStopped.\n")


@long
def test_no_worker_outlives_a_run_that_is_killed(working: "subprocess.Popen[str]") -> None:
    children = Path(f"/proc/{working.pid}/task/{working.pid}/children").read_text().split()
    working.kill()
    working.communicate(timeout=60)
    wait_until(lambda: not any(map(_runs, children)), seconds=30)
    assert len(children) >= 2
    assert [child for child in children if _runs(child)] == []


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _processor_seconds(pid: int) -> float:
    """Return what the workers of a process have worked so far."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = [Path(f"/proc/{worker}/stat").read_text().split()[13] for worker in workers]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
