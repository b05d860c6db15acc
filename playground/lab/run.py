"""One run of a schedule, with everything that the page draws of it."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.testing import EndlessRun, Items, ProcessKilled
from dynamodb_streams_cdc.testing.check import NAME, Check
from dynamodb_streams_cdc.testing.convergence import FAULTS
from dynamodb_streams_cdc.testing.differences import differences, in_words
from dynamodb_streams_cdc.testing.hints import Story, hint
from dynamodb_streams_cdc.testing.simulation import Schedule, Simulation
from dynamodb_streams_cdc.testing.simulation.pipeline import PoisonError, pipeline
from dynamodb_streams_cdc.testing.simulation.scene import Scene, item_of, poisoned
from playground.lab import picture, settings
from playground.lab.errors import Mistaken
from playground.lab.program import Program, advice, line_of, load
from playground.lab.recorder import Recorder
from playground.lab.script import Script, read, with_mapping

MOST_OUTPUT = 20_000
"""Characters of prints that are kept."""

PIPELINE = "pipeline"
"""Consumer of an experiment that runs the three sinks in place of a handler."""


@dataclass(frozen=True)
class Experiment:
    """All that a run depends on: the code, the mapping and the schedule."""

    program: Program | None
    settings: dict[str, Any]
    script: Script

    @property
    def schedule(self) -> Schedule:
        """The schedule, with the settings of the mapping that are its own."""
        return with_mapping(self.script.schedule, self.settings)

    @property
    def scene(self) -> Scene:
        """The table and the mapping."""
        program = self.program
        return Scene(
            item=program.item if program else item_of,
            poisoned=program.poison if program else poisoned,
            view_type=self.settings["StreamViewType"],
            settings=settings.own(self.settings),
            timeout=float(self.settings["Timeout"]),
        )


class Printed(io.TextIOBase):
    """The beginning of what the code prints."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0

    def write(self, text: str) -> int:
        """Keep a text, as far as there is room."""
        if self.length < MOST_OUTPUT:
            self.parts.append(text[: MOST_OUTPUT - self.length])
        self.length += len(text)
        return len(text)

    def __str__(self) -> str:
        more = self.length - MOST_OUTPUT
        cut = f"\n... and {more:,} characters more" if more > 0 else ""
        return "".join(self.parts) + cut


def experiment(given: Mapping[str, Any]) -> Experiment:
    """Return the experiment that the page asks for.

    Raises:
        Mistaken: a part of it cannot be used.
    """
    chosen = settings.checked(given.get("settings", {}))
    script = read(str(given.get("script", "")))
    is_pipeline = given.get("consumer") == PIPELINE
    program = None if is_pipeline else load(str(given.get("handler", "")))
    return Experiment(program, chosen, script)


@contextlib.contextmanager
def printed() -> Iterator[Printed]:
    """Catch what the code prints."""
    out = Printed()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        yield out


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Run an experiment; return its picture.

    Raises:
        Mistaken: a part of it cannot be used.
    """
    with printed() as out:
        tried = experiment(given)
        drawn = _pipeline(tried) if tried.program is None else _function(tried, tried.program)
    return {**drawn, "printed": str(out), "mapping": settings.mapping(tried.settings)}


def _function(tried: Experiment, program: Program) -> dict[str, Any]:
    recorder = Recorder(function=NAME)
    check = check_of(tried, program)
    simulations: list[Simulation] = []

    def watch(simulation: Simulation) -> None:
        simulations.append(simulation)
        recorder.look = lambda: _compared(simulation, reader, check)
        recorder.watch(simulation)

    reader: list[Any] = []
    check.make = lambda trial: _reading(program.make(trial), reader)
    try:
        story = check.run(tried.schedule, timeline=True, watch=watch)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # What `read`, `wanted` or `compare` raise; the function's own errors are events of the run.
        message = f"the run stopped, {type(error).__name__}: {error}"
        raise Mistaken(message, "handler", line_of(error)) from error
    drawn = picture.of(simulations[0], recorder, story.problems)
    errors = [call.error for call in recorder.calls if call.error is not None]
    own = [error for error in errors if not isinstance(error, ProcessKilled | RetryableError)]
    return {
        **drawn,
        "hint": _hint(story),
        "advice": next(filter(None, map(advice, errors)), ""),
        "error_lines": sorted({line for error in own if (line := line_of(error))}),
    }


def _hint(story: Story) -> str:
    with printed():
        return hint(story) if story.problems else ""


def _reading(made: Any, reader: list[Any]) -> Any:
    reader[:] = [made[1]] if isinstance(made, tuple) and len(made) == 2 else []
    return made


def check_of(tried: Experiment, program: Program) -> Check:
    """Return the kit's check of a program."""
    wanted = program.wanted or Items.by_key
    return Check(program.make, wanted, program.compare, tried.scene, set(FAULTS))


def _compared(simulation: Simulation, reader: list[Any], check: Check) -> Any:
    """Return the copy that the table implies, the copy, and the differences, in words."""
    if not reader:
        return None
    items = Items(simulation.table)
    try:
        copy = reader[0]()
        if check.compare is not None:
            wanted, problems = items.by_key(), list(check.compare(copy, items))
        else:
            wanted = check.wanted(items)
            problems = list(differences(copy, wanted))
    except Exception:  # the end of the run says what is wrong with `read` or `wanted`
        return None
    return rows(wanted, copy, problems, is_copy=check.compare is None)


def words(value: Any) -> str:
    """Return a value as a person writes it, without braces and types."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(each)}" for name, each in value.items())
    return str(value) if isinstance(value, Decimal) else in_words(value)


def rows(wanted: Any, copy: Any, problems: list[str], *, is_copy: bool) -> dict[str, Any]:
    """Return table and copy by key, as text, and whether they differ."""
    if not (isinstance(wanted, Mapping) and isinstance(copy, Mapping)):
        values = {"": (words(wanted), words(copy), is_copy and wanted != copy)}
    else:
        keys = sorted({*wanted, *copy}, key=str)
        values = {
            in_words(key): (
                words(wanted[key]) if key in wanted else "",
                words(copy[key]) if key in copy else "",
                is_copy and wanted.get(key, _ABSENT) != copy.get(key, _ABSENT),
            )
            for key in keys
        }
    return {"rows": [[key, *row] for key, row in values.items()], "problems": problems}


_ABSENT = object()


def _pipeline(tried: Experiment) -> dict[str, Any]:
    recorder = Recorder()
    simulation = Simulation(tried.schedule, pipeline, scene=tried.scene, timeline=True)

    def look() -> dict[str, Any] | None:
        try:
            problems = [
                f"{actor.consumer.name}: {problem}"
                for actor in simulation.actors
                for problem in actor.consumer.problems(simulation.table)
            ]
        except PoisonError:  # nothing can be said of a copy while a poisoned item is in the table
            return None
        items = Items(simulation.table).by_key()
        table = [[in_words(key), words(item), "", False] for key, item in items.items()]
        return {"rows": table, "problems": problems}

    recorder.look = look
    recorder.watch(simulation)
    try:
        problems = simulation.run().problems
    except EndlessRun as error:
        problems = (str(error),)
    return {**picture.of(simulation, recorder, problems), "hint": "", "advice": ""}
