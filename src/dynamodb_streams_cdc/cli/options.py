"""Options that commands share, and the commands' common behaviour."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dynamodb_streams_cdc.cli.errors import sentences
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.selection import Selection, seconds_of
from dynamodb_streams_cdc.operations.stack import Deployment


class Commands(TyperGroup):
    """Commands that fail with a sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        with sentences():
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command that refuses empty values: they would mean something else, or nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments into the context's parameters."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            values = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(each, str) and not each.strip() for each in values):
                name = parameter.opts[0] if parameter.opts[0][0] == "-" else parameter.metavar
                message = f"{name} is empty: leave it out, or give it a value."
                raise UsageError(message)
        return rest


_STATUSES: Mapping[str, Sequence[str]] = {
    "dead-letters list": ("listed", "not readable"),
    "dead-letters show": ("shown", "not found, or not readable"),
    "redrive": (
        "nothing is left of the selected dead letters",
        "dead letters or notifications remain, or the confirmation was refused",
    ),
    "verify": ("every copy is right", "some copies differ, or could not be verified"),
    "backfill": ("every item is in the copies", "some items are not, or the answer was no"),
    "rebuild search": (
        "done for every index",
        "documents differ or the work ended early, or the answer was no",
    ),
    "repair": ("every copy is right", "some copies were not repaired, or not verified before"),
    "rebuild aggregation": (
        "readers read what was asked for, and it is right",
        "the rebuild is not done, or the answer was no",
    ),
    "purge": (
        "no old tombstone is left, or with --dry-run all are counted",
        "some are left, or the answer was no",
    ),
    "history": ("no gaps", "gaps, or no entry"),
    "diff": ("shown", "no entry of the item by then, or gaps around a moment"),
    "forget": (
        "nothing is held of the items",
        "something is held or the key is still in tombstones, an item was refused, or the answer "
        "was no",
    ),
    "status": ("shown", "not readable", "ended by Ctrl-C before it was shown"),
    "tail": (
        "ended by Ctrl-C",
        "no stream of a change log, not readable, or two readers already",
        "ended by Ctrl-C before it followed",
    ),
}


def exit_statuses(command: str) -> dict[int, str]:
    """Return the meanings of a command's exit statuses."""
    success, failure, *others = _STATUSES[command]
    [interrupted] = others or ["interrupted by Ctrl-C"]
    return {0: success, 1: failure, 2: "wrong use", 130: interrupted}


def epilog(command: str) -> str:
    """Return the end of a command's help: its exit statuses."""
    meanings = exit_statuses(command).items()
    return f"Exit status: {'; '.join(f'{status} {meaning}' for status, meaning in meanings)}."


Environment = Annotated[
    str,
    typer.Option(
        "--environment",
        "-e",
        envvar="CDC_ENVIRONMENT",
        metavar="NAME",
        help="Environment name; selects its pipeline, the stack cdc-NAME-pipeline.",
    ),
]
Stack = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Stack name, if the environment has several pipelines.",
        show_default="the only pipeline of the environment",
    ),
]
ManifestFile = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        envvar="CDC_MANIFEST",
        metavar="FILE",
        help="JSON file that says what is deployed, for a pipeline without a CloudFormation stack.",
        show_default="the stack's output Manifest",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Endpoint of all services instead of AWS, such as http://127.0.0.1:4566.",
        show_default="boto3's configuration",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
_KEYS = typer.Argument(
    metavar="KEY=VALUE",
    help="Key attributes of the item: text, NAME:N=VALUE for a number, NAME:B=VALUE for base64.",
)
Keys = Annotated[list[str], _KEYS]
OptionalKeys = Annotated[list[str] | None, _KEYS]
Table = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="NAME",
        help="Logical name of the source table.",
        show_default="the only source table",
    ),
]
Processors = Annotated[
    list[str] | None,
    typer.Option(
        "--processor",
        "-p",
        metavar="NAME",
        help="Only this processor; repeatable.",
        show_default="all",
    ),
]
Entity = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Only items of this declared entity.", show_default="all items"
    ),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        "-r",
        metavar="NAME",
        help="Only dead letters with this reason, in any case; repeatable.",
        show_default="all",
    ),
]
Items = Annotated[
    list[str] | None,
    typer.Option(
        "--item",
        "-i",
        metavar="ITEM",
        help="Only dead letters with a change of this item, such as orders/S=00004/S=7, or of all "
        "items below orders/S=00004; repeatable.",
        show_default="all",
    ),
]
OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Only dead letters written at least this long ago: 90s, 15m, 2h, 3d, 1w, 1d12h.",
        show_default="all",
    ),
]


def selection_of(
    deployment: Deployment,
    processors: Sequence[str] | None,
    reasons: Sequence[str] | None,
    items: Sequence[str] | None,
    older_than: str | None,
    dead_letters: Sequence[str] | None = None,
) -> Selection:
    """Return the selection that the options describe.

    Raises:
        UsageError: a processor is not deployed, or the duration is malformed.
    """
    check_processors(deployment, processors)
    try:
        seconds = 0.0 if older_than is None else seconds_of(older_than)
    except ValueError as error:
        message = f"--older-than: {error}"
        raise UsageError(message) from error
    return Selection(processors or (), reasons or (), items or (), seconds, dead_letters or ())


def check_entity(deployment: Deployment, table: str, name: str) -> None:
    """Refuse an entity that the table does not declare.

    Raises:
        UsageError: it does not, or the manifest names none.
    """
    known = sorted(each.name for each in deployment.manifest.source_table(table).entities)
    if name not in known:
        has = ", ".join(known) or "no names of entities in its manifest"
        message = f"--entity: table {table} has {has}, and no entity {name!r}."
        raise UsageError(message)


def check_processor(deployment: Deployment, option: str, name: str) -> None:
    """Refuse a processor that is not deployed.

    Raises:
        UsageError: it is not.
    """
    known = sorted(deployment.manifest.functions)
    if name not in known:
        message = f"{option}: {deployment.stack} has {', '.join(known)}, and no processor {name!r}."
        raise UsageError(message)


def check_processors(deployment: Deployment, names: Collection[str] | None) -> None:
    """Refuse processors that were named with --processor, and are not deployed.

    Raises:
        UsageError: there are some.
    """
    for name in names or ():
        check_processor(deployment, "--processor", name)


def check_processors_of(
    deployment: Deployment, table: str, processors: Collection[str] | None
) -> None:
    """Refuse processors that were named, and whose copies are not of the table.

    Raises:
        UsageError: there are some.
    """
    known = {each.name for each in deployment.manifest.processors if each.source_table == table}
    if strangers := sorted({*(processors or ())} - known):
        message = f"--processor: {', '.join(strangers)} is of another table than {table}."
        raise UsageError(message)
