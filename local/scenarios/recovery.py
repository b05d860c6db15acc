"""From dead letters to equal sinks, with the commands that a person types: look, mend, redrive.

Each step is checked on the spot against what boto3 and the checker see. What does not hold is
listed, and the run has failed; the steps after it are taken all the same, since they show more.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.operations.selection import id_of
from local import report as show
from local.deployed.dead_letters import read_dead_letters, remaining_notifications
from local.deployed.deployment import ROOT
from local.scenarios.phases import UNCHANGED_FOR
from local.scenarios.poison_latency import READERS
from local.services import loopback
from local.services.errors import EngineError
from local.verify import compare, settle
from local.verify.expected import item_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from local.console import DemoConsole
    from local.deployed.dead_letters import DeadLetter
    from local.deployed.pipeline import Pipeline
    from local.verify import Report
    from local.workload.poison import Poison
    from local.workload.traffic import Written

PROCESSORS = ("aggregation", "search")
"""Those that cannot take poison, as dead letters name them."""
_PATIENCE = 30.0  # seconds
_LOOK_EVERY = 0.25  # seconds
_COMMAND_SECONDS = 120.0
_SHOWN_LINES = 14
_LINES_OF_A_DEAD_LETTER = 60
_SHOWN_COLUMNS = 98


class Recovery:
    """Heals what a run's poison did; `problems` says what did not go as it should."""

    def __init__(
        self, console: DemoConsole, pipeline: Pipeline, poison: Poison, written: Written
    ) -> None:
        self.problems: list[str] = []
        self._console = console
        self._pipeline = pipeline
        self._poison = poison
        self._written = written
        self._items = {item_of(*key) for key in poison.orders}

    def run(self) -> None:
        """Takes every step. The orders that were mended count as written once more."""
        show.poison(self._console, self._poison.orders)
        self._dead_letters()
        self._comparison()
        self._heading("Redriven now, nothing can succeed, and nothing is called done")
        before = {dead_letter.key for dead_letter in read_dead_letters(self._pipeline)}
        self._cdc("redrive", "--yes", expected=1)
        after = {dead_letter.key for dead_letter in read_dead_letters(self._pipeline)}
        self._check(
            before == after,
            f"{len(after):,} dead letters lie where they lay",
            f"a redrive before the fix left {len(after):,} of {len(before):,} dead letters",
        )
        self._mend()
        self._heading("Redriven again")
        said = self._cdc("redrive", "--yes", expected=0)
        healed = repaired(said)
        if healed is not None:
            self._console.line(
                "The mend is a change like any other, so the streams carry it too. Of"
                f" {len(before):,} copies it had healed {len(before) - healed:,} by the time that"
                f" the redrive came to them; the redrive repaired the other {healed:,}."
            )
        self._empty()

    def _dead_letters(self) -> None:
        expected = Counter(dict.fromkeys(PROCESSORS, len(self._items)))
        with self._console.stage("Waiting for the dead letters") as stage:
            self._until(lambda: Counter(x.processor for x in self._read()) == expected)
            found = self._read()
            stage.outcome = f"Dead letters found: {len(found):,}"
        self._heading("What was given up, and why")
        keys = loopback.credentials().items()
        self._console.line(f"With {' '.join(f'{name}={value}' for name, value in keys)}:", "dim")
        self._cdc("dead-letters", "list", expected=0)
        if found:
            self._cdc(
                "dead-letters",
                "show",
                id_of(found[0].key),
                expected=0,
                lines=_LINES_OF_A_DEAD_LETTER,
            )
        for processor in PROCESSORS:
            named = sorted(x.item for x in found if x.processor == processor)
            self._check(
                named == sorted(self._items),
                f"{processor}: {len(named):,} dead letters, one for each of the"
                f" {len(self._items):,} orders",
                f"{processor}: {len(named):,} dead letters of "
                f"{len(set(named) & self._items):,} of the"
                f" {len(self._items):,} orders",
            )
        others = [x.key for x in found if x.processor not in PROCESSORS]
        incomplete = [x.key for x in found if not x.complete]
        self._check(
            not incomplete,
            "each with its payload and its reason",
            f"dead letters without payload or reason: {', '.join(incomplete)}",
        )
        self._check(not others, "", f"dead letters of somebody else: {', '.join(others)}")

    def _read(self) -> list[DeadLetter]:
        return read_dead_letters(self._pipeline)

    def _comparison(self) -> None:
        self._heading("What the sinks hold at this moment")
        with self._console.stage("Comparing every item with every sink"):
            report = settle(
                lambda: compare(self._pipeline.copies, self._written.effective),
                unchanged_for=UNCHANGED_FOR,
                enough=lambda found: not unexpected(found, self._items),
            )
        show.comparison(self._console, report)
        for problem in unexpected(report, self._items):
            self._fail(f"before the mend, {problem}")
        if not self.problems:
            self._console.line(
                f"Missing in {' and '.join(READERS)}: exactly the {len(self._items):,} orders"
                " that were hidden; the index counts as many fewer. Nothing else differs.",
                "green",
            )

    def _mend(self) -> None:
        self._heading("The cause is mended, in the table")
        table, url = self._pipeline.manifest.source_table().table, self._pipeline.aws.url
        arguments = ("mend", "--table", table, "--endpoint-url", url)
        self._type(
            ["python", "-m", "local.workload.poison", *arguments],
            [sys.executable, "-m", "local.workload.poison", *arguments],
            expected=0,
        )
        for key in self._poison.orders:
            self._written.effective[key] += 1

    def _empty(self) -> None:
        with self._console.stage("Waiting until no notification is left") as stage:
            silent = self._until(
                lambda: (
                    not self._read() and not any(remaining_notifications(self._pipeline).values())
                )
            )
            left, notification_queues = self._read(), remaining_notifications(self._pipeline)
            stage.outcome = (
                "No dead letter is left, and no notification" if silent else "Not all is done"
            )
        self._check(not left, "", f"dead letters left after the redrive: {len(left):,}")
        for processor, pointers in notification_queues.items():
            self._check(not pointers, "", f"{processor}: pointers left on its queue: {pointers:,}")

    # Manners

    def _heading(self, text: str) -> None:
        self._console.line()
        self._console.line(text, "bold")

    def _check(self, holds: bool, good: str, bad: str) -> None:
        if not holds:
            self._fail(bad)
        elif good:
            self._console.line(good, "green")

    def _fail(self, problem: str) -> None:
        self.problems.append(problem)
        self._console.line(problem, "red")

    def _until(self, seen: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while not seen():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY)
        return True

    def _cdc(self, *arguments: str, expected: int, lines: int = _SHOWN_LINES) -> str:
        where = ("--environment", "local", "--endpoint-url", self._pipeline.aws.url)
        words = ["cdc", *arguments, *where]
        command = [str(Path(sys.executable).with_name("cdc")), *words[1:]]
        return self._type(words, command, expected, lines)

    def _type(
        self,
        words: Sequence[str],
        command: Sequence[str],
        expected: int,
        lines: int = _SHOWN_LINES,
    ) -> str:
        """Runs a command and shows it as typed, with what it said; returns that."""
        self._console.line(f"$ {shlex.join(words)}", "cyan")
        environment = {**loopback.clean(), **loopback.credentials()}
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            message = f"{command[0]} is not installed: run `make setup`."
            raise EngineError(message) from error
        except subprocess.TimeoutExpired as error:
            message = f"`{shlex.join(words)}` took longer than {_COMMAND_SECONDS:.0f} s."
            raise EngineError(message) from error
        for line in shortened(done.stdout.splitlines(), lines):
            self._console.line(f"  {line}".rstrip())
        if done.returncode != expected:
            self._fail(
                f"`{' '.join(words[:2])}` ended with status {done.returncode}, not {expected}"
            )
        return done.stdout


def shortened(lines: Sequence[str], most: int, columns: int = _SHOWN_COLUMNS) -> list[str]:
    """The first and the last of many lines, and of each the beginning."""
    whole = [line.rstrip() for line in lines]
    shown = [f"{line[: columns - 1]}…" if len(line) > columns else line for line in whole]
    if len(shown) <= most + 1:
        return shown
    half = most // 2
    return [*shown[:half], f"... {len(shown) - 2 * half:,} lines more ...", *shown[-half:]]


def repaired(said: str) -> int | None:
    """How many copies a redrive repaired, by its summary."""
    found = re.search(r"Items repaired: ([0-9,]+)\.", said)
    return int(found[1].replace(",", "")) if found else None


def unexpected(report: Report, poison: Set[str]) -> list[str]:
    """What differs beyond these items, missing where they cannot be; and what of them does not."""
    problems = []
    for sink in report.sinks:
        due = poison if sink.sink in READERS else frozenset[str]()
        missing = {each.item for each in sink.differences if each.kind == "missing"}
        problems += [f"{sink.sink}: {item} is there" for item in sorted(due - missing)]
        problems += [
            f"{sink.sink}: {each}"
            for each in sink.differences
            if not (each.kind == "missing" and each.item in due)
            and not (each.item == "_count" and each.expected - each.found == len(due))
        ]
    return problems
