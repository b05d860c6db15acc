"""Make a fork with another domain in a temporary folder, and run everything there.

    python -m tools.fork.check [--keep]

It copies the tree, replaces lambdas/domain and the environments in cdk.json, as docs/how-to/fork.md
says, and runs what a team runs: setup, lint, tests, synth of three environments, the docs, a demo.
Nothing else of the copy is edited, and nothing else may have changed at the end.

The exit status is 0 only if all are green. `--keep` leaves the folder, and says where it is.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

ROOT = Path(__file__).parents[2]
DOMAIN = Path("lambdas/domain")
EDITED = (f"{DOMAIN}/", "cdk.json")
"""All that a fork edits."""

ENVIRONMENTS: Mapping[str, Mapping[str, object]] = {
    "sandbox": {"index_prefix": "climate-"},
    "staging": {"profile": "production", "alarms": "none"},
    "production": {"alarm_email": "climate@example.com"},
}

LANES: Sequence[Sequence[Sequence[str]]] = (
    (
        ("lint",),
        *(("synth", f"ENVIRONMENT={name}") for name in ENVIRONMENTS),
        ("docs",),
        ("demo", "LIMIT=60"),
    ),
    (("test",),),
)
"""Targets of make, after `setup`. The lanes run at the same time: one often waits."""


def make_fork(folder: Path) -> None:
    """Copy the tree of this repository into a folder, and put another domain into it."""
    listed = _git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    _git(folder, "init", "--quiet")
    _commit(folder, "Upstream")
    shutil.rmtree(folder / DOMAIN)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).parent / "domain", folder / DOMAIN, ignore=ignored)
    settings = json.loads((folder / "cdk.json").read_text())
    settings["context"]["environments"] = {**ENVIRONMENTS, "local": {}}
    (folder / "cdk.json").write_text(json.dumps(settings, indent=2) + "\n")
    _commit(folder, "Our domain")


def changed(folder: Path) -> list[str]:
    """Return the paths that differ from upstream, committed or not."""
    _git(folder, "add", "--all")
    return _git(folder, "diff", "--cached", "--name-only", "HEAD~1").split()


def run(folder: Path, command: Sequence[str]) -> bool:
    """Run a make target in the fork, and show its output if it fails."""
    started = time.monotonic()
    # The make that runs this one would pass its own options and variables on.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["make", *command], cwd=folder, env=inherited, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    verdict = "green" if done.returncode == 0 else "RED"
    print(f"{verdict:5}  {seconds:4.0f} s  make {' '.join(command)}", flush=True)
    if done.returncode != 0:
        print((done.stdout + done.stderr)[-8000:], flush=True)
    return done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Make a fork and check it; return the exit status."""
    if set(arguments) - {"--keep"}:
        print(__doc__)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="cdc-fork-"))
    try:
        make_fork(folder)
        if (types := ROOT / ".mypy_cache").is_dir():
            # Most modules are the same: reading their types again takes two minutes.
            shutil.copytree(types, folder / types.name)
        green = run(folder, ("setup",)) and _in_lanes(folder)
        others = [path for path in changed(folder) if not path.startswith(EDITED)]
        for path in others:
            print(f"RED    {path} changed: a fork edits {' and '.join(EDITED)} alone")
    finally:
        if "--keep" in arguments:
            print(f"The fork is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if green and not others else 1


def _in_lanes(folder: Path) -> bool:
    interrupted = Event()

    def lane(commands: Sequence[Sequence[str]]) -> bool:
        return all([not interrupted.is_set() and run(folder, command) for command in commands])

    with ThreadPoolExecutor(len(LANES)) as lanes:
        try:
            return all([*lanes.map(lane, LANES)])
        except KeyboardInterrupt:
            interrupted.set()  # the terminal ends the targets that run
            raise


def _commit(folder: Path, message: str) -> None:
    _git(folder, "add", "--all")
    author = ("-c", "user.name=Fork", "-c", "user.email=fork@example.com")
    _git(folder, *author, "commit", "--quiet", "--message", message)


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
