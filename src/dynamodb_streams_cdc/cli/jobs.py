"""Options of commands that work for long, and their question before they write."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import FAILED
from dynamodb_streams_cdc.cli.output import is_interactive, say, stderr_console
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.entities import SEARCH
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.aws.runs import StateMachineRuns
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_search import indexes_of
from dynamodb_streams_cdc.operations.remote_walk import RUN, RemoteWalk, segments_for
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.walk import CapacityLimit, Walk

JobName = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="NAME",
        help="Name of the job: the same name goes on where it stopped.",
        show_default="the command and the stack",
    ),
]
Capacity = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="UNITS",
        help="Read capacity units a second that the work may consume.",
        show_default="no limit",
    ),
]
Settle = Annotated[
    float,
    typer.Option(
        min=0,
        max=86_400,  # `time.sleep` takes no `inf`
        metavar="SECONDS",
        help="Look at a difference again after this long: more than the copies' usual lag.",
    ),
]
MOST_THREADS = 64
MOST_CHILDREN = 10_000
"""Child executions of a Map Run at one time
(https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

Workers = Annotated[
    int,
    typer.Option(
        min=1,
        max=MOST_CHILDREN,
        metavar="N",
        help=f"Requests under way at one time; at most {MOST_THREADS} without --on aws.",
    ),
]
SEGMENTS = 8
"""Parts that this machine cuts a table into, at least: one for each request under way."""

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="PLACE",
        help="aws: walk under Step Functions, for tables that one machine should not walk; this "
        "command starts it, watches it, and comes back to it.",
        show_default="this machine",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ask before anything is written.

    Raises:
        UsageError: no person can answer, and the command does not say yes.
    """
    if yes:
        return
    if not is_interactive():
        message = f"{question} Say --yes where no person can answer."
        raise UsageError(message)
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)


def processor_of(deployment: Deployment, table: str, sink: str) -> str:
    """Return the processor of a table's sink.

    Raises:
        UsageError: there is none.
    """
    for each in deployment.manifest.processors:
        if each.sink == sink and each.source_table == table:
            return each.name
    message = f"{deployment.stack} has no sink {sink} of table {table}: no entity uses it."
    raise UsageError(message)


def copies_of(deployment: Deployment, processors: Collection[str]) -> dict[str, str]:
    """Return what tells the copies of some processors from others that had their names.

    A table of another deployment has another name. An index of the same name says when it was made.
    """
    found = {f"table {role}": name for role, name in deployment.manifest.tables.items()}
    for each in deployment.manifest.processors:
        if each.name in processors and each.sink == SEARCH:
            # One that does not answer is a problem of the work, which it reports.
            with suppress(InvocationFailed):
                for index, held in indexes_of(deployment.functions, each.name).items():
                    found[f"index {index}"] = held.get("live_made", "")
    return found


def tell_whether_it_goes_on(job: Job) -> None:
    """Say whether a job that was begun goes on, or begins again and why."""
    if job.resumed:
        say(stderr_console(), f"Job {job.name} goes on where it stopped.")
    elif job.lost is not None:
        text = f"Job {job.name} begins again: {job.lost} is another than it was begun for."
        say(stderr_console(), text)


def limit_of(units_per_second: float | None) -> CapacityLimit:
    """Return the limit of so many units a second, or none."""
    return CapacityLimit() if units_per_second is None else CapacityLimit(units_per_second)


@dataclass(frozen=True)
class Place:
    """Where a walk asks the functions.

    Attributes:
        walk: makes the walks.
        segments: parts that a table is cut into.
        job: the work.
        runs: executions of the state machine; None on this machine.
    """

    walk: Callable[..., Walk]
    segments: int
    job: Job
    runs: StateMachineRuns | None = None

    def tell_interrupted(self) -> None:
        """Say what goes on, and how to stop it."""
        run = None if self.runs is None else self.job.recall(RUN)
        text = "Interrupted: run it again to go on."
        if self.runs is not None and run is not None:
            stop = _stop(self.runs.arn(run["name"]))
            text = f"The walk goes on without this command; run it again to watch. {stop}"
        say(stderr_console(), text, folds=False)


def _stop(arn: str) -> str:
    return f"To stop it: aws stepfunctions stop-execution --execution-arn {arn}"


def segments_here(workers: int) -> int:
    """Return the number of parts that this machine cuts a table into for so many workers.

    Raises:
        UsageError: they are too many for one machine.
    """
    if workers > MOST_THREADS:
        message = f"--workers: at most {MOST_THREADS} on this machine; see --on aws."
        raise UsageError(message)
    return max(SEGMENTS, workers)


def runs_of(deployment: Deployment, on: str | None, workers: int) -> StateMachineRuns | None:
    """Return the executions where walks ask; None for this machine.

    Call it before the job is begun: a job keeps the options that it was begun with.

    Raises:
        UsageError: there is no such place, or it takes fewer workers.
        OperationError: the pipeline has no state machine.
    """
    if on is None:
        segments_here(workers)
        return None
    if on != "aws":
        message = f"--on: aws is the only place besides this machine, got {on!r}."
        raise UsageError(message)
    _check_reserved(deployment, workers)
    return deployment.runs()


def place_of(
    runs: StateMachineRuns | None,
    workers: int,
    items: int,
    job: Job,
    say: Callable[[str], None],
) -> Place:
    """Return where the walks of a job ask, for a table with about so many items.

    `say` is called with sentences while they work.
    """
    if runs is None:
        return Place(Walk, job.segments(segments_here(workers)), job)
    segments = job.segments(segments_for(items, workers))
    walk = partial(RemoteWalk, runs=runs, tell=lambda arn: say(_stop(arn)))
    return Place(walk, segments, job, runs)


def _check_reserved(deployment: Deployment, workers: int) -> None:
    """Refuse more requests at one time than a function may have invocations."""
    client = deployment.client("lambda")
    for function in deployment.manifest.functions.values():
        with permitted("lambda:GetFunctionConcurrency", function):
            found = client.get_function_concurrency(FunctionName=function)
        reserved = found.get("ReservedConcurrentExecutions")
        if reserved is not None and workers > reserved:
            message = (
                f"--workers: of function {function} {reserved} invocations may run at one time "
                f"(reserved_concurrency), those of its stream among them; got {workers}."
            )
            raise UsageError(message)
