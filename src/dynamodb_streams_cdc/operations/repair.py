"""Repair the copies of items through the deployed functions, which read the table themselves.

source = RepairSource(deployment)
report = Repair.of(deployment, source, ["search"]).run(source.scan())
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.functions import (
    Functions,
    InvocationFailed,
    RecordFailure,
    RepairResult,
    is_healthy,
    parse_repair_response,
)
from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.guards.halves import in_halves
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.stack import Deployment

AT_ONCE = 100
"""Items of one invocation; a function repairs them well within its minute."""

NOT_REPAIRABLE = (
    "its sink keeps no copies that a repair from the table can fix; cdc redrive applies its dead "
    "letters"
)


@dataclass(frozen=True)
class RepairFailure:
    """An item that could not be repaired.

    Attributes:
        item: its identity, or its keys if the function did not answer.
        others: further items of the same outage, which have no entries of their own.
        retryable: whether the sink was at fault, and not the item.
    """

    processor: str
    item: str | None
    others: int
    reason: str
    error: str
    retryable: bool


@dataclass
class RepairReport(Report):
    """Result of a repair.

    Attributes:
        items: items of which a copy at least was compared.
        repaired: copies that differed from the table, by processor.
        gone: items that are not in the table, by processor; no copy shows them.
        problems: sentences on why the work ended early for a processor.
        not_repairable: processors whose sink keeps no copies that a repair can fix.
    """

    items: int = 0
    repaired: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    failures: list[RepairFailure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_repairable: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every copy that can be repaired is right."""
        return self.ended and not (self.failures or self.problems)


class RepairSource:
    """The source table of a repair; `stream_arn` is read before any item is.

    Raises:
        OperationError: the table has no stream.
        UsageError: there are several source tables and no name.
    """

    def __init__(self, deployment: Deployment, name: str | None = None) -> None:
        self._client = deployment.client("dynamodb")
        found = deployment.manifest.source_table(name)
        self.name, self.table = found.name, found.table
        with permitted("dynamodb:DescribeTable", f"table {self.table}"):
            described = self._client.describe_table(TableName=self.table)["Table"]
        # The ARN of a stream that was turned off stays in the description.
        enabled = described.get("StreamSpecification", {}).get("StreamEnabled", False)
        if not enabled:
            message = f"Table {self.table} has no stream: its copies follow nothing."
            raise OperationError(message)
        self.stream_arn: str = described["LatestStreamArn"]
        self.key_types = dict(found.keys)
        self.about: int = described.get("ItemCount", 0)
        """Items, as DynamoDB counts them every six hours
        (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html).
        """

    def scan(self) -> Iterator[Attributes]:
        """Return the keys of all items."""
        names = {f"#{number}": key for number, key in enumerate(self.key_types)}
        pages = self._client.get_paginator("scan").paginate(
            TableName=self.table,
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
        )
        with permitted("dynamodb:Scan", f"table {self.table}"):
            for page in pages:
                yield from page["Items"]


@dataclass(frozen=True)
class Repair:
    """Repair items through the functions of some processors.

    Attributes:
        named: whether the processors were chosen by name; a sink without copies then is an error.
    """

    functions: Functions
    stream_arn: str
    processors: Sequence[str]
    named: bool = False

    @classmethod
    def of(
        cls, deployment: Deployment, source: RepairSource, processors: Sequence[str] = ()
    ) -> "Repair":
        """Return the repair of a table's copies; of all its processors if none is named."""
        known = sorted(
            each.name for each in deployment.manifest.processors if each.source_table == source.name
        )
        return cls(
            deployment.functions, source.stream_arn, processors or known, named=bool(processors)
        )

    def run(self, items: Iterable[Attributes], report: RepairReport | None = None) -> RepairReport:
        """Repair items, for each processor until `PATIENCE` requests in a row repair nothing.

        Pass a report to keep the counts when the run ends with an exception.

        Raises:
            OperationError: a processor that was named keeps no copies that can be repaired.
        """
        report = report or RepairReport()
        able, left = list(self.processors), iter(items)
        waiting: Counter[str] = Counter()
        while able and (chunk := list(islice(left, AT_ONCE))):
            compared: set[int] = set()
            for processor in list(able):
                result = self._repair(processor, chunk)
                if not result.repairable:
                    self._refuse(processor)
                    able.remove(processor)
                    report.not_repairable.append(processor)
                    continue
                report.repaired[processor] = report.repaired.get(processor, 0) + result.repaired
                report.gone[processor] = report.gone.get(processor, 0) + result.gone
                report.failures += _grouped(processor, result.failures)
                failed = {failure.position for failure in result.failures}
                compared |= {*range(len(chunk))} - failed
                waiting[processor] = waiting[processor] + 1 if _is_outage(result, chunk) else 0
                if waiting[processor] == PATIENCE:
                    able.remove(processor)
                    report.problems.append(_stopped(processor, result.failures[0]))
            report.items += len(compared)
        return report

    def _repair(self, processor: str, chunk: Sequence[Attributes]) -> RepairResult:
        """Repair items, and those once again that may succeed now."""

        def ask(positions: Sequence[int]) -> RepairResult:
            event = {
                "operation": Operation.REPAIR,
                "streamArn": self.stream_arn,
                "Records": [{"Keys": chunk[position]} for position in positions],
            }
            plain = json.loads(json.dumps(event, default=base64_text))
            answer = self.functions.invoke(processor, plain)
            return parse_repair_response(processor, answer, positions)

        def failed(positions: Sequence[int], error: Exception) -> RepairResult | None:
            assert isinstance(error, InvocationFailed)
            outage = error.outage or not is_healthy(self.functions, processor)
            if not outage and len(positions) > 1:
                return None
            return RepairResult(
                failures=tuple(_unanswered(chunk, p, error, outage) for p in positions)
            )

        def repaired(positions: Sequence[int]) -> RepairResult:
            return sum(in_halves(ask, positions, failed, InvocationFailed), RepairResult())

        result = repaired(range(len(chunk)))
        again = [failure.position for failure in result.failures if failure.retryable]
        if not again:
            return result
        final = tuple(failure for failure in result.failures if not failure.retryable)
        return replace(result, failures=final) + repaired(again)

    def _refuse(self, processor: str) -> None:
        if self.named:
            message = f"{processor} was not repaired: {NOT_REPAIRABLE}."
            raise OperationError(message)


def _is_outage(result: RepairResult, chunk: Sequence[Attributes]) -> bool:
    """Return whether nothing of a chunk was done, and all of it may succeed later."""
    return len(result.failures) == len(chunk) and all(each.retryable for each in result.failures)


def _unanswered(
    chunk: Sequence[Attributes], position: int, error: InvocationFailed, outage: bool
) -> RecordFailure:
    keys = json.dumps(chunk[position], ensure_ascii=False, default=base64_text)
    return RecordFailure(position, keys, None, error.reason, str(error), retryable=outage)


def _grouped(processor: str, failures: Sequence[RecordFailure]) -> Iterator[RepairFailure]:
    """Return failures for the report: those of one outage as one, with the first of its items."""
    causes: dict[object, list[RecordFailure]] = {}
    for failure in failures:
        outage = (failure.reason, failure.error)
        causes.setdefault(outage if failure.retryable else failure, []).append(failure)
    for first, *others in causes.values():
        yield RepairFailure(
            processor, first.item, len(others), first.reason, first.error, first.retryable
        )


def _stopped(processor: str, failure: RecordFailure) -> str:
    return (
        f"{processor} was stopped: {PATIENCE} requests in a row repaired nothing "
        f"({failure.reason}: {failure.error}). Items repaired so far stay repaired; when its sink "
        f"is healthy, run it again with --processor {processor}."
    )
