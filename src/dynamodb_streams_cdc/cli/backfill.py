"""`cdc backfill`: bring the items that are in the table into the copies."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import (
    Capacity,
    JobName,
    On,
    Workers,
    Yes,
    confirm,
    copies_of,
    limit_of,
    place_of,
    runs_of,
    tell_whether_it_goes_on,
)
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Entity,
    Environment,
    ManifestFile,
    Processors,
    Stack,
    Table,
    check_entity,
    check_processors,
    check_processors_of,
)
from dynamodb_streams_cdc.cli.output import MOST_LINES, cells, print_report, say, table, terminal
from dynamodb_streams_cdc.cli.progress import progress
from dynamodb_streams_cdc.entities import AUDIT
from dynamodb_streams_cdc.operations.backfill import Backfill, BackfillReport
from dynamodb_streams_cdc.operations.export import Export
from dynamodb_streams_cdc.operations.followers import Followers
from dynamodb_streams_cdc.operations.jobs import Job, job_name
from dynamodb_streams_cdc.operations.manifest import DeployedProcessor
from dynamodb_streams_cdc.operations.repair import RepairSource
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.status import StatusReader


def backfill(
    entity: Entity = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="S3-URL",
            help="Take the items from a full export in DynamoDB JSON, s3://.../AWSDynamoDB/ID.",
            show_default="the table",
        ),
    ] = None,
    source_table: Table = None,
    processor: Processors = None,
    job: JobName = None,
    capacity: Capacity = None,
    workers: Workers = 4,
    on: On = None,
    yes: Yes = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Bring the items that are in the table into the copies.

    The stream has only changes: items from before it are in no copy until then. Live changes go on
    and win. It writes what a sink lacks and leaves alone what is as new, so it may be repeated.
    Items enter the change log as kind BACKFILL, and the sinks that read the log follow by
    themselves; name a sink with --processor to fill it directly.
    """
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    check_processors(deployment, processor)
    source = RepairSource(deployment, source_table)
    check_processors_of(deployment, source.name, processor)
    if entity is not None:
        check_entity(deployment, source.name, entity)
    of_table = [p for p in deployment.manifest.processors if p.source_table == source.name]
    chosen = sorted(processor or (p.name for p in of_table if p.feed == "table"))
    following = sorted({p.name for p in of_table} - {*chosen}) if not processor else []
    exported = None
    if export is not None:
        exported = Export.find(deployment.client("s3"), export)
        now = datetime.now(UTC)
        exported.check(source.table, source.stream_arn, now)
        exported.check_mappings(deployment.client("lambda"), _readers(of_table, chosen), now)
    runs = runs_of(deployment, on, workers)
    total = source.about if exported is None else exported.items
    confirm(_question(source, total, chosen, following), yes=yes)
    asked: dict[str, Any] = {
        "command": "backfill",
        "table": source.table,
        "stream": source.stream_arn,
        "processors": chosen,
        "entity": entity,
        "export": export,
        **({"on": on} if on else {}),
    }
    copies = copies_of(deployment, chosen)
    kept = Job(job or job_name("backfill", deployment.short_name), asked, copies=copies)
    tell_whether_it_goes_on(kept)
    with closing(kept), progress(total * len(chosen)) as shown:
        place = place_of(runs, workers, source.about, kept, shown.say)
        work = Backfill(
            deployment.functions,
            source.stream_arn,
            source.key_types,
            chosen,
            kept,
            entity,
            place.segments,
            exported,
            walk=place.walk,
            workers=workers,
            capacity=limit_of(capacity),
            progress=shown,
        )
        followers = [each.name for each in of_table if each.feed == "change-log"]
        if followers and any(each.sink == AUDIT and each.name in chosen for each in of_table):
            work.rests = Followers(StatusReader(deployment), followers, shown.say).are_behind

        def show(report: BackfillReport) -> None:
            print_report(report) if as_json else _print(report)
            if report.interrupted:
                place.tell_interrupted()

        with reported(work.report, show, progress=shown):
            work.run()


def _readers(processors: list[DeployedProcessor], chosen: list[str]) -> list[DeployedProcessor]:
    """Return the processors that a chosen copy has its changes from: its own, and the log's."""
    filled = [each for each in processors if each.name in chosen]
    follows = any(each.feed == "change-log" for each in filled)
    return [each for each in processors if each in filled or (follows and each.sink == AUDIT)]


def _question(source: RepairSource, total: int, chosen: list[str], following: list[str]) -> str:
    follow = f" ({', '.join(following)} follows by the change log)" if following else ""
    return (
        f"Bring the items of table {source.table}, about {total:,}, into "
        f"{', '.join(chosen)}{follow}?"
    )


def _print(report: BackfillReport) -> None:
    console = terminal()
    lines = table(("not filled", "sink", "reason", "error"))
    for failure in report.failures[:MOST_LINES]:
        lines.add_row(
            *cells(failure["item"], failure["processor"], failure["reason"], failure["error"])
        )
    if report.failures:
        console.print(lines)
        if report.refused > MOST_LINES:
            say(console, f"... and {report.refused - MOST_LINES:,} more: see --json.")
    for name, read in sorted(report.read.items()):
        say(
            console,
            f"{name}: {read:,} items read; {report.applied.get(name, 0):,} written, "
            f"{report.held.get(name, 0):,} there already, "
            f"{report.skipped.get(name, 0):,} not held by this sink.",
        )
    say(console, *report.problems)
