"""The commands and their options."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dynamodb_streams_cdc.cli.dead_letters import print_dead_letters
from dynamodb_streams_cdc.cli.errors import FAILED, misused, sentences
from dynamodb_streams_cdc.cli.history import print_history
from dynamodb_streams_cdc.cli.redriving import run_redrive
from dynamodb_streams_cdc.cli.repairing import run_repair
from dynamodb_streams_cdc.cli.selection import Selection, rows, seconds_of
from dynamodb_streams_cdc.cli.show import print_dead_letter
from dynamodb_streams_cdc.operations.stack import Deployment


class Commands(TyperGroup):
    """Commands that fail with a sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        with sentences():
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command that takes no empty value: it would mean something else, or nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed into the context's parameters."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            values = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(each, str) and not each.strip() for each in values):
                name = parameter.opts[0] if parameter.opts[0][0] == "-" else parameter.metavar
                misused(f"{name} is empty: leave it out, or say what is meant.")
        return rest


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Look at dead letters, replay them through the deployed functions, repair copies, and read "
        "the history of an item. Speaks to AWS with your credentials, or to the emulator at "
        "AWS_ENDPOINT_URL."
    ),
)
dead_letters = typer.Typer(cls=Commands, no_args_is_help=True, help="List and show dead letters.")
app.add_typer(dead_letters, name="dead-letters")

Environment = Annotated[
    str,
    typer.Option(
        "--environment", "-e", envvar="CDC_ENVIRONMENT", help="Whose stack cdc-NAME-pipeline it is."
    ),
]
Stack = Annotated[
    str | None, typer.Option(help="Name of the pipeline's stack, if it is called otherwise.")
]
Endpoint = Annotated[
    str | None, typer.Option(help="Of all services, in place of AWS: http://127.0.0.1:4566.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Processors = Annotated[
    list[str] | None, typer.Option("--processor", "-p", help="Dead letters of this processor.")
]
Reasons = Annotated[list[str] | None, typer.Option("--reason", "-r", help="With this reason.")]
Items = Annotated[
    list[str] | None,
    typer.Option("--item", "-i", help="With a change of this item, or of all that begin so."),
]
OlderThan = Annotated[
    str | None, typer.Option(help="Written so long ago at least: 90s, 15m, 2h, 3d, 1d12h.")
]


@dead_letters.command("list", cls=Command)
def list_dead_letters(
    processor: Processors = None,
    reason: Reasons = None,
    item: Items = None,
    older_than: OlderThan = None,
    keys: Annotated[bool, typer.Option("--keys", help="Show the dead letters' keys.")] = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    endpoint_url: Endpoint = None,
) -> None:
    """List the dead letters that wait, the oldest first."""
    deployment = Deployment.find(environment, stack, endpoint_url)
    selection = _selection(deployment, processor, reason, item, older_than)
    found = rows(deployment, selection)
    print_dead_letters(found, as_json=as_json, stack=deployment.stack, keys=keys)


@dead_letters.command("show", cls=Command)
def show_dead_letter(
    dead_letter: Annotated[str, typer.Argument(metavar="ID", help="Its key or its short name.")],
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show one dead letter: payload, reason, and what the sink holds now."""
    deployment = Deployment.find(environment, stack, endpoint_url)
    print_dead_letter(deployment, dead_letter, as_json=as_json)


@app.command(cls=Command)
def redrive(
    dead_letter: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Keys or short names; all, if none is given."),
    ] = None,
    processor: Processors = None,
    reason: Reasons = None,
    item: Items = None,
    older_than: OlderThan = None,
    successor: Annotated[
        str | None,
        typer.Option("--as", help="Processor for dead letters whose own is not deployed any more."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Replay dead letters through the deployed functions and repair every item they touch.

    What succeeds is archived, what fails again stays a dead letter. Harmless at any time, in any
    order, by several people at once, and however often; Ctrl-C stops it after the request at hand.

    Status 0: nothing is left of what was meant. 1: dead letters remain. 2: wrong use. 130: Ctrl-C.
    """
    deployment = Deployment.find(environment, stack, endpoint_url)
    selection = _selection(deployment, processor, reason, item, older_than, dead_letter)
    if successor is not None:
        _check_processor(deployment, "--as", successor)
    status = run_redrive(
        deployment, selection, successor=successor, dry_run=dry_run, yes=yes, as_json=as_json
    )
    raise typer.Exit(status)


@app.command(cls=Command)
def repair(
    key: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="The item's keys, text unless NAME:N=VALUE or NAME:B=BASE64.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every item that is in the table.")
    ] = False,
    processor: Annotated[
        list[str] | None, typer.Option("--processor", "-p", help="The copies of this processor.")
    ] = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Make the copies of an item, or of all items, what the table says.

    Copies that are missing are made, below every change of the current stream. Harmless at any
    time, beside live changes, and however often. With --all it reads the whole table; an item that
    was deleted while no stream recorded it is not in there: repair it by its keys.

    Status 0: the copies are right. 1: some could not be repaired. 2: wrong use. 130: Ctrl-C.
    """
    if bool(key) == everything:
        misused(
            "Name an item by its keys, as in customer_id=00004 order_id=7, or say --all; not both."
        )
    deployment = Deployment.find(environment, stack, endpoint_url)
    for name in processor or ():
        _check_processor(deployment, "--processor", name)
    status = run_repair(
        deployment, key or (), processor or (), everything=everything, as_json=as_json
    )
    raise typer.Exit(status)


@app.command(cls=Command)
def history(
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE",
            help="The item's keys, text unless NAME:N=VALUE or NAME:B=BASE64; or its identity.",
        ),
    ],
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show what the change log knows of an item, and where it has gaps (status 1)."""
    deployment = Deployment.find(environment, stack, endpoint_url)
    if not print_history(deployment, key, as_json=as_json):
        raise typer.Exit(FAILED)


def _selection(
    deployment: Deployment,
    processors: list[str] | None,
    reasons: list[str] | None,
    items: list[str] | None,
    older_than: str | None,
    dead_letters: list[str] | None = None,
) -> Selection:
    for processor in processors or ():
        _check_processor(deployment, "--processor", processor)
    try:
        seconds = 0.0 if older_than is None else seconds_of(older_than)
    except ValueError as error:
        misused(f"--older-than: {error}")
    return Selection(processors or (), reasons or (), items or (), seconds, dead_letters or ())


def _check_processor(deployment: Deployment, option: str, name: str) -> None:
    known = sorted(deployment.names.processors.values())
    if name not in known:
        misused(f"{option}: {deployment.stack} has {', '.join(known)}, and no processor {name!r}.")
