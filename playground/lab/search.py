"""The search for a counterexample, and the test that repeats a run outside."""

import pprint
from collections.abc import Callable, Mapping
from typing import Any

from dynamodb_streams_cdc.testing import Diverged, Trial, check_convergence
from dynamodb_streams_cdc.testing.simulation.replay import as_data, from_data
from playground.lab import settings
from playground.lab.errors import Mistaken
from playground.lab.program import Program, line_of
from playground.lab.run import Experiment, experiment, printed
from playground.lab.script import written

MOST_SCHEDULES = 2_000

Progress = Callable[[int], None]
"""Told how many runs there were so far."""


def search(given: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Search the schedules of the kit for one that fails; return the smallest as an experiment.

    Raises:
        Mistaken: the experiment cannot be used, or cannot show anything.
    """
    schedules = given.get("schedules", 200)
    if type(schedules) is not int or not 1 <= schedules <= MOST_SCHEDULES:
        message = f"schedules is {schedules!r:.40}: write a number from 1 to {MOST_SCHEDULES}"
        raise Mistaken(message, "settings")
    with printed():
        tried = experiment(given)
        program = _program(tried)
        runs = 0

        def make(trial: Trial) -> Any:
            nonlocal runs
            runs += 1
            progress(runs)
            return program.make(trial)

        options = arguments(tried, program)
        if given.get("vary", True):
            options = {n: each for n, each in options.items() if n not in settings.VARIED}
        try:
            report = check_convergence(make, schedules=schedules, **options)
        except Diverged as error:
            return _found(tried, error, runs)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            message = f"the search stopped, {type(error).__name__}: {error}"
            raise Mistaken(message, "handler", line_of(error)) from error
    return {
        "found": False,
        "schedules": report.schedules,
        "deliveries": report.deliveries,
        "writes": report.writes,
        "struck": {str(kind): times for kind, times in report.struck.items()},
    }


def _program(tried: Experiment) -> Program:
    if tried.program is None:
        message = "the three sinks are searched by `make simulate`: choose a handler here"
        raise Mistaken(message, "handler")
    return tried.program


def _found(tried: Experiment, error: Diverged, runs: int) -> dict[str, Any]:
    schedule = from_data(error.replay)
    return {
        "found": True,
        "number": error.number,
        "seed": error.seed,
        "runs": runs,
        "problems": list(error.problems),
        "hint": error.hint,
        "timeline": error.timeline,
        "script": written(schedule),
        "settings": settings.found(tried.settings, schedule),
    }


def arguments(tried: Experiment, program: Program) -> dict[str, Any]:
    """Return the arguments of `check_convergence` that an experiment says."""
    return {
        **_functions(program),
        "view_type": tried.settings["StreamViewType"],
        "timeout": float(tried.settings["Timeout"]),
        **settings.mapping(tried.settings),
    }


def _functions(program: Program) -> dict[str, Any]:
    names = ("compare",) if program.compare else ("wanted",)
    found = {name: program.get(name) for name in (*names, "item", "poison")}
    return {name: function for name, function in found.items() if function is not None}


# The test

_HEAD = '''"""A run of the playground: the test passes if the copy is right in the end."""

from copy import deepcopy

from dynamodb_streams_cdc.testing import check_convergence

'''

_MAKE = """
# From here on: the schedule that the playground showed.

{empty}

def make(trial):
    global store
    held = deepcopy(EMPTY)
    store = trial.faulty(held)
    return handler, lambda: {read}


"""


def as_test(given: Mapping[str, Any]) -> str:
    """Return the text of a pytest module that repeats an experiment.

    Raises:
        Mistaken: a part of the experiment cannot be used.
    """
    with printed():
        tried = experiment(given)
        program = _program(tried)
    code = program.text.strip()
    future = [line for line in code.splitlines() if line.startswith("from __future__ ")]
    code = "\n".join(line for line in code.splitlines() if line not in future)
    stated = {name: value for name, value in arguments(tried, program).items()}
    lines = [
        f"        {name}={name if callable(value) else _literal(value)},"
        for name, value in stated.items()
    ]
    replay = _literal(as_data(tried.schedule))
    body = "\n".join(
        [
            "def test_the_copy_converges():",
            "    check_convergence(",
            "        make,",
            *lines,
            f"        replay={replay},",
            "    )",
        ]
    )
    imports = "".join(f"{line}\n" for line in future)
    head = _HEAD.replace("from copy", f"{imports}from copy", 1) if future else _HEAD
    if program.get("make") is not None:
        head = head.replace("from copy import deepcopy\n\n", "")
        return f"{head}\n{code}\n\n\n{body}\n"
    empty = "EMPTY = store\n" if program.get("store") is not None else "EMPTY = store = {}\n"
    read = "read(held)" if program.get("read") is not None else "dict(held)"
    return f"{head}\n{code}\n\n{_MAKE.format(empty=empty, read=read)}{body}\n"


def _literal(value: Any) -> str:
    text = pprint.pformat(value, width=80, sort_dicts=False)
    return text.replace("\n", "\n        ")
