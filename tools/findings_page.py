"""Render docs/reference/findings.md from the table in stacks/findings.py."""

from itertools import groupby

from stacks.findings import ACCEPTED, Accepted
from tools.markdown import table

HEAD = """\
<!-- Written by `python -m tools.docs`: edit stacks/findings.py instead. -->

# Accepted findings

Three tools read the synthesised templates. Each finding that the project accepts is a row of this
table, with its reason; every other finding fails `make test` or `cdk synth`.

| tool | rules | templates | run by |
| --- | --- | --- | --- |
| cdk-nag | AwsSolutions | every environment | `cdk synth`, `make test` |
| cdk-nag | NIST 800-53 r5 | production | `cdk synth`, `make test` |
| cloudformation-validate | all errors but E3653 | every environment | `cdk synth` (none) |
| cfn-lint | all errors, in seven Regions | every environment | `make test SCHEDULES=all` (none) |

A construct is named by its path without `cdc-ENVIRONMENT-`; `%` stands for one name in it. Square
brackets hold the wildcard that is accepted in a policy, and no other.

To accept a finding, add a row to `stacks/findings.py`; `cdk synth` names the rule and the
construct. A row that accepts nothing fails the tests.

"""


def page() -> str:
    """Return the page; consecutive findings with the same reason share a row."""
    merged = [(reason, list(rows)) for reason, rows in groupby(ACCEPTED, lambda row: row.reason)]
    rows = [(_code([row.rule for row in alike]), _places(alike), why) for why, alike in merged]
    return HEAD + table(["finding", "at", "reason"], rows) + "\n"


def _places(rows: list[Accepted]) -> str:
    places = _code([row.at for row in rows])
    only = {row.profile for row in rows} - {None}
    return f"{places}, {', '.join(sorted(map(str, only)))} only" if only else places


def _code(texts: list[str]) -> str:
    return ", ".join(f"`{text}`" for text in dict.fromkeys(texts))
