"""`cdc rebuild aggregation`: build the sums again, next to those that readers read."""

from collections.abc import Callable
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import (
    Capacity,
    Workers,
    Yes,
    confirm,
    copies_of,
    limit_of,
    processor_of,
    segments_here,
    tell_whether_it_goes_on,
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
    counted,
    say,
    stderr_console,
    table,
    terminal,
)
from dynamodb_streams_cdc.cli.progress import progress
from dynamodb_streams_cdc.entities import AGGREGATION
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.jobs import Job, check_folder, job_name
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation, RebuildReport
from dynamodb_streams_cdc.operations.repair import RepairSource
from dynamodb_streams_cdc.operations.stack import Deployment


def rebuild_aggregation(
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Let readers read the sums before the rebuild again.")
    ] = False,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Keep the sums that readers read; remove the other ones."),
    ] = False,
    accept_moving: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Let readers read the new sums even if this many moved each time that they were "
            "compared, and could not be verified.",
        ),
    ] = 0,
    source_table: Table = None,
    capacity: Capacity = None,
    workers: Workers = 4,
    yes: Yes = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Build the sums again from the table, verify them, and let readers read them.

    The live sums go on: the new ones are a second set of measures in the same rows. Waits until no
    running invocation is older than the rebuild, about 80 seconds. Both sets are kept right until
    --finish, so --rollback loses nothing. Run it again after an interruption: it goes on.
    """
    if rollback and finish:
        message = "Give --rollback or --finish, not both."
        raise UsageError(message)
    segments = segments_here(workers)
    if not rollback:
        check_folder()
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    source = RepairSource(deployment, source_table)
    processor = processor_of(deployment, source.name, AGGREGATION)
    with progress(2 * source.about, "items and ledger rows") as shown:
        work = RebuildAggregation(
            deployment.functions,
            processor,
            source.stream_arn,
            source.key_types,
            accept_moving=accept_moving,
            segments=segments,
            workers=workers,
            capacity=limit_of(capacity),
            progress=shown,
        )
        if rollback:
            confirm(f"Let readers of {processor} read the sums before the rebuild?", yes=yes)
            do: Callable[[], RebuildReport] = work.roll_back
        elif finish:
            held = work.state()
            live, job = held["live"], _job(deployment, source, "finish")
            confirm(_of_finish(processor, held), yes=yes)

            def do() -> RebuildReport:
                return work.finish(live, job)

        else:
            confirm(
                f"Build the sums of {processor} again from table {source.table}, about "
                f"{source.about:,} items, and let readers read them?",
                yes=yes,
            )

            def do() -> RebuildReport:
                return work.run(_job(deployment, source, "rebuild"))

        with reported(work.report, _print, as_json=as_json, progress=shown):
            do()


def _job(deployment: Deployment, source: RepairSource, command: str) -> Callable[[int], Job]:
    def job(generation: int) -> Job:
        name = job_name(command, "aggregation", deployment.short_name, generation)
        asked = {"command": command, "generation": generation, "stream": source.stream_arn}
        kept = Job(name, asked, copies=copies_of(deployment, ()))
        tell_whether_it_goes_on(kept)
        return kept

    return job


def _of_finish(processor: str, held: object) -> str:
    assert isinstance(held, dict)
    if held["built"] is not None and held["live"] != held["built"]:
        return f"Give up the rebuild of {processor}, and remove the sums that it made?"
    return f"Remove the sums of {processor} that the rebuild replaced? Nothing brings them back."


def _print(report: RebuildReport) -> None:
    console = terminal()
    lines = table(("aggregate", "measure", "off by"))
    for off in report.off[:MOST_LINES]:
        lines.add_row(*cells(off.aggregate, off.measure, off.off))
    if report.off:
        console.print(lines)
    say(console, *_sentences(report))
    if report.interrupted:
        stderr_console().print("Interrupted: readers read what they read; run it again to go on.")


def _sentences(report: RebuildReport) -> list[str]:
    found = list(report.problems)
    if report.read:
        found.append(
            f"{report.read:,} items and ledger rows read: {report.moved:,} rows moved, "
            f"{report.corrected:,} of them corrected."
        )
    if report.refused:
        found.append(
            f"{counted(report.refused, 'item')} cannot be counted by the domain's function: they "
            "count as before. Fix them in the table."
        )
    if report.behind:
        found.append(
            f"{counted(report.behind, 'ledger row')} not in the new generation: run it again."
        )
    if report.sums:
        moving = f"; {report.moving:,} moved all the time" if report.moving else ""
        found.append(
            f"{counted(report.sums, 'aggregate')} compared with the ledger: "
            f"{len(report.off):,} measures off{moving}."
        )
    if report.off and not report.behind:
        found.append(
            "Another run would find the same: give the rebuild up with --finish, and rebuild."
        )
    if report.dropped:
        found.append(f"Measures removed from {counted(report.dropped, 'row')}.")
    if report.live is not None:
        found.append(f"Readers read generation {report.live}.")
    if report.complete and report.live is not None and report.kept is not None:
        found.append(
            f"Generation {report.kept} is kept right as well: --rollback goes back to it, "
            "--finish removes it."
            if report.live == report.generation and report.live > report.kept
            else f"Generation {report.kept} is kept right as well: --finish removes it."
        )
    return found
