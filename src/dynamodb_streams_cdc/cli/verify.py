"""`cdc verify`: compare every copy with the table."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.cli.entries import iso
from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import (
    Capacity,
    JobName,
    On,
    Settle,
    Workers,
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
    OptionalKeys,
    Processors,
    Stack,
    Table,
    check_entity,
    check_processors,
    check_processors_of,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    counted,
    print_json_list,
    say,
    table,
    terminal,
)
from dynamodb_streams_cdc.cli.progress import progress
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.item_keys import parse_item_keys
from dynamodb_streams_cdc.operations.jobs import Job, job_name
from dynamodb_streams_cdc.operations.maintenance import note_verified
from dynamodb_streams_cdc.operations.repair import RepairSource
from dynamodb_streams_cdc.operations.repair_differences import plan_of
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.verify import (
    NOT_COMPARABLE,
    SETTLE_SECONDS,
    Verify,
    VerifyReport,
)

DAY = 24 * 3600.0
"""Age of an interrupted verification at which it begins again: what it read is too old."""

WEEK = 7 * DAY
"""The same of one under Step Functions, which goes on without the command, and costs more."""


def verify(
    key: OptionalKeys = None,
    entity: Entity = None,
    share: Annotated[
        str, typer.Option(metavar="PERCENT", help="Read this part of the table, such as 1%.")
    ] = "100%",
    source_table: Table = None,
    processor: Processors = None,
    job: JobName = None,
    capacity: Capacity = None,
    workers: Workers = 4,
    on: On = None,
    settle: Settle = SETTLE_SECONDS,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Compare copies with the table, in both directions, and sums with the ledger.

    Finds copies that are missing, stale, wrong, extra, resurrected or foreign, and sums that are
    off. Reads alone; changes on their way are not differences. Give an item's keys to verify its
    copies alone. What differs is repaired by cdc repair --from FILE, with the output of --json.
    """
    share_read = _share(share)
    if key and (entity is not None or share_read < 1):
        message = "Give an item's keys, or --entity and --share; not both."
        raise UsageError(message)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    check_processors(deployment, processor)
    item = parse_item_keys(key, deployment.manifest.source_table(source_table)) if key else None
    source = RepairSource(deployment, source_table)
    check_processors_of(deployment, source.name, processor)
    if entity is not None:
        check_entity(deployment, source.name, entity)
    runs = runs_of(deployment, on, workers)
    processors = {
        each.name: each.sink
        for each in deployment.manifest.processors
        if each.source_table == source.name and (not processor or each.name in processor)
    }
    asked: dict[str, Any] = {
        "command": "verify",
        "table": source.table,
        # Its ARN has Region and account: tables of the same name may be in several.
        "stream": source.stream_arn,
        "processors": sorted(processors),
        "entity": entity,
        "share": share_read,
        "keys": sorted(key or ()),
        **({"on": on} if on else {}),
    }
    own = [os.getpid()] if key else []
    kept = Job(
        job or job_name("verify", deployment.short_name, *own),
        asked,
        stale_seconds=DAY if on is None else WEEK,
        temporary=bool(key and not job),
        copies=copies_of(deployment, ()),
    )
    tell_whether_it_goes_on(kept)
    tables = deployment.manifest.tables
    log = (
        DynamoDbLog(deployment.client("dynamodb"), tables["change_log"])
        if "change_log" in tables
        else None
    )
    total = int(source.about * 2 * len(processors) * share_read)
    with closing(kept), progress(total, "items and copies") as shown:
        place = place_of(runs, workers, source.about, kept, shown.say)
        work = Verify(
            deployment.functions,
            source.key_types,
            processors,
            kept,
            entity,
            share_read,
            segments=place.segments,
            walk=place.walk,
            workers=workers,
            capacity=limit_of(capacity),
            log=log,
            settle=settle,
            progress=shown,
            keeps_problems=on is not None,
            named=bool(processor),
        )

        def write() -> None:
            if as_json:
                _print_json(work, deployment.short_name, source.stream_arn)
            else:
                _print(work, _chosen(environment, stack, manifest, source_table))
            sys.stdout.flush()

        def show(report: VerifyReport) -> None:
            with suppress(BrokenPipeError):  # a reader that has enough has been told
                write()
            if report.interrupted:
                place.tell_interrupted()
            if report.ended:
                work.finish()

        with reported(work.report, show, progress=shown):
            if item is not None:
                work.run_items([item])
            else:
                work.run()
                if entity is None:
                    note_verified(deployment.functions, work.report, processors)


def _chosen(environment: str, stack: str | None, manifest: str | None, table: str | None) -> str:
    """Return the options that chose the pipeline, for a shell."""
    given = {"--manifest": manifest, "--stack": stack}
    name, value = next(((n, v) for n, v in given.items() if v), ("-e", environment))
    return shlex.join([name, value, *(["--table", table] if table else [])])


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        message = f"--share: a percentage above 0 and up to 100, such as 1%; got {text}"
        raise UsageError(message)
    return share


def _print_json(work: Verify, stack: str, stream_arn: str) -> None:
    """Write the result for programs, and for `cdc repair --from`."""
    report = work.report
    others = {
        "stack": stack,
        "stream": stream_arn,
        "ended_at": iso(datetime.now(UTC)),
        "complete": report.verified,
        "read": report.read,
        "moving": report.moving,
        "unchecked": report.unchecked,
        "not_compared": report.not_compared,
        "left_out": report.left_out,
        "problems": report.problems,
        "share": report.share,
        "seconds": round(report.seconds, 1),
        "read_units": round(report.units, 1),
        "interrupted": report.interrupted,
        "failed": report.failed,
    }
    print_json_list("differences", map(_difference, work.differences()), others)


def _difference(found: dict[str, Any]) -> dict[str, Any]:
    processor = found.pop("processor")
    return {"sink": processor, **found}


def _print(work: Verify, chosen: str) -> None:
    """Write the result for a person; `chosen` are the options that chose the pipeline."""
    report, console = work.report, terminal()
    lines = table(("sink", "difference", "item", "what"))
    for number, found in enumerate(work.differences()):
        if number == MOST_LINES:
            rest = report.count - MOST_LINES
            lines.add_row(*cells("", f"... and {rest:,} more: see --json", "", ""))
            break
        what = found["detail"] or ""
        if "off" in found:
            what = ", ".join(f"{name} off by {amount}" for name, amount in found["off"].items())
        lines.add_row(*cells(found["processor"], found["kind"], found["item"], what))
    if report.count:
        console.print(lines)
        console.print()
    for name, read in sorted(report.read.items()):
        kinds = sorted(report.differences.get(name, Counter()).items())
        told = [f"{count:,} {kind}" for kind, count in kinds]
        if not report.has_verified(name):
            told.append("not all of it verified")
        elif name in report.left_out:
            told.append("not all of it compared")
        verdict = ", ".join(told) or "all right"
        say(console, f"{name}: {read:,} items and copies read; {verdict}.")
    for name in report.not_compared:
        say(console, f"{name} was not compared: {NOT_COMPARABLE}.")
    for name, parts in report.left_out.items():
        for part in parts:
            say(console, f"{name} was compared without {part}.")
    if report.share < 1:
        say(
            console,
            f"Read {report.share:.2%} of the table and of the copies; sums take all of them.",
        )
    if report.moving:
        say(
            console,
            f"{counted(report.moving, 'copy or sum', 'copies or sums')} changed at every look "
            "or had no answer, and could not be verified: try again later.",
        )
    if report.unchecked:
        say(
            console,
            f"{counted(report.unchecked, 'copy', 'copies')} of items with keys of more than "
            "500 bytes were compared with the table only one way.",
        )
    say(console, *report.problems)
    if report.ended:
        say(console, *_advice(work, chosen), folds=False)


def _advice(work: Verify, chosen: str) -> Sequence[str]:
    """Return what makes the copies right: a repair, or what is left to do where none helps."""
    whys: dict[str, None] = {}
    for found in work.differences():
        how, why = plan_of(found, work.processors[found["processor"]])
        if how is not None:
            repair = f"cdc repair {chosen} --from differences.json"
            return [f"To repair: cdc verify {chosen} --json > differences.json, then {repair}"]
        whys[why] = None
    return [f"No repair helps: {why}." for why in whys]
