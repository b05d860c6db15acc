"""`cdc redrive`: letters back through their functions, with a summary of what became of them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dynamodb_streams_cdc.cli.errors import FAILED, INTERRUPTED, misused
from dynamodb_streams_cdc.cli.letters import in_short, list_of, summary
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
from dynamodb_streams_cdc.operations.notifications import Rung, ring_down
from dynamodb_streams_cdc.operations.redrive import Fate, Redrive, Result
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
        letters: how many are meant.
        rung: what was on the bells, by processor.
        complaints: sentences on what could not be done besides.
    """

    letters: int
    results: list[Result] = field(default_factory=list)
    rung: dict[str, Rung] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def left(self) -> list[Result]:
        """Letters of which something is still to be redriven."""
        return [result for result in self.results if result.fate.leaves_letters]

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
        fates = Counter(result.fate for result in self.results)
        return {
            "letters": self.letters,
            "tried": len(self.results),
            **{fate.value: fates[fate] for fate in Fate},
            "records": self.sum("records"),
            **{name: self.sum(name) for name in (*_OUTCOMES, "repaired")},
            "left": [_left(result) for result in self.left],
            "bells": {
                name: {
                    "silenced": rung.silenced,
                    "ringing": rung.ringing,
                    "unknown": list(rung.unknown),
                }
                for name, rung in self.rung.items()
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
    """Redrive the letters that are meant; return the exit status."""
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
        print_json({"dry_run": True, "letters": [row.as_json() for row in found]})
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
            *cells(f"  {counted(count, 'letter')} of {processor or '?'}: {reason or '?'}")
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
    """Silence the bells of the processors that were meant, as far as their letters are gone."""
    box = deployment.box
    for name, bell in deployment.bells().items():
        if selection.processors and name not in selection.processors:
            continue
        try:
            tally.rung[name] = ring_down(bell, box.keeps, box.holds)
        except AccessDenied as error:
            tally.complaints.append(f"The bell of {name} still rings: {error}")


def _left(result: Result) -> dict[str, Any]:
    return {
        "id": id_of(result.key),
        "key": result.key,
        "fate": result.fate.value,
        "processor": result.processor,
        "letters": list(result.letters),
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
    fates = Counter(result.fate for result in tally.results)
    parts = [counted(len(tally.results), "letter"), counted(tally.sum("records"), "record")]
    outcomes = [(tally.sum(name), told) for name, told in _OUTCOMES.items()]
    told = ", ".join(f"{n:,} {told}" for n, told in outcomes if n or told != _OUTCOMES["untried"])
    console.print(f"{parts[0]} with {parts[1]}: {told}.")
    console.print(f"Items repaired: {tally.sum('repaired'):,}.")
    said = [f"{fates[fate]:,} {fate}" for fate in Fate if fates[fate]]
    if said:
        console.print(f"Letters: {', '.join(said)}.")
    untried = tally.letters - len(tally.results)
    if untried:
        stopped = "Interrupted" if tally.interrupted else "Stopped"
        console.print(
            f"{stopped}: {counted(untried, 'letter')} not tried and as before; run it again."
        )
    for name, rung in tally.rung.items():
        if rung.silenced or rung.ringing:
            console.print(f"Bell of {name}: {rung.silenced:,} silenced, {rung.ringing:,} ringing.")
        unknown = [f"Bell of {name}: left a message that is no pointer: {b}" for b in rung.unknown]
        print_some(console, unknown, "message")
    for complaint in tally.complaints:
        console.print(*cells(complaint))


def _print_left(console: Console, tally: Tally) -> None:
    """Say of each record and letter that is left why it is."""
    again = table(("still a letter", "processor", "reason", "item", "error"))
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
    print_some(console, problems, "letter")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_ERROR else f"{text[: _SHOWN_ERROR - 1]}…"
