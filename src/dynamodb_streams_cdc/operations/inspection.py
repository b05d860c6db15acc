"""Inspect one dead letter: its records, and the sink's state of their items."""

from collections.abc import Sequence
from dataclasses import dataclass

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.control.items import HeldState
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.entities import AUDIT
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.dead_letter_store import (
    ReadableDeadLetter,
    UnreadableDeadLetter,
)
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.redrive import Redrive
from dynamodb_streams_cdc.operations.selection import find_key
from dynamodb_streams_cdc.operations.stack import Deployment


@dataclass(frozen=True)
class Inspection:
    """A dead letter and the sink's state.

    Attributes:
        held: one state per record; empty if the function did not answer.
        problem: why the state is not known; empty if it is.
    """

    dead_letter: ReadableDeadLetter
    held: Sequence[HeldState]
    problem: str


def inspect_dead_letter(deployment: Deployment, name: str) -> Inspection:
    """Return the dead letter of a key or an ID, with the sink's state of its items.

    Raises:
        OperationError: there is no such dead letter, or it cannot be read.
    """
    redrive = Redrive(deployment.store, deployment.functions, deployment.names)
    dead_letter = redrive.open(name) if "/" in name else None
    if dead_letter is None:
        key = find_key(name, [stored.key for stored in deployment.store.dead_letters()])
        dead_letter = redrive.open(key)
    if dead_letter is None:
        message = f"Dead letter {name} has just been archived by another redrive."
        raise OperationError(message)
    if isinstance(dead_letter, UnreadableDeadLetter):
        body = deployment.store.read(dead_letter.key) or b""
        start = body[:400].decode("utf-8", "replace")
        message = f"{dead_letter.problem}\nIt has {len(body):,} bytes and begins: {start}"
        raise OperationError(message)
    try:
        held = redrive.inspect(dead_letter)
    except InvocationFailed as error:
        return Inspection(dead_letter, (), f"The state of the sink is not known: {error}")
    if not any(each.get("state_unknown") for each in held):
        return Inspection(dead_letter, held, "")
    sinks = {each.name: each.sink for each in deployment.manifest.processors}
    log = deployment.manifest.tables.get("change_log")
    if log is None or sinks.get(dead_letter.processor) != AUDIT:
        problem = "The state of the sink is not known: its function cannot read it."
        return Inspection(dead_letter, (), problem)
    return Inspection(dead_letter, [_from_log(deployment, log, each) for each in held], "")


def _from_log(deployment: Deployment, log: str, held: HeldState) -> HeldState:
    """Return the state from the change log, which the function that writes it cannot read."""
    item, version = held.get("item"), held.get("offered")
    if not (item and version):
        return held
    with permitted("dynamodb:GetItem", f"table {log}"):
        found = deployment.client("dynamodb").get_item(
            TableName=log,
            Key={"item": {"S": item}, "version": {"S": version}},
            ConsistentRead=True,
        )
    entry = deserialize_item(found["Item"]) if "Item" in found else None
    return {**held, "version": version if entry else None, "state": entry}
