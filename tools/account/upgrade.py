"""Deploy an earlier commit on this machine, then this tree over it under traffic, and verify.

    python -m tools.account.upgrade [COMMIT]

The rehearsal finds a table that the upgrade would replace, and stored data that this tree reads
differently. It cannot find what only AWS refuses: a value that another stack still imports (see
decision 20), a domain.

The earlier tree is taken from git into a temporary folder and deployed with its own packages. If
both trees have the same lock files, they share this virtual environment; otherwise the earlier one
gets its own.

Without a commit, it is the one of EARLIER. Where that cannot be rehearsed (a shallow clone, an
archive without git, a fork with another domain), the rehearsal is skipped, with a message.
"""

import argparse
import filecmp
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.entities import Table
from lambdas import example_domain
from local.console import DemoConsole
from local.declaration import TABLES
from local.deployed.deployment import deploy as deploy_to_emulator
from local.deployed.poller_process import TRACE, PollerProcess
from local.deployed.trace import TraceReader
from local.services import loopback
from local.waiting import wait_until
from local.workload.poison import Poison
from local.workload.stories import ItemStory
from local.workload.traffic import Writer, Written
from tools.account import inventory
from tools.account.identity import AccountError
from tools.account.places import Place, on_emulator
from tools.account.steps import exit_status, recover, sample_stories, with_poison

ROOT = Path(__file__).parents[2]

EARLIER = "b01e02bb8a5a1ec3a9f5b316c2357094e3cd6cce"
"""The commit of main that is upgraded from: the first one with today's names. It has the example
domain."""

SEED = 2
BEFORE, MEANWHILE = 100, 10_000
"""Stories before the upgrade, and at most while it is under way."""
AFTER = 50
"""Stories of every entity after the upgrade."""
PAUSE = 0.2
"""Seconds that each writer rests after a write, so that there is traffic and no flood."""
_LOCKS = ("requirements-dev.txt", "pyproject.toml")
_SHORT = 10  # digits of a commit
_STORES = ("AWS::DynamoDB::GlobalTable", "AWS::DynamoDB::Table", "AWS::S3::Bucket")
_IDLE_SECONDS = 10.0
_PATIENCE = 120.0


class SkippedError(Exception):
    """The rehearsal cannot run here; the message says why."""


@contextmanager
def earlier_tree(commit: str, root: Path = ROOT) -> Iterator[Path]:
    """Folder with the files of a commit, removed on exit.

    Raises:
        SkippedError: git or the commit is not here.
        AccountError: the tree of the commit is the current one.
    """
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        message = (
            f"Skipped: commit {commit} is not in this clone. "
            "Fetch it (`git fetch --unshallow`) and run it again."
        )
        raise SkippedError(message)
    if _is_current(root, commit):
        message = (
            f"Commit {commit} has the files of this tree, so nothing would be upgraded: choose an "
            "earlier one, as COMMIT=..."
        )
        raise AccountError(message)
    archive = _git(root, "archive", commit)
    assert archive is not None, "git has the commit and cannot archive it"
    with tempfile.TemporaryDirectory(prefix="cdc-earlier-") as name:
        folder = Path(name).resolve()
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            # Python before 3.11.4 has no such filter, and would refuse the argument.
            files.extraction_filter = getattr(tarfile, "data_filter", None)
            files.extractall(folder)
        yield folder


def _is_current(root: Path, commit: str) -> bool:
    """Return whether a commit has the working tree's files, apart from those unknown to git."""
    return _git(root, "diff", "--name-only", commit) == b""


def earlier_commit(tables: Sequence[Table]) -> str:
    """Return the commit that is upgraded from if none is given.

    Raises:
        SkippedError: the tables are a fork's.
    """
    if tables != example_domain.TABLES:
        message = (
            f"Skipped: commit {EARLIER[:_SHORT]} has the example's tables, and lambdas/domain "
            "declares others. Give the commit of yours that is deployed: make upgrade-rehearsal "
            "COMMIT=..."
        )
        raise SkippedError(message)
    return EARLIER


def _git(root: Path, *arguments: str) -> bytes | None:
    """Return the output of git, None if it failed or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout


def same_packages(earlier: Path, root: Path = ROOT) -> bool:
    """Whether both trees lock the same packages, so that one environment serves both."""
    return all(filecmp.cmp(earlier / name, root / name, shallow=False) for name in _LOCKS)


def install(earlier: Path, say: DemoConsole) -> None:
    """Install the environment that an earlier tree's cdk.json names, and its functions' packages.

    Raises:
        AccountError: A command failed; the message quotes its output.
    """
    own = earlier / ".venv"
    if same_packages(earlier):
        own.symlink_to(Path(sys.prefix))
    else:
        say.line("Its lock files differ: it gets an environment of its own.")
        lock = earlier / "requirements-dev.txt"
        uv = str(Path(sys.executable).with_name("uv"))
        _command([uv, "venv", "--quiet", "--python", sys.executable, str(own)], earlier)
        python = str(own / "bin" / "python")
        install = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, str(lock)]
        _command(install, earlier)
    _command([str(own / "bin" / "python"), "-m", "stacks.packaging", "host"], earlier)


def _command(words: Sequence[str], directory: Path) -> None:
    environment = {**loopback.clean(), "PYTHONPATH": str(directory / "src")}
    done = subprocess.run(
        list(words),
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"`{' '.join(words)}` failed with status {done.returncode}: {done.stdout[-2000:]}"
        raise AccountError(message)


@dataclass
class Upgrade:
    """One rehearsal on an emulator that is up."""

    place: Place
    poller: PollerProcess
    search_url: str
    console: DemoConsole

    def run(self, earlier: Path, commit: str) -> None:
        """Deploy the earlier tree, write, deploy this one over it while writing, verify.

        Of the earlier deployment, only CloudFormation is read: the tools of this tree read it after
        the upgrade.

        Raises:
            AccountError: A sink differs from the table afterwards, or data of before are gone.
        """
        told = sample_stories(SEED, first_entities=True)
        poison = Poison(SEED)
        with self.console.stage(f"Deploying {commit}") as stage:
            url = self.place.account.client("cloudformation").meta.endpoint_url
            deploy_to_emulator(url, self.search_url, stage.say, app=earlier)
            stage.outcome = f"Deployed: {commit}"
        before = self._stores()
        names = source_tables(TABLES, before)
        with self.poller:
            written = self._write_before(names, told, poison)
            written += self._write_during(names, told)
            # The mappings may be new or have other settings: they are taken over again.
            self.poller.kill()
            self.poller.start()
            self._refuse_replaced(before)
            written += self._write_after(names, set(written.effective))
            recover(self.place, self.console, poison, written, "after the upgrade")

    def _stores(self) -> dict[str, str]:
        """Return the tables and buckets of the environment: physical by logical names."""
        account = self.place.account
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for stack in inventory.stacks(account, self.place.names)
            for each in inventory.resources(account, stack["StackName"])
            if each["ResourceType"] in _STORES
        }

    def _write_before(
        self, names: Mapping[str, str], told: Iterator[ItemStory], poison: Poison
    ) -> Written:
        """Write items, one of them poison, and wait until the earlier tree has processed them.

        They are of the first entity of each table: the earlier tree may not know the others.
        """
        with self.console.stage("Writing items before the upgrade") as stage:
            written = self._writer(names).run(with_poison(poison, told, BEFORE))
            stage.outcome = f"Written: {written.stories:,} stories, {written.writes:,} writes"
        with self.console.stage("Waiting until the earlier functions are idle") as stage:
            trace = TraceReader(self.poller.folder / TRACE)
            calls, since = 0, time.monotonic()

            def idle() -> bool:
                nonlocal calls, since
                trace.read()
                if len(trace.calls) != calls or trace.under_way(self.poller.pid):
                    calls, since = len(trace.calls), time.monotonic()
                return bool(calls) and time.monotonic() - since > _IDLE_SECONDS

            if not wait_until(idle, seconds=_PATIENCE):
                message = f"The functions of the earlier tree are busy for {_PATIENCE:.0f} s."
                raise AccountError(message)
            stage.outcome = f"The earlier functions are idle after {calls:,} invocations"
        return written

    def _writer(self, names: Mapping[str, str], **options: Any) -> Writer:
        return Writer(self.place.account.client("dynamodb"), names, seed=SEED, **options)

    def _write_after(self, names: Mapping[str, str], known: Set[str]) -> Written:
        """Write items of every entity that are not among the known ones."""
        with self.console.stage("Writing items after the upgrade") as stage:
            others = (story for story in sample_stories(SEED) if story.item not in known)
            written = self._writer(names).run(islice(others, AFTER))
            stage.outcome = f"Written: {written.stories:,} stories, {written.writes:,} writes"
        return written

    def _write_during(self, names: Mapping[str, str], told: Iterator[ItemStory]) -> Written:
        """Deploy this tree while items are written; the writers stop when it is deployed."""
        stop = threading.Event()
        writer = self._writer(names, stop=stop, pause=PAUSE)
        with (
            self.console.stage("Deploying this tree over it, under traffic") as stage,
            ThreadPoolExecutor(1, thread_name_prefix="traffic") as pool,
        ):
            writing = pool.submit(writer.run, islice(told, MEANWHILE))
            try:
                self.place.deploy(stage.say)
            finally:
                stop.set()
            try:
                written = writing.result()
            except (BotoCoreError, ClientError) as error:
                message = f"A write to the table failed during the upgrade: {error}"
                raise AccountError(message) from error
            stage.outcome = f"Upgraded, during {written.writes:,} writes"
        if not written.writes:
            message = "No item was written during the upgrade: repeat the rehearsal."
            raise AccountError(message)
        return written

    def _refuse_replaced(self, before: Mapping[str, str]) -> None:
        """Raise an error if a table or bucket was replaced, which loses its data."""
        after = self._stores()
        moved = [
            f"{id}: {name} became {after.get(id, 'nothing')}"
            for id, name in sorted(before.items())
            if after.get(id) != name
        ]
        if moved:
            message = "The upgrade replaced stores of data:\n  " + "\n  ".join(moved)
            raise AccountError(message)


def source_tables(tables: Sequence[Table], stores: Mapping[str, str]) -> dict[str, str]:
    """Return the physical names of the source tables, from those of all stores by logical id.

    Raises:
        AccountError: the earlier tree has no such table.
    """
    found = {}
    for table in tables:
        begin = "".join(filter(str.isalnum, table.name)).lower() + "table"
        names = [name for id, name in stores.items() if id.lower().startswith(begin)]
        if len(names) != 1:
            message = (
                f"The earlier tree has {len(names)} tables {table.name!r}: choose a commit that "
                "has it, as COMMIT=..."
            )
            raise AccountError(message)
        found[table.name] = names[0]
    return found


def rehearse(commit: str, console: DemoConsole) -> None:
    """Run the rehearsal on the emulator.

    Raises:
        SkippedError: The commit is not here.
        AccountError, ServiceError: It failed, or the commit has the current tree.
    """
    name = commit[:_SHORT]
    with earlier_tree(commit) as earlier:
        with console.stage(f"Installing {name}") as stage:
            install(earlier, console)
            stage.outcome = f"Installed: {name}"
        with on_emulator(console) as (place, poller, url):
            Upgrade(place, poller, url, console).run(earlier, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if every sink equals the table, or without a commit to rehearse."""
    # An exported COMMIT does not count: the Makefile passes on the one that is typed.
    parser = argparse.ArgumentParser(prog="python -m tools.account.upgrade", description=__doc__)
    parser.add_argument("commit", nargs="?", default=os.environ.get("REHEARSED_COMMIT"))
    given = parser.parse_args(arguments).commit
    console = DemoConsole()
    try:
        commit = given or earlier_commit(TABLES)
        status = exit_status(console, lambda: rehearse(commit, console))
    except SkippedError as error:
        console.line(str(error), style="yellow")
        return 1 if given else 0
    if status:
        return status
    console.line(
        f"The upgrade from {commit[:_SHORT]} is green: every sink equals the table.", "green"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
