"""Recovers from poison with the commands that a person types: inspect, correct, redrive.

Each step is checked against boto3 and the checker. A failed check becomes a problem, which fails
the demo; the later steps run all the same.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import SEARCH
from local import report as show
from local.deployed.command_line import CommandLine
from local.deployed.dead_letters import read_dead_letters, remaining_notifications
from local.scenarios.phases import AT_MOST, UNCHANGED_FOR
from local.services import loopback
from local.verify import compare, settle
from local.verify.search import COUNT
from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from dynamodb_streams_cdc.entities import Entity
    from local.console import DemoConsole
    from local.deployed.dead_letters import DeadLetter
    from local.deployed.pipeline import Pipeline
    from local.verify import Comparison, DeployedCopies, Difference
    from local.workload.poison import Poison
    from local.workload.traffic import Written

_PATIENCE = 30.0  # seconds
_POLL_SECONDS = 0.25
_SHOWN_LINES = 14
_LINES_OF_A_DEAD_LETTER = 60
_SHOWN_COLUMNS = 98


class Recovery:
    """Recovers from the poison of one run; `problems` are sentences about failed checks.

    `options` are further words for the command that corrects the items.
    """

    def __init__(
        self,
        console: DemoConsole,
        pipeline: Pipeline,
        poison: Poison,
        written: Written,
        options: Sequence[str] = (),
    ) -> None:
        self.problems: list[str] = []
        self._console = console
        self._pipeline = pipeline
        self._poison = poison
        self._written = written
        self._options = options
        self._tables = [each for each in pipeline.tables if self._items_of(each)]
        line = CommandLine.of_emulator(pipeline.aws.url)
        self._lines = [line.on(each.resources.stack) for each in self._tables]

    def run(self) -> None:
        """Run every step; the correction adds one write to each poisoned item."""
        show.poison(self._console, self._poison.items)
        self._inspect()
        self._compare()
        self._heading("Redrive before the fix: every dead letter fails again, none is archived")
        before = {(each.table, each.key) for each in self._read()}
        self._redrive(expected=1, status="kept")
        after = {(each.table, each.key) for each in self._read()}
        self._check(
            before == after,
            f"{len(after):,} dead letters unchanged in the bucket",
            f"a redrive before the fix left {len(after):,} of {len(before):,} dead letters",
        )
        self._correct()
        self._heading("Redrive after the fix")
        self._redrive(expected=0, status="archived")
        self._console.line(
            "The correction is a change like any other and reaches the sinks by the streams, often"
            " before the redrive. A record that is not applied is done once its item is right."
        )
        self._wait_until_empty()

    def _items_of(self, copies: DeployedCopies, sink: str | None = None) -> set[str]:
        """Return the poisoned items of a table, all or those that a sink refuses."""
        items = self._poison.items if sink is None else self._poison.refused_by(sink)
        return {i for i in items if self._poison.items[i].table.name == copies.table.name}

    def _due(self) -> Counter[tuple[str, str]]:
        """Return the number of dead letters by table and processor."""
        return Counter(
            {
                (copies.table.name, sink): len(items)
                for copies in self._tables
                for sink in self._poison.refusing
                if (items := self._items_of(copies, sink))
            }
        )

    def _inspect(self) -> None:
        due = self._due()
        with self._console.stage("Waiting for the dead letters") as stage:
            self._until(lambda: Counter((x.table, x.processor) for x in self._read()) == due)
            found = self._read()
            stage.outcome = f"Dead letters found: {len(found):,}"
        self._heading("Inspect the dead letters")
        keys = loopback.credentials().items()
        self._console.line(f"With {' '.join(f'{name}={value}' for name, value in keys)}:", "dim")
        for line in self._lines:
            self._type(line.cdc("dead-letters", "list"))
        _, listed = self._lines[0].json("dead-letters", "list")
        for first in listed["dead_letters"][:1]:
            words = self._lines[0].cdc("dead-letters", "show", first["id"])
            self._type(words, lines=_LINES_OF_A_DEAD_LETTER)
        for copies in self._tables:
            for sink in self._poison.refusing:
                if items := self._items_of(copies, sink):
                    self._check_dead_letters(copies.table.name, sink, items, found)
        others = [x.key for x in found if (x.table, x.processor) not in due]
        incomplete = [x.key for x in found if not x.complete]
        self._check(
            not incomplete,
            "each with its payload and its reason",
            f"dead letters without payload or reason: {', '.join(incomplete)}",
        )
        self._check(not others, "", f"dead letters of other processors: {', '.join(others)}")

    def _check_dead_letters(
        self, table: str, sink: str, items: Set[str], found: Sequence[DeadLetter]
    ) -> None:
        named = sorted(x.item for x in found if (x.table, x.processor) == (table, sink))
        self._check(
            named == sorted(items),
            f"{sink}: {len(named):,} dead letters, one for each of the {len(items):,} items",
            f"{sink}: {len(named):,} dead letters of {len(set(named) & items):,} of the"
            f" {len(items):,} items",
        )

    def _read(self) -> list[DeadLetter]:
        return read_dead_letters(self._pipeline)

    def _compare(self) -> None:
        self._heading("State of the sinks before the fix")
        with self._console.stage("Comparing every item with every sink"):
            found = settle(
                lambda: compare(self._pipeline.tables, self._written.effective),
                unchanged_for=UNCHANGED_FOR,
                at_most=AT_MOST,
                enough=lambda found: not unexpected(found, self._poison),
            )
        show.comparison(self._console, found)
        for problem in unexpected(found, self._poison):
            self._fail(f"before the fix, {problem}")
        if not self.problems:
            self._console.line(missing(self._poison), "green")

    def _correct(self) -> None:
        self._heading("Fix the cause: correct the items in the table")
        for copies in self._tables:
            arguments = [
                *("correct", "--source-table", copies.table.name),
                *("--table", copies.resources.source),
                *("--endpoint-url", self._pipeline.aws.url, *self._options),
            ]
            self._type(["python", "-m", "local.workload.poison", *arguments])
        for item in self._poison.items:
            self._written.effective[item] += 1

    def _redrive(self, *, expected: int, status: str) -> None:
        """Redrive all dead letters; check the exit status and that all got this status."""
        due = self._due()
        for copies, line in zip(self._tables, self._lines, strict=True):
            arguments = ("redrive", "--yes")
            self._say_typed([*line.cdc(*arguments), "--json"])
            code, redrive = line.json(*arguments)
            for text in summary(redrive):
                self._console.line(f"  {text}")
            self._check_status("cdc redrive", code, expected)
            count = sum(number for (table, _), number in due.items() if table == copies.table.name)
            for problem in inconsistencies(redrive, {status: count}):
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
            name = " of ".join(reversed(processor))
            self._check(not count, "", f"{name}: notifications left: {count:,}")

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
        done = self._lines[0].run(words)
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


def missing(poison: Poison) -> str:
    """Return the sentence for a comparison in which nothing is unexpected."""
    sinks = poison.compared
    if not sinks:
        return "Nothing differs: no sink that is compared refuses the poison."
    refused = {sink: poison.refused_by(sink) for sink in sinks}
    count = len(set[str]().union(*refused.values()))
    what = f"exactly the {count:,} poison items"
    if any(len(items) < count for items in refused.values()):
        parts = ", ".join(f"{len(items):,} in {sink}" for sink, items in refused.items())
        what = f"exactly the poison items that each refuses, {parts}"
    return (
        f"Missing in {' and '.join(sinks)}: {what}; counts of documents are as much lower. Nothing"
        " else differs."
    )


def unexpected(found: Comparison, poison: Poison) -> list[str]:
    """Return the differences other than that each sink lacks exactly the poison it refuses."""
    problems = []
    lacked: dict[str, set[str]] = {}
    for sink in found.sinks:
        due = poison.refused_by(sink.sink)
        for each in sink.differences:
            if each.kind == "missing" and each.item in due:
                lacked.setdefault(sink.sink, set()).add(each.item)
            elif not _is_lower_count(each, poison):
                problems.append(f"{sink.sink}: {each}")
    for name in poison.compared:
        there = poison.refused_by(name) - lacked.get(name, set())
        problems += [f"{name}: {item} is there" for item in sorted(there)]
    return problems


def _is_lower_count(difference: Difference, poison: Poison) -> bool:
    """Return whether an index counts fewer documents by exactly the poison that it lacks."""
    index, slash, count = difference.item.rpartition("/")
    if difference.sink != SEARCH or not slash or count != COUNT:
        return False
    entities = (poison.items[item].entity for item in poison.refused_by(SEARCH))
    lacking = sum(entity is not None and _is_of(entity, index) for entity in entities)
    return bool(difference.expected - difference.found == lacking)


def _is_of(entity: Entity, index: str) -> bool:
    return entity.index is not None and entity.index.name == index
