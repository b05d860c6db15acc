"""Options of commands that work for long, and their question before they write."""

from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import FAILED
from dynamodb_streams_cdc.cli.output import is_interactive
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.walk import CapacityLimit

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
Workers = Annotated[
    int, typer.Option(min=1, max=64, metavar="N", help="Requests under way at one time.")
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


def limit_of(units_per_second: float | None) -> CapacityLimit:
    """Return the limit of so many units a second, or none."""
    return CapacityLimit() if units_per_second is None else CapacityLimit(units_per_second)
