"""Recovers from poison with the commands that a person types: inspect, correct, redrive.

Each step is checked against boto3 and the checker. A failed check becomes a problem, which fails
the demo; the later steps run all the same.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from local import report as show
from local.deployed.command_line import CommandLine
from local.deployed.dead_letters import read_dead_letters, remaining_notifications
from local.scenarios.phases import UNCHANGED_FOR
from local.scenarios.poison_latency import REFUSING
from local.services import loopback
from local.verify import compare, settle
from local.verify.expected import item_of
from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from local.console import DemoConsole
    from local.deployed.dead_letters import DeadLetter
    from local.deployed.pipeline import Pipeline
    from local.verify import Comparison
    from local.workload.poison import Poison
    from local.workload.traffic import Written

_PATIENCE = 30.0  # seconds
_POLL_SECONDS = 0.25
_SHOWN_LINES = 14
_LINES_OF_A_DEAD_LETTER = 60
_SHOWN_COLUMNS = 98


class Recovery:
    """Recovers from the poison of one run; `problems` are sentences about failed checks."""

    def __init__(
        self, console: DemoConsole, pipeline: Pipeline, poison: Poison, written: Written
    ) -> None:
        self.problems: list[str] = []
        self._console = console
        self._pipeline = pipeline
        self._poison = poison
        self._written = written
        self._items = {item_of(*key) for key in poison.orders}
        self._command_line = CommandLine(
            "local",
            {**loopback.clean(), **loopback.credentials()},
            ("--endpoint-url", pipeline.aws.url),
        )

    def run(self) -> None:
        """Run every step; the correction adds one write to each poison order."""
        show.poison(self._console, self._poison.orders)
        self._inspect()
        self._compare()
        self._heading("Redrive before the fix: every dead letter fails again, none is archived")
        before = {dead_letter.key for dead_letter in self._read()}
        self._redrive(expected=1, kept=len(before))
        after = {dead_letter.key for dead_letter in self._read()}
        self._check(
            before == after,
            f"{len(after):,} dead letters unchanged in the bucket",
            f"a redrive before the fix left {len(after):,} of {len(before):,} dead letters",
        )
        self._correct()
        self._heading("Redrive after the fix")
        self._redrive(expected=0, archived=len(before))
        self._console.line(
            "The correction is a change like any other and reaches the sinks by the streams, often"
            " before the redrive. A record that is not applied is done once its item is right."
        )
        self._wait_until_empty()

    def _inspect(self) -> None:
        expected = Counter(dict.fromkeys(REFUSING, len(self._items)))
        with self._console.stage("Waiting for the dead letters") as stage:
            self._until(lambda: Counter(x.processor for x in self._read()) == expected)
            found = self._read()
            stage.outcome = f"Dead letters found: {len(found):,}"
        self._heading("Inspect the dead letters")
        keys = loopback.credentials().items()
        self._console.line(f"With {' '.join(f'{name}={value}' for name, value in keys)}:", "dim")
        self._type(self._command_line.cdc("dead-letters", "list"))
        _, listed = self._command_line.json("dead-letters", "list")
        for first in listed["dead_letters"][:1]:
            words = self._command_line.cdc("dead-letters", "show", first["id"])
            self._type(words, lines=_LINES_OF_A_DEAD_LETTER)
        for processor in REFUSING:
            named = sorted(x.item for x in found if x.processor == processor)
            self._check(
                named == sorted(self._items),
                f"{processor}: {len(named):,} dead letters, one for each of the"
                f" {len(self._items):,} orders",
                f"{processor}: {len(named):,} dead letters of "
                f"{len(set(named) & self._items):,} of the"
                f" {len(self._items):,} orders",
            )
        others = [x.key for x in found if x.processor not in REFUSING]
        incomplete = [x.key for x in found if not x.complete]
        self._check(
            not incomplete,
            "each with its payload and its reason",
            f"dead letters without payload or reason: {', '.join(incomplete)}",
        )
        self._check(not others, "", f"dead letters of other processors: {', '.join(others)}")

    def _read(self) -> list[DeadLetter]:
        return read_dead_letters(self._pipeline)

    def _compare(self) -> None:
        self._heading("State of the sinks before the fix")
        with self._console.stage("Comparing every item with every sink"):
            found = settle(
                lambda: compare(self._pipeline.copies, self._written.effective),
                unchanged_for=UNCHANGED_FOR,
                enough=lambda found: not unexpected(found, self._items),
            )
        show.comparison(self._console, found)
        for problem in unexpected(found, self._items):
            self._fail(f"before the fix, {problem}")
        if not self.problems:
            self._console.line(
                f"Missing in {' and '.join(REFUSING)}: exactly the {len(self._items):,} poison"
                " orders; the count of documents is as much lower. Nothing else differs.",
                "green",
            )

    def _correct(self) -> None:
        self._heading("Fix the cause: correct the orders in the table")
        table, url = self._pipeline.resources.orders, self._pipeline.aws.url
        arguments = ("correct", "--table", table, "--endpoint-url", url)
        self._type(["python", "-m", "local.workload.poison", *arguments])
        for key in self._poison.orders:
            self._written.effective[key] += 1

    def _redrive(self, *, expected: int, **statuses: int) -> None:
        """Redrive all dead letters; check the exit status and how many got which status."""
        arguments = ("redrive", "--yes")
        self._say_typed([*self._command_line.cdc(*arguments), "--json"])
        status, redrive = self._command_line.json(*arguments)
        for line in summary(redrive):
            self._console.line(f"  {line}")
        self._check_status("cdc redrive", status, expected)
        for problem in inconsistencies(redrive, statuses):
            self._fail(f"cdc redrive: {problem}")

    def _wait_until_empty(self) -> None:
        with self._console.stage("Waiting until no notification is left") as stage:
            empty = self._until(
                lambda: (
                    not self._read() and not any(remaining_notifications(self._pipeline).values())
                )
            )
            left, notifications = self._read(), remaining_notifications(self._pipeline)
            stage.outcome = (
                "No dead letter and no notification is left"
                if empty
                else "Dead letters or notifications are left"
            )
        self._check(not left, "", f"dead letters left after the redrive: {len(left):,}")
        for processor, count in notifications.items():
            self._check(not count, "", f"{processor}: notifications left: {count:,}")

    def _heading(self, text: str) -> None:
        self._console.line()
        self._console.line(text, "bold")

    def _check(self, holds: bool, good: str, bad: str) -> None:
        if not holds:
            self._fail(bad)
        elif good:
            self._console.line(good, "green")

    def _check_status(self, command: str, status: int, expected: int) -> None:
        self._check(
            status == expected, "", f"`{command}` ended with status {status}, not {expected}"
        )

    def _fail(self, problem: str) -> None:
        self.problems.append(problem)
        self._console.line(problem, "red")

    def _until(self, happened: Callable[[], object]) -> bool:
        return wait_until(happened, seconds=_PATIENCE, every=_POLL_SECONDS)

    def _say_typed(self, words: Sequence[str]) -> None:
        self._console.line(f"$ {shlex.join(words)}", "cyan")

    def _type(self, words: Sequence[str], lines: int = _SHOWN_LINES) -> None:
        """Run a command that must succeed, and print it with its output."""
        self._say_typed(words)
        done = self._command_line.run(words)
        for line in shortened([*done.stdout.splitlines(), *done.stderr.splitlines()], lines):
            self._console.line(f"  {line}".rstrip())
        self._check_status(" ".join(words[:3]), done.returncode, 0)


_STATUSES = ("archived", "kept", "split", "waiting", "gone", "unreadable")
_OUTCOMES = {
    "applied": "applied",
    "stale": "stale",
    "unapplied": "not applied",
    "untried": "not tried",
}


def summary(redrive: Mapping[str, Any]) -> list[str]:
    """Return sums of dead letters by status and of records by outcome, from `cdc redrive`."""
    statuses = _sum(redrive, {name: name for name in _STATUSES})
    outcomes = _sum(redrive, _OUTCOMES)
    return [
        f"{redrive['dead_letters']:,} dead letters = {statuses}",
        f"{redrive['records']:,} records = {outcomes}; {redrive['repaired']:,} items repaired",
    ]


def _sum(redrive: Mapping[str, Any], names: Mapping[str, str]) -> str:
    parts = [f"{redrive[name]:,} {text}" for name, text in names.items() if redrive[name]]
    return " + ".join(parts) or "0"


def inconsistencies(redrive: Mapping[str, Any], statuses: Mapping[str, int]) -> list[str]:
    """Return a sentence for each sum of a redrive that does not add up, or is not expected."""
    problems = [
        f"{redrive[name]:,} dead letters {name}, not {count:,}"
        for name, count in statuses.items()
        if redrive[name] != count
    ]
    for whole, parts in (("dead_letters", _STATUSES), ("records", tuple(_OUTCOMES))):
        total = sum(redrive[name] for name in parts)
        if redrive[whole] != total:
            name = whole.replace("_", " ")
            problems.append(f"{redrive[whole]:,} {name} do not equal the sum of parts, {total:,}")
    return problems


def shortened(lines: Sequence[str], most: int, columns: int = _SHOWN_COLUMNS) -> list[str]:
    """Return the first and the last of many lines, and the beginning of long ones."""
    whole = [line.rstrip() for line in lines]
    shown = [f"{line[: columns - 1]}…" if len(line) > columns else line for line in whole]
    if len(shown) <= most + 1:
        return shown
    half = most // 2
    return [*shown[:half], f"... {len(shown) - 2 * half:,} lines more ...", *shown[-half:]]


def unexpected(found: Comparison, poison: Set[str]) -> list[str]:
    """Return the differences other than that exactly the poison items are missing."""
    problems = []
    for sink in found.sinks:
        due = poison if sink.sink in REFUSING else frozenset[str]()
        missing = {each.item for each in sink.differences if each.kind == "missing"}
        problems += [f"{sink.sink}: {item} is there" for item in sorted(due - missing)]
        problems += [
            f"{sink.sink}: {each}"
            for each in sink.differences
            if not (each.kind == "missing" and each.item in due)
            and not (each.item == "_count" and each.expected - each.found == len(due))
        ]
    return problems
