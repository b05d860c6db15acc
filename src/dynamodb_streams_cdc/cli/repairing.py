"""`cdc repair`: copies of items made what the table says, through the deployed functions."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dynamodb_streams_cdc.aws.access import permitted
from dynamodb_streams_cdc.cli.deployment import Deployment
from dynamodb_streams_cdc.cli.errors import FAILED, INTERRUPTED, CommandError
from dynamodb_streams_cdc.cli.history import keys_of, source_table
from dynamodb_streams_cdc.cli.output import beside, cells, counted, print_json, table, terminal
from dynamodb_streams_cdc.deserializer import base64_text, serialize_item
from dynamodb_streams_cdc.redrive import InvocationFailed

AT_ONCE = 100
"""Items of one invocation: as many as a function repairs well within its minute."""

TableKeys = Mapping[str, Mapping[str, Any]]


@dataclass
class Tally:
    """What a run has done so far, by processor."""

    items: int = 0
    repaired: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status: 0 if every copy that can be repaired is right."""
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.failures else 0

    def as_json(self) -> dict[str, Any]:
        """Return the run for other programs."""
        return {
            "items": self.items,
            "repaired": self.repaired,
            "failures": self.failures,
            "interrupted": self.interrupted,
        }


def run_repair(
    deployment: Deployment,
    words: Sequence[str],
    processors: Sequence[str],
    *,
    everything: bool,
    as_json: bool,
) -> int:
    """Repair one item, or every item of the table; return the exit status.

    Raises:
        CommandError: the table has no stream, or a processor that was named cannot be repaired.
    """
    source = _Source(deployment)
    items = source.scan() if everything else [serialize_item(keys_of(words))]
    known = sorted(deployment.names.processors.values())
    work = _Repair(deployment, source.stream_arn, processors or known, bool(processors))
    tally = Tally()
    try:
        work.run(items, tally)
    except KeyboardInterrupt:
        tally.interrupted = True
    if as_json:
        print_json(tally.as_json())
    else:
        _print(tally)
    return tally.status


class _Source:
    """The table whose copies are repaired. Its stream is asked for before any item is read."""

    def __init__(self, deployment: Deployment) -> None:
        self._client = deployment.client("dynamodb")
        self._table = deployment.output(f"{source_table(deployment).capitalize()}TableName")
        with permitted("dynamodb:DescribeTable", f"table {self._table}"):
            described = self._client.describe_table(TableName=self._table)["Table"]
        self._keys = [key["AttributeName"] for key in described["KeySchema"]]
        # The ARN of a stream that was turned off stays in the description.
        enabled = described.get("StreamSpecification", {}).get("StreamEnabled", False)
        if not enabled:
            message = f"Table {self._table} has no stream: its copies follow nothing."
            raise CommandError(message)
        self.stream_arn: str = described["LatestStreamArn"]

    def scan(self) -> Iterator[TableKeys]:
        """Return the keys of all items."""
        names = {f"#{number}": key for number, key in enumerate(self._keys)}
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
        )
        with permitted("dynamodb:Scan", f"table {self._table}"):
            for page in pages:
                yield from page["Items"]


@dataclass(frozen=True)
class _Repair:
    deployment: Deployment
    stream_arn: str
    processors: Sequence[str]
    named: bool

    def run(self, items: Iterable[TableKeys], tally: Tally) -> None:
        able, left = list(self.processors), iter(items)
        while chunk := list(islice(left, AT_ONCE)):
            for processor in list(able):
                answer = self._repair(processor, chunk)
                if not answer["repairable"]:
                    self._refuse(processor)
                    able.remove(processor)
                    continue
                counted_so_far = tally.repaired.get(processor, 0)
                tally.repaired[processor] = counted_so_far + answer["repaired"]
                tally.failures += [{**each, "processor": processor} for each in answer["failures"]]
            tally.items += len(chunk)

    def _repair(self, processor: str, keys: Sequence[TableKeys]) -> Any:
        event = {
            "operation": "repair",
            "streamArn": self.stream_arn,
            "Records": [{"Keys": each} for each in keys],
        }
        plain = json.loads(json.dumps(event, default=base64_text))
        answer = self.deployment.functions.invoke(processor, plain)
        if not isinstance(answer, Mapping) or not {"repairable", "failures"} <= answer.keys():
            message = (
                f"the function of {processor} does not know the operation repair: deploy the "
                "version that this command belongs to."
            )
            raise InvocationFailed(message)
        return answer

    def _refuse(self, processor: str) -> None:
        if self.named:
            message = (
                f"{processor} keeps no copies that could be repaired from the table; what its log "
                "lacks is refilled from letters: cdc redrive."
            )
            raise CommandError(message)


def _print(tally: Tally) -> None:
    console = terminal()
    again = table(("not repaired", "processor", "reason", "error"))
    for failure in tally.failures:
        item, processor = failure["item"], failure["processor"]
        again.add_row(*cells(item, processor, failure["reason"], failure["error"]))
    if tally.failures:
        console.print(again)
    told = [f"{count:,} of {processor}" for processor, count in sorted(tally.repaired.items())]
    what = ", ".join(told) or "none"
    console.print(f"{counted(tally.items, 'item')} compared; copies repaired: {what}.")
    if tally.interrupted:
        beside().print("Interrupted: the other items are as before; run it again.")
