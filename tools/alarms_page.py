"""Render docs/reference/alarms.md: every alarm of the synthesised templates."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from stacks.runbook import DESCRIPTION, REASONS, RUNBOOK
from tools.markdown import table

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "alarms.md"

HEAD = """\
<!-- Written by `python -m tools.template_pages`: edit stacks/observability.py instead. -->

# Alarms

An alarm's name in CloudWatch begins with `cdc-ENVIRONMENT-pipeline-Observability` and contains the
name given here. Its description ends with its urgency and its section of the runbook.

Where the watcher writes no canary (an [existing table](../how-to/use-an-existing-table.md) without
`canary`, a partition key that is not of type S), there is no `CanaryMissing`, and `NotPolled` is
for processors that read the change log only: writes that change nothing make no stream record.
"""
KINDS = {
    "PROCESSOR": "Alarms of each processor",
    "TABLE": "Alarms of each table",
    "": "Alarms of the watcher and of the maintenance",
    "Domain": "Alarms of the OpenSearch domain",
}
WITH_A_KEY = "with `kms_key_arn`"
"""The one setting that adds alarms."""
COMPARISONS = {
    "GreaterThanOrEqualToThreshold": "≥",
    "LessThanOrEqualToThreshold": "≤",
    "LessThanThreshold": "<",
}


@dataclass(frozen=True)
class Alarm:
    """One alarm of one template; processor and table are called so in its meaning."""

    kind: str
    name: str
    environment: str
    condition: str
    meaning: str
    urgency: str
    section: str


def page(templates: Mapping[str, Mapping[str, Any]], everything: Mapping[str, Any]) -> str:
    """Return the page, for the template of each environment's pipeline.

    `everything` is the one of production with every setting.
    """
    parts = [HEAD, table(["urgency", "reason"], REASONS.items()) + "\n"]
    every = [alarm for name, template in templates.items() for alarm in alarms(name, template)]
    always = {alarm.name for alarm in every}
    every += [each for each in alarms(WITH_A_KEY, everything) if each.name not in always]
    for kind, title in KINDS.items():
        found = [alarm for alarm in every if alarm.kind == kind]
        found.sort(key=lambda alarm: alarm.name)
        rows = [_row(list(alike), set(templates)) for _, alike in groupby(found, lambda a: a.name)]
        head = ["alarm", "condition", "meaning", "urgency", "what to do"]
        parts += [f"## {title}\n", table(head, rows) + "\n"]
    return "\n".join(parts)


def alarms(environment: str, template: Mapping[str, Any]) -> Iterator[Alarm]:
    """Yield the alarms of a template.

    Raises:
        ValueError: an alarm's description was not made by `stacks.runbook.described`.
    """
    resources = template["Resources"]
    processors = {
        variables["PROCESSOR"].capitalize()
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::Function"
        and "PROCESSOR" in (variables := resource["Properties"]["Environment"]["Variables"])
    }
    known = re.compile(
        rf"Observability(?:(?P<PROCESSOR>{'|'.join(sorted(processors))})"
        r"|(?P<TABLE>\w+)Table(?=Table)|(?P<Domain>Domain)(?=Domain)|)(?P<name>\w+?)[0-9A-F]{8}"
    )
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            properties = resource["Properties"]
            parts = known.fullmatch(logical_id)
            described = DESCRIPTION.fullmatch(properties["AlarmDescription"])
            if parts is None or described is None:
                message = f"{logical_id}: {properties['AlarmDescription']}"
                raise ValueError(message)
            kind = next((each for each in ("PROCESSOR", "TABLE", "Domain") if parts[each]), "")
            meaning = described["meaning"]
            if kind in ("PROCESSOR", "TABLE"):
                meaning = re.sub(rf"(?i)\b{parts[kind]}\b", kind, meaning)
            condition = _condition(properties)
            rest = (meaning, described["urgency"], described["section"])
            yield Alarm(kind, parts["name"], environment, condition, *rest)


def _condition(properties: Mapping[str, Any]) -> str:
    comparison = COMPARISONS[properties["ComparisonOperator"]]
    limit = f"{comparison} {properties['Threshold']:,}"
    periods = properties["EvaluationPeriods"]
    if "Metrics" not in properties:
        metric = f"{properties['Statistic']} of `{properties['MetricName']}`"
        return f"{metric} {limit} for {_time(properties['Period'], periods)}"
    (expression,) = (each["Expression"] for each in properties["Metrics"] if "Expression" in each)
    metrics = {
        each["Id"]: each["MetricStat"] for each in properties["Metrics"] if "MetricStat" in each
    }
    (period,) = {stat["Period"] for stat in metrics.values()}
    where = ", ".join(
        f"`{name}`: {stat['Stat']} of `{stat['Metric']['MetricName']}`"
        for name, stat in metrics.items()
    )
    return f"`{expression}` {limit} for {_time(period, periods)}; {where}"


def _time(period: int, periods: int) -> str:
    return f"{period // 60} min" if periods == 1 else f"{periods} x {period // 60} min"


def _row(alike: list[Alarm], environments: set[str]) -> list[str]:
    first = alike[0]
    conditions: dict[str, set[str]] = {}
    for alarm in alike:
        conditions.setdefault(alarm.condition, set()).add(alarm.environment)
    shown = [
        condition if found == environments else f"{', '.join(sorted(found))}: {condition}"
        for condition, found in conditions.items()
    ]
    link = f"[{first.section}](../{RUNBOOK.removeprefix('docs/')}#{first.section})"
    return [f"`{first.name}`", "<br>".join(shown), first.meaning, first.urgency, link]
