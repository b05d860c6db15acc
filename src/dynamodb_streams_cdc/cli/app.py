"""The application `cdc`: its commands, each in a module of its own."""

import typer

from dynamodb_streams_cdc.cli.backfill import backfill
from dynamodb_streams_cdc.cli.dead_letters import dead_letters
from dynamodb_streams_cdc.cli.diff import diff
from dynamodb_streams_cdc.cli.forget import forget
from dynamodb_streams_cdc.cli.history import history
from dynamodb_streams_cdc.cli.options import Command, Commands, epilog
from dynamodb_streams_cdc.cli.purge import purge
from dynamodb_streams_cdc.cli.rebuild import rebuild
from dynamodb_streams_cdc.cli.redrive import redrive
from dynamodb_streams_cdc.cli.repair import repair
from dynamodb_streams_cdc.cli.status import status
from dynamodb_streams_cdc.cli.tail import tail
from dynamodb_streams_cdc.cli.verify import verify

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Verify, repair and fill copies, list and redrive dead letters, show the history of an "
        "item, and erase what is held of one. Uses your AWS credentials, or the emulator at "
        "AWS_ENDPOINT_URL."
    ),
)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(rebuild, name="rebuild")
app.command(cls=Command, epilog=epilog("redrive"))(redrive)
app.command(cls=Command, epilog=epilog("verify"))(verify)
app.command(cls=Command, epilog=epilog("repair"))(repair)
app.command(cls=Command, epilog=epilog("backfill"))(backfill)
app.command(cls=Command, epilog=epilog("purge"))(purge)
app.command(cls=Command, epilog=epilog("history"))(history)
app.command(cls=Command, epilog=epilog("diff"))(diff)
app.command(cls=Command, epilog=epilog("tail"))(tail)
app.command(cls=Command, epilog=epilog("status"))(status)
app.command(cls=Command, epilog=epilog("forget"))(forget)
