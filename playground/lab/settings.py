"""The settings of the mapping, with the names, ranges and defaults that the engine has."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dynamodb_streams_cdc.change import ViewType
from dynamodb_streams_cdc.esm import MappingConfiguration
from dynamodb_streams_cdc.esm.configuration import (
    NUMBERS,
    REPORT_BATCH_ITEM_FAILURES,
    ConfigurationError,
)
from dynamodb_streams_cdc.testing.simulation.scene import TIMEOUT_SECONDS
from dynamodb_streams_cdc.testing.simulation.schedule import Schedule
from playground.lab.errors import Mistaken

DESTINATIONS = {
    "none": None,
    "S3 bucket": "arn:aws:s3:::dead-letters",
    "SQS queue": "arn:aws:sqs:us-east-1:000000000000:dead-letters",
}
"""On-failure destinations: a bucket gets the records, a queue a pointer to them."""

VARIED = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "BisectBatchOnFunctionError",
)
"""The settings that a schedule has itself, and that a search varies."""

LONGEST_TIMEOUT = 900
"""Seconds (https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html)."""

MEANINGS = {
    "BatchSize": "Most records of an invocation.",
    "MaximumBatchingWindowInSeconds": "Longest time to wait for a full batch.",
    "ParallelizationFactor": (
        "Batches of a shard at the same time, each in a lane. An item always has the same lane, so "
        "the order of its changes is kept; records of other items overtake them."
    ),
    "MaximumRetryAttempts": (
        "Retries of a failed batch before it is given up, after the first attempt: 3 retries are 4 "
        "attempts. -1 retries until the records are too old. Until then the batch blocks its lane."
    ),
    "MaximumRecordAgeInSeconds": (
        "Age at which a record is given up, tried or not; -1 keeps it until the stream forgets it, "
        "after 24 hours."
    ),
    "TumblingWindowInSeconds": (
        "Time over which Lambda hands the state that the function returns to its next invocation. "
        "An answer without state then fails the batch. With 0 there are no windows."
    ),
    "BisectBatchOnFunctionError": (
        "A failed batch is split into halves, down to single records, each tried in order. A "
        "split uses up no retry."
    ),
    REPORT_BATCH_ITEM_FAILURES: (
        "The answer's batchItemFailures count: the lowest record in it and all after it come "
        "again. Without this setting Lambda takes every answer for a success; only an error fails "
        "the batch."
    ),
    "OnFailure": (
        "Destination of records that are given up. A bucket gets the records, a queue a pointer "
        "into the stream, which forgets them after 24 hours; none loses them."
    ),
    "FilterCriteria": "Pattern of the records that are sent to the function; empty sends all.",
    "StreamViewType": "Images in a record: the item before the change, after it, both, or none.",
    "Timeout": "Longest time of an invocation, a setting of the function.",
}
"""What each setting does, in a sentence or two."""

_DEFAULTS = {each.name: each.default for each in fields(MappingConfiguration)}


def controls() -> list[dict[str, Any]]:
    """Return each setting with its meaning, its range or choices, and its default."""
    return [{**each, "meaning": MEANINGS[each["name"]]} for each in _controls()]


def _controls() -> list[dict[str, Any]]:
    numbers = [
        {"name": name, "low": low, "high": high, "default": _DEFAULTS[field]}
        for name, (field, low, high) in NUMBERS.items()
    ]
    return [
        *numbers,
        {
            "name": "BisectBatchOnFunctionError",
            "default": _DEFAULTS["bisect_batch_on_function_error"],
        },
        {"name": REPORT_BATCH_ITEM_FAILURES, "default": _DEFAULTS["report_batch_item_failures"]},
        {"name": "OnFailure", "choices": list(DESTINATIONS), "default": "none"},
        {"name": "FilterCriteria", "text": "a pattern; none sends all", "default": ""},
        {
            "name": "StreamViewType",
            "choices": list(ViewType),
            "default": str(ViewType.NEW_AND_OLD_IMAGES),
        },
        {"name": "Timeout", "low": 1, "high": LONGEST_TIMEOUT, "default": int(TIMEOUT_SECONDS)},
    ]


def defaults() -> dict[str, Any]:
    """Return the default of each setting, by name."""
    return {each["name"]: each["default"] for each in controls()}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, those that are not given by default.

    Raises:
        Mistaken: there is no such setting, or AWS refuses the value.
    """
    known = {each["name"]: each for each in controls()}
    if unknown := sorted(given.keys() - known):
        message = f"there is no setting {', '.join(unknown)}: choose from {', '.join(known)}"
        raise Mistaken(message, "settings")
    settings = {**defaults(), **given}
    for name, control in known.items():
        _check(control, settings[name])
    described = {"StartingPosition": "TRIM_HORIZON", **mapping(settings)}
    try:
        MappingConfiguration.from_description(described)
    except ConfigurationError as error:
        raise Mistaken(str(error), "settings") from error
    return settings


def _check(control: Mapping[str, Any], value: Any) -> None:
    name = control["name"]
    if "choices" in control and value not in control["choices"]:
        message = f"{name} is {value!r:.60}: choose from {', '.join(control['choices'])}"
        raise Mistaken(message, "settings")
    if name == "Timeout" and not (type(value) is int and 1 <= value <= LONGEST_TIMEOUT):
        message = f"Timeout is {value!r:.60}: write whole seconds from 1 to {LONGEST_TIMEOUT}"
        raise Mistaken(message, "settings")
    if name == REPORT_BATCH_ITEM_FAILURES and not isinstance(value, bool):
        message = f"{name} is {value!r:.60}: write true or false"
        raise Mistaken(message, "settings")


def mapping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the form of `ListEventSourceMappings`."""
    pattern = settings["FilterCriteria"]
    reports, arn = settings[REPORT_BATCH_ITEM_FAILURES], DESTINATIONS[settings["OnFailure"]]
    return {
        **{name: settings[name] for name in NUMBERS},
        "BisectBatchOnFunctionError": settings["BisectBatchOnFunctionError"],
        "FunctionResponseTypes": [REPORT_BATCH_ITEM_FAILURES] if reports else [],
        "FilterCriteria": {"Filters": [{"Pattern": pattern}]} if pattern else {},
        "DestinationConfig": {"OnFailure": {"Destination": arn}} if arn else {},
    }


def own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a schedule does not have itself."""
    return {name: value for name, value in mapping(settings).items() if name not in VARIED}


def found(settings: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Return the settings with those of a schedule."""
    values = (schedule.batch_size, schedule.window, schedule.lanes, schedule.bisect)
    return {**settings, **dict(zip(VARIED, values, strict=True))}
