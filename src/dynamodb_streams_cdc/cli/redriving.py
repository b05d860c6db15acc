"""`cdc redrive`: replay dead letters through their functions and print a summary."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dynamodb_streams_cdc.cli.dead_letters import in_short, list_of, summary
from dynamodb_streams_cdc.cli.errors import FAILED, INTERRUPTED, misused
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    beside,
    cells,
    counted,
    print_json,
    print_rest,
    print_some,
    somebody_is_there,
    table,
    terminal,
)
from dynamodb_streams_cdc.cli.selection import Row, Selection, id_of, listed, rows
from dynamodb_streams_cdc.operations.aws.access import AccessDenied
from dynamodb_streams_cdc.operations.notifications import ClearedNotifications, clear_notifications
from dynamodb_streams_cdc.operations.redrive import Redrive, RedriveStatus, Result
from dynamodb_streams_cdc.operations.stack import Deployment

_SHOWN_ERROR = 160

_OUTCOMES = {
    "applied": "applied",
    "stale": "stale",
    "unapplied": "not applied",
    "untried": "not tried",
}
"""What may become of a record, in words. They add up to the records; see `Result`."""


@dataclass
class Tally:
    """What a run has done so far.

    Attributes:
        dead letters: how many are meant.
        cleared: what was on the bells, by processor.
        complaints: sentences on what could not be done besides.
    """

    dead_letters: int
    results: list[Result] = field(default_factory=list)
    cleared: dict[str, ClearedNotifications] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def left(self) -> list[Result]:
        """Dead letters of which something is still to be redriven."""
        return [result for result in self.results if result.status.leaves_dead_letters]

    @property
    def status(self) -> int:
        """The exit status: 0 if nothing is left of what was meant."""
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.left or self.complaints else 0

    def sum(self, name: str) -> int:
        """Return the sum of a count over all results."""
        return sum(getattr(result, name) for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """Return the run for other programs."""
        statuses = Counter(result.status for result in self.results)
        return {
            "dead_letters": self.dead_letters,
            "tried": len(self.results),
            **{status.value: statuses[status] for status in RedriveStatus},
            "records": self.sum("records"),
            **{name: self.sum(name) for name in (*_OUTCOMES, "repaired")},
            "left": [_left(result) for result in self.left],
            "notifications": {
                name: {
                    "cleared": cleared.cleared,
                    "remaining": cleared.remaining,
                    "unknown": list(cleared.unknown),
                }
                for name, cleared in self.cleared.items()
            },
            "complaints": self.complaints,
            "interrupted": self.interrupted,
        }


def run_redrive(
    deployment: Deployment,
    selection: Selection,
    *,
    successor: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    as_json: bool = False,
) -> int:
    """Redrive the dead letters that are meant; return the exit status."""
    if not (yes or dry_run or somebody_is_there()):
        misused("Nobody is there to confirm: pass --yes, or --dry-run to see what would be done.")
    names = replace(deployment.names, successor=successor)
    if yes and not dry_run and not selection.looks_inside:
        # Nobody wants to know before what is in them: each is read when its turn comes.
        keys = [stored.key for stored in listed(deployment, selection, time.time())]
    else:
        found = rows(deployment, selection, names)
        if dry_run:
            _say_what_would_be_done(found, as_json=as_json)
            return 0
        if found and not (yes or _confirmed(deployment, found)):
            beside().print("Nothing was changed.")
            return FAILED
        keys = [row.key for row in found]
    tally = Tally(len(keys))
    redrive = Redrive(deployment.box, deployment.functions, names)
    with _reported(tally, as_json=as_json):
        with _progress(len(keys), shown=not as_json) as progress:
            for result in redrive.run(keys):
                tally.results.append(result)
                progress.advance()
        _ring_down(deployment, selection, tally)
    return tally.status


def _say_what_would_be_done(found: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "dead_letters": [row.as_json() for row in found]})
        return
    console = terminal()
    list_of(console, found, keys=not console.is_terminal)
    console.print(f"Would redrive {summary(found)}. Nothing was changed.")


def _confirmed(deployment: Deployment, found: Sequence[Row]) -> bool:
    console = beside()
    for (processor, reason), count in sorted(
        Counter((r.processor, r.reason) for r in found).items()
    ):
        console.print(
            *cells(f"  {counted(count, 'dead letter')} of {processor or '?'}: {reason or '?'}")
        )
    console.print(
        *cells(f"Redrive {summary(found)}, through the functions of {deployment.stack}? [y/N] "),
        end="",
    )
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def _reported(tally: Tally, *, as_json: bool) -> Iterator[None]:
    """Say what was done, however the run ends; Ctrl-C only sets the status."""
    try:
        yield
    except KeyboardInterrupt:
        tally.interrupted = True
        _print(tally, as_json=as_json)
    except BaseException:
        _print(tally, as_json=as_json)
        raise
    else:
        _print(tally, as_json=as_json)


class _Shown:
    """A bar that moves on; nothing where nobody looks at it."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Redriving", total=total) if progress else None

    def advance(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[_Shown]:
    console = beside()
    if not (shown and console.is_terminal and total > 1):
        yield _Shown(None, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield _Shown(progress, total)


def _ring_down(deployment: Deployment, selection: Selection, tally: Tally) -> None:
    """Clear the notifications of dead letters that are gone, of the selected processors."""
    box = deployment.box
    for name, notifications in deployment.notification_queues().items():
        if selection.processors and name not in selection.processors:
            continue
        try:
            tally.cleared[name] = clear_notifications(notifications, box.keeps, box.holds)
        except AccessDenied as error:
            tally.complaints.append(f"The notifications of {name} were not cleared: {error}")


def _left(result: Result) -> dict[str, Any]:
    return {
        "id": id_of(result.key),
        "key": result.key,
        "fate": result.status.value,
        "processor": result.processor,
        "dead_letters": list(result.dead_letters),
        "problem": result.problem or None,
        "failures": [
            {"item": failure.item, "reason": failure.reason, "error": failure.error}
            for failure in result.failures
        ],
    }


def _print(tally: Tally, *, as_json: bool) -> None:
    if as_json:
        print_json(tally.as_json())
        return
    console = terminal()
    _print_left(console, tally)
    statuses = Counter(result.status for result in tally.results)
    parts = [counted(len(tally.results), "dead letter"), counted(tally.sum("records"), "record")]
    outcomes = [(tally.sum(name), told) for name, told in _OUTCOMES.items()]
    told = ", ".join(f"{n:,} {told}" for n, told in outcomes if n or told != _OUTCOMES["untried"])
    console.print(f"{parts[0]} with {parts[1]}: {told}.")
    console.print(f"Items repaired: {tally.sum('repaired'):,}.")
    said = [f"{statuses[status]:,} {status}" for status in RedriveStatus if statuses[status]]
    if said:
        console.print(f"Dead letters: {', '.join(said)}.")
    untried = tally.dead_letters - len(tally.results)
    if untried:
        stopped = "Interrupted" if tally.interrupted else "Stopped"
        console.print(
            f"{stopped}: {counted(untried, 'dead letter')} not tried and as before; run it again."
        )
    for name, cleared in tally.cleared.items():
        if cleared.cleared or cleared.remaining:
            console.print(
                f"{name}: {cleared.cleared:,} notifications cleared, "
                f"{cleared.remaining:,} remaining."
            )
        unknown = [f"{name}: left a message that is no pointer: {b}" for b in cleared.unknown]
        print_some(console, unknown, "message")
    for complaint in tally.complaints:
        console.print(*cells(complaint))


def _print_left(console: Console, tally: Tally) -> None:
    """Say of each record and dead letter that is left why it is."""
    again = table(("still a dead letter", "processor", "reason", "item", "error"))
    failed = [
        (result, failure)
        for result in tally.left
        if not result.problem
        for failure in result.failures
    ]
    for result, failure in failed[:MOST_LINES]:
        what = (id_of(result.key), result.processor, failure.reason)
        again.add_row(*cells(*what, failure.item or "unreadable", _short(failure.error)))
    if again.row_count:
        console.print(again)
    print_rest(
        console,
        Counter(f"{r.processor}: {f.reason}" for r, f in failed[MOST_LINES:]),
        "record",
    )
    problems = [in_short(console, r.key, r.problem) for r in tally.left if r.problem]
    print_some(console, problems, "dead letter")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_ERROR else f"{text[: _SHOWN_ERROR - 1]}…"
