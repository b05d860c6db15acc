"""`cdc purge`: delete the tombstones of items that were deleted long ago."""

import os
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import Capacity, Workers, Yes, confirm, limit_of, segments_here
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    ManifestFile,
    Processors,
    Stack,
    check_processors,
)
from dynamodb_streams_cdc.cli.output import counted, say, terminal
from dynamodb_streams_cdc.cli.progress import progress
from dynamodb_streams_cdc.entities import AGGREGATION, SEARCH
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.jobs import Job, job_name
from dynamodb_streams_cdc.operations.purge import Purge, PurgeReport
from dynamodb_streams_cdc.operations.selection import seconds_of
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS

LEAST = f"{TOMBSTONE_SECONDS // 86_400}d"


def purge(
    older_than: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help=f"Delete tombstones that were written at least this long ago; {LEAST} or more.",
        ),
    ] = LEAST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them; delete nothing.")] = False,
    processor: Processors = None,
    capacity: Capacity = None,
    workers: Workers = 4,
    yes: Yes = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Delete old tombstones: what a sink keeps of a deleted item so that nothing brings it back.

    The ledger of the aggregation and the search index have tombstones; the change log has none.
    The age of a tombstone counts from the moment it was written. While a backfill or a rebuild is
    open, nothing is deleted, and the output names it.
    """
    seconds = _seconds(older_than)
    segments = segments_here(workers)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    check_processors(deployment, processor)
    chosen = sorted(
        processor
        or (p.name for p in deployment.manifest.processors if p.sink in (AGGREGATION, SEARCH))
    )
    if not chosen:
        message = f"{deployment.stack} has no sink with tombstones."
        raise OperationError(message)
    question = f"Delete the tombstones of {', '.join(chosen)} that are older than {older_than}?"
    confirm(question, yes=yes or dry_run)
    name = job_name("purge", deployment.short_name, os.getpid())
    kept = Job(name, {"command": "purge"}, temporary=True)
    with closing(kept), progress(0, "copies") as shown:
        work = Purge(
            deployment.functions,
            chosen,
            kept,
            seconds,
            dry_run,
            segments=segments,
            workers=workers,
            capacity=limit_of(capacity),
            progress=shown,
        )
        with reported(work.report, _print, as_json=as_json, progress=shown):
            work.run()


def _seconds(older_than: str) -> float:
    try:
        seconds = float(seconds_of(older_than))
    except ValueError as error:
        message = f"--older-than: {error}"
        raise UsageError(message) from error
    if seconds < TOMBSTONE_SECONDS:
        message = f"--older-than: {LEAST} or more, because younger tombstones are relied on."
        raise UsageError(message)
    return seconds


def _print(report: PurgeReport) -> None:
    console = terminal()
    for name, met in sorted(report.tombstones.items()):
        if name in report.kept:
            continue
        done = "old enough" if report.dry_run else "deleted"
        purged = report.purged[name]
        say(console, f"{name}: {counted(met, 'tombstone', 'tombstones')}; {purged:,} {done}.")
    for name, reason in sorted(report.kept.items()):
        say(console, f"{name}: nothing was deleted: {reason}.")
    for fill in report.interrupted_fills:
        last = datetime.fromtimestamp(fill.at, UTC)
        say(
            console,
            f"The {fill.operation} of job {fill.job} was interrupted: its last request came "
            f"at {last:%Y-%m-%d %H:%M}Z. It holds no purge back; run it again to end it.",
        )
    say(console, *report.problems)
