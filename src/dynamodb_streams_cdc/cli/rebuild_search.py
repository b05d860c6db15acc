"""`cdc rebuild search`: give an index the deployed mapping while readers use it."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import (
    Capacity,
    Settle,
    Workers,
    Yes,
    confirm,
    limit_of,
    processor_of,
    segments_here,
)
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    ManifestFile,
    Stack,
    Table,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    say,
    stderr_console,
    table,
    terminal,
)
from dynamodb_streams_cdc.cli.progress import progress
from dynamodb_streams_cdc.entities import SEARCH
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.jobs import check_folder
from dynamodb_streams_cdc.operations.rebuild_search import (
    RebuildReport,
    RebuildSearch,
    indexes_of,
)
from dynamodb_streams_cdc.operations.repair import RepairSource
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.verify import SETTLE_SECONDS


@dataclass
class Reports(Report):
    """Results of the rebuilds of some indexes."""

    indexes: list[RebuildReport] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether what was asked for was done for every index."""
        return self.ended and all(each.complete for each in self.indexes)


def rebuild_search(
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this index; repeatable.", show_default="all"),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Return readers to the index before the swap.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Delete the index that was live before the swap.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Delete a new index that is not live yet.")
    ] = False,
    accept: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Swap even if this many documents differ from the table, such as refused ones.",
        ),
    ] = 0,
    source_table: Table = None,
    capacity: Capacity = None,
    workers: Workers = 4,
    settle: Settle = SETTLE_SECONDS,
    yes: Yes = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Give a search index the deployed mapping, while it is read and written.

    Makes a second index that every change is written to as well, copies the table and the
    tombstones into it, verifies it, and swaps both in one request. Run it again to go on after an
    interruption. The old index is written until --finish, so --rollback loses nothing.
    """
    if sum((rollback, finish, abandon)) > 1:
        message = "Give one of --rollback, --finish and --abandon."
        raise UsageError(message)
    segments = segments_here(workers)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    source = RepairSource(deployment, source_table)
    processor = processor_of(deployment, source.name, SEARCH)
    known = list(indexes_of(deployment.functions, processor))
    for name in index or ():
        if name not in known:
            message = f"--index: {deployment.stack} has {', '.join(known)}, and no index {name!r}."
            raise UsageError(message)
    chosen = index or known
    name_of_work = (rollback and "rollback") or (finish and "finish") or (abandon and "abandon")
    method = name_of_work or "run"
    if method == "run":
        check_folder()
    confirm(f"{_WORK[method]} {', '.join(chosen)}?", yes=yes)
    reports = Reports()
    total = source.about * 2 * len(chosen)
    with (
        progress(total, "items and documents") as shown,
        reported(reports, _print, as_json=as_json, progress=shown),
    ):
        for name in chosen:
            work = RebuildSearch(
                deployment.functions,
                processor,
                name,
                source.stream_arn,
                source.key_types,
                accept=accept,
                segments=segments,
                workers=workers,
                capacity=limit_of(capacity),
                settle=settle,
                progress=shown,
            )
            reports.indexes.append(work.report)
            try:
                getattr(work, method)()
            except OperationError as error:  # the other indexes go on
                work.report.problems.append(str(error))


_WORK = {
    "run": "Rebuild",
    "rollback": "Return readers to the index before the swap of",
    "finish": "Delete the index before the swap of",
    "abandon": "Delete the new index of",
}
_DONE = {
    "swapped": (
        "readers find {index}-v{live}. {index}-v{second} is still written: --rollback returns to "
        "it, --finish deletes it."
    ),
    "rolled back": (
        "readers find {index}-v{live} again. {index}-v{second} is still written: --abandon deletes "
        "it."
    ),
    "finished": "readers find {index}-v{live}, and the index before it is deleted.",
    "abandoned": "readers find {index}-v{live}, and the new index is deleted.",
}


def _print(reports: Reports) -> None:
    console = terminal()
    for report in reports.indexes:
        _print_refusals(report)
        if report.read:
            say(
                console,
                f"{report.index}: {report.read:,} items and tombstones read, "
                f"{report.copied:,} documents copied.",
            )
        if report.done:
            say(console, f"{report.index}: {_DONE[report.done].format(**asdict(report))}")
        say(console, *report.problems)
    if reports.interrupted:
        stderr_console().print("Interrupted: run it again to go on.")


def _print_refusals(report: RebuildReport) -> None:
    rows: list[tuple[str, str, str]] = [
        *((each["item"], each["reason"], each["error"]) for each in report.refusals),
        *((each["item"], each["kind"], each["detail"] or "") for each in report.differences),
    ]
    lines = table(("document", "reason or difference", "error"))
    for row in rows[:MOST_LINES]:
        lines.add_row(*cells(*row))
    if rows:
        terminal().print(lines)
    if (rest := report.refused + report.differing - MOST_LINES) > 0:
        say(terminal(), f"... and {rest:,} more: see --json.")
