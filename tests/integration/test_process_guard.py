"""A guarded command ends with its starter, and leaves neither a process nor a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.services.process_guard import ProcessGuard
from tests.integration.processes import alive, eventually

ROOT = Path(__file__).parents[2]

# Writes its own id and a child's, then sleeps; both in one process group, as the emulator and its
# Lambda workers are. With "deaf" neither hears SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("ids.partial", "w") as ids:
    ids.write(f"{os.getpid()} {child.pid}")
os.rename("ids.partial", "ids")
time.sleep(600)
"""

STARTER = """
import sys
from pathlib import Path
from local.services.process_guard import ProcessGuard
folder = Path(sys.argv[1])
command = [sys.executable, "family.py"]
guard = ProcessGuard(command, folder=folder, log=folder / "log", environment={})
guard.start()
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "engine"
    made.mkdir()
    (made / "family.py").write_text(FAMILY)
    return made


def family(folder: Path) -> list[int]:
    ids = folder / "ids"
    eventually(ids.exists)
    return [int(pid) for pid in ids.read_text().split()]


def guarded(folder: Path, *command: str, grace: float = 10.0) -> ProcessGuard:
    return ProcessGuard(
        [sys.executable, *command],
        folder=folder,
        log=folder / "log",
        environment=os.environ,
        grace=grace,
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_death_of_the_starter_ends_all_processes(folder: Path, how: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with starter:
        pids = family(folder)
        assert all(alive(pid) for pid in pids)
        # To the starter's whole group, as a terminal or a job control does.
        os.killpg(starter.pid, how)
        starter.wait()
    eventually(lambda: not any(alive(pid) for pid in pids))
    eventually(lambda: not folder.exists())


def test_a_family_that_does_not_listen_is_killed(folder: Path) -> None:
    guard = guarded(folder, "family.py", "deaf", grace=0.3)
    guard.start()
    pids = family(folder)
    guard.close()
    assert not any(alive(pid) for pid in pids)
    assert not folder.exists()


def test_it_stops_and_starts_again_in_the_same_folder(folder: Path) -> None:
    guard = guarded(folder, "family.py")
    first = guard.start()
    pids = family(folder)
    guard.stop()
    assert guard.status() == -signal.SIGTERM
    assert not any(alive(pid) for pid in pids)
    (folder / "ids").unlink()

    second = guard.start()
    assert second != first
    assert guard.status() is None
    assert family(folder)[0] == second
    guard.kill()
    assert guard.status() == -signal.SIGKILL
    assert folder.exists()
    guard.close()
    assert not folder.exists()


def test_a_command_that_ends_is_reported_and_its_log_stays(folder: Path) -> None:
    guard = guarded(folder, "-c", "print('good bye'); raise SystemExit(7)")
    guard.start()
    eventually(lambda: guard.status() is not None)
    assert guard.status() == 7
    assert (folder / "log").read_text() == "good bye\n"
    guard.close()


def test_a_command_that_does_not_exist_is_reported(folder: Path) -> None:
    guard = ProcessGuard(["./nothing"], folder=folder, log=folder / "log", environment={})
    guard.start()
    eventually(lambda: guard.status() is not None)
    assert guard.status() == 127
    assert "nothing" in (folder / "log").read_text()
    guard.close()


def test_the_guard_exits_with_the_status_of_its_command(folder: Path) -> None:
    guard = [sys.executable, "-m", "local.services.process_guard", "--folder", str(folder), "--"]
    with subprocess.Popen(
        [*guard, sys.executable, "-c", "raise SystemExit(3)"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("start\n")
        assert process.stdout.readline().startswith("started ")
        assert process.stdout.readline() == "ended 3\n"
        assert folder.exists()
        process.stdin.close()
    assert process.returncode == 3
    assert not folder.exists()
