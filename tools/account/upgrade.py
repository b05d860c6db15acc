"""Deploy an earlier commit on this machine, then this tree over it under traffic, and verify.

    python -m tools.account.upgrade [COMMIT]

What an upgrade may break is seen here before an account sees it: a table that would be replaced, a
stored form that this tree reads differently. What AWS would refuse and the emulator does not is not
seen: a value that another stack still imports (see decision 20), a domain.

The earlier tree is taken out of git into a temporary folder and deployed with its own packages.
Where its lock files are those of this tree, it shares this virtual environment; otherwise it gets
its own.

Without that commit (a shallow clone, an archive without git) nothing is rehearsed, and it says so.
"""

from __future__ import annotations

import argparse
import filecmp
import io
import subprocess
import sys
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.console import DemoConsole
from local.demo import signals_unwind
from local.deployed.deployment import deploy as deploy_to_emulator
from local.deployed.pipeline import OWN_INDEX
from local.scenarios.recovery import PROCESSORS, unexpected
from local.services import loopback
from local.services.errors import EngineError
from local.verify import ReadError
from local.verify.expected import item_of
from local.workload.poison import Poison
from local.workload.purchases import SAMPLE, read_purchases
from local.workload.traffic import Writer, Written
from tools.account.identity import AccountError
from tools.account.places import on_emulator
from tools.account.steps import (
    correct,
    expect_dead_letters,
    expect_equal,
    redrive,
    refuse,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dynamodb_streams_cdc.operations.manifest import Manifest
    from local.deployed.poller_process import PollerProcess
    from local.verify import Report
    from local.workload.purchases import Purchase
    from tools.account.places import Place

ROOT = Path(__file__).parents[2]

EARLIER = "10c726b75a2fed47a5788542b086ecb84e65e5a0"
"""The commit of main that is upgraded from: the last one before the second dead-letter bucket."""

SEED = 2
BEFORE, MEANWHILE = 100, 10_000
"""Orders before the upgrade, and at most while it is under way."""
PAUSE = 0.2
"""Seconds that each writer rests after a write, so that there is traffic and no flood."""
_LOCKS = ("requirements-dev.txt", "pyproject.toml")
_SHORT = 10  # digits of a commit


class SkippedError(Exception):
    """The rehearsal cannot be held here; the message says why."""


@contextmanager
def earlier_tree(commit: str, root: Path = ROOT) -> Iterator[Path]:
    """Folder with the files of a commit, gone on exit.

    Raises:
        SkippedError: git or the commit is not here.
    """
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        message = (
            f"Skipped: commit {commit} is not in this clone, so nothing can be upgraded from it. "
            "Fetch it (`git fetch --unshallow`) and run it again."
        )
        raise SkippedError(message)
    archive = _git(root, "archive", commit)
    assert archive is not None, "git has the commit and cannot archive it"
    with tempfile.TemporaryDirectory(prefix="cdc-earlier-") as name:
        folder = Path(name).resolve()
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield folder


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git wrote, None if it failed or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout


def same_packages(earlier: Path, root: Path = ROOT) -> bool:
    """Whether both trees lock the same packages, so that one environment serves both."""
    return all(filecmp.cmp(earlier / name, root / name, shallow=False) for name in _LOCKS)


def install(earlier: Path, say: DemoConsole) -> None:
    """Give an earlier tree the environment that its cdk.json names, and the functions' packages.

    Raises:
        AccountError: A command failed; the message quotes what it said.
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
    runner: PollerProcess
    search_url: str
    console: DemoConsole

    def run(self, earlier: Path, commit: str) -> None:
        """Deploy the earlier tree, write, deploy this one over it while writing, verify.

        Raises:
            AccountError: A copy differs from the table afterwards, or data of before are gone.
        """
        purchases = read_purchases(SAMPLE)
        poison = Poison(SEED)
        with self.console.stage(f"Deploying {commit}") as stage:
            url = self.place.words[-1]
            settings = {"search_index": OWN_INDEX}
            deploy_to_emulator(url, self.search_url, stage.say, app=earlier, settings=settings)
            stage.outcome = f"Deployed: {commit}"
        manifest = self.place.manifest()
        with self.runner:
            before = self._write_before(manifest, purchases, poison)
            during = self._under_traffic(manifest, purchases)
            # The mappings are other ones now, or have other settings: they are taken over again.
            self.runner.kill()
            self.runner.start()
            self._refuse_replaced(manifest)
            self._verify(before + during, poison)

    def _write_before(
        self, manifest: Manifest, purchases: Iterator[Purchase], poison: Poison
    ) -> Written:
        """Write orders, one of them poison, and wait until the earlier tree is done with them."""
        with self.console.stage("Writing orders before the upgrade") as stage:
            hidden = poison.hidden(purchases, BEFORE, 1)
            written = self._writer(manifest, story=poison.story).run(hidden)
            stage.outcome = f"Written: {written.purchases:,} orders, {written.writes:,} writes"
        [key] = poison.orders
        items = {item_of(*key)}

        def done(report: Report) -> bool:
            return not unexpected(report, items)

        report = settled(self.place, self.console, manifest, written, done)
        refuse(unexpected(report, items), "before the upgrade")
        return written

    def _writer(self, manifest: Manifest, **options: Any) -> Writer:
        client = self.place.account.client("dynamodb")
        return Writer(client, manifest.source_table().table, seed=SEED, **options)

    def _under_traffic(self, manifest: Manifest, purchases: Iterator[Purchase]) -> Written:
        """Deploy this tree while orders are written; the writers stop when it is deployed."""
        stop = threading.Event()
        writer = self._writer(manifest, stop=stop, pause=PAUSE)
        results: list[Written | BaseException] = []

        def write() -> None:
            try:
                results.append(writer.run(islice(purchases, MEANWHILE)))
            except (BotoCoreError, ClientError) as error:
                results.append(error)

        traffic = threading.Thread(target=write, name="traffic")
        with self.console.stage("Deploying this tree over it, under traffic") as stage:
            traffic.start()
            try:
                self.place.deploy(stage.say)
            finally:
                stop.set()
                traffic.join()
            [result] = results
            if isinstance(result, BaseException):
                message = f"The table did not take a write during the upgrade: {result}"
                raise AccountError(message) from result
            stage.outcome = f"Upgraded, while {result.writes:,} writes were made"
        if not result.writes:
            message = "Nothing was written during the upgrade: it was no rehearsal."
            raise AccountError(message)
        return result

    def _refuse_replaced(self, before: Manifest) -> None:
        """A table or bucket that an upgrade replaces loses its data."""
        after = self.place.manifest().holding_data
        moved = [
            f"{role}: {name} became {after.get(role, 'nothing')}"
            for role, name in sorted(before.holding_data.items())
            if after.get(role) != name
        ]
        if moved:
            message = "The upgrade replaced what holds data:\n  " + "\n  ".join(moved)
            raise AccountError(message)

    def _verify(self, written: Written, poison: Poison) -> None:
        """Compare every copy; then redrive with this tree the dead letters of the earlier one."""
        place, console, manifest = self.place, self.console, self.place.manifest()
        [key] = poison.orders
        items = {item_of(*key)}
        report = settled(
            place, console, manifest, written, lambda found: not unexpected(found, items)
        )
        refuse(unexpected(report, items), "after the upgrade")
        expect_dead_letters(place, console, len(PROCESSORS))
        correct(place, console, manifest.source_table().table, key, written)
        redrive(place, console)
        expect_equal(place, console, manifest, written, "after the upgrade")
        expect_dead_letters(place, console, 0)


def rehearse(commit: str, console: DemoConsole) -> None:
    """Hold the rehearsal on the emulator.

    Raises:
        SkippedError: The commit is not here.
        AccountError, EngineError: It failed.
    """
    name = commit[:_SHORT]
    with earlier_tree(commit) as earlier:
        with console.stage(f"Installing {name}") as stage:
            install(earlier, console)
            stage.outcome = f"Installed: {name}"
        with on_emulator(console) as (place, runner, url):
            Upgrade(place, runner, url, console).run(earlier, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if every copy was right, or if it was skipped, which is said."""
    parser = argparse.ArgumentParser(prog="python -m tools.account.upgrade", description=__doc__)
    parser.add_argument("commit", nargs="?", default=EARLIER)
    commit = parser.parse_args(arguments).commit
    console = DemoConsole()
    with signals_unwind():
        try:
            rehearse(commit, console)
        except SkippedError as error:
            console.line(str(error), style="yellow")
            return 0
        except (AccountError, EngineError, ReadError) as error:
            console.line(str(error), style="red")
            return 1
        except (BotoCoreError, ClientError) as error:
            console.line(f"The emulator refused: {error}", style="red")
            return 1
        except KeyboardInterrupt:
            return 130
    console.line(
        f"The upgrade from {commit[:_SHORT]} is green: every copy equals the table.", "green"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
