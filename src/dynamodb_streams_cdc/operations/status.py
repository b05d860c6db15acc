"""Status of a pipeline: facts of each processor, from the APIs of its services.

A *probe* asks one service and returns rows; a row has a cell for each processor. To add a fact, add
a row to a probe, or a probe to `PROBES`. A cell whose service refuses says why it is unknown, and
the others are shown.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT, SEARCH
from dynamodb_streams_cdc.names import (
    DEAD_LETTERS,
    GIVEN_UP_BY_LAMBDA,
    METRICS_NAMESPACE,
    RETIRED,
    Metric,
)
from dynamodb_streams_cdc.operations.aws.access import (
    CREDENTIALS,
    UNREACHABLE,
    AccessDenied,
    code_of,
    permitted,
    unreached,
)
from dynamodb_streams_cdc.operations.aws.functions import GLANCE, LambdaFunctions
from dynamodb_streams_cdc.operations.dead_letter_store import StoredDeadLetter
from dynamodb_streams_cdc.operations.endpoint import masked
from dynamodb_streams_cdc.operations.manifest import DeployedProcessor
from dynamodb_streams_cdc.operations.notes import PURGE, VERIFY, read_notes
from dynamodb_streams_cdc.operations.rebuild_aggregation import generations_of
from dynamodb_streams_cdc.operations.rebuild_search import indexes_of
from dynamodb_streams_cdc.operations.stack import Deployment

METRICS_WINDOW = timedelta(minutes=30)
METRICS_SECONDS = 60
"""Period of the metrics of `cdc status`, and time between two requests for them: CloudWatch bills
each metric that a request asks for (https://aws.amazon.com/cloudwatch/pricing/)."""

COUNTED_UP_TO = 10_000
"""Dead letters that `cdc status` counts at most: ten requests of 1,000 keys."""

Unit: TypeAlias = Literal["", "seconds", "ago"]
"""`seconds` long, or seconds `ago`."""


class Cell(NamedTuple):
    """A fact of a processor: its value, or why it is not known; neither if there is none.

    A count with both is at least so high.
    """

    value: Any = None
    unknown: str = ""


@dataclass(frozen=True)
class Row:
    """A fact of all processors.

    Attributes:
        name: for programs.
        label: for people.
        cells: by processor.
    """

    name: str
    label: str
    cells: Mapping[str, Cell]
    unit: Unit = ""


@dataclass(frozen=True)
class Status:
    """The rows of a pipeline; `processors` are its columns."""

    stack: str
    at: datetime
    processors: Sequence[str]
    rows: Sequence[Row]


@dataclass
class StatusReader:
    """Reads the status of a pipeline, once or again and again."""

    deployment: Deployment
    clock: Clock = field(default_factory=SystemClock)
    _mappings: dict[str, Any] = field(default_factory=dict)
    _known: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def read(self) -> Status:
        """Return the status of this moment."""
        now = self.clock.now()
        rows = [row for probe in PROBES for row in probe(self, now)]
        columns = dict.fromkeys(each.name for each in self.processors)
        columns |= dict.fromkeys(name for row in rows for name in row.cells)
        at = datetime.fromtimestamp(now, UTC)
        return Status(self.deployment.stack, at, tuple(columns), rows)

    @property
    def processors(self) -> Sequence[DeployedProcessor]:
        """The deployed processors."""
        return self.deployment.manifest.processors

    def each(self, ask: Callable[[DeployedProcessor], Any]) -> dict[str, Cell]:
        """Return a cell for each processor, with the answer or the reason that there is none.

        They are asked at the same time: one that does not answer delays no other.
        """
        with ThreadPoolExecutor(max(1, len(self.processors))) as pool:
            cells = pool.map(lambda each: _cell(partial(ask, each)), self.processors)
            return {each.name: cell for each, cell in zip(self.processors, cells, strict=True)}

    def _lately(self, name: str, now: float, ask: Callable[[], Any]) -> Any:
        """Return what was found in the last `METRICS_SECONDS`, or what is found now."""
        asked_at, found = self._known.get(name, (float("-inf"), None))
        if now - asked_at >= METRICS_SECONDS:
            found = ask()
            self._known[name] = now, found
        return found

    def feeds(self, now: float) -> Iterator[Row]:
        """Yield the stream that a processor reads."""
        yield Row("feed", "reads", self.each(lambda processor: processor.feed))

    def mappings(self, now: float) -> Iterator[Row]:
        """Yield the state of the event source mappings, and the result of their last batch."""
        client = self.deployment.client("lambda")

        def ask(processor: DeployedProcessor) -> Any:
            if not processor.mapping:
                return Cell(unknown="The manifest names no mapping: deploy the pipeline again.")
            mapping = f"event source mapping {processor.mapping}"
            with permitted("lambda:GetEventSourceMapping", mapping):
                return client.get_event_source_mapping(UUID=processor.mapping)

        answers = self.each(ask)
        self._mappings = {name: cell.value or {} for name, cell in answers.items()}
        for name, label, key in (
            ("mapping", "mapping", "State"),
            ("last_result", "last result", "LastProcessingResult"),
        ):
            yield Row(name, label, _part(answers, key))

    def lags(self, now: float) -> Iterator[Row]:
        """Yield the age of the changes that are read, and since when the canary is in the copy.

        A sink behind the change log is late by its own processor, and by the one of the log.
        """
        found = self._metrics(now)
        ages = self.each(lambda processor: _age(found, processor))
        logs = [each.name for each in self.processors if each.sink == AUDIT]
        yield Row("iterator_age_seconds", "iterator age", ages, "seconds")
        behind = {
            each.name: _sum(ages[each.name], *(ages[log] for log in logs))
            if each.feed == "change-log"
            else ages[each.name]
            for each in self.processors
        }
        yield Row("lag_seconds", "behind the table by", behind, "seconds")
        canaries = self.each(lambda processor: _canary(found, processor, now))
        yield Row("canary_seconds", "canary applied", canaries, "ago")

    def ages(self, now: float, within: float) -> Mapping[str, Cell]:
        """Return the iterator ages of the last `within` seconds: zero for what has read nothing."""
        found = self._metrics(now)
        return self.each(lambda processor: _age_since(found, processor, now - within))

    def _metrics(self, now: float) -> Cell:
        return _cell(lambda: self._lately("metrics", now, lambda: self._read_metrics(now)))

    def _read_metrics(self, now: float) -> Any:
        """Return timestamps and values by metric and processor, the newest first."""
        queries = {
            (name, each.name): _query(f"m{number}", metric)
            for number, (name, each, metric) in enumerate(self._queries())
        }
        end = datetime.fromtimestamp(now, UTC)
        with permitted("cloudwatch:GetMetricData", "metrics"):
            pages = self.deployment.client("cloudwatch").get_paginator("get_metric_data")
            results = {query["Id"]: list[tuple[datetime, float]]() for query in queries.values()}
            for page in pages.paginate(
                StartTime=end - METRICS_WINDOW,
                EndTime=end,
                MetricDataQueries=list(queries.values()),
            ):
                for each in page["MetricDataResults"]:
                    results[each["Id"]] += zip(each["Timestamps"], each["Values"], strict=True)
        return {key: sorted(results[query["Id"]])[::-1] for key, query in queries.items()}

    def _queries(self) -> Iterator[tuple[str, DeployedProcessor, Mapping[str, Any]]]:
        for each in self.processors:
            function = [{"Name": "FunctionName", "Value": each.function}]
            yield _AGE, each, _metric("AWS/Lambda", _AGE, function, "Maximum")
            own = [
                {"Name": "Pipeline", "Value": self.deployment.stack},
                {"Name": "Processor", "Value": each.name},
            ]
            yield Metric.CANARIES, each, _metric(METRICS_NAMESPACE, Metric.CANARIES, own, "Sum")

    def dead_letters(self, now: float) -> Iterator[Row]:
        """Yield how many dead letters wait, and since when the oldest does."""

        def ask() -> Any:
            listed = self.deployment.store.dead_letters()
            return list(islice(listed, COUNTED_UP_TO))

        found = _cell(ask)
        stored: Sequence[StoredDeadLetter] = found.value or ()
        by: dict[str, list[StoredDeadLetter]] = {each.name: [] for each in self.processors}
        for each in stored:
            by.setdefault(self._owner(each.key), []).append(each)
        if len(stored) == COUNTED_UP_TO:
            found = Cell(unknown=f"There are {COUNTED_UP_TO:,} dead letters or more.")
        counts = {name: found if found.unknown else Cell(len(own)) for name, own in by.items()}
        oldest = {name: found if found.unknown else _oldest(own, now) for name, own in by.items()}
        yield Row("dead_letters", "dead letters", counts)
        yield Row("oldest_dead_letter_seconds", "oldest dead letter", oldest, "seconds")

    def _owner(self, key: str) -> str:
        """Return the processor that a dead letter is of, or `RETIRED` if it is gone."""
        for each in self.processors:
            given_up = f"{GIVEN_UP_BY_LAMBDA}{each.mapping}/"
            if key.startswith((f"{DEAD_LETTERS}{each.name}/", given_up)):
                return each.name
        return RETIRED

    def notifications(self, now: float) -> Iterator[Row]:
        """Yield how many messages the notification queues have, those in flight included."""
        client = self.deployment.client("sqs")
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def ask(processor: DeployedProcessor) -> int:
            url = processor.dead_letter_queue
            with permitted("sqs:GetQueueAttributes", url):
                found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
            return sum(int(found["Attributes"][name]) for name in names)

        yield Row("notifications", "notifications", self.each(ask))

    def upkeep(self, now: float) -> Iterator[Row]:
        """Yield the last verification and the last purge, as operators have noted them."""
        found = self._lately("notes", now, lambda: _cell(self._read_notes))
        for prefix, name, label, fact in (
            (VERIFY, "differences", "differences", "differences"),
            (PURGE, "tombstones", "tombstones", "tombstones"),
        ):
            cells = {each.name: _noted(found, f"{prefix}{each.name}") for each in self.processors}
            counts = _part(cells, fact)
            yield Row(name, label, {each: _certain(counts[each], each, cells) for each in counts})
            ages = {each: _since_note(cell, now) for each, cell in cells.items()}
            verb = {VERIFY: "verified", PURGE: "purged"}[prefix]
            yield Row(f"{verb}_seconds", verb, ages, "ago")

    @cached_property
    def _functions(self) -> LambdaFunctions:
        client = self.deployment.client("lambda", GLANCE)
        return LambdaFunctions(client, self.deployment.manifest.functions)

    def _read_notes(self) -> Any:
        if not self.processors:
            return {}
        return read_notes(self._functions, self.processors[0].name)

    def rebuilds(self, now: float) -> Iterator[Row]:
        """Yield the indexes and sums that are not finished: begun, or swapped and still kept."""
        ask = partial(_open_rebuilds, self._functions)
        cells = self._lately("rebuilds", now, lambda: self.each(ask))
        yield Row("rebuild", "rebuild", cells)

    def code(self, now: float) -> Iterator[Row]:
        """Yield the version and the code that the mapping invokes, and its age."""
        client = self.deployment.client("lambda")

        def ask(processor: DeployedProcessor) -> Any:
            invoked = self._mappings.get(processor.name, {}).get("FunctionArn", processor.function)
            with permitted("lambda:GetFunctionConfiguration", f"function {invoked}"):
                return client.get_function_configuration(FunctionName=invoked)

        answers = self.each(ask)
        yield Row("version", "version", _part(answers, "Version"))
        yield Row("code_sha256", "code", _part(answers, "CodeSha256"))
        modified = {name: _since(cell, now) for name, cell in answers.items()}
        yield Row("deployed_seconds", "deployed", modified, "ago")


Probe: TypeAlias = Callable[[StatusReader, float], Iterable[Row]]

PROBES: Sequence[Probe] = (
    StatusReader.feeds,
    StatusReader.mappings,
    StatusReader.lags,
    StatusReader.dead_letters,
    StatusReader.notifications,
    StatusReader.upkeep,
    StatusReader.rebuilds,
    StatusReader.code,
)
"""In the order of the screen. `code` asks for the function that `mappings` found."""

_AGE = "IteratorAge"


def _cell(ask: Callable[[], Any]) -> Cell:
    """Return the answer of a service, or why there is none.

    Raises:
        ClientError: the credentials are not accepted.
    """
    try:
        answer = ask()
    except (AccessDenied, InvocationFailed) as error:
        return Cell(unknown=f"{str(error).rstrip('.')}.")
    except UNREACHABLE as error:
        return Cell(unknown=f"{masked(unreached(error))}.")
    except ClientError as error:
        if code_of(error) in CREDENTIALS:
            raise
        text = str(error.response["Error"].get("Message", "")).rstrip(".")
        return Cell(unknown=f"AWS refused {error.operation_name}: {code_of(error)}: {text}.")
    return answer if isinstance(answer, Cell) else Cell(answer)


def _open_rebuilds(functions: LambdaFunctions, processor: DeployedProcessor) -> str | None:
    name = processor.name
    open_: list[str] = []
    if processor.sink == SEARCH:
        for index, found in indexes_of(functions, name).items():
            second, live = found["second"], found["live"]
            if second is not None:
                open_.append(f"{index}-v{second} {'kept' if second < live else 'begun'}")
            open_ += [f"{index}-v{number} left over" for number in found["leftovers"]]
    elif processor.sink == AGGREGATION:
        sums = generations_of(functions, name)
        if sums.get("built") is not None:
            state = "kept" if sums["live"] == sums["built"] else "begun"
            number = sums["base"] if state == "kept" else sums["built"]
            open_.append(f"generation {number} {state}")
        if sums.get("dropped") is not None:
            open_.append(f"generation {sums['dropped']} left over")
    return ", ".join(open_) or None


def _noted(found: Cell, name: str) -> Cell:
    """Return a note of this name; an empty one if there is none."""
    return found if found.unknown else Cell((found.value or {}).get(name, {}))


def _certain(count: Cell, processor: str, noted: Mapping[str, Cell]) -> Cell:
    """Return a count, and why it may be higher if its note is of work that is not complete."""
    note = noted[processor].value
    if not note or note.get("complete", True):
        return count
    reason = f"The last verification of {processor} did not compare all of it: run cdc verify."
    return Cell(count.value or None, reason)


def _since_note(cell: Cell, now: float) -> Cell:
    if cell.unknown or not cell.value:
        return Cell(unknown=cell.unknown)
    return Cell(max(0.0, now - float(cell.value["at"])))


def _part(cells: Mapping[str, Cell], key: str) -> dict[str, Cell]:
    return {
        name: cell if cell.unknown else Cell(cell.value.get(key)) for name, cell in cells.items()
    }


def _sum(*cells: Cell) -> Cell:
    unknown = next((cell.unknown for cell in cells if cell.unknown), "")
    return Cell(unknown=unknown) if unknown else Cell(sum(cell.value for cell in cells))


def _metric(
    namespace: str, name: str, dimensions: Sequence[Mapping[str, str]], statistic: str
) -> Mapping[str, Any]:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    return {"Metric": metric, "Period": METRICS_SECONDS, "Stat": statistic}


def _query(id: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    return {"Id": id, "MetricStat": metric}


def _age(found: Cell, processor: DeployedProcessor) -> Cell:
    if found.unknown:
        return found
    for _, milliseconds in found.value[_AGE, processor.name]:
        return Cell(milliseconds / 1000)
    return Cell(unknown=_no_metric(_AGE))


def _age_since(found: Cell, processor: DeployedProcessor, moment: float) -> Cell:
    if found.unknown:
        return found
    ages = found.value[_AGE, processor.name]
    return Cell(next((each / 1000 for at, each in ages if at.timestamp() >= moment), 0.0))


def _canary(found: Cell, processor: DeployedProcessor, now: float) -> Cell:
    if found.unknown:
        return found
    for moment, count in found.value[Metric.CANARIES, processor.name]:
        if count:
            return Cell(max(0.0, now - moment.timestamp()))
    return Cell(unknown=_no_metric(Metric.CANARIES))


def _no_metric(name: str) -> str:
    minutes = METRICS_WINDOW.total_seconds() / 60
    return f"CloudWatch has no metric {name} of the last {minutes:.0f} minutes."


def _oldest(stored: Sequence[StoredDeadLetter], now: float) -> Cell:
    return Cell(max(0.0, now - min(each.written_at for each in stored))) if stored else Cell()


def _since(cell: Cell, now: float) -> Cell:
    if cell.unknown:
        return cell
    # 2026-11-28T22:24:50.508+0000
    modified = datetime.fromisoformat(cell.value["LastModified"])
    return Cell(max(0.0, now - modified.timestamp()))
