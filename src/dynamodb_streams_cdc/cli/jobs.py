"""Options of commands that work for long."""

from typing import Annotated

import typer

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


def limit_of(units_per_second: float | None) -> CapacityLimit:
    """Return the limit of so many units a second, or none."""
    return CapacityLimit() if units_per_second is None else CapacityLimit(units_per_second)
