"""Check an exercise: `make exercise-1`, or `python -m exercises.checks 1 [--hint N]`."""

import argparse
import importlib
import inspect
import logging
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dynamodb_streams_cdc.examples.story import tell
from exercises.checks import audit_log, event_sourcing, search_sync
from exercises.checks.bench import Stopped, Wrong, afresh, left, raised, remembers, took_too_long
from exercises.checks.clock import LIMIT, TooLong, limited

WIDTH = 96


@dataclass(frozen=True)
class Exercise:
    """An exercise, the name of what is to be written, its methods if it is a class, its check."""

    number: int
    title: str
    seam: str
    check: ModuleType
    then: str
    methods: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as `exercise_1`: of the starter, and of its solution."""
        return f"exercise_{self.number}"


EXERCISES = (
    Exercise(1, "an audit log", "audit", audit_log, "make exercise-2"),
    Exercise(2, "search index", "sync", search_sync, "make exercise-3"),
    Exercise(
        3,
        "event sourcing",
        "History",
        event_sourcing,
        "a function of your own. docs/how-to/test-your-function.md shows how to test it",
        ("add", "state", "state_at", "shipped_per_day"),
    ),
)


def steps(
    exercise: Exercise, subject: Any, limit: float = LIMIT
) -> Iterator[tuple[str, Wrong | None]]:
    """Try one step after the other, and yield its name and what is wrong; stop at the first."""
    for step in exercise.check.STEPS:
        wrong = _found_by(step, subject, limit)
        yield step.__name__, wrong
        if wrong is not None:
            return


def _found_by(step: Callable[[Any], None], subject: Any, limit: float) -> Wrong | None:
    try:
        with limited(limit):
            step(subject)
    except Wrong as wrong:
        return wrong
    except TooLong as late:
        return took_too_long(late, subject, limit)
    except SystemExit as exit_:
        return left(exit_, subject)
    except Exception as error:  # the learner's code may raise anything, and is told so
        return raised(error, subject)
    return None


def check(exercise: Exercise, package: str = "exercises") -> bool:
    """Check what was written, and print what is wrong with it; return whether nothing is."""
    file = f"{package.replace('.', '/')}/{exercise.name}.py"
    print(f"Exercise {exercise.number}: {exercise.title}, {file}\n")
    subject = _written(exercise, package, file)
    if subject is None:
        return False
    helpful = {step.__name__: number for step, number in exercise.check.STEPS.items()}
    for name, wrong in steps(exercise, subject):
        print(f"  {'WRONG' if wrong else 'right'}  {name.replace('_', ' ')}", flush=True)
        if wrong is not None:
            if _is_memory(exercise, package, name, wrong):
                _tell(remembers())
                return False
            _tell(wrong)
            number, hints = helpful[name], len(exercise.check.HINTS)
            _say(f"Hint {number} of {hints} helps: make exercise-{exercise.number} HINT={number}")
            return False
    _say(f"Solved. {exercise.check.LEARNT}")
    _say(f"How it was meant: exercises/solutions/{exercise.name}.py. Next: {exercise.then}")
    return True


def _is_memory(exercise: Exercise, package: str, name: str, wrong: Wrong) -> bool:
    """Say whether nothing is wrong as soon as each run begins with a new module."""
    if isinstance(wrong, Stopped):
        return False
    [step] = [step for step in exercise.check.STEPS if step.__name__ == name]
    subject = afresh(importlib.import_module(f"{package}.{exercise.name}"), exercise.seam)
    return _found_by(step, subject, LIMIT) is None


def _written(exercise: Exercise, package: str, file: str) -> Any:
    """Return what the learner wrote; None, having said why, if it cannot be had."""
    try:
        with limited(LIMIT):
            module = importlib.import_module(f"{package}.{exercise.name}")
    except SyntaxError as error:
        _say(f"Python cannot read line {error.lineno} of {file}: {error.msg}.")
        return None
    except TooLong:
        _say(f"{file} cannot be imported: that was not done within {LIMIT:g} s.")
        return None
    except (Exception, SystemExit) as error:  # anything may happen in the learner's file
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if file in f.filename]
        where = f", line {lines[-1]}" if lines else ""
        _say(f"{file} cannot be imported: {type(error).__name__}: {error}{where}.")
        return None
    subject = getattr(module, exercise.seam, None)
    if subject is None:
        _say(f"There is no {exercise.seam} in {file}: that is what is checked.")
        return None
    if not callable(subject):
        _say(f"{exercise.seam} in {file} cannot be called: it is {subject!r}.")
        return None
    named = {f"{exercise.seam}.{name}": getattr(subject, name, None) for name in exercise.methods}
    for name, function in {exercise.seam: subject, **named}.items():
        if inspect.iscoroutinefunction(function):
            _say(f"{name} in {file} is `async def`: the checks call it without `await`.")
            return None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            _say(
                f"{name} in {file} has a `yield`: a call of it makes a generator, and runs nothing "
                "of its body. Use `return`."
            )
            return None
    return subject


def _tell(wrong: Wrong) -> None:
    _say(f"What happened: {wrong.happened}")
    if wrong.why:
        _say(f"Why: {wrong.why}")
    if wrong.story:
        print(f"\n{textwrap.indent(wrong.story.rstrip(), '    ')}")
    _say(f"Read on: {wrong.read}")


def _say(text: str) -> None:
    print(f"\n{textwrap.fill(text, WIDTH, break_on_hyphens=False)}")


def hint(exercise: Exercise, wanted: int) -> None:
    """Print one hint; beyond the last, print where the solution is."""
    hints: Sequence[str] = exercise.check.HINTS
    if wanted > len(hints):
        _say(f"There are {len(hints)} hints. A solution: exercises/solutions/{exercise.name}.py")
    else:
        _say(f"Hint {wanted} of {len(hints)}: {hints[wanted - 1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check an exercise, or give a hint; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m exercises.checks", description="Check it.")
    parser.add_argument("number", type=int, choices=[each.number for each in EXERCISES])
    parser.add_argument("--hint", help="print this hint, check nothing")
    parser.add_argument("--solution", action="store_true", help="check the solution instead")
    chosen = parser.parse_args(arguments)
    exercise = EXERCISES[chosen.number - 1]
    if chosen.hint is not None:
        digits = chosen.hint.lstrip("0")[:9] if chosen.hint.isascii() else ""
        if not chosen.hint.isdecimal() or not digits:
            _say(f"There is no hint {chosen.hint}: hints are numbered from 1, as in HINT=1.")
            return 2
        hint(exercise, int(digits))
        return 0
    logging.disable(logging.CRITICAL)
    try:
        solved = check(exercise, "exercises.solutions" if chosen.solution else "exercises")
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130
    return 0 if solved else 1


if __name__ == "__main__":
    # Byte code of a file of the same size, saved in the same second, would pass for its own.
    sys.dont_write_bytecode = True
    sys.exit(tell(main))
