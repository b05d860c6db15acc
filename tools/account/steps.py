"""What rehearsals do with a deployed pipeline: compare it, correct an order, redrive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from local.verify import compare, settle
from local.workload.poison import corrections
from tools.account.identity import AccountError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from local.console import DemoConsole
    from local.verify import Report
    from local.workload.traffic import Key, Written
    from tools.account.places import Place

_SHOWN = 5  # differences


def settled(
    place: Place,
    console: DemoConsole,
    outputs: Mapping[str, str],
    written: Written,
    enough: Callable[[Report], bool] = lambda found: found.equal,
) -> Report:
    """Report of the checker, once it is `enough` or stays the same for the place's time."""
    copies = place.copies(outputs)
    with console.stage("Comparing every item with every copy") as stage:
        report = settle(
            lambda: compare(copies, written.effective),
            unchanged_for=place.unchanged_for,
            enough=enough,
        )
        parts = ", ".join(f"{sink.sink} {sink.compared:,}" for sink in report.sinks)
        stage.outcome = f"Compared {report.items:,} orders: {parts}"
    return report


def expect_equal(
    place: Place, console: DemoConsole, outputs: Mapping[str, str], written: Written, when: str
) -> None:
    """Wait until every copy equals the table.

    Raises:
        AccountError: One does not; the message shows where.
    """
    report = settled(place, console, outputs, written)
    if not report.equal:
        differences = [f"{each.sink}: {each}" for each in report.differences]
        refuse(differences or ["nothing could be compared"], when)
    console.line(f"Every copy equals the table {when}.", "green")


def refuse(problems: Sequence[str], when: str) -> None:
    """Raise an error that shows the first of these problems, if there are any."""
    if problems:
        shown = "\n  ".join(problems[:_SHOWN])
        message = f"{len(problems)} differences {when}:\n  {shown}"
        raise AccountError(message)


def expect_dead_letters(place: Place, console: DemoConsole, count: int) -> None:
    """Ask `cdc` how many dead letters wait.

    Raises:
        AccountError: There are more or fewer.
    """
    _, found = place.cdc("dead-letters", "list")
    waiting = found["dead_letters"]
    reasons = ", ".join(sorted(str(each.get("reason")) for each in waiting))
    if len(waiting) != count:
        message = (
            f"`cdc dead-letters list` lists {len(waiting)} dead letters ({reasons}), not {count}."
        )
        raise AccountError(message)
    console.line(f"Dead letters: {count}{f' ({reasons})' if reasons else ''}.")


def correct(place: Place, console: DemoConsole, table: str, key: Key, written: Written) -> None:
    """Put a poison order right in the table, as whoever owns the data would."""
    client = place.account.client("dynamodb")
    typed = {"customer_id": {"S": key[0]}, "order_id": {"S": key[1]}}
    item = client.get_item(TableName=table, Key=typed, ConsistentRead=True)["Item"]
    decode, encode = TypeDeserializer().deserialize, TypeSerializer().serialize
    order = {name: decode(value) for name, value in item.items()}
    wrong = corrections(order)
    fields: dict[str, Any] = {name: v for each in wrong.values() for name, v in each.items()}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    right = {**order, **fields, "updated_by": "support/rehearsal", "updated_at": now}
    client.put_item(TableName=table, Item={name: encode(value) for name, value in right.items()})
    written.effective[key] += 1
    console.line(f"Corrected in the table: {', '.join(wrong)}.")


def redrive(place: Place, console: DemoConsole) -> None:
    """Redrive every dead letter with `cdc`.

    Raises:
        AccountError: Not all of them succeeded.
    """
    with console.stage("Redriving") as stage:
        status, said = place.cdc("redrive", "--yes")
        if status:
            message = f"`cdc redrive` ended with status {status}: {said}"
            raise AccountError(message)
        stage.outcome = "Redriven"
