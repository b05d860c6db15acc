"""`cdc repair`: copies of items made what the table says, through the deployed functions."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dynamodb_streams_cdc.cli.errors import FAILED, INTERRUPTED, CommandError, misused
from dynamodb_streams_cdc.cli.history import keys_of, source_table
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    beside,
    cells,
    counted,
    print_json,
    print_rest,
    table,
    terminal,
)
from dynamodb_streams_cdc.control import (
    InvocationFailed,
    RecordFailure,
    failures_of,
    is_healthy,
    not_understood,
)
from dynamodb_streams_cdc.deserializer import base64_text, serialize_item
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from dynamodb_streams_cdc.operations.stack import Deployment

AT_ONCE = 100
"""Items of one invocation: as many as a function repairs well within its minute."""

TableKeys = Mapping[str, Mapping[str, Any]]


@dataclass
class Tally:
    """What a run has done so far, by processor.

    Attributes:
        gone: items that are not in the table, nor are their copies any more.
        complaints: sentences on what ended the work for a processor.
    """

    items: int = 0
    repaired: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status: 0 if every copy that can be repaired is right."""
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.failures or self.complaints else 0

    def as_json(self) -> dict[str, Any]:
        """Return the run for other programs."""
        return {
            "items": self.items,
            "repaired": self.repaired,
            "gone": self.gone,
            "failures": self.failures,
            "complaints": self.complaints,
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
    keys = {} if everything else keys_of(words)
    source = _Source(deployment)
    items = source.scan() if everything else [source.check(keys)]
    known = sorted(deployment.names.processors.values())
    work = _Repair(deployment, source.stream_arn, processors or known, bool(processors))
    tally = Tally()
    try:
        work.run(items, tally)
    except KeyboardInterrupt:
        tally.interrupted = True
    finally:
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

    def check(self, keys: Mapping[str, Any]) -> TableKeys:
        """Return an item's keys, if they have the names of the table's."""
        if keys.keys() != set(self._keys):
            wanted, got = ", ".join(sorted(self._keys)), ", ".join(sorted(keys))
            misused(f"the keys of table {self._table} are {wanted}, got {got}")
        return serialize_item(keys)

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
class _Answer:
    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    repairable: bool = True
    gone: int = 0

    def __add__(self, other: "_Answer") -> "_Answer":
        return _Answer(
            self.repaired + other.repaired,
            self.failures + other.failures,
            self.repairable and other.repairable,
            self.gone + other.gone,
        )

    def is_outage(self, chunk: Sequence[TableKeys]) -> bool:
        """Return whether nothing of a chunk was done, and all of it may be later."""
        return len(self.failures) == len(chunk) and all(each.retryable for each in self.failures)


@dataclass(frozen=True)
class _Repair:
    deployment: Deployment
    stream_arn: str
    processors: Sequence[str]
    named: bool

    def run(self, items: Iterable[TableKeys], tally: Tally) -> None:
        """Repair items, for each processor until its sink has failed too often in a row."""
        able, left = list(self.processors), iter(items)
        waiting: Counter[str] = Counter()
        while able and (chunk := list(islice(left, AT_ONCE))):
            for processor in list(able):
                answer = self._repair_patiently(processor, chunk)
                if not answer.repairable:
                    self._refuse(processor)
                    able.remove(processor)
                    continue
                tally.repaired[processor] = tally.repaired.get(processor, 0) + answer.repaired
                tally.gone[processor] = tally.gone.get(processor, 0) + answer.gone
                tally.failures += _told(processor, answer.failures)
                waiting[processor] = waiting[processor] + 1 if answer.is_outage(chunk) else 0
                if waiting[processor] == PATIENCE:
                    able.remove(processor)
                    tally.complaints.append(_given_up(processor, answer.failures[0]))
            tally.items += len(chunk)

    def _repair_patiently(self, processor: str, chunk: Sequence[TableKeys]) -> "_Answer":
        """Repair items, and those once again that may succeed now."""
        answer = self._repair(processor, chunk, range(len(chunk)))
        again = [failure.position for failure in answer.failures if failure.retryable]
        if not again:
            return answer
        final = tuple(failure for failure in answer.failures if not failure.retryable)
        second = self._repair(processor, chunk, again)
        return _Answer(answer.repaired, final) + second

    def _repair(
        self, processor: str, chunk: Sequence[TableKeys], positions: Sequence[int]
    ) -> "_Answer":
        """Repair the items at `positions`; where they are too much for the function, by halves."""
        try:
            return self._ask(processor, chunk, positions)
        except InvocationFailed as error:
            functions = self.deployment.functions
            outage = error.outage or not is_healthy(functions, processor)
            if outage or len(positions) == 1:
                return _Answer(failures=tuple(_missed(chunk, p, error, outage) for p in positions))
            middle = len(positions) // 2
            first = self._repair(processor, chunk, positions[:middle])
            return first + self._repair(processor, chunk, positions[middle:])

    def _ask(
        self, processor: str, chunk: Sequence[TableKeys], positions: Sequence[int]
    ) -> "_Answer":
        event = {
            "operation": "repair",
            "streamArn": self.stream_arn,
            "Records": [{"Keys": chunk[position]} for position in positions],
        }
        plain = json.loads(json.dumps(event, default=base64_text))
        answer = self.deployment.functions.invoke(processor, plain)
        try:
            repaired, repairable = answer["repaired"], answer["repairable"]
            gone = answer["gone"]
            failures = failures_of(answer, positions)
        except (LookupError, TypeError):
            raise not_understood(processor, "repair", answer) from None
        if not isinstance(repaired, int) or not isinstance(repairable, bool):
            raise not_understood(processor, "repair", answer)
        return _Answer(repaired, failures, repairable, int(gone))

    def _refuse(self, processor: str) -> None:
        if self.named:
            message = (
                f"{processor} keeps no copies that could be repaired from the table; what its log "
                "lacks is refilled from dead letters: cdc redrive."
            )
            raise CommandError(message)


def _missed(
    chunk: Sequence[TableKeys], position: int, error: InvocationFailed, outage: bool
) -> RecordFailure:
    keys = json.dumps(chunk[position], ensure_ascii=False, default=base64_text)
    return RecordFailure(position, keys, None, error.reason, str(error), retryable=outage)


def _told(processor: str, failures: Sequence[RecordFailure]) -> Iterator[dict[str, Any]]:
    """Return failures for the tally: those of one outage as one, with the first of its items."""
    causes: dict[object, list[RecordFailure]] = {}
    for failure in failures:
        outage = (failure.reason, failure.error)
        causes.setdefault(outage if failure.retryable else failure, []).append(failure)
    for first, *others in causes.values():
        yield {
            "processor": processor,
            "item": first.item,
            "others": len(others),
            "reason": first.reason,
            "error": first.error,
            "retryable": first.retryable,
        }


def _given_up(processor: str, failure: RecordFailure) -> str:
    return (
        f"{processor} was given up: nothing of {PATIENCE} requests in a row could be repaired "
        f"({failure.reason}: {failure.error}). What was repaired stays so; once its sink is well, "
        f"run it again with --processor {processor}."
    )


def _print(tally: Tally) -> None:
    console = terminal()
    again = table(("not repaired", "processor", "reason", "error"))
    for failure in tally.failures[:MOST_LINES]:
        others = f" and {failure['others']:,} more" if failure["others"] else ""
        item, processor = f"{failure['item']}{others}", failure["processor"]
        again.add_row(*cells(item, processor, failure["reason"], failure["error"]))
    if tally.failures:
        console.print(again)
    rest = (f"{f['processor']}: {f['reason']}" for f in tally.failures[MOST_LINES:])
    print_rest(console, Counter(rest), "item")
    told = [f"{count:,} of {processor}" for processor, count in sorted(tally.repaired.items())]
    what = ", ".join(told) or "none"
    console.print(f"{counted(tally.items, 'item')} compared; copies repaired: {what}.")
    if gone := max(tally.gone.values(), default=0):
        console.print(
            f"Not in the table: {counted(gone, 'item')}; no copy shows them. Were these their keys?"
        )
    for complaint in tally.complaints:
        console.print(*cells(complaint))
    if tally.interrupted:
        beside().print("Interrupted: the other items are as before; run it again.")
