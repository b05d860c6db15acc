"""Render docs/reference/functions.md: limits of functions and mappings in the templates."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.markdown import table

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "functions.md"

HEAD = """\
<!-- Written by `python -m tools.template_pages`: edit stacks/settings and stacks/constructs. -->

# Functions and event source mappings

The values of the deployed stacks. [Settings](settings.md) in `cdk.json` change memory, batches,
lanes and age limit of the processors; `stacks/constructs/stream_processor.py` sets the rest of the
mappings, and `src/dynamodb_streams_cdc/names.py` the time-outs. The watcher, the erasure and the
maintenance have their memory in `stacks/constructs/watcher.py`, `stacks/constructs/erasure.py` and
`stacks/maintenance.py`. [Lambda's
limits](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html) and [the
parameters of a mapping](https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html) are
AWS's.
"""
PROPERTIES = {
    "MemorySize": ("MB", "Memory of a function; its share of the CPU grows with it."),
    "Timeout": ("seconds", "Duration of an invocation, at most."),
    "BatchSize": ("records", "Records of an invocation, at most."),
    "MaximumBatchingWindowInSeconds": ("seconds", "Time that a mapping waits for a full batch."),
    "ParallelizationFactor": ("batches", "Batches of a shard at the same time, at most."),
    "MaximumRecordAgeInSeconds": ("seconds", "Age at which a mapping gives a record up."),
    "MaximumRetryAttempts": ("attempts", "Retries of a batch; -1 retries until the age limit."),
    "BisectBatchOnFunctionError": ("", "Whether a failed batch is halved."),
}


def page(templates: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [f"`{name}`", meaning, unit, *(_values(each, name) for each in templates.values())]
        for name, (unit, meaning) in PROPERTIES.items()
    ]
    return f"{HEAD}\n{table(['property', 'meaning', 'unit', *templates], rows)}\n"


def _values(template: Mapping[str, Any], name: str) -> str:
    """Return a property's value, with the names of its holders where they differ."""
    holders: dict[str, list[str]] = {}
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] in ("AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"):
            value = resource["Properties"].get(name)
            if value is not None:
                holder = re.sub(r"(Function|Mapping)[0-9A-F]{8}$", "", logical_id)
                holders.setdefault(str(value).lower(), []).append(holder.lower())
    if len(holders) == 1:
        return next(iter(holders))
    return ", ".join(f"{', '.join(names)}: {value}" for value, names in holders.items())
