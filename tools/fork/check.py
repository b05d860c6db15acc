"""Make a fork with another domain in a temporary folder, and run a team's commands there.

    python -m tools.fork.check [--keep]

It copies the tree, replaces lambdas/domain and the environments in cdk.json, as docs/how-to/fork.md
says, and runs what depends on them: lint, tests, the templates of three environments with their
checks, a demo. Nothing else of the copy is edited, and nothing else may have changed at the end.
A second fork, with two tables and settings of an account, runs the tests of commands and of pages.
Both have the packages that `make setup` installed here: no fork installs others.

The exit status is 0 only if all are green. `--keep` leaves the folders, and says where they are.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from local.deployed.deployment import QUALIFIER_KEY

ROOT = Path(__file__).parents[2]
DOMAIN = Path("lambdas/domain")
EDITED = (f"{DOMAIN}/", "cdk.json")
"""All that a fork edits."""

ENVIRONMENTS: Mapping[str, Mapping[str, object]] = {
    "sandbox": {"index_prefix": "climate-"},
    "staging": {"profile": "production", "alarms": "none"},
    "production": {"alarm_email": "climate@example.com"},
}
OF_AN_ACCOUNT: Mapping[str, object] = {
    "prefix": "hotel",
    QUALIFIER_KEY: "hotel",
    "environments": {
        "sandbox": {
            "search_url": "https://search-hotel-abc.eu-west-1.es.amazonaws.com",
            "index_prefix": "dev-",
        },
        "production": {"alarm_topic_arn": "arn:aws:sns:eu-west-1:123456789012:on-call"},
        "local": {},
    },
}
"""The context of the second fork, in addition to the CDK's own keys."""

INSTALLED = (".venv", "node_modules", ".jgo", "build/dependencies")
"""What `make setup` installs."""

SAME_IN_A_FORK = (
    *("cli", "example_domain", "exercises"),
    *("unit/erasure", "unit/esm", "unit/playground", "unit/simulation", "unit/testing"),
)
"""Folders of tests that are left out: they read neither lambdas/domain nor cdk.json."""

OF_THE_LIBRARY = re.compile(
    r"(?!.*\b(benchmarks|cdk\.json|lambdas|local|stacks|tools)\b)", re.DOTALL
)
"""Unit tests that are left out as well: they name nothing that reads these."""

TARGETS = (
    *(("lint",), ("lint-templates",)),
    *(("synth", f"ENVIRONMENT={name}") for name in ENVIRONMENTS),
    ("demo", "LIMIT=60"),
)
"""Targets of make, next to `test`: one often waits.

`make docs` is left out: it builds the site from the pages that the tests compare.
"""

OF_THE_SECOND = (
    *("tests/tools/test_account*.py", "tests/docs/test_fork.py", "tests/docs/test_pages.py"),
)
"""Tests of commands that read lambdas/domain and cdk.json, and of pages that show them."""


def make_fork(folder: Path, domain: str, context: Mapping[str, object]) -> None:
    """Copy the tree of this repository into a folder, with another domain and context."""
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
    shutil.copytree(Path(__file__).parent / domain, folder / DOMAIN, ignore=ignored)
    settings = json.loads((folder / "cdk.json").read_text())
    settings["context"] = {**needed(settings["context"]), **context}
    (folder / "cdk.json").write_text(json.dumps(settings, indent=2) + "\n")
    _commit(folder, "Our domain")
    for name in INSTALLED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(ROOT / name)


def needed(context: Mapping[str, object]) -> dict[str, object]:
    """Return what the CDK needs of a context: no settings of the tree's own environments."""
    return {
        key: value
        for key, value in context.items()
        if key.startswith("@aws-cdk/") or key == "cli-telemetry"
    }


def changed(folder: Path) -> list[str]:
    """Return the paths that differ from upstream, committed or not."""
    _git(folder, "add", "--all")
    return _git(folder, "diff", "--cached", "--name-only", "HEAD~1").split()


def run(folder: Path, target: Sequence[str]) -> bool:
    """Run a make target in the fork, and show its output if it fails."""
    units = (ROOT / "tests" / "unit").glob("test_*.py")
    left_out = (
        *(f"tests/{each}" for each in SAME_IN_A_FORK),
        *(f"tests/unit/{each.name}" for each in units if OF_THE_LIBRARY.match(each.read_text())),
    )
    options = " ".join(f"--ignore={each}" for each in left_out)
    # A fork that installed would do so into this repository, by its links.
    command = ["make", "--old-file=.venv/.ready", *target]
    return _run(folder, command, f"make {' '.join(target)}", PYTEST_ADDOPTS=options)


def run_second(folder: Path) -> bool:
    """Run tests in the second fork."""
    tests = [str(path) for pattern in OF_THE_SECOND for path in sorted(folder.glob(pattern))]
    command = [str(folder / ".venv/bin/pytest"), "--quiet", *tests]
    return _run(folder, command, f"pytest {' '.join(OF_THE_SECOND)} in {folder.name}")


def _run(folder: Path, command: Sequence[str], what: str, **variables: str) -> bool:
    started = time.monotonic()
    # The make that runs this one would pass its own options and variables on.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    } | {"PYTHONPATH": str(folder / "src")}  # .venv imports the library of this repository
    done = subprocess.run(
        command, cwd=folder, env=inherited | variables, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    verdict = "green" if done.returncode == 0 else "RED"
    print(f"{verdict:5}  {seconds:4.0f} s  {what}", flush=True)
    if done.returncode != 0:
        print((done.stdout + done.stderr)[-8000:], flush=True)
    return done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Make two forks and check them; return the exit status."""
    if set(arguments) - {"--keep"}:
        print(__doc__)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the folders would be left
    parent = Path(tempfile.mkdtemp(prefix="cdc-fork-"))
    folder, second = parent / "climate", parent / "two-tables"
    try:
        make_fork(folder, "domain", {"environments": {**ENVIRONMENTS, "local": {}}})
        make_fork(second, "two_tables", OF_AN_ACCOUNT)
        if (types := ROOT / ".mypy_cache").is_dir():
            # Most modules are the same: reading their types again takes half a minute.
            shutil.copytree(types, folder / types.name)
        green = _in_lanes(folder, second)
        others = [path for path in changed(folder) if not path.startswith(EDITED)]
        for path in others:
            print(f"RED    {path} changed: a fork edits {' and '.join(EDITED)} alone")
    finally:
        if "--keep" in arguments:
            print(f"The forks are in {parent}")
        else:
            shutil.rmtree(parent, ignore_errors=True)
    return 0 if green and not others else 1


def _in_lanes(folder: Path, second: Path) -> bool:
    interrupted = Event()

    def lane(steps: Sequence[Callable[[], bool]]) -> bool:
        return all([not interrupted.is_set() and step() for step in steps])

    alone = [partial(run, folder, command) for command in TARGETS]
    tests = [partial(run, folder, ("test",)), partial(run_second, second)]
    with ThreadPoolExecutor(2) as lanes:
        try:
            return all([*lanes.map(lane, (alone, tests))])
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
