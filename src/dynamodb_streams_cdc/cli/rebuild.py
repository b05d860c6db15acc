"""`cdc rebuild`: build a sink's copies again next to those that readers read."""

import typer

from dynamodb_streams_cdc.cli.options import Command, Commands, epilog
from dynamodb_streams_cdc.cli.rebuild_aggregation import rebuild_aggregation
from dynamodb_streams_cdc.cli.rebuild_search import rebuild_search

rebuild = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Build the copies of a sink again, next to those that readers read.",
)
rebuild.command("aggregation", cls=Command, epilog=epilog("rebuild aggregation"))(
    rebuild_aggregation
)
rebuild.command("search", cls=Command, epilog=epilog("rebuild search"))(rebuild_search)
