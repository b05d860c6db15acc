"""The settings of an event source mapping, as `lambda:ListEventSourceMappings` returns them.

Every range is the one that AWS documents, and a value outside is refused as AWS would refuse it
(https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html). Keys that say nothing of
the behaviour, such as `State` or `LastModified`, are passed over.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn, Self

from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.esm.filters import FILTER_QUOTA, FilterCriteria, InvalidFilterPattern
from dynamodb_streams_cdc.esm.operators import Dialect

UNLIMITED = -1
REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"
UNNAMED_FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:function"
"""Function name in documents of a mapping that was described without a function."""

NUMBERS = {
    "BatchSize": ("batch_size", 1, 10_000),
    "MaximumBatchingWindowInSeconds": ("maximum_batching_window", 0, 300),
    "ParallelizationFactor": ("parallelization_factor", 1, 10),
    "MaximumRetryAttempts": ("maximum_retry_attempts", -1, 10_000),
    "MaximumRecordAgeInSeconds": ("maximum_record_age", -1, 604_800),
    "TumblingWindowInSeconds": ("tumbling_window", 0, 900),
}
"""Field, least and greatest value of each number that a mapping has."""


class ConfigurationError(CdcError, ValueError):
    """A setting that AWS refuses.

    Attributes:
        parameter: its name, such as `BatchSize`.
        value: the value that was given.
        expected: the documented range or form.
        code: the error by which the Lambda API refuses it.
    """

    def __init__(
        self, parameter: str, value: object, expected: str, code: str = "ValidationException"
    ) -> None:
        super().__init__(f"{code}: {parameter} is {_short(value)}; {expected}")
        self.parameter = parameter
        self.value = value
        self.expected = expected
        self.code = code


class StartingPosition(StrEnum):
    """Where a mapping without checkpoints begins to read."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"


class DestinationKind(StrEnum):
    """Service of an on-failure destination: an S3 object holds the records, a message does not."""

    SQS = "sqs"
    SNS = "sns"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a mapping reports the records that it gave up.

    https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    """

    arn: str
    kind: DestinationKind


@dataclass(frozen=True, kw_only=True)
class MappingConfiguration:
    """One mapping of a DynamoDB stream to a function; made by `from_description`.

    Attributes:
        maximum_retry_attempts: -1 retries until the record is gone from the stream.
        maximum_record_age: in seconds; -1 sets no limit. The stream itself forgets after a day.
        maximum_batching_window: in seconds; 0 sends the records of each read.
        tumbling_window: in seconds; 0 keeps no state between invocations.
    """

    starting_position: StartingPosition
    uuid: str
    stream_arn: str | None
    function_arn: str
    batch_size: int = 100
    maximum_batching_window: int = 0
    parallelization_factor: int = 1
    bisect_batch_on_function_error: bool = False
    maximum_retry_attempts: int = UNLIMITED
    maximum_record_age: int = UNLIMITED
    tumbling_window: int = 0
    report_batch_item_failures: bool = False
    filters: FilterCriteria = field(default_factory=FilterCriteria)
    destination: Destination | None = None
    event_count_metrics: bool = False

    @classmethod
    def from_description(
        cls,
        description: Mapping[str, Any],
        *,
        filter_quota: int = FILTER_QUOTA,
        filter_operators: Dialect = "lambda",
    ) -> Self:
        """Return the mapping that a dictionary of `ListEventSourceMappings` describes.

        Only `StartingPosition` is required. `filter_quota` is the account's quota of filters per
        mapping: 5, or up to 10 on request. `filter_operators` are those that patterns may use:
        the ones in Lambda's guide, or all of EventBridge's.

        Raises:
            ConfigurationError: a value outside of its documented range.
        """
        given = {name: value for name, value in description.items() if value is not None}
        numbers = {
            field: _number(name, given[name], low, high)
            for name, (field, low, high) in NUMBERS.items()
            if name in given
        }
        if -1 < numbers.get("maximum_record_age", UNLIMITED) < 60:
            age = numbers["maximum_record_age"]
            _refuse("MaximumRecordAgeInSeconds", age, "documented: -1, or 60 to 604800", _INVALID)
        function_arn: str = _typed(given, "FunctionArn", str, UNNAMED_FUNCTION, "a string")
        stream_arn = _stream(given)
        mapping = cls(
            starting_position=_starting_position(given),
            uuid=_typed(given, "UUID", str, _uuid_of(stream_arn, function_arn), "a string"),
            stream_arn=stream_arn,
            function_arn=function_arn,
            bisect_batch_on_function_error=_typed(
                given, "BisectBatchOnFunctionError", bool, False, "true or false"
            ),
            report_batch_item_failures=_response_types(given),
            filters=_filters(given, filter_quota, filter_operators),
            destination=_destination(given),
            event_count_metrics=_metrics(given),
            **numbers,
        )
        if mapping.tumbling_window and mapping.parallelization_factor > 1:
            wanted = (
                "with a tumbling window only 1 is supported: the state is kept per shard, and AWS "
                "does not document how lanes share it"
            )
            _refuse("ParallelizationFactor", mapping.parallelization_factor, wanted, _INVALID)
        return mapping


_INVALID = "InvalidParameterValueException"
_NAMESPACE = uuid.UUID("0b8a7a4e-5a0c-5d0e-9b7e-3f1d6f1f5e11")


def _refuse(
    parameter: str, value: object, expected: str, code: str = "ValidationException"
) -> NoReturn:
    raise ConfigurationError(parameter, value, expected, code)


def _uuid_of(stream_arn: str | None, function_arn: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{stream_arn}{function_arn}"))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(name, value, f"documented: an integer from {low} to {high}")
    if not low <= value <= high:
        side, bound = ("greater", low) if value < low else ("less", high)
        expected = (
            f"documented: {low} to {high} (Member must have value {side} than or equal to {bound})"
        )
        _refuse(name, value, expected)
    return value


def _typed(given: Mapping[str, Any], name: str, kind: type, default: object, words: str) -> Any:
    value = given.get(name, default)
    if not isinstance(value, kind):
        _refuse(name, value, f"documented: {words}")
    return value


def _object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _typed(given, name, Mapping, {}, "an object")
    return found


def _stream(given: Mapping[str, Any]) -> str | None:
    arn = given.get("EventSourceArn")
    if arn is None:
        return None
    parts = str(arn).split(":", 5)
    if len(parts) < 6 or parts[2] != "dynamodb" or "/stream/" not in parts[5]:
        _refuse("EventSourceArn", arn, "only the stream of a DynamoDB table is modelled", _INVALID)
    return str(arn)


def _starting_position(given: Mapping[str, Any]) -> StartingPosition:
    value = given.get("StartingPosition")
    if value not in tuple(StartingPosition):
        expected = "documented for a DynamoDB stream: TRIM_HORIZON or LATEST, required"
        _refuse("StartingPosition", value, expected, _INVALID)
    return StartingPosition(value)


def _response_types(given: Mapping[str, Any]) -> bool:
    types = given.get("FunctionResponseTypes", [])
    if not isinstance(types, list) or types not in ([], [REPORT_BATCH_ITEM_FAILURES]):
        expected = f"documented: at most one, {REPORT_BATCH_ITEM_FAILURES}"
        _refuse("FunctionResponseTypes", types, expected)
    return bool(types)


def _metrics(given: Mapping[str, Any]) -> bool:
    metrics = _object(given, "MetricsConfig").get("Metrics", [])
    if not isinstance(metrics, list) or metrics not in ([], ["EventCount"]):
        expected = "documented for a DynamoDB stream: at most one, EventCount"
        _refuse("MetricsConfig.Metrics", metrics, expected)
    return bool(metrics)


def _filters(given: Mapping[str, Any], quota: int, operators: Dialect) -> FilterCriteria:
    criteria = _object(given, "FilterCriteria")
    try:
        return FilterCriteria.from_description(criteria, quota=quota, operators=operators)
    except InvalidFilterPattern as error:
        message = f"{error} (documented: at most {quota} patterns of at most 4096 characters)"
        parameter = "FilterCriteria"
        raise ConfigurationError(parameter, dict(criteria), message, _INVALID) from error


def _destination(given: Mapping[str, Any]) -> Destination | None:
    config = _object(given, "DestinationConfig")
    for name in config.keys() - {"OnFailure"}:
        if name != "OnSuccess" or config[name]:
            expected = "documented for a stream: OnFailure alone, a success is not reported"
            _refuse(f"DestinationConfig.{name}", config[name], expected, _INVALID)
    on_failure = config.get("OnFailure", {})
    if not isinstance(on_failure, Mapping) or on_failure.keys() - {"Destination"}:
        expected = 'documented: {"Destination": an ARN}'
        _refuse("DestinationConfig.OnFailure", on_failure, expected)
    arn = on_failure.get("Destination")
    if arn is None or arn == "":
        return None
    for kind, form in _DESTINATIONS.items():
        if form.fullmatch(str(arn)) and not str(arn).endswith(".fifo"):
            return Destination(str(arn), kind)
    expected = (
        "modelled of what is documented: the ARN of a standard SQS queue, a standard SNS topic "
        "or an S3 bucket (the whole bucket: no prefix); FIFO queues and topics are not supported "
        "by AWS"
    )
    _refuse("DestinationConfig.OnFailure.Destination", arn, expected, _INVALID)


_REGIONAL = r"arn:aws[a-z-]*:{}:[a-z0-9-]+:[0-9]{{12}}:[A-Za-z0-9_.-]+"
_DESTINATIONS = {
    DestinationKind.SQS: re.compile(_REGIONAL.format("sqs")),
    DestinationKind.SNS: re.compile(_REGIONAL.format("sns")),
    DestinationKind.S3: re.compile(r"arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
}
