"""Options of commands that work for long."""

from typing import Annotated

import typer

from dynamodb_streams_cdc.operations.walk import Budget

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


def budget_of(units_per_second: float | None) -> Budget:
    """Return the budget of a number of units a second, or one without a limit."""
    return Budget() if units_per_second is None else Budget(units_per_second)
